//! Momentum buffers: what SGD and LARS remember of each parameter.

use super::Unclaimed;
use crate::error::Result;
use crate::nn::Param;
use crate::tensor::Tensor;
use std::collections::BTreeMap;

/// One momentum buffer for each parameter that has moved.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// Name and buffer by the parameter's id.
    by_id: BTreeMap<u64, (String, Tensor)>,
}

const BUFFER: &str = "momentum_buffer";

impl Buffers {
    /// Moves a parameter by `update`, which makes its new value and buffer from its value and buffer; the buffer is
    /// `None` at its first step.
    pub fn move_by(
        &mut self,
        param: &Param,
        update: impl FnOnce(&Tensor, Option<&Tensor>) -> Result<Vec<Tensor>>,
    ) -> Result<()> {
        let old = self.by_id.get(&param.id()).map(|(_, buffer)| buffer);
        let mut outputs = update(&param.get(), old)?.into_iter();
        let [p, buffer] = [(); 2].map(|()| outputs.next().expect("a value and a buffer"));
        param.set(p)?;
        self.by_id.insert(param.id(), (param.name().to_string(), buffer));
        Ok(())
    }

    /// The buffers as `parameter.momentum_buffer`.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        self.by_id.values().map(|(name, buffer)| (format!("{name}.{BUFFER}"), buffer.clone())).collect()
    }

    /// Takes up what [`Buffers::state`] gave; what there was is dropped.
    pub fn load(&mut self, params: &[Param], state: &[(String, Tensor)]) -> Result<()> {
        let mut entries = Unclaimed::new(state);
        self.by_id.clear();
        for param in params {
            if let Some(buffer) = entries.claim_like(param, BUFFER)? {
                self.by_id.insert(param.id(), (param.name().to_string(), buffer));
            }
        }
        entries.finish()
    }
}
