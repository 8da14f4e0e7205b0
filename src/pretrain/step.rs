//! One training step: the only place where state changes.

use super::dispersion::{Dispersion, Sums};
use super::encoder::{Embedding, Encoder};
use super::method::{Now, Term};
use super::named::Named;
use super::passes::{Batch, Passes, QueryPass};
use super::training::Training;
use crate::engine::autograd::{Grads, Observation, Tape, Var};
use crate::engine::exchange::Exchange;
use crate::engine::nn::{Backbone, Mode, Module, Param, ResNet};
use crate::engine::ops::{Map, run};
use crate::engine::optim::{Optimizer, add_to, groups, squared, squared_norm};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use std::rc::Rc;

/// Everything that training changes.
#[derive(Debug)]
pub struct Learner<N = ResNet> {
    /// The backbone: the part that is kept after pretraining.
    pub net: N,
    /// The method: heads, momentum copy, queue, loss.
    pub method: Training,
    /// The optimiser and its buffers.
    pub optimizer: Optimizer,
    /// Groups of batch norm, and the rows that pass through the encoder at a time.
    pub passes: Passes,
    /// Whether the query encoder's activations wait for their backward as f16. See [`Tape::half`].
    pub half: bool,
    /// The other ranks, each with images of its own: the loss is the mean of theirs.
    pub exchange: Rc<dyn Exchange>,
}

impl<N: Backbone> Encoder for Learner<N> {
    fn embed<'t>(&self, images: &Var<'t>, mode: Mode) -> Result<Embedding<'t>> {
        self.method.embed(&self.net, images, mode)
    }
}

impl<N: Backbone> Module for Learner<N> {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.net.visit(f);
        self.method.visit(f);
    }
}

/// What a step has to say for the log.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// The whole loss.
    pub loss: f64,
    /// Each term of it.
    pub terms: Vec<TermReport>,
    /// 2-norm of the gradient with respect to all parameters.
    pub gradient_norm: f32,
    /// How far the query views' projections are spread.
    pub spread: Dispersion,
    /// Images of the queue that were taken for positives of each query, k in a row; `None` for a random start.
    pub neighbours: Vec<Option<u64>>,
    /// More values for the log, by name.
    pub watch: Vec<(&'static str, f32)>,
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

impl<N: Backbone> Learner<N> {
    /// One step, in the order that MLS needs and that holds for every method here: the order is part of the method.
    ///
    /// # Errors
    /// [`Error::Shape`] if the batch does not fit the method; the device's errors.
    pub fn step(&mut self, batch: &Batch, now: &Now) -> Result<StepReport> {
        let Some(device) = batch.query.first().map(|views| views.device().clone()) else {
            return Err(Error::shape("step", "the batch has no views"));
        };

        // 1. Prototypes back to unit length; key parameters move towards the query's. ORDER: before any pass.
        let before: Vec<(Param, Tensor)> =
            self.method.kept().into_iter().map(|param| (param.clone(), param.get())).collect();
        self.method.before(&self.net, now)?;

        // 2. Keys of the key views: training-mode batch norm in shuffled groups, no gradient.
        let (keys, key_observations) = self.method.keys(batch, self.passes)?.unzip();

        // 3. The query pass.
        let tapes: Vec<Tape> = match self.half {
            true => batch.query.iter().map(|_| Tape::half(&device)).collect(),
            false => batch.query.iter().map(|_| Tape::new(&device)).collect(),
        };
        let pass = QueryPass::run(&*self, &batch.query, &tapes, self.passes)?;
        let outputs = pass.outputs.clone();

        // 4. The loss, on a tape of its own from the outputs on. ORDER: the queue is still the old one.
        let head = Tape::new(&device);
        let leaves = outputs.try_map(|y| Ok(head.leaf(y.clone())))?;
        let loss = self.method.loss(leaves.clone(), batch.ids.len(), keys.as_ref(), now)?;
        let ranks = self.exchange.ranks();
        let mut dy: Named<Option<Tensor>> = outputs.try_map(|_| Ok(None))?;
        let mut squares = Vec::new();
        for term in &loss.terms {
            let one = Tensor::full(&device, [], 1.0)?;
            let grads = head.gradients(&[(&term.value, one)])?;
            squares.push(add_weighted(&mut dy, &grads, &leaves, term.weight / ranks as f32)?);
        }

        // 5. Backward through the encoder; gradients of all ranks are added.
        let (mut grads, observations) = pass.backward(&dy)?;
        let groups = groups(&self.trained(), &self.method.rates(now), now.lr);
        let params: Vec<Param> = groups.iter().flat_map(|group| group.params.clone()).collect();
        let packed = grads.as_mut().map(|grads| grads.sum(&params, &*self.exchange)).transpose()?;
        let gradient_square = packed.as_deref().map(squared_norm).transpose()?.flatten();

        // 6. The loss, the gradient's norm and the rest of the log, in the step's one read-back. ORDER: before anything moves
        // that a bad number would spoil.
        let sums = Sums::of(outputs.get("z")?)?;
        let values = loss.terms.iter().map(|term| self.exchange.sum(term.value.value()));
        let mut wanted = values.map(|value| Ok(Some(value?))).collect::<Result<Vec<_>>>()?;
        wanted.extend(squares.into_iter().chain([gradient_square]));
        wanted.extend(sums.values.iter().chain(loss.watch.iter().map(|(_, x)| x)).cloned().map(Some));
        wanted.push(loss.positives);
        let mut read = read_back(&wanted)?.into_iter();
        let mut next = || read.next().unwrap_or_default();
        let values: Vec<f64> = loss.terms.iter().map(|_| next()[0] / ranks as f64).collect();
        let norms: Vec<f32> = loss.terms.iter().map(|_| root(&next())).collect();
        let mut report = StepReport {
            loss: 0.0,
            terms: Vec::new(),
            gradient_norm: root(&next()),
            spread: Dispersion::new(&sums, [next()[0], next()[0], next()[0]]),
            neighbours: Vec::new(),
            watch: loss.watch.iter().map(|&(name, _)| (name, next()[0] as f32)).collect(),
            moved: false,
        };
        let positives = next();
        for ((term, value), gradient_norm) in loss.terms.iter().zip(values).zip(norms) {
            // A term that is only logged may be infinite without spoiling the total.
            report.loss += if term.weight == 0.0 { 0.0 } else { f64::from(term.weight) * value };
            let Term { name, collapsed, helps, .. } = *term;
            let value = value as f32;
            report.terms.push(TermReport { name, value, gradient_norm, collapsed, helps });
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
            self.optimizer.step_groups(&groups, grads)?;
        }

        // 9. The keys enter the queue. ORDER: the images that were taken for positives are those of its slots before.
        if let Some(queue) = &self.method.queue {
            report.neighbours = positives.iter().map(|&slot| queue.ids[slot as usize]).collect();
        }
        self.method.after(keys.as_ref().unwrap_or(&outputs), &batch.ids)?;
        Ok(report)
    }
}

/// The elements of those tensors that there are, in one read-back; none of the others.
fn read_back(tensors: &[Option<Tensor>]) -> Result<Vec<Vec<f64>>> {
    let mut read = Tensor::read(&tensors.iter().flatten().collect::<Vec<_>>())?.into_iter();
    Ok(tensors.iter().map(|tensor| tensor.as_ref().and_then(|_| read.next()).unwrap_or_default()).collect())
}

/// Adds `weight` times the gradients of one term; returns the square of their unweighted 2-norm.
fn add_weighted(
    dy: &mut Named<Option<Tensor>>,
    grads: &Grads,
    leaves: &Embedding,
    weight: f32,
) -> Result<Option<Tensor>> {
    let mut square = None;
    for ((_, sum), (_, leaf)) in dy.iter_mut().zip(leaves.iter()) {
        let Some(d) = grads.of(leaf) else { continue };
        add_to(&mut square, squared(d)?)?;
        if weight != 0.0 {
            add_to(sum, run(&Map::Scale(weight), &[d])?.swap_remove(0))?;
        }
    }
    Ok(square)
}

/// The root of a sum of squares; 0 where there is none.
fn root(square: &[f64]) -> f32 {
    square.first().map_or(0.0, |&square| (square as f32).sqrt())
}
