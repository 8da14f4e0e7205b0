//! One training step: the only place where state changes.

use crate::autograd::{Grads, Tape, Var};
use crate::encoder::{Embedding, Encoder};
use crate::error::{Error, Result};
use crate::nn::{Mode, Param};
use crate::objective::{Embeddings, Keys, Objective};
use crate::ops::{Elementwise, GatherRows, L2Normalize, Over, run};
use crate::optim::{Optimizer, ema_update};
use crate::queue::Queue;
use crate::tensor::Tensor;

/// The views of one step.
#[derive(Debug)]
pub struct Batch {
    /// Query views `[N, H, W, 3]`, the views of an image adjacent.
    pub query: Tensor,
    /// Key views `[B, H, W, 3]`, for objectives with keys.
    pub key: Option<Tensor>,
    /// Views of each image in `query`.
    pub views: usize,
    /// The images' numbers, `[B]`.
    pub ids: Vec<u64>,
    /// Shuffle of the key batch: row r of the key pass is image `shuffle[r]`.
    pub shuffle: Vec<usize>,
}

/// What a momentum method has besides its encoder.
#[derive(Debug)]
pub struct Momentum<E> {
    /// The key encoder, an exponential moving average of the query encoder.
    pub encoder: E,
    /// Keys of earlier steps.
    pub queue: Queue,
    /// Share of the key encoder that stays, m.
    pub m: f64,
}

/// Everything that training changes.
#[derive(Debug)]
pub struct Learner<E> {
    /// The (query) encoder.
    pub encoder: E,
    /// Key encoder and queue, for objectives with keys.
    pub momentum: Option<Momentum<E>>,
    /// The objective.
    pub objective: Box<dyn Objective>,
    /// The optimiser and its buffers.
    pub optimizer: Box<dyn Optimizer>,
    /// Groups of split batch norm.
    pub bn_splits: usize,
}

/// What a step has to say for the log.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// The whole loss.
    pub loss: f32,
    /// Each term: name, value, 2-norm of the gradient of the (unweighted) term with respect to g and z together.
    pub terms: Vec<(&'static str, f32, f32)>,
    /// 2-norm of the gradient with respect to all parameters.
    pub gradient_norm: f32,
}

impl<E: Encoder> Learner<E> {
    /// One step, in the order that MLS needs and that holds for every method here: the order is part of the method.
    ///
    /// # Errors
    /// [`Error::Shape`] if the batch does not fit the objective; the device's errors.
    pub fn step(&mut self, batch: &Batch, lr: f64) -> Result<StepReport> {
        let device = batch.query.device().clone();
        let mode = Mode::Train { splits: self.bn_splits };

        // 1. Key parameters move towards the query's. ORDER: before the key pass.
        if let Some(momentum) = &self.momentum {
            ema_update(&momentum.encoder, &self.encoder, momentum.m)?;
        }

        // 2. Keys of the second views: training-mode batch norm in shuffled groups, no gradient.
        let keys = match &self.momentum {
            None => None,
            Some(momentum) => Some(self.keys(momentum, batch, mode)?),
        };

        // 3. The query pass.
        let tape = Tape::new(&device);
        let Embedding { g, z } = self.encoder.embed(&tape.constant(batch.query.clone()), mode)?;

        // 4. The loss, on a tape of its own from the embeddings on. ORDER: the queue is still the old one.
        let head = Tape::new(&device);
        let leaves = [head.leaf(g.value().clone()), head.leaf(z.value().clone())];
        let embeddings = Embeddings {
            g: leaves[0].clone(),
            z: leaves[1].clone(),
            views: batch.views,
            keys: match (&self.momentum, &keys) {
                (Some(momentum), Some((_, z))) => Some(Keys { z, queue: &momentum.queue }),
                _ => None,
            },
        };
        let loss = self.objective.loss(&embeddings)?;
        let mut total = [None, None]; // gradients with respect to g and z
        let mut squares = Vec::new();
        for term in &loss {
            let one = Tensor::full(&device, [], 1.0)?;
            let grads = head.gradients(&[(&term.value, one)])?;
            squares.push(add_weighted(&mut total, &grads, &leaves, term.weight)?);
        }

        // 5. Backward through the encoder.
        let [dg, dz] = total;
        let outputs: Vec<(&Var, Tensor)> =
            [dg.map(|d| (&g, d)), dz.map(|d| (&z, d))].into_iter().flatten().collect();
        let grads = tape.backward(&outputs)?;

        // 6. Running statistics of batch norm.
        tape.take_observations().iter().try_for_each(|o| o.apply())?;

        // 7. The optimiser moves the query parameters.
        let params = self.encoder.trained();
        let gradient_square = sum_of_squares(&params, &grads)?;
        self.optimizer.step(&params, &grads, lr)?;

        // 8. The keys enter the queue.
        if let (Some(momentum), Some((g, z))) = (&mut self.momentum, &keys) {
            momentum.queue.enqueue(g, z, &batch.ids)?;
        }

        // 9. Values for the log: the only wait for the device in a step.
        let mut report = StepReport { loss: 0.0, terms: Vec::new(), gradient_norm: 0.0 };
        for (term, square) in loss.iter().zip(squares) {
            let value = term.value.value().item()?;
            report.loss += term.weight * value;
            report.terms.push((term.name, value, root(&square)?));
        }
        report.gradient_norm = root(&gradient_square)?;
        Ok(report)
    }

    /// Normalised keys g2 and z2 of the second views, in the images' order.
    fn keys(&self, momentum: &Momentum<E>, batch: &Batch, mode: Mode) -> Result<(Tensor, Tensor)> {
        let device = batch.query.device();
        let Some(views) = &batch.key else {
            return Err(Error::shape("step", "this objective needs a second view of each image as its key"));
        };
        let count = batch.shuffle.len();
        let index = |order: Vec<f32>| Tensor::new(device, [count], &order);
        let mut back = vec![0.0; count];
        for (row, &image) in batch.shuffle.iter().enumerate() {
            back[image] = row as f32;
        }
        let forth = index(batch.shuffle.iter().map(|&i| i as f32).collect())?;
        let back = index(back)?;
        let tape = Tape::inert(device);
        let shuffled = run(&GatherRows, &[views, &forth])?.swap_remove(0);
        let Embedding { g, z } = momentum.encoder.embed(&tape.constant(shuffled), mode)?;
        tape.take_observations().iter().try_for_each(|o| o.apply())?;
        let in_order = |x: &Tensor| -> Result<Tensor> {
            let x = run(&GatherRows, &[x, &back])?.swap_remove(0);
            Ok(run(&L2Normalize, &[&x])?.swap_remove(0))
        };
        Ok((in_order(g.value())?, in_order(z.value())?))
    }
}

/// Adds `weight` times the gradients of one term; returns the square of their unweighted 2-norm.
fn add_weighted(
    total: &mut [Option<Tensor>; 2],
    grads: &Grads,
    leaves: &[Var; 2],
    weight: f32,
) -> Result<Option<Tensor>> {
    let mut square = None;
    for (sum, leaf) in total.iter_mut().zip(leaves) {
        let Some(d) = grads.of(leaf) else { continue };
        add_to(&mut square, squared(d)?)?;
        add_to(sum, run(&Elementwise::Scale(weight), &[d])?.swap_remove(0))?;
    }
    Ok(square)
}

fn sum_of_squares(params: &[Param], grads: &Grads) -> Result<Option<Tensor>> {
    let mut sum = None;
    for d in params.iter().filter_map(|p| grads.of_param(p)) {
        add_to(&mut sum, squared(d)?)?;
    }
    Ok(sum)
}

/// `sum x^2`, a scalar.
fn squared(x: &Tensor) -> Result<Tensor> {
    let tape = Tape::inert(x.device());
    let x = tape.constant(x.clone());
    Ok(x.mul(&x)?.sum(Over::All)?.value().clone())
}

fn add_to(sum: &mut Option<Tensor>, x: Tensor) -> Result<()> {
    *sum = Some(match sum.take() {
        None => x,
        Some(sum) => run(&Elementwise::Add, &[&sum, &x])?.swap_remove(0),
    });
    Ok(())
}

fn root(square: &Option<Tensor>) -> Result<f32> {
    square.as_ref().map_or(Ok(0.0), |s| Ok(s.item()?.sqrt()))
}
