//! Examples of each op, for parity tests, gradient checks, `vista doctor` and benches.

use super::kernel::{Differentiable, Kernel, Op, run};
use crate::engine::device::Device;
use crate::engine::tensor::{Shape, Tensor};
use crate::error::Result;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How the values of a case's input are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Draw {
    /// Standard normal times the scale, plus the offset.
    Normal {
        /// Standard deviation.
        scale: f32,
        /// Mean.
        offset: f32,
    },
    /// Uniform in a range.
    Uniform(f32, f32),
    /// Away from zero by at least 0.1 (kinks of relu): a random sign times U(0.1, 1.5).
    AwayFromZero,
    /// A shuffled arithmetic sequence, so that no two are closer than 1/64 (arg-max, top-k).
    Distinct,
    /// 0 or 1; not differentiated.
    Binary,
    /// Whole numbers below the bound; not differentiated.
    Index(usize),
    /// A permutation of the rows; not differentiated.
    Permutation,
    /// Normal values that are no target of differentiation.
    Constant,
    /// Uniform in 0.5 to 2 (variances, weights of a mean); not differentiated.
    Positive,
}

/// Shape and values of one input.
#[derive(Clone, Debug)]
pub struct Input {
    /// The shape.
    pub shape: Shape,
    /// Its values.
    pub draw: Draw,
}

impl Input {
    /// Standard normal values.
    pub fn normal(shape: impl Into<Shape>) -> Input {
        Input::of(shape, Draw::Normal { scale: 1.0, offset: 0.0 })
    }

    /// Values drawn as said.
    pub fn of(shape: impl Into<Shape>, draw: Draw) -> Input {
        Input { shape: shape.into(), draw }
    }

    /// Whether a gradient with respect to this input exists.
    pub fn differentiable(&self) -> bool {
        !matches!(
            self.draw,
            Draw::Binary | Draw::Index(_) | Draw::Permutation | Draw::Constant | Draw::Positive
        )
    }

    /// The values: the same for the same generator state.
    pub fn values(&self, rng: &mut StdRng) -> Vec<f32> {
        let count = self.shape.elements();
        let normal = |rng: &mut StdRng| crate::engine::tensor::init::normal(rng, count, 1.0);
        match self.draw {
            Draw::Normal { scale, offset } => normal(rng).into_iter().map(|v| v * scale + offset).collect(),
            Draw::Constant => normal(rng),
            Draw::Positive => (0..count).map(|_| rng.random_range(0.5..2.0)).collect(),
            Draw::Uniform(low, high) => (0..count).map(|_| rng.random_range(low..high)).collect(),
            Draw::AwayFromZero => (0..count)
                .map(|_| rng.random_range(0.1f32..1.5) * if rng.random::<bool>() { 1.0 } else { -1.0 })
                .collect(),
            Draw::Distinct => {
                let centre = count as f32 / 2.0;
                permutation(rng, count).into_iter().map(|i| (i - centre) / 64.0).collect()
            }
            Draw::Binary => (0..count).map(|_| f32::from(rng.random::<bool>())).collect(),
            Draw::Index(bound) => (0..count).map(|_| rng.random_range(0..bound) as f32).collect(),
            Draw::Permutation => permutation(rng, count),
        }
    }
}

fn permutation(rng: &mut StdRng, count: usize) -> Vec<f32> {
    let mut order: Vec<f32> = (0..count).map(|i| i as f32).collect();
    for i in (1..count).rev() {
        order.swap(i, rng.random_range(0..=i));
    }
    order
}

/// An op with inputs.
#[derive(Clone, Debug)]
pub struct Case<K> {
    /// What is special about it.
    pub name: &'static str,
    /// The op with its attributes.
    pub op: K,
    /// Its inputs.
    pub inputs: Vec<Input>,
}

impl<K> Case<K> {
    /// A case.
    pub fn new(name: &'static str, op: K, inputs: Vec<Input>) -> Case<K> {
        Case { name, op, inputs }
    }
}

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
        let Some(op) = self.op() else {
            let outputs = self.forward(&x)?;
            return outputs.iter().enumerate().map(|(i, y)| Ok((format!("out{i}"), y.to_f64()?))).collect();
        };
        let (outputs, saved) = op.forward(&x)?;
        let dy = Tensor::new(device, outputs[0].shape(), &dy(outputs[0].elements()))?;
        let wants: Vec<bool> = self.inputs.iter().map(Input::differentiable).collect();
        let gradients = op.backward(&saved, &dy, &wants)?;
        let mut all = Vec::new();
        for (i, y) in outputs.iter().enumerate() {
            all.push((format!("out{i}"), y.to_f64()?));
        }
        for (i, dx) in gradients.iter().enumerate() {
            if let Some(dx) = dx {
                all.push((format!("grad{i}"), dx.to_f64()?));
            }
        }
        Ok(all)
    }
}

/// Relative L2 distance `|got - expected| / |expected|` (the plain distance where the expected norm is tiny).
pub fn relative_l2(got: &[f64], expected: &[f64]) -> f64 {
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let distance = norm(&mut got.iter().zip(expected).map(|(a, b)| a - b));
    distance / norm(&mut expected.iter().copied()).max(1e-6)
}
