//! One training step: the only place where state changes.

use super::passes::{Chunks, QueryPass, embed_chunks};
use crate::engine::autograd::{Grads, Observation, Tape, Var};
use crate::engine::nn::Param;
use crate::engine::ops::{GatherRows, L2Normalize, Map, Over, run};
use crate::engine::optim::{Optimizer, ema_update};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::pretrain::encoder::{Encoder, Outputs};
use crate::pretrain::objective::{Embeddings, KeyViews, Needs, Objective, Term};
use crate::pretrain::queue::{Queue, Rings};

/// The views of one step.
#[derive(Debug)]
pub struct Batch {
    /// Query views, one tensor `[N_i, S_i, S_i, 3]` for each size of view, laid out as the objective needs them.
    pub query: Vec<Tensor>,
    /// Key views `[M, S, S, 3]`, for objectives with a key encoder.
    pub key: Option<Tensor>,
    /// Views of each image in `query`.
    pub views: usize,
    /// The images' numbers, `[B]`.
    pub ids: Vec<u64>,
    /// Shuffle of the key batch: row r of the key pass is view `shuffle[r]`.
    pub shuffle: Vec<usize>,
}

/// The momentum copy of the encoder.
#[derive(Debug)]
pub struct Target<E> {
    /// The key encoder, an exponential moving average of the query encoder.
    pub encoder: E,
    /// Share of the key encoder that stays, m.
    pub m: f64,
}

/// Everything that training changes.
#[derive(Debug)]
pub struct Learner<E> {
    /// The (query) encoder.
    pub encoder: E,
    /// The key encoder, for objectives that need one.
    pub target: Option<Target<E>>,
    /// Keys of earlier steps, for objectives that need them.
    pub queue: Option<Queue>,
    /// The objective.
    pub objective: Box<dyn Objective>,
    /// The optimiser and its buffers.
    pub optimizer: Box<dyn Optimizer>,
    /// Groups of split batch norm.
    pub bn_splits: usize,
    /// Rows that pass through the encoder at a time; 0 for all. See [`super::passes`].
    pub chunk: usize,
    /// Whether the query encoder's activations wait for their backward as f16. See [`Tape::half`].
    pub half: bool,
    /// Parameters whose names start so are not moved (SwAV's prototypes in its first steps).
    pub frozen: Option<&'static str>,
}

/// What a step has to say for the log.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// The whole loss.
    pub loss: f32,
    /// Each term of it.
    pub terms: Vec<TermReport>,
    /// 2-norm of the gradient with respect to all parameters.
    pub gradient_norm: f32,
    /// Projections of the query views, `[N, d_z]`, not normalised.
    pub z: Tensor,
    /// Images of the queue that were taken for positives of each query, k in a row; `None` for a random start.
    pub neighbours: Vec<Option<u64>>,
    /// False if the loss or the gradient's norm is not finite: then nothing has changed, neither parameters nor keys.
    pub moved: bool,
}

/// One term of the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TermReport {
    /// Its name.
    pub name: &'static str,
    /// Its value, unweighted.
    pub value: f32,
    /// 2-norm of its unweighted gradient with respect to all of the encoder's outputs.
    pub gradient_norm: f32,
    /// Its value if all embeddings were equal.
    pub collapsed: f32,
    /// What helps a run that is stuck there.
    pub helps: &'static str,
}

impl<E: Encoder> Learner<E> {
    /// One step, in the order that MLS needs and that holds for every method here: the order is part of the method.
    ///
    /// # Errors
    /// [`Error::Shape`] if the batch does not fit the objective; the device's errors.
    pub fn step(&mut self, batch: &Batch, lr: f64) -> Result<StepReport> {
        let needs = self.objective.needs();
        let Some(device) = batch.query.first().map(|views| views.device().clone()) else {
            return Err(Error::shape("step", "the batch has no views"));
        };

        // 1. Prototypes back to unit length; key parameters move towards the query's. ORDER: before any pass.
        let before = self.values();
        self.encoder.constrain()?;
        if let Some(target) = &self.target {
            ema_update(&target.encoder, &self.encoder, target.m)?;
        }

        // 2. Keys of the key views: training-mode batch norm in shuffled groups, no gradient.
        let keys = self.target.as_ref().map(|target| self.keys(target, batch)).transpose()?;
        let (keys, key_observations) = keys.unzip();

        // 3. The query pass.
        let tapes: Vec<Tape> = match self.half {
            true => batch.query.iter().map(|_| Tape::half(&device)).collect(),
            false => batch.query.iter().map(|_| Tape::new(&device)).collect(),
        };
        let pass = QueryPass::run(&self.encoder, &batch.query, &tapes, self.bn_splits, self.chunk)?;
        let outputs = pass.outputs.clone();

        // 4. The loss, on a tape of its own from the outputs on. ORDER: the queue is still the old one.
        let head = Tape::new(&device);
        let leaves = outputs.try_map(|y| Ok(head.leaf(y.clone())))?;
        let queue_scores = self.queue_scores()?;
        let embeddings = Embeddings {
            query: leaves.clone(),
            views: batch.views,
            keys: keys.as_ref(),
            queue: self.queue.as_ref(),
            queue_scores: queue_scores.as_ref(),
        };
        let loss = self.objective.loss(&embeddings)?;
        let mut dy: Outputs<Option<Tensor>> = outputs.try_map(|_| Ok(None))?;
        let mut squares = Vec::new();
        for term in &loss.terms {
            let one = Tensor::full(&device, [], 1.0)?;
            let grads = head.gradients(&[(&term.value, one)])?;
            squares.push(add_weighted(&mut dy, &grads, &leaves, term.weight)?);
        }

        // 5. Backward through the encoder.
        let (mut grads, observations) = pass.backward(&dy)?;
        let mut params = self.encoder.trained();
        params.retain(|p| self.frozen.is_none_or(|frozen| !p.name().starts_with(frozen)));
        let packed = grads.as_mut().map(|grads| grads.pack(&params)).transpose()?;
        let mut gradient_square = None;
        for d in packed.iter().flatten() {
            add_to(&mut gradient_square, squared(d)?)?;
        }

        // 6. The loss and the gradient's norm. ORDER: before anything moves that a bad number would spoil.
        let mut report = StepReport {
            loss: 0.0,
            terms: Vec::new(),
            gradient_norm: root(&gradient_square)?,
            z: outputs.z.clone(),
            neighbours: Vec::new(),
            moved: false,
        };
        for (term, square) in loss.terms.iter().zip(squares) {
            let value = term.value.value().item()?;
            // A term that is only logged may be infinite without spoiling the total.
            report.loss += if term.weight == 0.0 { 0.0 } else { term.weight * value };
            let Term { name, collapsed, helps, .. } = *term;
            report.terms.push(TermReport { name, value, gradient_norm: root(&square)?, collapsed, helps });
        }
        report.moved = report.loss.is_finite() && report.gradient_norm.is_finite();
        if !report.moved {
            before.into_iter().try_for_each(|(param, value)| param.set(value))?;
            return Ok(report);
        }

        // 7. Running statistics of batch norm, of both encoders.
        for seen in [key_observations.unwrap_or_default(), observations] {
            Observation::apply(&seen)?;
        }

        // 8. The optimiser moves the query parameters.
        if let Some(grads) = &grads {
            self.optimizer.step(&params, grads, lr)?;
        }

        // 9. The keys enter the queue.
        let held = self.queue.as_ref().filter(|_| loss.positives.is_some()).map(|queue| queue.ids.clone());
        if let Some(queue) = &mut self.queue {
            let (keys, ids) = new_keys(&needs, keys.as_ref().unwrap_or(&outputs), &batch.ids)?;
            queue.enqueue(&keys, &ids)?;
        }
        if let (Some(slots), Some(ids)) = (&loss.positives, held) {
            report.neighbours = slots.to_vec()?.iter().map(|&slot| ids[slot as usize]).collect();
        }
        Ok(report)
    }

    /// What line 1 of a step changes, as it was: to be put back if the step goes no further.
    fn values(&self) -> Vec<(Param, Tensor)> {
        let confined = self.encoder.confined();
        let averaged = self.target.as_ref().map(|target| target.encoder.trained()).unwrap_or_default();
        confined.into_iter().chain(averaged).map(|param| (param.clone(), param.get())).collect()
    }

    /// The key encoder's outputs, in the order of the views.
    fn keys(&self, target: &Target<E>, batch: &Batch) -> Result<(Outputs<Tensor>, Vec<Observation>)> {
        let Some(views) = &batch.key else {
            return Err(Error::shape("step", "this objective needs key views"));
        };
        let count = batch.shuffle.len();
        let index = |order: Vec<f32>| Tensor::new(views.device(), [count], &order);
        let mut back = vec![0.0; count];
        for (row, &view) in batch.shuffle.iter().enumerate() {
            back[view] = row as f32;
        }
        let forth = index(batch.shuffle.iter().map(|&i| i as f32).collect())?;
        let back = index(back)?;
        let shuffled = run(&GatherRows, &[views, &forth])?.swap_remove(0);
        let chunks = Chunks::new(count, self.bn_splits, self.chunk);
        let (outputs, observations) = embed_chunks(&target.encoder, &shuffled, &chunks)?;
        let in_order = outputs.try_map(|x| Ok(run(&GatherRows, &[x, &back])?.swap_remove(0)))?;
        Ok((in_order, observations))
    }

    /// Scores of the queue's projections against the prototypes, if there are both.
    fn queue_scores(&self) -> Result<Option<Tensor>> {
        let Some(z) = self.queue.as_ref().and_then(|queue| queue.keys.z.as_ref()) else { return Ok(None) };
        let z = z.values()?;
        let tape = Tape::inert(z.device());
        Ok(self.encoder.scores(&tape.constant(z))?.map(|scores| scores.value().clone()))
    }
}

/// What of a step's outputs goes into each ring, l2-normalised, with the image of each row. Without a key encoder
/// these are the first two views of each image, view-major.
fn new_keys(needs: &Needs, outputs: &Outputs<Tensor>, ids: &[u64]) -> Result<(Rings<Tensor>, Vec<u64>)> {
    let unit = |x: &Tensor| Ok(run(&L2Normalize, &[x])?.swap_remove(0));
    let dense = |x: &Tensor| {
        let tape = Tape::inert(x.device());
        unit(tape.constant(x.clone()).global_avg_pool()?.value())
    };
    let Rings { g, z, dense: pooled } = needs.rings;
    let repeats = if needs.keys == KeyViews::None { 2 } else { 1 };
    let ids = ids.repeat(repeats);
    let rows = |x: &Tensor| if x.shape()[0] == ids.len() { Ok(x.clone()) } else { x.rows(0..ids.len()) };
    let keys = Rings {
        g: g.map(|()| unit(&rows(&outputs.g)?)).transpose()?,
        z: z.map(|()| unit(&rows(&outputs.z)?)).transpose()?,
        dense: pooled.and(outputs.dense.as_ref()).map(|x| dense(&rows(x)?)).transpose()?,
    };
    Ok((keys, ids))
}

/// Adds `weight` times the gradients of one term; returns the square of their unweighted 2-norm.
fn add_weighted(
    dy: &mut Outputs<Option<Tensor>>,
    grads: &Grads,
    leaves: &Outputs<Var>,
    weight: f32,
) -> Result<Option<Tensor>> {
    let mut square = None;
    for (sum, leaf) in dy.iter_mut().zip(leaves.iter()) {
        let Some(d) = grads.of(leaf) else { continue };
        add_to(&mut square, squared(d)?)?;
        if weight != 0.0 {
            add_to(sum, run(&Map::Scale(weight), &[d])?.swap_remove(0))?;
        }
    }
    Ok(square)
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
        Some(sum) => run(&Map::Add, &[&sum, &x])?.swap_remove(0),
    });
    Ok(())
}

fn root(square: &Option<Tensor>) -> Result<f32> {
    square.as_ref().map_or(Ok(0.0), |s| Ok(s.item()?.sqrt()))
}
