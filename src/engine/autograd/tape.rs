//! The tape, a list of the ops of one forward pass, and variables: a value and its place on it.

use super::{Grads, Observation, Param};
use crate::engine::device::Device;
use crate::engine::exchange::Exchange;
use crate::engine::ops::{Keep, Kept, Op, Packed, Saved, added};
use crate::engine::tensor::{Shape, Tensor};
use crate::error::{Error, Result};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// One entry: a leaf, or an op with what its backward needs.
#[derive(Debug)]
enum Node {
    Leaf,
    Op { op: Box<dyn Op>, inputs: Vec<Option<usize>>, saved: Saved },
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
        Var { tape: self, id, value }
    }

    /// A variable that no gradient flows to.
    pub fn constant(&self, value: Tensor) -> Var<'_> {
        Var { tape: self, id: None, value }
    }

    /// A parameter as a leaf: the same leaf each time, so that its uses add up.
    pub fn param(&self, param: &Param) -> Var<'_> {
        if !self.records {
            return self.constant(param.get());
        }
        let id = *self.params.borrow_mut().entry(param.id()).or_insert_with(|| self.push(Node::Leaf));
        Var { tape: self, id: Some(id), value: param.get() }
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
        let outputs = op.outputs(&inputs.iter().map(|v| v.value()).collect::<Vec<_>>())?;
        self.record(op, inputs, outputs)
    }

    /// Notes an op whose outputs are there already, from a kernel that makes those of several ops at once.
    ///
    /// # Errors
    /// The device's.
    pub fn record<'t>(
        &'t self,
        op: impl Op + 'static,
        inputs: &[&Var<'t>],
        mut outputs: Vec<Tensor>,
    ) -> Result<(Var<'t>, Vec<Tensor>)> {
        let ids: Vec<Option<usize>> = inputs.iter().map(|v| v.id).collect();
        let mut id = None;
        if self.records && ids.iter().any(Option::is_some) {
            let values: Vec<&Tensor> = inputs.iter().map(|v| v.value()).collect();
            let mut saved = op.saved(&values, &outputs);
            let next = self.nodes.borrow().len();
            let nodes = ids.iter().copied().chain([Some(next)]);
            self.halve(&mut saved.kept, values.into_iter().chain(&outputs[..1]).zip(nodes))?;
            id = Some(self.push(Node::Op { op: Box::new(op), inputs: ids, saved }));
        }
        let extras = outputs.split_off(1);
        let value = outputs.pop().expect("an op has a value");
        Ok((Var { tape: self, id, value }, extras))
    }

    /// Packs the activations among what an op keeps, if the tape has half storage. `values` are those that the op has
    /// read and made, with their nodes.
    fn halve<'a>(
        &self,
        kept: &mut [Kept],
        values: impl Iterator<Item = (&'a Tensor, Option<usize>)> + Clone,
    ) -> Result<()> {
        let Some(halves) = &self.halves else { return Ok(()) };
        for kept in kept {
            let (x, coefficients) = match kept {
                Kept::Whole(Keep::Activation(x)) => (&*x, None),
                Kept::Whole(Keep::BeforeRelu(x, coefficients)) => (&*x, Some(&*coefficients)),
                _ => continue,
            };
            let node = match values.clone().find(|(value, _)| value.shares(x)) {
                _ if x.elements() < LEAST_PACKED => continue,
                // Whoever gave a constant keeps it anyway.
                Some((_, None)) => continue,
                Some((_, node)) => node,
                None => None,
            };
            let mut halves = halves.borrow_mut();
            let packed = match node.and_then(|node| halves.get(&node)) {
                Some(packed) => packed.clone(),
                None => Packed::before_relu(x, coefficients)?,
            };
            halves.extend(node.map(|node| (node, packed.clone())));
            *kept = Kept::Half(packed);
        }
        Ok(())
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
        Ok(Grads { by_node: grads, params: self.params.take() })
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
        Ok(Grads { by_node: grads, params: self.params.borrow().clone() })
    }
}

/// A value on a tape.
#[derive(Clone, Debug)]
pub struct Var<'t> {
    tape: &'t Tape,
    id: Option<usize>,
    value: Tensor,
}

impl<'t> Var<'t> {
    /// The tape.
    pub fn tape(&self) -> &'t Tape {
        self.tape
    }

    /// The value.
    pub fn value(&self) -> &Tensor {
        &self.value
    }

    /// The value's shape.
    pub fn shape(&self) -> &Shape {
        self.value.shape()
    }

    /// The same value with no gradient flowing back through it.
    pub fn detach(&self) -> Var<'t> {
        self.tape.constant(self.value.clone())
    }

    /// Gradients of this scalar with respect to every leaf; empties the tape.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if this is not a scalar; the ops' errors.
    pub fn backward(&self) -> Result<Grads> {
        let one = Tensor::new(self.tape.device(), [], &[1.0])?;
        self.tape.backward(&[(self, one)])
    }

    /// Gradients of `sum(dy * self)`; empties the tape.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if `dy` has another shape; the ops' errors.
    pub fn backward_with(&self, dy: Tensor) -> Result<Grads> {
        self.tape.backward(&[(self, dy)])
    }
}

impl Grads {
    /// The gradient with respect to a leaf; `None` if the result does not depend on it.
    pub fn of(&self, leaf: &Var) -> Option<&Tensor> {
        self.by_node.get(leaf.id?)?.as_ref()
    }
}

fn seed(nodes: usize, outputs: &[(&Var, Tensor)]) -> Result<Vec<Option<Tensor>>> {
    let mut grads = vec![None; nodes];
    for (y, dy) in outputs {
        if dy.shape() != y.shape() {
            let detail = format!("the gradient is {}, the variable {}", dy.shape(), y.shape());
            return Err(Error::shape("backward", detail));
        }
        if let Some(id) = y.id {
            grads[id] = Some(added(grads[id].take(), dy.clone())?);
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
            grads[*id] = Some(added(grads[*id].take(), dx)?);
        }
    }
    Ok(())
}
