//! One training step: the only place where state changes.

use super::dispersion::{Dispersion, Sums};
use super::encoder::{Embedding, Encoder};
use super::method::{Now, Term};
use super::named::Named;
use super::passes::{Batch, Passes, QueryPass};
use super::ranks;
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
    /// The other ranks, each with images of its own.
    pub exchange: Rc<dyn Exchange>,
    /// Those over which a group of batch norm reaches.
    pub norm: Rc<dyn Exchange>,
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
        let exchange = &*self.exchange;
        let (keys, key_observations) = self.method.keys(batch, self.passes, exchange, &self.norm)?.unzip();

        // 3. The query pass.
        let tape = if self.half { Tape::half } else { Tape::new };
        let tapes = (0..self.passes.tapes(&batch.query)).map(|_| tape(&device).across(self.norm.clone()));
        let tapes: Vec<Tape> = tapes.collect();
        let pass = QueryPass::run(&*self, &batch.query, &tapes, self.passes)?;
        let outputs = pass.outputs.clone();

        // 4. The loss, on a tape of its own from the outputs on: the mean over this rank's images or, where images are compared, that
        // of all ranks. ORDER: the queue is still the old one.
        let (images, ranks) = (batch.ids.len(), exchange.ranks());
        let compared = self.method.across();
        let is_of_all = ranks > 1 && !compared.is_empty();
        let (seen, images_seen, keys_seen) = match is_of_all {
            true => (ranks::of_all(&outputs.only(compared), images, exchange)?, images * ranks, keys.clone()),
            false => {
                let own = |keys: &Named<Tensor>| keys.try_map(|x| ranks::own(x, images, exchange));
                (outputs.clone(), images, keys.as_ref().map(own).transpose()?)
            }
        };
        let head = Tape::new(&device);
        let leaves = seen.try_map(|y| Ok(head.leaf(y.clone())))?;
        let loss = self.method.loss(leaves.clone(), images_seen, keys_seen.as_ref(), now)?;
        // PRECISION: a rank's share of the mean is the start of its gradient, since a third has no f32.
        let share = if is_of_all { 1.0 } else { 1.0 / ranks as f64 };
        let mut dy: Named<Option<Tensor>> = seen.try_map(|_| Ok(None))?;
        let mut squares = Vec::new();
        for term in &loss.terms {
            let share = Tensor::from_f64(&device, [], &[share])?;
            let grads = head.gradients(&[(&term.value, share)])?;
            squares.push(add_weighted(&mut dy, &grads, &leaves, term.weight)?);
        }
        if is_of_all {
            let own = |d: &Option<Tensor>| d.as_ref().map(|d| ranks::own(d, images, exchange)).transpose();
            let of_seen = dy.try_map(own)?;
            dy = outputs.try_map(|_| Ok(None))?;
            for (name, d) in dy.iter_mut() {
                *d = of_seen.get(name).ok().cloned().flatten();
            }
        }

        // 5. Backward through the encoder; gradients of all ranks are added.
        let (mut grads, observations) = pass.backward(&dy)?;
        let groups = groups(&self.trained(), &self.method.rates(now), now.lr);
        let params: Vec<Param> = groups.iter().flat_map(|group| group.params.clone()).collect();
        let packed = grads.as_mut().map(|grads| grads.sum(&params, exchange)).transpose()?;
        let gradient_square = packed.as_deref().map(squared_norm).transpose()?.flatten();

        // 6. The loss, the gradient's norm and the rest of the log, in the step's one read-back; the same numbers on all ranks.
        // ORDER: before anything moves that a bad number would spoil.
        let sums = Sums::of(outputs.get("z")?)?;
        let mean = Over::Sum(1.0 / ranks as f64);
        // The gradients of all ranks' rows, or those of all rows on each rank.
        let square = if is_of_all { mean } else { Over::Sum(1.0) };
        let mut wanted: Vec<_> =
            loss.terms.iter().map(|term| (mean, Some(term.value.value().clone()))).collect();
        wanted.extend(squares.into_iter().map(|x| (square, x)).chain([(Over::Alike, gradient_square)]));
        wanted.extend(sums.values.iter().map(|x| (mean, Some(x.clone()))));
        wanted.extend(loss.watch.iter().map(|(_, x)| (mean, Some(x.clone()))));
        wanted.push((if is_of_all { Over::Alike } else { Over::All }, loss.positives));
        let mut read = read_back(&wanted, exchange)?.into_iter();
        let mut next = || read.next().unwrap_or_default();
        let values: Vec<f64> = loss.terms.iter().map(|_| next()[0]).collect();
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
            Observation::apply(&ranks::seen_by_all(seen, self.norm.ranks(), exchange)?)?;
        }

        // 8. The optimiser moves the query parameters.
        if let Some(grads) = &grads {
            self.optimizer.step_groups(&groups, grads)?;
        }

        // 9. The keys enter the queue. ORDER: the images that were taken for positives are those of its slots before.
        if let Some(queue) = &self.method.queue {
            report.neighbours = positives.iter().map(|&slot| queue.ids[slot as usize]).collect();
        }
        if self.method.queue.is_some() {
            let ids = exchange.tell(bytemuck::cast_slice(&batch.ids))?;
            let ids: Vec<u64> =
                ids.iter().flat_map(|ids| bytemuck::pod_collect_to_vec::<u8, u64>(ids)).collect();
            self.method.after(keys.as_ref().unwrap_or(&seen), &ids)?;
        }
        Ok(report)
    }
}

/// What a number of a step is, from those of all ranks.
#[derive(Clone, Copy)]
enum Over {
    /// Their sum, times a factor.
    Sum(f64),
    /// The same on each.
    Alike,
    /// All of them, in rank order.
    All,
}

/// The elements of those tensors that there are, in one read-back and one message; none of the others.
fn read_back(wanted: &[(Over, Option<Tensor>)], exchange: &dyn Exchange) -> Result<Vec<Vec<f64>>> {
    let tensors: Vec<&Tensor> = wanted.iter().filter_map(|(_, tensor)| tensor.as_ref()).collect();
    let own = Tensor::read(&tensors)?;
    let all = exchange.tell(bytemuck::cast_slice(&own.concat()))?;
    let all: Vec<Vec<f64>> = all.iter().map(|of| bytemuck::pod_collect_to_vec(of)).collect();
    let (mut own, mut start) = (own.into_iter(), 0);
    let over_ranks = |(over, tensor): &(Over, Option<Tensor>)| {
        let Some(own) = tensor.as_ref().and_then(|_| own.next()) else { return Vec::new() };
        let elements = start..start + own.len();
        start = elements.end;
        match over {
            Over::Sum(factor) => elements.map(|i| factor * all.iter().map(|of| of[i]).sum::<f64>()).collect(),
            Over::Alike => own,
            Over::All => all.iter().flat_map(|of| &of[elements.clone()]).copied().collect(),
        }
    };
    Ok(wanted.iter().map(over_ranks).collect())
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
