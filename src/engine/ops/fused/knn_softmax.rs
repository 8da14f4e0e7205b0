//! Softmax cross-entropy with several positives: each against itself and all negatives, not the other positives.
//!
//! With `L_b = log sum_{j negative} exp(x_bj)` and k_b positives in row b,
//! `loss = mean_b 1/k_b sum_{i positive} softplus(L_b - x_bi)`. Gradients, times `dloss / B`:
//! `-1/k_b sigmoid(L_b - x_bi)` of a positive, `w_b exp(x_bj - L_b)` of a negative, `w_b = 1/k_b sum_i sigmoid(L_b - x_bi)`.
//!
//! | value | shape | range |
//! |---|---|---|
//! | `logits` x | `[B, D]` | any finite |
//! | `labels` | `[B, D]` | 1 for positives, 0 for negatives; not differentiated |
//! | returns | `[]` | nats per positive; `ln(D - k + 1)` at equal logits; 0 for a row without positives or negatives |
//! | by-product: loss of each row | `[B]` | |
//! | by-product: maximum of the negatives, `L_b` above it, `w_b`, `1/k_b` | `[B, 4]` | |
//!
//! Source: MLS, Eq. 2, and Table 6 ("+kNN"); Van Gansbeke et al. 2021 (kNN-MoCo).
//!
//! Fused because the composition (`tests/fused.rs`) keeps five more `[B, D]`, 64 MiB each at B 256 and D 65,536.

use crate::engine::device::kernel::Dispatch;
use crate::engine::device::params::Param;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::ops::kernel::{Differentiable, Keep, Kernel};
use crate::engine::ops::map::sigmoid;
use crate::engine::ops::reduce::sum_axis;
use crate::engine::ops::rows::sum_of;
use crate::engine::ops::{Case, Draw, Input};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use rayon::prelude::*;
use std::ops::Range;

/// Cross-entropy of each positive over itself and all negatives, mean over positives and rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KnnSoftmax;

fn params(block: &Range<usize>, shape: &Shape) -> [Param; 3] {
    [("rows", block.len().into()), ("columns", shape[1].into()), ("factor", (1.0 / shape[0] as f32).into())]
}

/// Stands for the logarithm of an empty sum.
const LEAST: f64 = f32::MIN as f64;

/// Loss of a row, and its entry of the second by-product.
fn row_loss<T: Real>(x: &[T], labels: &[T]) -> (T, [T; 4]) {
    let side = |positive: bool| {
        let pairs = x.iter().zip(labels).filter(move |(_, y)| (**y > T::zero()) == positive);
        pairs.map(|(x, _)| *x).collect::<Vec<T>>()
    };
    let (positives, negatives) = (side(true), side(false));
    let share = T::one() / T::of(positives.len().max(1) as f64);
    let most = negatives.iter().fold(T::of(LEAST), |most, &v| most.max(v));
    let log_sum =
        if negatives.is_empty() { T::zero() } else { sum_of(&negatives, |v| (v - most).fast_exp()).ln() };
    let above: Vec<T> = positives.iter().map(|&x| (most - x) + log_sum).collect();
    let losses: Vec<T> = above.iter().map(|&v| v.max(T::zero()) + (-v.abs()).exp().ln_1p()).collect();
    let weights: Vec<T> = above.iter().map(|&v| sigmoid(v)).collect();
    let weight = share * sum_of(&weights, |v| v);
    let most = if log_sum.is_nan() { log_sum } else { most };
    (share * sum_of(&losses, |v| v), [most, log_sum, weight, share])
}

impl Kernel for KnnSoftmax {
    const NAME: &'static str = "knn_softmax";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        match inputs {
            [x, labels] if x.len() == 2 && x.elements() > 0 && x == labels => {
                Ok(vec![Shape::from([]), Shape::from([x[0]]), Shape::from([x[0], 4])])
            }
            _ => {
                Err(Error::shape(Self::NAME, format!("needs logits [B,D] and labels [B,D], got {inputs:?}")))
            }
        }
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let columns = x[0].shape[1];
        let [loss, row_losses, stats] = y else { unreachable!("three outputs") };
        let rows = x[0].data.par_chunks(columns).zip(x[1].data.par_chunks(columns));
        let outputs = row_losses.data.par_iter_mut().zip(stats.data.par_chunks_mut(4));
        rows.zip(outputs).for_each(|((x, labels), (loss, stats))| {
            let (value, by_products) = row_loss(x, labels);
            *loss = value;
            stats.copy_from_slice(&by_products);
        });
        loss.data[0] = sum_of(row_losses.data, |v| v) / T::of(row_losses.data.len() as f64);
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let shape = x[0].shape();
        let tensors = [(x[0], shape[1]), (x[1], shape[1]), (&y[1], 1), (&y[2], 4)];
        gpu.run_rows(shape[0], &tensors, |block| {
            Dispatch::new(Self::NAME, "forward", params(block, shape), &[], block.len())
        })?;
        sum_axis(gpu, &y[1], [1, shape[0], 1], 1.0 / shape[0] as f32, 0.0, &y[0])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |name, shape: [usize; 2], draw| {
            Case::new(name, KnnSoftmax, vec![Input::of(shape, draw), Input::of(shape, Draw::Binary)])
        };
        let scaled = |scale| Draw::Normal { scale, offset: 0.0 };
        vec![
            case("odd", [6, 65], scaled(2.0)),
            case("wide", [3, 1001], scaled(1.0)),
            case("one column", [4, 1], scaled(1.0)),
            case("large logits", [5, 33], Draw::Normal { scale: 3.0, offset: 1000.0 }),
        ]
    }
}

impl Differentiable for KnnSoftmax {
    const VARIABLES: usize = 1;

    fn save(&self, x: &[&Tensor], y: &[Tensor]) -> Vec<Keep> {
        vec![x[0].into(), x[1].into(), (&y[2]).into()]
    }

    fn twin_backward<T: Real>(&self, saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        let Some(dx) = &mut dx[0] else { return };
        let columns = dx.shape[1];
        let scale = dy.data[0] / T::of(dx.shape[0] as f64);
        let rows = saved[0].data.par_chunks(columns).zip(saved[1].data.par_chunks(columns));
        let rows = rows.zip(saved[2].data.par_chunks(4));
        dx.data.par_chunks_mut(columns).zip(rows).for_each(|(dx, ((x, labels), stats))| {
            let [most, log_sum, weight, share] = [stats[0], stats[1], stats[2], stats[3]];
            for ((dx, &x), &label) in dx.iter_mut().zip(x).zip(labels) {
                let above = (most - x) + log_sum;
                *dx = if label > T::zero() {
                    -scale * share * sigmoid(above)
                } else {
                    scale * weight * (-above).exp()
                };
            }
        });
    }

    fn gpu_backward(&self, gpu: &Gpu, saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        let Some(dx) = &dx[0] else { return Ok(()) };
        let shape = dx.shape();
        let all = shape[1];
        let tensors = [(saved[0], all), (saved[1], all), (saved[2], 4), (dy, 0), (dx, all)];
        gpu.run_rows(shape[0], &tensors, |block| {
            Dispatch::new(Self::NAME, "backward", params(block, shape), &[], block.len())
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::{Device, Tensor, engine::autograd::Tape, engine::device::GpuOptions};

    #[test]
    fn equal_logits_give_the_log_of_the_negatives_and_one_and_one_positive_is_cross_entropy() {
        let gpu = Device::gpu_named(None, GpuOptions::default()).unwrap();
        for device in [Device::reference(), Device::cpu(), gpu] {
            let loss = |logits: &[f32], labels: &[f32]| {
                let tensor = |v: &[f32]| Tensor::new(&device, [1, v.len()], v).unwrap();
                let tape = Tape::inert(&device);
                tape.constant(tensor(logits)).knn_softmax(&tensor(labels)).unwrap().value().item().unwrap()
            };
            let labels: Vec<f32> = (0..500).map(|i| f32::from(i % 25 == 0)).collect();
            assert!((loss(&[3.0; 500], &labels) - 481f32.ln()).abs() < 3e-6);
            let one = loss(&[1.0, 2.0, -1.0], &[0.0, 1.0, 0.0]);
            let all: f32 = [1.0f32, 2.0, -1.0].iter().map(|x| x.exp()).sum();
            assert!((one - (all.ln() - 2.0)).abs() < 1e-6, "{one}");
            assert_eq!(loss(&[1.0, 2.0], &[1.0, 1.0]), 0.0, "no negatives");
            assert_eq!(loss(&[1.0, 2.0], &[0.0, 0.0]), 0.0, "no positives");
        }
    }
}
