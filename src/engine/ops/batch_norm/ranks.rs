//! Batch norm whose statistics are those of all ranks' batches: the only place where it talks to other processes.

use super::{BatchNorm, Coefficients, NAME, Normalize};
use crate::engine::exchange::Exchange;
use crate::engine::ops::kernel::{Kernel, Op, Saved, run};
use crate::engine::tensor::{Shape, Tensor};
use crate::error::{Error, Result};
use std::rc::Rc;

/// The coefficients `[4, 1, C]` of the batches of all ranks together, from those of each, which are of equal size.
///
/// `mean = avg_r(mean_r)`, `var = avg_r(var_r + (mean_r - mean)^2)` over the ranks r; no sum of squares, so that a large mean
/// costs no digits.
///
/// # Errors
/// [`Error::Shape`] if there are several groups: those are local to a rank. The exchange's and the device's errors.
fn over_ranks(exchange: &dyn Exchange, coefficients: &Tensor, gamma: &Tensor, eps: f64) -> Result<Tensor> {
    let &[4, 1, c] = &coefficients.shape()[..] else {
        let detail =
            format!("statistics over ranks have one group, not coefficients {}", coefficients.shape());
        return Err(Error::shape(NAME, detail));
    };
    let all = exchange.gather(coefficients)?.to_f64()?;
    let (gamma, shift) = (gamma.to_f64()?, &all[3 * c..4 * c]);
    let average =
        |f: &dyn Fn(&[f64]) -> f64| all.chunks_exact(4 * c).map(f).sum::<f64>() / exchange.ranks() as f64;
    let mean: Vec<f64> = (0..c).map(|i| average(&|of| of[i])).collect();
    let var: Vec<f64> = (0..c).map(|i| average(&|of| of[c + i] + (of[i] - mean[i]).powi(2))).collect();
    let scale: Vec<f64> = gamma.iter().zip(&var).map(|(gamma, var)| gamma / (var + eps).sqrt()).collect();
    Tensor::from_f64(coefficients.device(), [4, 1, c], &[&mean, &var, &scale, shift].concat())
}

/// A [`BatchNorm`] whose statistics and their gradient span the ranks of an exchange.
///
/// The gradient of x is that with constant statistics, less what flows back through mean and variance:
///
/// ```text
/// dx = scale dz - scale (avg(dz) + xhat avg(dz xhat)), averages over the batches of all ranks
/// ```
///
/// Those of gamma and beta are this rank's share: [`Grads::sum`](crate::engine::autograd::Grads::sum) adds them up.
///
/// # Errors
/// As [`BatchNorm`]; [`Error::Shape`] if there are several groups, which are local to a rank, or the statistics are given.
#[derive(Debug)]
pub struct RanksNorm {
    /// The norm; of one group.
    pub norm: BatchNorm,
    /// The ranks.
    pub exchange: Rc<dyn Exchange>,
}

impl Op for RanksNorm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn forward(&self, x: &[&Tensor]) -> Result<(Vec<Tensor>, Saved)> {
        let shapes: Vec<&Shape> = x.iter().map(|t| t.shape()).collect();
        let BatchNorm { by: by @ Coefficients::Batch { .. }, relu } = self.norm else {
            return Err(Error::shape(
                NAME,
                "given statistics are the same on all ranks: no exchange is needed",
            ));
        };
        self.norm.shapes(&shapes)?;
        let own = run(&by, &x[..3])?.swap_remove(0);
        let coefficients = over_ranks(&*self.exchange, &own, x[1], by.eps())?;
        let inputs: Vec<&Tensor> = [x[0], &coefficients].into_iter().chain(x.get(3).copied()).collect();
        let y = vec![run(&Normalize { relu }, &inputs)?.swap_remove(0), coefficients];
        let saved = Saved::of(&self.norm, x, &y);
        Ok((y, saved))
    }

    fn backward(&self, saved: &Saved, dy: &Tensor, wants: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let tensors = saved.tensors()?;
        let (x, coefficients, vector) = (tensors[0].clone(), tensors[2].clone(), &saved.input_shapes[1]);
        // As if mean and variance were constants.
        let by = Coefficients::Given { eps: self.norm.by.eps() as f32 };
        let mut shapes = saved.input_shapes.clone();
        shapes.splice(3..3, [vector.clone(), vector.clone()]);
        let residual = wants.get(3).copied();
        let all: Vec<bool> = [wants[0], true, true, false, false].into_iter().chain(residual).collect();
        let constant = Saved::new(tensors, shapes, &[]);
        let mut d = BatchNorm { by, ..self.norm }.backward(&constant, dy, &all)?;
        d.drain(3..5);
        if let [Some(dx), Some(dgamma), Some(dbeta), ..] = &d[..] {
            d[0] = Some(self.through_statistics(&x, &coefficients, [dx, dgamma, dbeta])?);
        }
        d.iter_mut().zip(wants).filter(|(_, want)| !**want).for_each(|(d, _)| *d = None);
        Ok(d)
    }
}

impl RanksNorm {
    /// dx, from that with constant statistics and this rank's `sum dz xhat` and `sum dz`.
    fn through_statistics(
        &self,
        x: &Tensor,
        coefficients: &Tensor,
        [dx, dgamma, dbeta]: [&Tensor; 3],
    ) -> Result<Tensor> {
        let (c, eps) = (dgamma.elements(), self.norm.by.eps());
        let rows = (self.exchange.ranks() * x.elements() / c) as f64;
        let [sum_product, sum] =
            [dgamma, dbeta].map(|own| self.exchange.sum(own).and_then(|all| all.to_f64()));
        let (sum_product, sum) = (sum_product?, sum?);
        let known = coefficients.to_f64()?;
        let (var, scale) = (&known[c..2 * c], &known[2 * c..3 * c]);
        let slope: Vec<f64> =
            (0..c).map(|i| -scale[i] * sum_product[i] / rows / (var[i] + eps).sqrt()).collect();
        let offset: Vec<f64> = (0..c).map(|i| -scale[i] * sum[i] / rows).collect();
        let by = [&known[..2 * c], &slope, &offset].concat();
        let by = Tensor::from_f64(x.device(), [4, 1, c], &by)?;
        // slope (x - mean) + offset + dx
        Ok(run(&Normalize { relu: false }, &[x, &by, dx])?.swap_remove(0))
    }
}
