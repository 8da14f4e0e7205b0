//! Softmax cross-entropy: InfoNCE, NT-Xent, classifiers, and classes of pixels.
//!
//! `loss = mean over the rows b that count of [ log sum_j exp(x_bj) - x_b,label(b) ]`, 0 if none counts;
//! `dx_bj = dloss / count (softmax(x_b)_j - [j = label(b)])`, 0 in a row that does not count
//!
//! | value | shape | range |
//! |---|---|---|
//! | `logits` x | `[.., D]` | any finite; rows are shifted by their maximum |
//! | `labels` | `[..]` | not differentiated: whole numbers in 0..D, or `ignore`, of a row that does not count; any other gives NaN, as loss and as gradient of its row |
//! | returns | `[]` | nats per row that counts; ln D at equal logits |
//! | by-product: loss of each of B rows, and 1 if it counts; 0 and 0 if not | `[B, 2]` | |
//! | by-product: their sums over the rows | `[2]` | |
//! | by-product: maximum and log-sum-exp above it | `[B, 2]` | both NaN if one is |
//!
//! Fused because the composition, `log_softmax` at the labels, keeps two more `[B, D]`, 64 MiB each at B 256 and D 65,536, and
//! writes as many again on its way.
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{CrossEntropy, run}};
//! # let device = &Device::cpu();
//! let logits = Tensor::new(device, [3, 2], &[5.0, 5.0, 5.0, 5.0, 9.0, 0.0])?;
//! let labels = Tensor::new(device, [3], &[0.0, 1.0, 255.0])?; // of the third row the label is not known
//! let loss = run(&CrossEntropy { ignore: Some(255) }, &[&logits, &labels])?[0].item()?;
//! assert!((loss - 2f32.ln()).abs() < 1e-6); // equal logits in both others
//! # Ok::<(), vista::Error>(())
//! ```

use crate::engine::device::kernel::Dispatch;
use crate::engine::device::params::Param;
use crate::engine::device::vector::vectorised;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::ops::gather_rows::row_of;
use crate::engine::ops::kernel::{Differentiable, Keep, Kernel};
use crate::engine::ops::reduce::{sum_axis, sum_axis_twin};
use crate::engine::ops::rows::sum_of;
use crate::engine::ops::{Case, Draw, Input};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use rayon::prelude::*;
use std::ops::Range;

/// Softmax cross-entropy, mean over the rows that count.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CrossEntropy {
    /// The label of rows that do not count, 255 in most label maps.
    pub ignore: Option<usize>,
}

/// Up to this many columns a row is one lane's, not a workgroup's.
const NARROW: usize = 256;

/// Rows and columns of logits.
fn size(logits: &Shape) -> [usize; 2] {
    let columns = logits.last().copied().unwrap_or(1);
    [logits.elements() / columns.max(1), columns]
}

impl CrossEntropy {
    fn counts<T: Real>(self, label: T) -> bool {
        self.ignore.is_none_or(|ignore| label != T::of(ignore as f64))
    }

    fn params(self, block: &Range<usize>, columns: usize) -> [Param; 5] {
        [
            ("rows", block.len().into()),
            ("columns", columns.into()),
            ("ignores", u32::from(self.ignore.is_some()).into()),
            ("ignore", (self.ignore.unwrap_or(0) as f32).into()),
            ("nan_bits", f32::NAN.to_bits().into()),
        ]
    }
}

impl Kernel for CrossEntropy {
    const NAME: &'static str = "cross_entropy";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        match inputs {
            [x, labels] if x.len() > 1 && x.elements() > 0 && labels[..] == x[..x.len() - 1] => {
                let rows = size(x)[0];
                Ok(vec![Shape::from([]), Shape::from([rows, 2]), Shape::from([2]), Shape::from([rows, 2])])
            }
            _ => {
                Err(Error::shape(Self::NAME, format!("needs logits [..,D] and labels [..], got {inputs:?}")))
            }
        }
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let (logits, labels) = (x[0], x[1].data);
        let [loss, terms, sums, stats] = y else { unreachable!("four outputs") };
        let [count, columns] = size(logits.shape);
        let rows = logits.data.par_chunks(columns).zip(labels);
        let outputs = terms.data.par_chunks_mut(2).zip(stats.data.par_chunks_mut(2));
        rows.zip(outputs).with_min_len(NARROW / columns + 1).for_each(|((row, &label), (term, stats))| {
            let most = row.iter().fold(T::neg_infinity(), |most, &v| most.max(v));
            let log_sum = sum_of(row, |v| (v - most).fast_exp()).ln();
            stats.copy_from_slice(&[if log_sum.is_nan() { log_sum } else { most }, log_sum]);
            let loss = || row_of(label, row.len()).map_or(T::nan(), |at| (most - row[at]) + log_sum);
            let [loss, one] = if self.counts(label) { [loss(), T::one()] } else { [T::zero(); 2] };
            term.copy_from_slice(&[loss, one]);
        });
        sums.data.copy_from_slice(&sum_axis_twin(terms.data, [1, count, 2]));
        loss.data[0] = sums.data[0] / sums.data[1].max(T::one());
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let [loss, terms, sums, stats] = y else { unreachable!("four outputs") };
        let [rows, columns] = size(x[0].shape());
        let (entry, lanes) = if columns <= NARROW { ("forward_narrow", 256) } else { ("forward", 1) };
        gpu.run_rows(rows, &[(x[0], columns), (x[1], 1), (terms, 2), (stats, 2)], |block| {
            let params = self.params(block, columns);
            Dispatch::new(Self::NAME, entry, params, &[], block.len().div_ceil(lanes))
        })?;
        sum_axis(gpu, terms, [1, rows, 2], 1.0, 0.0, sums)?;
        gpu.run(Dispatch::new(Self::NAME, "mean", [], &[sums, loss], 1))
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |name, rows, columns, draw| {
            let labels = Input::of([rows], Draw::Index(columns));
            Case::new(name, CrossEntropy::default(), vec![Input::of([rows, columns], draw), labels])
        };
        let scaled = |scale| Draw::Normal { scale, offset: 0.0 };
        // The first class stands for what is not known.
        let ignoring = |mut case: Case<Self>| {
            case.op.ignore = Some(0);
            case
        };
        let map = Input::of([2, 9, 13, 5], scaled(2.0));
        let map = vec![map, Input::of([2, 9, 13], Draw::Index(5))];
        vec![
            case("odd", 8, 10, scaled(2.0)),
            case("wide", 5, 1001, scaled(1.0)),
            case("one row", 1, 7, scaled(1.0)),
            case("one column", 3, 1, scaled(1.0)),
            case("large logits", 6, 33, Draw::Normal { scale: 3.0, offset: 1000.0 }),
            ignoring(case("some ignored", 700, 3, scaled(1.0))),
            ignoring(case("all ignored", 4, 1, scaled(1.0))),
            ignoring(case("wide, some ignored", 40, 300, scaled(1.0))),
            ignoring(Case::new("a map", CrossEntropy::default(), map)),
        ]
    }
}

impl Differentiable for CrossEntropy {
    const VARIABLES: usize = 1;

    fn save(&self, x: &[&Tensor], y: &[Tensor]) -> Vec<Keep> {
        vec![x[0].into(), x[1].into(), (&y[2]).into(), (&y[3]).into()]
    }

    fn twin_backward<T: Real>(&self, saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        let Some(dx) = &mut dx[0] else { return };
        let [logits, labels, sums, stats] = saved else { unreachable!("four tensors are saved") };
        let columns = size(logits.shape)[1];
        let scale = dy.data[0] / sums.data[1].max(T::one());
        let rows = logits.data.par_chunks(columns).zip(labels.data).zip(stats.data.par_chunks(2));
        let rows = dx.data.par_chunks_mut(columns).zip(rows).with_min_len(NARROW / columns + 1);
        rows.for_each(|(dx, ((row, &label), stats))| {
            let (most, log_sum) = (stats[0], stats[1]);
            let counts = self.counts(label);
            let scale = if counts { scale } else { T::zero() };
            vectorised(
                #[inline(always)]
                || {
                    for (dx, &x) in dx.iter_mut().zip(row) {
                        *dx = scale * ((x - most) - log_sum).fast_exp();
                    }
                },
            );
            match row_of(label, dx.len()) {
                Some(at) => dx[at] -= scale,
                None if counts => dx.fill(T::nan()),
                None => {}
            }
        });
    }

    fn gpu_backward(&self, gpu: &Gpu, saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        let [logits, labels, sums, stats] = saved else { unreachable!("four tensors are saved") };
        let Some(dx) = &dx[0] else { return Ok(()) };
        let [rows, columns] = size(logits.shape());
        let tensors = [(*logits, columns), (*labels, 1), (*stats, 2), (*sums, 0), (dy, 0), (dx, columns)];
        gpu.run_rows(rows, &tensors, |block| {
            let params = self.params(block, columns);
            Dispatch::new(Self::NAME, "backward", params, &[], (block.len() * columns).div_ceil(256))
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::{Device, Tensor, engine::autograd::Tape, engine::device::GpuOptions};

    fn loss(device: &Device, columns: usize, logits: &[f32], labels: &[f32]) -> f32 {
        let logits = Tensor::new(device, [labels.len(), columns], logits).unwrap();
        let labels = Tensor::new(device, [labels.len()], labels).unwrap();
        Tape::inert(device).constant(logits).cross_entropy(&labels).unwrap().value().item().unwrap()
    }

    #[test]
    fn equal_logits_give_ln_n_and_shifts_change_nothing() {
        let gpu = Device::gpu_named(None, GpuOptions::default()).unwrap();
        for device in [Device::reference(), Device::cpu(), gpu] {
            for n in [2, 4097] {
                for logit in [0.0, -5.0, 1e4] {
                    let got = loss(&device, n, &vec![logit; 3 * n], &[0.0, 1.0, (n - 1) as f32]);
                    assert!((got - (n as f32).ln()).abs() < 2e-6, "{got} for {n} logits {logit}");
                }
            }
            assert!((loss(&device, 2, &[-1e30, 1e30], &[0.0]) - 2e30).abs() < 1e24);
            assert!(loss(&device, 2, &[0.0, 0.0], &[2.0]).is_nan(), "a label that names no column");
        }
    }
    #[test]
    fn without_a_row_that_counts_loss_and_gradient_are_0() {
        let gpu = Device::gpu_named(None, GpuOptions::default()).unwrap();
        for device in [Device::reference(), Device::cpu(), gpu] {
            let tape = Tape::new(&device);
            let x = tape.leaf(Tensor::new(&device, [2, 1, 3], &[4.0, -1.0, 2.0, 0.0, 7.0, 1.0]).unwrap());
            let loss = |labels: &[f32]| {
                x.cross_entropy_ignoring(&Tensor::new(&device, [2, 1], labels).unwrap(), 255).unwrap()
            };
            let none = loss(&[255.0; 2]);
            assert_eq!(none.value().item().unwrap(), 0.0);
            assert_eq!(none.backward().unwrap().of(&x).unwrap().to_vec().unwrap(), [0.0; 6]);
            let one = loss(&[255.0, 1.0]);
            let alone = self::loss(&device, 3, &[0.0, 7.0, 1.0], &[1.0]);
            assert!((one.value().item().unwrap() - alone).abs() < 1e-6);
            assert_eq!(one.backward().unwrap().of(&x).unwrap().to_vec().unwrap()[..3], [0.0; 3]);
            assert!(loss(&[254.0, 1.0]).value().item().unwrap().is_nan(), "neither a class nor ignored");
        }
    }
}
