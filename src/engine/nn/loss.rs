//! Losses as compositions. What is one op for its memory's sake is in [`ops::fused`](crate::engine::ops::fused).

use crate::engine::autograd::Var;
use crate::engine::ops::{Over, TopK, run};
use crate::error::{Error, Result};

impl<'t> Var<'t> {
    /// The logarithm of the softmax of each row, for cross-entropies against codes that are not one-hot.
    ///
    /// `y_c = s_c - log sum_j exp(s_j)` with `s = x - max x`: the shift changes no result and keeps every exponential below 1.
    ///
    /// | value | shape | range |
    /// |---|---|---|
    /// | `self` x | `[.., C]` | any finite |
    /// | returns y | `[.., C]` | nats, at most 0; -ln C where all of a row are equal |
    ///
    /// # Errors
    /// [`Error::Shape`] of a scalar or where rows are empty.
    /// # Source
    /// Log-sum-exp shifted by the maximum: Blanchard, Higham and Higham 2021, Eq. 1.4. SwAV, Eq. 2 uses it.
    pub fn log_softmax(&self) -> Result<Var<'t>> {
        let shape = self.shape().clone();
        let Some(&columns) = shape.last().filter(|columns| **columns > 0) else {
            return Err(Error::shape("log_softmax", format!("needs [.., C] with C > 0, got {shape}")));
        };
        let x = self.reshape([shape.elements() / columns, columns])?; // [R, C]
        let most = run(&TopK { k: 1, labels: false }, &[x.value()])?.swap_remove(0); // [R, 1]
        let shifted = x.sub(&self.tape().constant(most))?; // [R, C]
        let sums = shifted.exp()?.sum(Over::Row)?.reshape([x.shape()[0], 1])?; // [R, 1]
        shifted.sub(&sums.log()?)?.reshape(shape)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Device, Tensor, engine::autograd::Tape, engine::device::GpuOptions};

    #[test]
    fn equal_values_give_minus_ln_n_and_shifts_change_nothing() {
        let gpu = Device::gpu_named(None, GpuOptions::default()).unwrap();
        for device in [Device::reference(), Device::cpu(), gpu] {
            for (n, value) in [(2usize, 0.0f32), (4097, -5.0), (3000, 1e4), (1, -1e30)] {
                let x = Tensor::full(&device, [2, n], value).unwrap();
                let y = Tape::inert(&device).constant(x).log_softmax().unwrap().value().to_vec().unwrap();
                let expected = -(n as f32).ln();
                assert!(y.iter().all(|y| (y - expected).abs() < 2e-6), "{} for {n} times {value}", y[0]);
            }
            let x = Tensor::new(&device, [2], &[-1e30, 1e30]).unwrap();
            let y = Tape::inert(&device).constant(x).log_softmax().unwrap().value().to_vec().unwrap();
            assert_eq!(y, [-2e30, 0.0]);
        }
    }
}
