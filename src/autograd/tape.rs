//! The tape: a list of the ops of one forward pass.

use super::{Grads, Var};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::nn::Param;
use crate::ops::{Elementwise, Op, Saved, run};
use crate::tensor::Tensor;
use std::cell::RefCell;
use std::collections::HashMap;

/// One entry: a leaf, or an op with what its backward needs.
#[derive(Debug)]
pub(super) enum Node {
    Leaf,
    Op { op: Box<dyn Op>, inputs: Vec<Option<usize>>, saved: Saved },
}

/// Batch statistics that a batch norm has seen; the training step moves the running ones by them.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The running mean to move.
    pub running_mean: Param,
    /// The running variance to move.
    pub running_var: Param,
    /// Mean over groups of the batch means, `[C]`.
    pub mean: Tensor,
    /// Mean over groups of the *unbiased* batch variances, `[C]`.
    pub var: Tensor,
    /// Weight of the batch: `running = (1 - momentum) running + momentum batch`.
    pub momentum: f32,
}

/// A list of the ops of one forward pass.
#[derive(Debug)]
pub struct Tape {
    device: Device,
    records: bool,
    nodes: RefCell<Vec<Node>>,
    params: RefCell<HashMap<u64, usize>>,
    observations: RefCell<Vec<Observation>>,
}

impl Tape {
    /// A tape that records, for a pass that is differentiated.
    pub fn new(device: &Device) -> Tape {
        Tape {
            device: device.clone(),
            records: true,
            nodes: RefCell::default(),
            params: RefCell::default(),
            observations: RefCell::default(),
        }
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
        let values: Vec<&Tensor> = inputs.iter().map(|v| v.value()).collect();
        let (mut outputs, saved) = op.forward(&values)?;
        let extras = outputs.split_off(1);
        let ids: Vec<Option<usize>> = inputs.iter().map(|v| v.id()).collect();
        let id = (self.records && ids.iter().any(Option::is_some))
            .then(|| self.push(Node::Op { op: Box::new(op), inputs: ids, saved }));
        let value = outputs.pop().expect("an op has a value");
        Ok((Var::new(self, id, value), extras))
    }

    fn push(&self, node: Node) -> usize {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(node);
        nodes.len() - 1
    }

    /// Gradients of `sum(dy * y)` with respect to every leaf. Empties the tape: what each op saved is freed as
    /// soon as its backward has run.
    pub(super) fn backward(&self, y: &Var, dy: Tensor) -> Result<Grads> {
        if dy.shape() != y.value().shape() {
            let detail = format!("the gradient is {}, the variable {}", dy.shape(), y.value().shape());
            return Err(Error::shape("backward", detail));
        }
        let mut nodes = self.nodes.take();
        let params = self.params.take();
        let mut grads: Vec<Option<Tensor>> = nodes.iter().map(|_| None).collect();
        if let Some(id) = y.id() {
            grads[id] = Some(dy);
        }
        while let Some(node) = nodes.pop() {
            let Node::Op { op, inputs, saved } = node else { continue };
            let Some(dy) = grads[nodes.len()].take() else { continue };
            let wants: Vec<bool> = inputs.iter().map(Option::is_some).collect();
            let dx = op.backward(&saved, &dy, &wants)?;
            for (input, dx) in inputs.into_iter().zip(dx) {
                if let (Some(id), Some(dx)) = (input, dx) {
                    grads[id] = Some(match grads[id].take() {
                        None => dx,
                        Some(sum) => run(&Elementwise::Add, &[&sum, &dx])?.swap_remove(0),
                    });
                }
            }
        }
        Ok(Grads::new(grads, params))
    }
}
