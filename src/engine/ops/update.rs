//! One step of what moves parameters: optimisers, a moving average, running statistics. No gradient.
//!
//! Parameters come one by one or [packed](Tensor::pack); the rules treat each element on its own, but for LARS, whose factor is
//! a tensor's. New values are new tensors: a step that must be undone keeps the old ones.
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{Update, run}};
//! # let device = &Device::cpu();
//! let [p, g] = [[1.0, 2.0], [10.0, -10.0]].map(|values| Tensor::new(device, [2], &values));
//! let sgd = Update::Sgd { lr: 0.1, momentum: 0.0, weight_decay: 0.0, nesterov: false, first: true };
//! let (p, g) = (p?, g?);
//! assert_eq!(run(&sgd, &[&p, &g, &g])?[0].to_vec()?, [0.0, 3.0]);
//! # Ok::<(), vista::Error>(())
//! ```

mod lars;
mod running;

use super::kernel::Kernel;
use super::{Case, Draw, Input};
use crate::engine::device::kernel::Dispatch;
use crate::engine::device::params::Param;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};

/// The rules. `d = g + weight_decay p` is the gradient with its decay, and `lr` the learning rate, which is outside of what is
/// remembered.
///
/// | rule | inputs | returns | source |
/// |---|---|---|---|
/// | `Sgd` | p, g, buffer (not read at the first step) | p, buffer | Sutskever et al. 2013, as in `torch.optim.SGD` |
/// | `Lars` | p, g, buffer (not read at the first step) | p, buffer, factor `[]` | You, Gitman and Ginsburg 2017, Algorithm 1, as SwAV uses it: unclipped, the factor in the gradient |
/// | `Adam` | p, g, m, v (0 before the first step) | p, m, v | Kingma and Ba 2015, Algorithm 1, with L2 decay as in `torch.optim.Adam` |
/// | `Ema` | p, its new value q | p | MoCo, Eq. 2 |
/// | `Running` | mean and var of each norm, packed `[T]`; `[2, G, C_i]` of each: means, then biased variances | `[T]`, gaps are arbitrary | Ioffe and Szegedy 2015 |
///
/// All inputs and outputs of a rule have one shape unless it is said.
///
/// # Errors
/// [`Error::Shape`] if the shapes do not fit.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// ```text
    /// buffer = d at the first step, later momentum buffer + d
    /// p      = p - lr (d + momentum buffer if nesterov, else buffer)
    /// ```
    Sgd {
        /// Learning rate.
        lr: f64,
        /// Share of the buffer that is kept.
        momentum: f64,
        /// L2 decay into the gradient.
        weight_decay: f64,
        /// Look ahead by one step of momentum.
        nesterov: bool,
        /// Whether there is no buffer yet.
        first: bool,
    },
    /// SGD along `factor d`, for one parameter:
    ///
    /// ```text
    /// factor = trust |p| / (|g| + weight_decay |p| + eps), or 1 if |p| or |g| is 0; |.| is the norm of the tensor
    /// ```
    ///
    /// The factor never leaves the device. f32 squares vanish below 1e-38: norms below 1e-19 count as 0.
    Lars {
        /// Learning rate.
        lr: f64,
        /// Share of the buffer that is kept.
        momentum: f64,
        /// L2 decay into the gradient.
        weight_decay: f64,
        /// Length of a step of rate 1 as a share of the parameter's norm.
        trust: f64,
        /// Added to the factor's denominator.
        eps: f64,
        /// Whether there is no buffer yet.
        first: bool,
    },
    /// ```text
    /// m = beta1 m + (1 - beta1) d
    /// v = beta2 v + (1 - beta2) d^2
    /// p = p - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
    /// ```
    Adam {
        /// Learning rate.
        lr: f64,
        /// Decay of the average of gradients.
        beta1: f64,
        /// Decay of the average of squared gradients.
        beta2: f64,
        /// Added to the root of the corrected v.
        eps: f64,
        /// L2 decay into the gradient.
        weight_decay: f64,
        /// Number of this step, t: 1 at the first.
        step: u32,
    },
    /// `p = momentum p + (1 - momentum) q`
    Ema {
        /// Share of the average that is kept.
        momentum: f64,
    },
    /// Running statistics of batch norms, from the `mean_g` and biased `var_g` of each group g of n values:
    ///
    /// ```text
    /// mean = (1 - momentum) mean + momentum avg_g(mean_g)
    /// var  = (1 - momentum) var  + momentum n / (n - 1) avg_g(var_g)
    /// ```
    Running {
        /// Weight of the batch; torch's default is 0.1.
        momentum: f32,
        /// Values per group and channel of each norm, n.
        counts: Vec<usize>,
    },
}

/// Adam's `1 / (1 - beta1^t)`, and `1 / sqrt(1 - beta2^t)`: times v itself, it would leave f32's range first.
fn corrections(betas: [f64; 2], step: u32) -> [f64; 2] {
    let [m, v] = betas.map(|beta| 1.0 / (1.0 - beta.powi(step as i32)));
    [m, v.sqrt()]
}

/// SGD and LARS, along gradients `d(p, g)`.
fn descend<T: Real>(
    x: &[View<T>],
    y: &mut [ViewMut<T>],
    [lr, momentum]: [f64; 2],
    [nesterov, first]: [bool; 2],
    d: impl Fn(T, T) -> T,
) {
    let [lr, momentum] = [lr, momentum].map(T::of);
    let [p_next, buffer_next, ..] = y else { unreachable!("a value and a buffer") };
    let inputs = x[0].data.iter().zip(x[1].data).zip(x[2].data);
    let outputs = p_next.data.iter_mut().zip(&mut *buffer_next.data);
    for (((&p, &g), &buffer), (p_next, buffer_next)) in inputs.zip(outputs) {
        let d = d(p, g);
        let next = if first { d } else { momentum * buffer + d };
        *buffer_next = next;
        *p_next = p - lr * if nesterov { d + momentum * next } else { next };
    }
}

/// Records a kernel of one thread for each vec4 of the elements, which it treats on their own; a tensor that does not have as many
/// is read whole. `params` are without the number of vec4s.
fn flat(
    gpu: &Gpu,
    entry: &'static str,
    constants: &[(&'static str, f64)],
    tensors: &[&Tensor],
    params: &[Param],
) -> Result<()> {
    let count = tensors[0].elements();
    let tensors: Vec<_> = tensors.iter().map(|t| (*t, usize::from(t.elements() == count))).collect();
    gpu.run_rows(count, &tensors, |range| {
        let vec4s = range.len().div_ceil(4);
        let params = [params, &[("vec4s", vec4s.into())]].concat();
        let dispatch = Dispatch::new(Update::NAME, entry, params, &[], vec4s.div_ceil(256));
        Dispatch { constants: constants.to_vec(), ..dispatch }
    })
}

impl Kernel for Update {
    const NAME: &'static str = "update";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        let (takes, returns) = match self {
            Update::Sgd { .. } | Update::Lars { .. } => (3, 2),
            Update::Adam { .. } => (4, 3),
            Update::Ema { .. } => (2, 1),
            Update::Running { counts, .. } => return running::shapes(counts, inputs),
        };
        if inputs.len() != takes || inputs.iter().any(|s| *s != inputs[0]) {
            let detail = format!("{self:?} takes {takes} tensors of one shape, got {inputs:?}");
            return Err(Error::shape(Self::NAME, detail));
        }
        let mut shapes = vec![inputs[0].clone(); returns];
        shapes.extend(matches!(self, Update::Lars { .. }).then(|| Shape::from([])));
        Ok(shapes)
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        match self {
            &Update::Sgd { lr, momentum, weight_decay, nesterov, first } => {
                let decay = T::of(weight_decay);
                descend(x, y, [lr, momentum], [nesterov, first], |p, g| g + decay * p);
            }
            &Update::Lars { lr, momentum, weight_decay, trust, eps, first } => {
                let factor = lars::factor(x[0].data, x[1].data, [trust, weight_decay, eps].map(T::of));
                y[2].data[0] = factor;
                let decay = T::of(weight_decay);
                descend(x, y, [lr, momentum], [false, first], |p, g| factor * (g + decay * p));
            }
            &Update::Adam { lr, beta1, beta2, eps, weight_decay, step } => {
                let [lr, eps, decay] = [lr, eps, weight_decay].map(T::of);
                let [keep_m, keep_v] = [beta1, beta2].map(T::of);
                let [new_m, new_v] = [beta1, beta2].map(|beta| T::of(1.0 - beta));
                let [correct_m, correct_root] = corrections([beta1, beta2], step).map(T::of);
                let [p_next, m_next, v_next] = y else { unreachable!("adam has three outputs") };
                for i in 0..p_next.data.len() {
                    let p = x[0].data[i];
                    let d = x[1].data[i] + decay * p;
                    let m = keep_m * x[2].data[i] + new_m * d;
                    let v = keep_v * x[3].data[i] + new_v * d * d;
                    m_next.data[i] = m;
                    v_next.data[i] = v;
                    p_next.data[i] = p - lr * (m * correct_m) / (v.sqrt() * correct_root + eps);
                }
            }
            &Update::Ema { momentum } => {
                let (keep, take) = (T::of(momentum), T::of(1.0 - momentum));
                for ((y, &p), &q) in y[0].data.iter_mut().zip(x[0].data).zip(x[1].data) {
                    *y = keep * p + take * q;
                }
            }
            Update::Running { momentum, counts } => {
                running::twin(T::of(f64::from(*momentum)), counts, x, y[0].data);
            }
        }
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let tensors: Vec<&Tensor> = x.iter().copied().chain(y).collect();
        let flag = |on: bool| f64::from(u8::from(on));
        let float = |x: f64| (x as f32).into();
        match self {
            &Update::Sgd { lr, momentum, weight_decay, nesterov, first } => {
                let constants = [("NESTEROV", flag(nesterov)), ("FIRST", flag(first))];
                let params =
                    [("lr", float(lr)), ("momentum", float(momentum)), ("weight_decay", float(weight_decay))];
                flat(gpu, "sgd", &constants, &tensors, &params)
            }
            &Update::Lars { lr, momentum, weight_decay, trust, eps, first } => {
                lars::gpu_factor(gpu, [x[0], x[1], &y[2]], [trust, weight_decay, eps])?;
                let params =
                    [("lr", float(lr)), ("momentum", float(momentum)), ("weight_decay", float(weight_decay))];
                let tensors = [x[0], x[1], x[2], &y[2], &y[0], &y[1]];
                flat(gpu, "lars", &[("FIRST", flag(first))], &tensors, &params)
            }
            &Update::Adam { lr, beta1, beta2, eps, weight_decay, step } => {
                let [correct_m, correct_root] = corrections([beta1, beta2], step).map(float);
                let params = [
                    ("lr", float(lr)),
                    ("weight_decay", float(weight_decay)),
                    ("eps", float(eps)),
                    ("keep_m", float(beta1)),
                    ("new_m", float(1.0 - beta1)),
                    ("keep_v", float(beta2)),
                    ("new_v", float(1.0 - beta2)),
                    ("correct_m", correct_m),
                    ("correct_root", correct_root),
                ];
                flat(gpu, "adam", &[], &tensors, &params)
            }
            &Update::Ema { momentum } => {
                let params = [("keep", float(momentum)), ("take", float(1.0 - momentum))];
                flat(gpu, "ema", &[], &tensors, &params)
            }
            Update::Running { momentum, counts } => running::gpu(gpu, *momentum, counts, x, &y[0]),
        }
    }

    fn cases() -> Vec<Case<Self>> {
        let sgd = |name, nesterov, first| {
            let op = Update::Sgd { lr: 0.1, momentum: 0.9, weight_decay: 0.01, nesterov, first };
            Case::new(name, op, vec![Input::normal([7, 65]); 3])
        };
        let adam = |name, eps| {
            let op = Update::Adam { lr: 0.01, beta1: 0.9, beta2: 0.999, eps, weight_decay: 0.01, step: 5 };
            let squares = Input::of([7, 65], Draw::Uniform(0.01, 2.0));
            let normal = Input::normal([7, 65]);
            Case::new(name, op, vec![normal.clone(), normal.clone(), normal, squares])
        };
        let ema = |name, momentum| {
            Case::new(name, Update::Ema { momentum }, vec![Input::normal([7, 65]), Input::normal([7, 65])])
        };
        let own = vec![
            sgd("sgd, momentum", false, false),
            sgd("sgd, nesterov", true, false),
            sgd("sgd, first step", false, true),
            adam("adam, fifth step", 1e-8),
            adam("adam, large eps", 0.1),
            ema("ema, slow", 0.999),
            ema("ema, fast", 0.5),
        ];
        [own, lars_cases(), running_cases()].concat()
    }
}

fn lars_cases() -> Vec<Case<Update>> {
    let op = |weight_decay, eps, first| Update::Lars {
        lr: 4.8,
        momentum: 0.9,
        weight_decay,
        trust: 0.02,
        eps,
        first,
    };
    let plain = || op(0.01, 1e-8, false);
    let case = |name, op, shape: &[usize]| Case::new(name, op, vec![Input::normal(shape); 3]);
    let with = |name, p: Draw, g: Draw| {
        let inputs = vec![Input::of([3, 11], p), Input::of([3, 11], g), Input::normal([3, 11])];
        Case::new(name, plain(), inputs)
    };
    let normal = |scale| Draw::Normal { scale, offset: 0.0 };
    vec![
        case("lars, momentum", plain(), &[7, 65]),
        case("lars, first step", op(0.01, 1e-8, true), &[7, 65]),
        case("lars, no decay, large eps", op(0.0, 0.5, false), &[2, 3, 3, 5]),
        case("lars, many parts", plain(), &[33, 1501]),
        case("lars, one element", plain(), &[1]),
        with("lars, p is 0", Draw::Index(1), normal(1.0)),
        with("lars, g is 0", normal(1.0), Draw::Index(1)),
        with("lars, small p, large g", normal(1e-10), normal(1e10)),
    ]
}

fn running_cases() -> Vec<Case<Update>> {
    let positive = Draw::Uniform(0.1, 2.0);
    let case = |name, groups: usize, channels: &[usize]| {
        // Channels are multiples of 64: gaps are arbitrary, and so not compared.
        let total = running::places(channels.iter().copied()).1;
        let mut inputs = vec![Input::of([total], positive)];
        inputs.extend(channels.iter().map(|&c| Input::of([2, groups, c], positive)));
        let counts = (0..channels.len()).map(|i| 7 + i).collect();
        Case::new(name, Update::Running { momentum: 0.1, counts }, inputs)
    };
    vec![
        case("running, one norm", 1, &[128]),
        case("running, eight norms, three groups", 3, &[64, 128, 64, 192, 64, 64, 256, 64]),
    ]
}
