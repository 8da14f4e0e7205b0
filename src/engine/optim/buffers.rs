//! Momentum buffers: what SGD and LARS remember of each parameter.

use super::Unclaimed;
use crate::engine::autograd::Grads;
use crate::engine::nn::Param;
use crate::engine::tensor::Tensor;
use crate::error::Result;
use std::collections::BTreeMap;

/// One momentum buffer for each parameter that has moved.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// Name and buffer by the parameter's id.
    by_id: BTreeMap<u64, (String, Tensor)>,
}

const BUFFER: &str = "momentum_buffer";

impl Buffers {
    /// Moves those of the parameters that have a gradient, as many at once as the device [takes](crate::engine::device::Device::bundle),
    /// packed. `update` makes new values and buffers from values, gradients and buffers; there are no buffers at a parameter's
    /// first step.
    pub fn move_by(
        &mut self,
        params: &[Param],
        grads: &Grads,
        update: impl Fn(&Tensor, &Tensor, Option<&Tensor>) -> Result<Vec<Tensor>>,
    ) -> Result<()> {
        let moved = params.iter().filter_map(|p| Some((p, grads.of_param(p)?)));
        let (old, new): (Vec<_>, Vec<_>) = moved.partition(|(p, _)| self.by_id.contains_key(&p.id()));
        let bundle = params.first().map_or(1, |p| p.get().device().bundle());
        for group in old.chunks(bundle).chain(new.chunks(bundle)) {
            let (params, grads): (Vec<&Param>, Vec<&Tensor>) = group.iter().copied().unzip();
            let values: Vec<Tensor> = params.iter().map(|p| p.get()).collect();
            let buffers: Vec<&Tensor> =
                params.iter().filter_map(|p| self.by_id.get(&p.id()).map(|(_, buffer)| buffer)).collect();
            let buffer = if buffers.is_empty() { None } else { Some(Tensor::pack(&buffers)?) };
            let p = Tensor::pack(&values.iter().collect::<Vec<_>>())?;
            let outputs = update(&p, &Tensor::pack(&grads)?, buffer.as_ref())?;
            let [p, buffer, ..] = &outputs[..] else { unreachable!("a value and a buffer") };
            let shapes: Vec<_> = values.iter().map(|value| value.shape().clone()).collect();
            let moved = p.unpack(&shapes)?.into_iter().zip(buffer.unpack(&shapes)?);
            for (param, (p, buffer)) in params.into_iter().zip(moved) {
                param.set(p)?;
                self.by_id.insert(param.id(), (param.name().to_string(), buffer));
            }
        }
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
