//! Gradients: what `backward` returns.

use super::Var;
use crate::nn::Param;
use crate::tensor::Tensor;
use std::collections::HashMap;

/// Gradients with respect to the leaves of one tape.
#[derive(Debug)]
pub struct Grads {
    by_node: Vec<Option<Tensor>>,
    params: HashMap<u64, usize>,
}

impl Grads {
    pub(super) fn new(by_node: Vec<Option<Tensor>>, params: HashMap<u64, usize>) -> Grads {
        Grads { by_node, params }
    }

    /// The gradient with respect to a leaf; `None` if the result does not depend on it.
    pub fn of(&self, leaf: &Var) -> Option<&Tensor> {
        self.by_node.get(leaf.id()?)?.as_ref()
    }

    /// The gradient with respect to a parameter; `None` if the result does not depend on it.
    pub fn of_param(&self, param: &Param) -> Option<&Tensor> {
        self.by_node.get(*self.params.get(&param.id())?)?.as_ref()
    }
}
