//! Batch norm whose statistics are those of all ranks' batches: the only place where it talks to other processes.

use super::plan::NAME;
use super::{BatchNorm, Coefficients};
use crate::engine::exchange::Exchange;
use crate::engine::ops::kernel::{Differentiable, Keep, run};
use crate::engine::ops::op::{Op, Saved};
use crate::engine::ops::{NormConv2d, Normalize};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use std::rc::Rc;

/// The coefficients `[4, 1, C]` of the batches of all ranks together, from those of each, which are of equal size.
///
/// `mean = avg_r(mean_r)`, `var = avg_r(var_r + (mean_r - mean)^2)` over the ranks r; no sum of squares, so that a large mean
/// costs no digits.
///
/// # Errors
/// [`Error::Shape`] if there are several groups: those are local to a rank. The exchange's and the device's errors.
pub fn over_ranks(
    exchange: &dyn Exchange,
    coefficients: &Tensor,
    gamma: &Tensor,
    eps: f64,
) -> Result<Tensor> {
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

/// A norm, alone or with the convolution behind it. Its inputs begin with x; it saves x first, and the coefficients behind gamma.
pub trait Norms: Differentiable {
    /// Where gamma is among the inputs. Beta follows, then mean and variance where they are given. What it saves has gamma there too.
    const GAMMA: usize;

    /// What it normalises by.
    fn by(&self) -> Coefficients;

    /// The same by something else.
    fn with(&self, by: Coefficients) -> Self;
}

impl Norms for BatchNorm {
    const GAMMA: usize = 1;

    fn by(&self) -> Coefficients {
        self.by
    }

    fn with(&self, by: Coefficients) -> BatchNorm {
        BatchNorm { by, ..*self }
    }
}

impl Norms for NormConv2d {
    const GAMMA: usize = 2;

    fn by(&self) -> Coefficients {
        self.by
    }

    fn with(&self, by: Coefficients) -> NormConv2d {
        NormConv2d { by, ..*self }
    }
}

/// A norm by the statistics of the batches of all ranks.
///
/// The gradient of x is that with constant statistics, less what flows back through mean and variance:
///
/// ```text
/// dx = scale dz - scale (avg(dz) + xhat avg(dz xhat)), averages over the batches of all ranks
/// ```
///
/// Those of the parameters are this rank's share: [`Grads::sum`](crate::engine::autograd::Grads::sum) adds them up. All ranks must want
/// the same gradients.
///
/// # Errors
/// As the norm's; [`Error::Shape`] if there are several groups, which are local to a rank.
#[derive(Debug)]
pub struct Ranks<K> {
    /// The norm; of one group.
    pub norm: K,
    /// The ranks.
    pub exchange: Rc<dyn Exchange>,
}

impl<K: Norms> Ranks<K> {
    /// The norm with its statistics taken for constants.
    fn constant(&self) -> K {
        self.norm.with(Coefficients::Given { eps: self.norm.by().eps() as f32 })
    }
}

impl<K: Norms> Op for Ranks<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn outputs(&self, x: &[&Tensor]) -> Result<Vec<Tensor>> {
        let (by, [gamma, beta]) = (self.norm.by(), [x[K::GAMMA], x[K::GAMMA + 1]]);
        let own = run(&by, &[x[0], gamma, beta])?.swap_remove(0);
        let all = over_ranks(&*self.exchange, &own, gamma, by.eps())?;
        let [mean, var] =
            [0, 1].map(|list| all.rows(list..list + 1).and_then(|row| row.reshape(gamma.shape())));
        let (mean, var) = (mean?, var?);
        let mut inputs = x.to_vec();
        inputs.splice(K::GAMMA + 2..K::GAMMA + 2, [&mean, &var]);
        run(&self.constant(), &inputs)
    }

    fn saved(&self, x: &[&Tensor], y: &[Tensor]) -> Saved {
        self.norm.saved(x, y)
    }

    fn backward(&self, saved: &Saved, dy: &Tensor, wants: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let given = K::GAMMA + 2..K::GAMMA + 2;
        let tensors = saved.tensors()?;
        let (x, coefficients) = (tensors[0].clone(), tensors[K::GAMMA + 1].clone());
        let mut shapes = saved.input_shapes.clone();
        let vector = shapes[K::GAMMA].clone();
        shapes.splice(given.clone(), [vector.clone(), vector]);
        let mut all = wants.to_vec();
        all[K::GAMMA..K::GAMMA + 2].fill(true);
        all.splice(given, [false, false]);
        let constant = Saved::new(tensors.iter().map(Keep::from).collect(), shapes);
        let mut d = self.constant().backward(&constant, dy, &all)?;
        d.drain(K::GAMMA + 2..K::GAMMA + 4);
        if let (Some(dx), [Some(dgamma), Some(dbeta)]) = (&d[0], &d[K::GAMMA..K::GAMMA + 2]) {
            d[0] = Some(self.through_statistics(&x, &coefficients, [dx, dgamma, dbeta])?);
        }
        d.iter_mut().zip(wants).filter(|(_, want)| !**want).for_each(|(d, _)| *d = None);
        Ok(d)
    }
}

impl<K: Norms> Ranks<K> {
    /// dx, from that with constant statistics and this rank's `sum dz xhat` and `sum dz`.
    fn through_statistics(
        &self,
        x: &Tensor,
        coefficients: &Tensor,
        [dx, dgamma, dbeta]: [&Tensor; 3],
    ) -> Result<Tensor> {
        let (c, eps) = (dgamma.elements(), self.norm.by().eps());
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
