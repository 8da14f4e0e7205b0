//! A gradient by hand and by tape: least squares.
//!
//! `loss = mean((x w^T - y)^2)` has the gradient `dw = 2/n (x w^T - y)^T x`.

use vista::engine::autograd::Tape;
use vista::engine::ops::Over;
use vista::{Device, Result, Tensor};

fn main() -> Result<()> {
    let device = Device::open("auto")?;
    let x = Tensor::new(&device, [4, 2], &[1.0, 2.0, -1.0, 0.5, 3.0, -2.0, 0.0, 1.0])?;
    let y = Tensor::new(&device, [4, 1], &[1.0, 0.0, 2.0, -1.0])?;
    let w = Tensor::new(&device, [1, 2], &[0.3, -0.7])?;

    // By tape: ops are recorded as they run; `backward` walks the list from its end.
    let tape = Tape::new(&device);
    let leaf = tape.leaf(w.clone());
    let prediction = tape.constant(x.clone()).matmul_nt(&leaf)?; // [4, 1]
    let error = prediction.sub(&tape.constant(y.clone()))?;
    let loss = error.mul(&error)?.mean(Over::All)?; // []
    let grads = loss.backward()?;
    let dw = grads.of(&leaf).expect("the loss depends on w").to_vec()?;

    // By hand.
    let (x, y, w) = (x.to_vec()?, y.to_vec()?, w.to_vec()?);
    let mut by_hand = [0.0; 2];
    for i in 0..4 {
        let error = x[2 * i] * w[0] + x[2 * i + 1] * w[1] - y[i];
        for (j, d) in by_hand.iter_mut().enumerate() {
            *d += 2.0 / 4.0 * error * x[2 * i + j];
        }
    }

    println!("loss      {:.6}", loss.value().item()?);
    println!("by tape   {dw:.6?}");
    println!("by hand   {by_hand:.6?}");
    assert!(dw.iter().zip(by_hand).all(|(a, b)| (a - b).abs() < 1e-6), "the two must agree");
    Ok(())
}
