//! What an optimiser remembers of each parameter, and the move of many parameters at once.

use crate::engine::autograd::Grads;
use crate::engine::nn::Param;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// Tensors of a parameter's shape, and how often it has moved, for each parameter that has.
#[derive(Debug)]
pub(super) struct Memory {
    /// What the tensors are called in a checkpoint.
    names: &'static [&'static str],
    /// Whether steps are counted and saved; else it is only known whether there was one.
    counted: bool,
    /// By the parameter's id.
    by_id: BTreeMap<u64, Remembered>,
}

#[derive(Debug)]
struct Remembered {
    name: String,
    steps: u32,
    tensors: Vec<Tensor>,
}

const STEPS: &str = "step";

impl Memory {
    /// Nothing yet, of tensors that will have these names.
    pub fn new(names: &'static [&'static str], counted: bool) -> Memory {
        Memory { names, counted, by_id: BTreeMap::new() }
    }

    /// Moves those of the parameters that have a gradient, as many at once as the device [takes](crate::engine::device::Device::bundle),
    /// packed: those together that have moved equally often. `update` makes new values and memories, in this order, from that
    /// number of steps, values, gradients and memories; there are none of these before a parameter's first step.
    pub fn move_by(
        &mut self,
        params: &[Param],
        grads: &Grads,
        update: impl Fn(u32, &Tensor, &Tensor, &[Tensor]) -> Result<Vec<Tensor>>,
    ) -> Result<()> {
        let mut by_steps = BTreeMap::<u32, Vec<(&Param, &Tensor)>>::new();
        for (param, g) in params.iter().filter_map(|p| Some((p, grads.of_param(p)?))) {
            let steps = self.by_id.get(&param.id()).map_or(0, |remembered| remembered.steps);
            by_steps.entry(steps).or_default().push((param, g));
        }
        let bundle = params.first().map_or(1, |p| p.get().device().bundle());
        for (steps, all) in by_steps {
            for some in all.chunks(bundle) {
                let (params, grads): (Vec<&Param>, Vec<&Tensor>) = some.iter().copied().unzip();
                let values: Vec<Tensor> = params.iter().map(|p| p.get()).collect();
                let p = Tensor::pack(&values.iter().collect::<Vec<_>>())?;
                let moved = update(steps, &p, &Tensor::pack(&grads)?, &self.packed(&params)?)?;
                let shapes: Vec<_> = values.iter().map(|value| value.shape().clone()).collect();
                let parts = moved[..=self.names.len()].iter().map(|x| x.unpack(&shapes));
                let parts = parts.collect::<Result<Vec<_>>>()?;
                let steps = if self.counted { steps + 1 } else { 1 };
                for (i, param) in params.into_iter().enumerate() {
                    let mut next = parts.iter().map(|part| part[i].clone());
                    param.set(next.next().expect("a value"))?;
                    let (name, tensors) = (param.name().to_string(), next.collect());
                    self.by_id.insert(param.id(), Remembered { name, steps, tensors });
                }
            }
        }
        Ok(())
    }

    /// The memories of some parameters that have all moved or all not, packed one kind after another.
    fn packed(&self, params: &[&Param]) -> Result<Vec<Tensor>> {
        let all: Option<Vec<&Remembered>> = params.iter().map(|p| self.by_id.get(&p.id())).collect();
        let Some(all) = all else { return Ok(Vec::new()) };
        let pack = |kind| Tensor::pack(&all.iter().map(|r| &r.tensors[kind]).collect::<Vec<_>>());
        (0..self.names.len()).map(pack).collect()
    }

    /// Everything, as `parameter.name`.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let mut all = Vec::new();
        for Remembered { name, steps, tensors } in self.by_id.values() {
            all.extend(self.names.iter().zip(tensors).map(|(kind, x)| (format!("{name}.{kind}"), x.clone())));
            if self.counted {
                let steps = Tensor::full(tensors[0].device(), [], *steps as f32)?;
                all.push((format!("{name}.{STEPS}"), steps));
            }
        }
        Ok(all)
    }

    /// Takes up what [`Memory::state`] gave; what there was is dropped.
    pub fn load(&mut self, params: &[Param], state: &[(String, Tensor)]) -> Result<()> {
        const ADVICE: &str = "resume with the configuration that the checkpoint was made with";
        // Each is to be claimed by the parameter that it belongs to.
        let mut left: BTreeMap<&str, &Tensor> = state.iter().map(|(name, x)| (name.as_str(), x)).collect();
        self.by_id.clear();
        for param in params {
            let shape = param.shape();
            let mut claim = |quantity: &str| {
                let name = format!("{}.{quantity}", param.name());
                match left.remove(name.as_str()) {
                    Some(x) if quantity != STEPS && *x.shape() != shape => {
                        let what = format!("optimiser state is {}, the parameter {shape}", x.shape());
                        Err(Error::input(what, name, ADVICE))
                    }
                    x => x.map(|x| x.to_device(param.get().device())).transpose(),
                }
            };
            let tensors = self.names.iter().map(|kind| claim(kind)).collect::<Result<Vec<_>>>()?;
            let tensors: Option<Vec<Tensor>> = tensors.into_iter().collect();
            let steps = match self.counted {
                true => claim(STEPS)?.map(|steps| steps.item()).transpose()?.map(|n| n as u32),
                false => Some(1),
            };
            if let (Some(tensors), Some(steps)) = (tensors, steps) {
                let remembered = Remembered { name: param.name().to_string(), steps, tensors };
                self.by_id.insert(param.id(), remembered);
            }
        }
        match left.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(Error::input("optimiser state belongs to no parameter", name, ADVICE)),
        }
    }
}
