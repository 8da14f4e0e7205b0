//! One step of LARS. No gradient.

use super::kernel::Kernel;
use super::rows::sum_of;
use super::{Case, Draw, Input};
use crate::engine::device::kernel::Dispatch;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use bytemuck::{Pod, Zeroable, bytes_of};

/// One step of LARS on one parameter.
///
/// ```text
/// factor = trust |p| / (|g| + weight_decay |p| + eps), or 1 if |p| or |g| is 0; |.| is the norm of the tensor
/// d      = factor (g + weight_decay p)
/// buffer = d at the first step, later momentum buffer + d
/// p      = p - lr buffer
/// ```
///
/// The factor never leaves the device. f32 squares vanish below 1e-38: norms below 1e-19 count as 0.
///
/// | value | shape |
/// |---|---|
/// | p, g, buffer | any, all the same; the buffer is not read at the first step |
/// | returns p, buffer | the same |
/// | by-product: factor | `[]` |
///
/// # Errors
/// [`Error::Shape`] if the shapes differ.
/// # Source
/// You, Gitman and Ginsburg 2017, Algorithm 1, as SwAV uses it: unclipped, the factor in the gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LarsUpdate {
    /// Learning rate.
    pub lr: f64,
    /// Share of the buffer that is kept.
    pub momentum: f64,
    /// L2 decay into the gradient.
    pub weight_decay: f64,
    /// Length of a step of rate 1 as a share of the parameter's norm.
    pub trust: f64,
    /// Added to the factor's denominator.
    pub eps: f64,
    /// Whether there is no buffer yet.
    pub first: bool,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct NormParams {
    count: u32,
    first: u32,
    parts: u32,
    weight_decay: f32,
    trust: f32,
    eps: f32,
    spare: [u32; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    vec4s: u32,
    lr: f32,
    momentum: f32,
    weight_decay: f32,
}

/// Elements whose squares one workgroup adds up.
const PART: usize = 1 << 14;

fn norm<T: Real>(x: &[T]) -> T {
    sum_of(x, |v| v * v).sqrt()
}

impl LarsUpdate {
    /// The kernels that write the factor.
    fn gpu_factor(&self, gpu: &Gpu, p: &Tensor, g: &Tensor, factor: &Tensor) -> Result<()> {
        let count = p.elements();
        let parts = count.div_ceil(PART);
        let params = |count: usize, first: usize| NormParams {
            count: count as u32,
            first: first as u32,
            parts: parts as u32,
            weight_decay: self.weight_decay as f32,
            trust: self.trust as f32,
            eps: self.eps as f32,
            spare: [0; 2],
        };
        let sums = Tensor::uninit(p.device(), Shape::from([parts, 2]))?;
        // Chunks of whole parts where a binding holds one, so that they change no sum.
        let fits = gpu.max_binding() as usize / 4;
        let chunk = (fits / PART * PART).max(PART);
        for start in (0..count).step_by(chunk) {
            let range = start..count.min(start + chunk);
            gpu.run(Dispatch {
                tensors: vec![(p, Some(range.clone())), (g, Some(range.clone())), (&sums, None)],
                ..Dispatch::raw(
                    Self::NAME,
                    "squares",
                    bytes_of(&params(range.len(), start / PART)),
                    &[],
                    range.len().div_ceil(PART),
                )
            })?;
        }
        gpu.run(Dispatch::raw(Self::NAME, "trust", bytes_of(&params(count, 0)), &[&sums, factor], 1))
    }
}

impl Kernel for LarsUpdate {
    const NAME: &'static str = "lars";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        if inputs.len() == 3 && inputs.iter().all(|s| *s == inputs[0]) {
            return Ok(vec![inputs[0].clone(), inputs[0].clone(), Shape::from([])]);
        }
        Err(Error::shape(Self::NAME, format!("takes p, g and buffer of one shape, got {inputs:?}")))
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let [lr, momentum, decay] = [self.lr, self.momentum, self.weight_decay].map(T::of);
        let [trust, eps] = [self.trust, self.eps].map(T::of);
        let [p_next, buffer_next, factor] = y else { unreachable!("lars has three outputs") };
        let (p_norm, g_norm) = (norm(x[0].data), norm(x[1].data));
        let still = p_norm == T::zero() || g_norm == T::zero();
        let scale = if still { T::one() } else { trust * p_norm / (g_norm + decay * p_norm + eps) };
        factor.data[0] = scale;
        let inputs = x[0].data.iter().zip(x[1].data).zip(x[2].data);
        let outputs = p_next.data.iter_mut().zip(&mut *buffer_next.data);
        for (((&p, &g), &buffer), (p_next, buffer_next)) in inputs.zip(outputs) {
            let d = scale * (g + decay * p);
            *buffer_next = if self.first { d } else { momentum * buffer + d };
            *p_next = p - lr * *buffer_next;
        }
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        self.gpu_factor(gpu, x[0], x[1], &y[2])?;
        for range in gpu.row_chunks(x[0].elements(), 1) {
            let vec4s = range.len().div_ceil(4);
            let params = Params {
                vec4s: vec4s as u32,
                lr: self.lr as f32,
                momentum: self.momentum as f32,
                weight_decay: self.weight_decay as f32,
            };
            let part = |t| (t, Some(range.clone()));
            gpu.run(Dispatch {
                constants: vec![("FIRST", f64::from(u8::from(self.first)))],
                tensors: vec![part(x[0]), part(x[1]), part(x[2]), (&y[2], None), part(&y[0]), part(&y[1])],
                ..Dispatch::raw(Self::NAME, "forward", bytes_of(&params), &[], vec4s.div_ceil(256))
            })?;
        }
        Ok(())
    }

    fn cases() -> Vec<Case<Self>> {
        let plain =
            LarsUpdate { lr: 4.8, momentum: 0.9, weight_decay: 0.01, trust: 0.02, eps: 1e-8, first: false };
        let case = |name, op: LarsUpdate, shape: &[usize]| Case::new(name, op, vec![Input::normal(shape); 3]);
        let with = |name, p: Draw, g: Draw| {
            let inputs = vec![Input::of([3, 11], p), Input::of([3, 11], g), Input::normal([3, 11])];
            Case::new(name, plain, inputs)
        };
        let normal = |scale| Draw::Normal { scale, offset: 0.0 };
        vec![
            case("momentum", plain, &[7, 65]),
            case("first step", LarsUpdate { first: true, ..plain }, &[7, 65]),
            case("no decay, large eps", LarsUpdate { weight_decay: 0.0, eps: 0.5, ..plain }, &[2, 3, 3, 5]),
            case("many parts", plain, &[33, 1501]),
            case("one element", plain, &[1]),
            with("p is 0", Draw::Index(1), normal(1.0)),
            with("g is 0", normal(1.0), Draw::Index(1)),
            with("small p, large g", normal(1e-10), normal(1e10)),
        ]
    }
}
