//! Checks the gradient of a convolution, batch norm and relu against differences, in f64.
//!
//! A random upstream gradient makes the result a scalar; along one random direction u of the weights,
//! `d/dh sum(dy * f(w + h u))` at h = 0 must be `sum(dw * u)`.

use rand::{SeedableRng, rngs::StdRng};
use vista::engine::autograd::Tape;
use vista::engine::ops;
use vista::engine::tensor::init;
use vista::{Device, Result, Tensor};

/// relu(batch norm(conv(x, w))), and the gradient of `sum(dy * y)` with respect to w.
fn network(x: &Tensor, w: &Tensor, dy: &Tensor) -> Result<(Tensor, Tensor)> {
    let tape = Tape::new(x.device());
    let weight = tape.leaf(w.clone());
    let y = tape.constant(x.clone()).conv2d(&weight, [2, 2], [1, 1], [1, 1])?;
    let channels = y.shape()[3];
    let gamma = tape.constant(Tensor::full(x.device(), [channels], 1.5)?);
    let beta = tape.constant(Tensor::full(x.device(), [channels], 0.3)?);
    let norm = ops::BatchNorm { by: ops::Coefficients::Batch { groups: 1, eps: 1e-5 }, relu: true };
    let (y, _) = tape.apply(norm, &[&y, &gamma, &beta])?;
    let grads = y.backward_with(dy.clone())?;
    Ok((y.value().clone(), grads.of(&weight).expect("y depends on w").clone()))
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn main() -> Result<()> {
    // The reference device runs the same code as the CPU device, in f64.
    let device = Device::reference();
    let mut rng = StdRng::seed_from_u64(1);
    let mut random = |shape: [usize; 4]| {
        let values = init::normal(&mut rng, shape.iter().product(), 1.0);
        Tensor::new(&device, shape, &values)
    };
    let x = random([3, 9, 7, 5])?;
    let w = random([6, 3, 3, 5])?;
    let direction = random([6, 3, 3, 5])?.to_f64()?;
    let dy = random([3, 5, 4, 6])?;

    let (_, dw) = network(&x, &w, &dy)?;
    let analytic = dot(&dw.to_f64()?, &direction);

    let upstream = dy.to_f64()?;
    let value = |h: f64| -> Result<f64> {
        let moved: Vec<f64> = w.to_f64()?.iter().zip(&direction).map(|(w, u)| w + h * u).collect();
        let (y, _) = network(&x, &Tensor::from_f64(&device, w.shape(), &moved)?, &dy)?;
        Ok(dot(&y.to_f64()?, &upstream))
    };
    let h = 1e-6;
    let numeric = (value(h)? - value(-h)?) / (2.0 * h);

    let error = (analytic - numeric).abs() / numeric.abs();
    println!("by backward     {analytic:.9}");
    println!("by differences  {numeric:.9}");
    println!("relative error  {error:.1e}");
    assert!(error < 1e-6, "the gradient is wrong");
    Ok(())
}
