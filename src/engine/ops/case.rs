//! Examples of each op, for parity tests, gradient checks, `vista doctor` and benches.

use crate::engine::tensor::Shape;
use rand::RngExt;
use rand::rngs::StdRng;

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
    /// Rows of an image and the corners of a box in it, partly beyond its borders, some smaller than a cell; not differentiated.
    Regions {
        /// How many images there are.
        images: usize,
        /// Their height.
        height: usize,
        /// And width.
        width: usize,
    },
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
            Draw::Binary
                | Draw::Index(_)
                | Draw::Permutation
                | Draw::Constant
                | Draw::Positive
                | Draw::Regions { .. }
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
            Draw::Regions { images, height, width } => {
                let region = |_| {
                    let mut side = |length: usize| {
                        let low = rng.random_range(-0.2..0.8) * length as f32;
                        [low, low + rng.random_range(0.01..0.6f32) * length as f32]
                    };
                    let ([x0, x1], [y0, y1]) = (side(width), side(height));
                    [rng.random_range(0..images) as f32, x0, y0, x1, y1]
                };
                (0..count / 5).flat_map(region).collect()
            }
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
