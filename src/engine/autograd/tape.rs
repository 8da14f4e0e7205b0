//! The tape: a list of the ops of one forward pass.

use super::{Grads, Param, RunningStatistics, Var};
use crate::engine::device::Device;
use crate::engine::exchange::Exchange;
use crate::engine::ops::{Map, Op, Packed, Saved, Update, run};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

/// One entry: a leaf, or an op with what its backward needs.
#[derive(Debug)]
pub(super) enum Node {
    Leaf,
    Op { op: Box<dyn Op>, inputs: Vec<Option<usize>>, saved: Saved },
}

/// Batch statistics that a batch norm has seen; the training step moves the running ones by them.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The running statistics to move.
    pub running: RunningStatistics,
    /// Means and biased variances of each group, `[2, groups, C]`.
    pub statistics: Tensor,
    /// Values per group and channel, of all ranks.
    pub count: usize,
    /// Weight of the batch: `running = (1 - momentum) running + momentum batch`.
    pub momentum: f32,
}

impl Observation {
    /// Moves the running statistics of many batch norms: the mean towards the mean over groups, the variance towards
    /// the mean over groups of the unbiased variance (times `count / (count - 1)`). A batch norm that was seen several
    /// times moves once for each, in order.
    ///
    /// # Errors
    /// The device's.
    pub fn apply(observations: &[Observation]) -> Result<()> {
        let mut rest = observations;
        while let Some(first) = rest.first() {
            let mut seen = HashSet::new();
            let fits = |o: &&Observation| {
                seen.insert(o.running.mean.id())
                    && o.momentum == first.momentum
                    && o.statistics.shape()[1] == first.statistics.shape()[1]
            };
            let (now, later) = rest.split_at(rest.iter().take_while(fits).count());
            rest = later;
            Observation::apply_once(now)?;
        }
        Ok(())
    }

    /// Moves the statistics of batch norms that are all different.
    fn apply_once(all: &[Observation]) -> Result<()> {
        let params: Vec<&Param> = all.iter().flat_map(|o| [&o.running.mean, &o.running.var]).collect();
        let values: Vec<Tensor> = params.iter().map(|p| p.get()).collect();
        let running = Tensor::pack(&values.iter().collect::<Vec<_>>())?;
        let op = Update::Running { momentum: all[0].momentum, counts: all.iter().map(|o| o.count).collect() };
        let statistics = all.iter().map(|o| &o.statistics);
        let moved = run(&op, &[&running].into_iter().chain(statistics).collect::<Vec<_>>())?.swap_remove(0);
        let shapes: Vec<_> = values.iter().map(|value| value.shape().clone()).collect();
        params.iter().zip(moved.unpack(&shapes)?).try_for_each(|(param, value)| param.set(value))
    }
}

/// Activations with fewer elements stay f32 on a tape with half storage.
const LEAST_PACKED: usize = 4096;

/// A list of the ops of one forward pass.
#[derive(Debug)]
pub struct Tape {
    device: Device,
    records: bool,
    nodes: RefCell<Vec<Node>>,
    params: RefCell<BTreeMap<u64, usize>>,
    /// With half storage the f16 copies of values, by node: each is packed once, however many ops save it.
    halves: Option<RefCell<HashMap<usize, Packed>>>,
    observations: RefCell<Vec<Observation>>,
    exchange: Option<Rc<dyn Exchange>>,
}

impl Tape {
    /// A tape that records, for a pass that is differentiated.
    pub fn new(device: &Device) -> Tape {
        Tape {
            device: device.clone(),
            records: true,
            nodes: RefCell::default(),
            params: RefCell::default(),
            halves: None,
            observations: RefCell::default(),
            exchange: None,
        }
    }

    /// The tape of a pass whose batch is spread over ranks: statistics of batch norm are those of all of them.
    pub fn across(self, exchange: Rc<dyn Exchange>) -> Tape {
        Tape { exchange: Some(exchange).filter(|exchange| exchange.ranks() > 1), ..self }
    }

    /// The ranks that the batch is spread over, if there is more than this one.
    pub fn exchange(&self) -> Option<&Rc<dyn Exchange>> {
        self.exchange.as_ref()
    }

    /// A tape that keeps activations of at least 4096 elements as f16 until their backward ([`crate::engine::ops::half`]); all
    /// arithmetic, and everything else that ops save, stays f32. For encoders, not for losses.
    pub fn half(device: &Device) -> Tape {
        Tape { halves: Some(RefCell::default()), ..Tape::new(device) }
    }

    /// An empty tape that is otherwise as this one.
    pub fn fresh(&self) -> Tape {
        let halves = self.halves.is_some().then(RefCell::default);
        Tape { records: self.records, halves, exchange: self.exchange.clone(), ..Tape::new(&self.device) }
    }

    /// A tape that records nothing and frees every activation at once: for the key encoder and evaluation.
    pub fn inert(device: &Device) -> Tape {
        Tape { records: false, ..Tape::new(device) }
    }

    /// The device of the pass.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// A variable that gradients are wanted for.
    pub fn leaf(&self, value: Tensor) -> Var<'_> {
        let id = self.records.then(|| self.push(Node::Leaf));
        Var::new(self, id, value)
    }

    /// A variable that no gradient flows to.
    pub fn constant(&self, value: Tensor) -> Var<'_> {
        Var::new(self, None, value)
    }

    /// A parameter as a leaf: the same leaf each time, so that its uses add up.
    pub fn param(&self, param: &Param) -> Var<'_> {
        if !self.records {
            return self.constant(param.get());
        }
        let id = *self.params.borrow_mut().entry(param.id()).or_insert_with(|| self.push(Node::Leaf));
        Var::new(self, Some(id), param.get())
    }

    /// Notes batch statistics for the training step to apply.
    pub fn observe(&self, observation: Observation) {
        self.observations.borrow_mut().push(observation);
    }

    /// Takes the batch statistics noted so far, in the order of the pass.
    pub fn take_observations(&self) -> Vec<Observation> {
        self.observations.take()
    }

    /// Runs an op: its value as a variable, and its by-products.
    ///
    /// # Errors
    /// The op's.
    pub fn apply<'t>(&'t self, op: impl Op + 'static, inputs: &[&Var<'t>]) -> Result<(Var<'t>, Vec<Tensor>)> {
        let made = op.forward(&inputs.iter().map(|v| v.value()).collect::<Vec<_>>())?;
        self.note(op, inputs, made)
    }

    /// Notes an op whose outputs are there already, from a kernel that makes those of several ops at once.
    ///
    /// # Errors
    /// The device's.
    pub fn record<'t>(
        &'t self,
        op: impl Op + 'static,
        inputs: &[&Var<'t>],
        outputs: Vec<Tensor>,
    ) -> Result<(Var<'t>, Vec<Tensor>)> {
        let values: Vec<&Tensor> = inputs.iter().map(|v| v.value()).collect();
        let saved = op.saved(&values, &outputs);
        self.note(op, inputs, (outputs, saved))
    }

    fn note<'t>(
        &'t self,
        op: impl Op + 'static,
        inputs: &[&Var<'t>],
        (mut outputs, mut saved): (Vec<Tensor>, Saved),
    ) -> Result<(Var<'t>, Vec<Tensor>)> {
        let values = inputs.iter().map(|v| v.value());
        let extras = outputs.split_off(1);
        let value = outputs.pop().expect("an op has a value");
        let ids: Vec<Option<usize>> = inputs.iter().map(|v| v.id()).collect();
        if !self.records || ids.iter().all(Option::is_none) {
            return Ok((Var::new(self, None, value), extras));
        }
        let next = self.nodes.borrow().len();
        self.halve(&mut saved, values.zip(ids.iter().copied()).chain([(&value, Some(next))]))?;
        let id = self.push(Node::Op { op: Box::new(op), inputs: ids, saved });
        Ok((Var::new(self, Some(id), value), extras))
    }

    /// Packs the activations among what an op saves, if the tape has half storage. `values` are those that the op has
    /// read and made, with their nodes.
    fn halve<'a>(
        &self,
        saved: &mut Saved,
        values: impl Iterator<Item = (&'a Tensor, Option<usize>)> + Clone,
    ) -> Result<()> {
        let Some(halves) = &self.halves else { return Ok(()) };
        saved.halve(|x, coefficients| {
            match values.clone().find(|(value, _)| value.shares(x)) {
                _ if x.elements() < LEAST_PACKED => Ok(None),
                // Whoever gave a constant keeps it anyway.
                Some((_, None)) => Ok(None),
                Some((_, Some(node))) => {
                    let mut halves = halves.borrow_mut();
                    if let Some(packed) = halves.get(&node) {
                        return Ok(Some(packed.clone()));
                    }
                    let packed = Packed::before_relu(x, coefficients)?;
                    halves.insert(node, packed.clone());
                    Ok(Some(packed))
                }
                None => Ok(Some(Packed::before_relu(x, coefficients)?)),
            }
        })
    }

    fn push(&self, node: Node) -> usize {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(node);
        nodes.len() - 1
    }

    /// Gradients of the sum over the given outputs of `sum(dy * y)` with respect to every leaf. Empties the
    /// tape: what each op saved is freed as soon as its backward has run.
    ///
    /// # Errors
    /// [`Error::Shape`] if a gradient has not its output's shape; the ops' errors.
    pub fn backward(&self, outputs: &[(&Var, Tensor)]) -> Result<Grads> {
        let mut nodes = self.nodes.take();
        // From here on only the nodes hold them.
        self.halves.iter().for_each(|halves| drop(halves.take()));
        let mut grads = seed(nodes.len(), outputs)?;
        while let Some(node) = nodes.pop() {
            pull_back(&node, nodes.len(), &mut grads)?;
        }
        Ok(Grads::new(grads, self.params.take()))
    }

    /// As [`Tape::backward`], but the tape stays as it is, so that other outputs can follow.
    ///
    /// # Errors
    /// As [`Tape::backward`].
    pub fn gradients(&self, outputs: &[(&Var, Tensor)]) -> Result<Grads> {
        let nodes = self.nodes.borrow();
        let mut grads = seed(nodes.len(), outputs)?;
        for (id, node) in nodes.iter().enumerate().rev() {
            pull_back(node, id, &mut grads)?;
        }
        Ok(Grads::new(grads, self.params.borrow().clone()))
    }
}

fn seed(nodes: usize, outputs: &[(&Var, Tensor)]) -> Result<Vec<Option<Tensor>>> {
    let mut grads = vec![None; nodes];
    for (y, dy) in outputs {
        if dy.shape() != y.shape() {
            let detail = format!("the gradient is {}, the variable {}", dy.shape(), y.shape());
            return Err(Error::shape("backward", detail));
        }
        if let Some(id) = y.id() {
            accumulate(&mut grads[id], dy.clone())?;
        }
    }
    Ok(grads)
}

/// Moves the gradient of one node on to its inputs; that of a leaf stays.
fn pull_back(node: &Node, id: usize, grads: &mut [Option<Tensor>]) -> Result<()> {
    let Node::Op { op, inputs, saved } = node else { return Ok(()) };
    let Some(dy) = grads[id].take() else { return Ok(()) };
    let wants: Vec<bool> = inputs.iter().map(Option::is_some).collect();
    // What other ops have found for the first input already: a convolution adds to it in place.
    let sum = inputs[0].and_then(|id| grads[id].take());
    for (input, dx) in inputs.iter().zip(op.backward_onto(saved, &dy, &wants, sum)?) {
        if let (Some(id), Some(dx)) = (input, dx) {
            accumulate(&mut grads[*id], dx)?;
        }
    }
    Ok(())
}

fn accumulate(sum: &mut Option<Tensor>, dx: Tensor) -> Result<()> {
    *sum = Some(match sum.take() {
        None => dx,
        Some(sum) => run(&Map::Add, &[&sum, &dx])?.swap_remove(0),
    });
    Ok(())
}
