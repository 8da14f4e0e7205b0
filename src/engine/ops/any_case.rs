//! The cases of all ops, for what iterates over them.

use super::case::{Case, Input};
use super::kernel::{Differentiable, Kernel, run};
use super::op::Op;
use crate::engine::device::Device;
use crate::engine::tensor::Tensor;
use crate::error::Result;
use rand::SeedableRng;
use rand::rngs::StdRng;

type Forward = Box<dyn Fn(&[&Tensor]) -> Result<Vec<Tensor>>>;

/// A case of any op: what the tests and `vista doctor` iterate over.
pub struct AnyCase {
    /// The op's name.
    pub op: &'static str,
    /// The case's name.
    pub name: &'static str,
    /// The op with its attributes, as Rust prints it.
    pub attributes: String,
    /// Its inputs.
    pub inputs: Vec<Input>,
    forward: Forward,
    differentiable: Option<Box<dyn Op>>,
}

impl AnyCase {
    /// The cases of an op without a gradient.
    pub fn of<K: Kernel>() -> Vec<AnyCase> {
        K::cases().into_iter().map(|case| AnyCase::new(case, None)).collect()
    }

    /// The cases of an op with a gradient.
    pub fn differentiable<K: Differentiable>() -> Vec<AnyCase> {
        let with_op = |case: Case<K>| {
            let op: Box<dyn Op> = Box::new(case.op.clone());
            AnyCase::new(case, Some(op))
        };
        K::cases().into_iter().map(with_op).collect()
    }

    fn new<K: Kernel>(case: Case<K>, differentiable: Option<Box<dyn Op>>) -> AnyCase {
        let op = case.op;
        let attributes = format!("{op:?}");
        let forward: Forward = Box::new(move |x| run(&op, x));
        AnyCase { op: K::NAME, name: case.name, attributes, inputs: case.inputs, forward, differentiable }
    }

    /// `op/case`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.op, self.name)
    }

    /// The values of the inputs, the same for the same seed.
    pub fn values(&self, seed: u64) -> Vec<Vec<f32>> {
        let mut rng = StdRng::seed_from_u64(seed);
        self.inputs.iter().map(|i| i.values(&mut rng)).collect()
    }

    /// The inputs on a device, the same values for the same seed.
    ///
    /// # Errors
    /// The device's.
    pub fn tensors(&self, device: &Device, seed: u64) -> Result<Vec<Tensor>> {
        self.on(device, &self.values(seed))
    }

    fn on(&self, device: &Device, values: &[Vec<f32>]) -> Result<Vec<Tensor>> {
        self.inputs.iter().zip(values).map(|(i, values)| Tensor::new(device, &i.shape, values)).collect()
    }

    /// All outputs.
    ///
    /// # Errors
    /// The op's.
    pub fn forward(&self, x: &[&Tensor]) -> Result<Vec<Tensor>> {
        (self.forward)(x)
    }

    /// The op, if it has a gradient.
    pub fn op(&self) -> Option<&dyn Op> {
        self.differentiable.as_deref()
    }

    /// Outputs, then gradients of the value with respect to each differentiable input for a random upstream
    /// gradient, each as f64 values under its name.
    ///
    /// # Errors
    /// The op's.
    pub fn evaluate(&self, device: &Device, seed: u64) -> Result<Vec<(String, Vec<f64>)>> {
        self.evaluate_at(device, &self.values(seed), |count| Self::upstream(count, seed))
    }

    /// Random values of an upstream gradient of so many elements.
    pub fn upstream(count: usize, seed: u64) -> Vec<f32> {
        crate::engine::tensor::init::normal(&mut StdRng::seed_from_u64(seed ^ 0x5eed), count, 1.0)
    }

    /// As [`AnyCase::evaluate`] at given values of the inputs and of the upstream gradient, whose length is told.
    ///
    /// # Errors
    /// The op's.
    pub fn evaluate_at(
        &self,
        device: &Device,
        values: &[Vec<f32>],
        dy: impl FnOnce(usize) -> Vec<f32>,
    ) -> Result<Vec<(String, Vec<f64>)>> {
        let inputs = self.on(device, values)?;
        let x: Vec<&Tensor> = inputs.iter().collect();
        let (outputs, gradients) = match self.op() {
            None => (self.forward(&x)?, Vec::new()),
            Some(op) => {
                let (outputs, saved) = op.forward(&x)?;
                let dy = Tensor::new(device, outputs[0].shape(), &dy(outputs[0].elements()))?;
                let wants: Vec<bool> = self.inputs.iter().map(Input::differentiable).collect();
                (outputs, op.backward(&saved, &dy, &wants)?)
            }
        };
        let outputs = outputs.iter().enumerate().map(|(i, y)| (format!("out{i}"), y));
        let gradients = gradients.iter().enumerate();
        let gradients = gradients.filter_map(|(i, dx)| Some((format!("grad{i}"), dx.as_ref()?)));
        outputs.chain(gradients).map(|(name, x)| Ok((name, x.to_f64()?))).collect()
    }
}

/// Relative L2 distance `|got - expected| / |expected|` (the plain distance where the expected norm is tiny).
pub fn relative_l2(got: &[f64], expected: &[f64]) -> f64 {
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let distance = norm(&mut got.iter().zip(expected).map(|(a, b)| a - b));
    distance / norm(&mut expected.iter().copied()).max(1e-6)
}
