//! Initialisation of parameters, from an explicit generator.

use rand::Rng;
use rand::RngExt;

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
