//! Gradients: what `backward` returns.

use super::Param;
use crate::engine::exchange::Exchange;
use crate::engine::ops::added;
use crate::engine::tensor::Tensor;
use crate::error::Result;
use std::collections::BTreeMap;

/// Gradients with respect to the leaves of one tape.
#[derive(Debug)]
pub struct Grads {
    pub(super) by_node: Vec<Option<Tensor>>,
    /// Nodes by parameter, in an order that is the same in each step: so its buffers are.
    pub(super) params: BTreeMap<u64, usize>,
}

impl Grads {
    /// The gradient with respect to a parameter; `None` if the result does not depend on it.
    pub fn of_param(&self, param: &Param) -> Option<&Tensor> {
        self.by_node.get(*self.params.get(&param.id())?)?.as_ref()
    }

    /// Gives those of some parameters that the result does not depend on a gradient of zeros: an optimiser then moves them by decay and
    /// momentum, as it moves the others, where it would have left them alone.
    ///
    /// # Errors
    /// The device's.
    pub fn fill(&mut self, params: &[Param]) -> Result<()> {
        for param in params.iter().filter(|param| self.of_param(param).is_none()).collect::<Vec<_>>() {
            let value = param.get();
            self.params.insert(param.id(), self.by_node.len());
            self.by_node.push(Some(Tensor::full(value.device(), value.shape().clone(), 0.0)?));
        }
        Ok(())
    }

    /// Adds the gradients with respect to some parameters over the ranks of an exchange: those of a loss that is a sum over the
    /// batches of all ranks. Each rank must have gradients with respect to the same parameters. Gives them packed (see
    /// [`Tensor::pack`]), as many in one tensor as the device [takes](crate::engine::device::Device::bundle).
    ///
    /// # Errors
    /// The exchange's and the device's.
    pub fn sum(&mut self, params: &[Param], exchange: &dyn Exchange) -> Result<Vec<Tensor>> {
        let node = |p: &Param| self.params.get(&p.id()).copied().filter(|&at| self.by_node[at].is_some());
        let nodes: Vec<usize> = params.iter().filter_map(node).collect();
        let bundle = params.first().map_or(1, |p| p.get().device().bundle());
        let mut all = Vec::new();
        for nodes in nodes.chunks(bundle) {
            let grads: Vec<Tensor> = nodes.iter().filter_map(|&at| self.by_node[at].take()).collect();
            let flat = exchange.sum(&Tensor::pack(&grads.iter().collect::<Vec<_>>())?)?;
            let shapes: Vec<_> = grads.iter().map(|d| d.shape().clone()).collect();
            for (&at, d) in nodes.iter().zip(flat.unpack(&shapes)?) {
                self.by_node[at] = Some(d);
            }
            all.push(flat);
        }
        Ok(all)
    }

    /// Adds the gradients of another tape with respect to parameters: those of a sum of two losses. Gradients with
    /// respect to other leaves of that tape are dropped.
    ///
    /// # Errors
    /// The device's.
    pub fn add(&mut self, other: Grads) -> Result<()> {
        let Grads { mut by_node, params } = other;
        for (param, node) in params {
            let Some(more) = by_node[node].take() else { continue };
            match self.params.get(&param) {
                Some(&at) => self.by_node[at] = Some(added(self.by_node[at].take(), more)?),
                None => {
                    self.params.insert(param, self.by_node.len());
                    self.by_node.push(Some(more));
                }
            }
        }
        Ok(())
    }
}
