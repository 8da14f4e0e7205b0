//! Initialisation of parameters, from an explicit generator.
//!
//! ```
//! # use rand::{SeedableRng, rngs::StdRng};
//! # use vista::engine::tensor::init;
//! let weights = init::normal(&mut StdRng::seed_from_u64(0), 1000, 0.1);
//! assert!(weights.iter().all(|w| w.abs() < 0.5));
//! assert_eq!(weights, init::normal(&mut StdRng::seed_from_u64(0), 1000, 0.1)); // the seed decides
//! ```

use super::{Shape, Tensor};
use crate::engine::device::Device;
use crate::error::{Error, Result};
use rand::Rng;
use rand::RngExt;

/// A tensor of the values that `draw` gives for their number. A [planned](Device::plan) device keeps no values, and none are
/// drawn.
///
/// # Errors
/// [`crate::Error::Shape`] beyond 2^31 values; the device's.
pub fn drawn(
    device: &Device,
    shape: impl Into<Shape>,
    draw: impl FnOnce(usize) -> Vec<f32>,
) -> Result<Tensor> {
    let shape = shape.into();
    let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
    if count.is_none_or(|count| count > 1 << 31) {
        return Err(Error::shape("init", format!("{shape} has more than 2^31 values")));
    }
    match device {
        Device::Gpu(gpu) if gpu.is_plan() => Tensor::uninit(device, shape),
        _ => {
            let values = draw(shape.elements());
            Tensor::new(device, shape, &values)
        }
    }
}

/// Standard normal values (Box-Muller), times `std`.
pub fn normal(rng: &mut impl Rng, count: usize, std: f64) -> Vec<f32> {
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
        let radius = std * (-2.0 * u.ln()).sqrt();
        let angle = std::f64::consts::TAU * v;
        values.push((radius * angle.cos()) as f32);
        values.push((radius * angle.sin()) as f32);
    }
    values.truncate(count);
    values
}

/// Uniform values in `[-bound, bound)`.
pub fn uniform(rng: &mut impl Rng, count: usize, bound: f64) -> Vec<f32> {
    (0..count).map(|_| ((2.0 * rng.random::<f64>() - 1.0) * bound) as f32).collect()
}
