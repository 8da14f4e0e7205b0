//! An op of one's own with its shader: `y = x sigmoid(x)`, `dx = dy s (1 + x (1 - s))` with `s = sigmoid(x)` (SiLU).
//!
//! The twin in f64 is the definition; the gradient and, where there is a GPU, the shader are checked against it.

use vista::engine::device::kernel::{Dispatch, add_shader};
use vista::engine::device::{Gpu, real::Real};
use vista::engine::ops::{AnyCase, Case, Differentiable, Input, Keep, Kernel, relative_l2};
use vista::engine::tensor::{Shape, View, ViewMut};
use vista::prelude::*;

const WGSL: &str = "
@group(0) @binding(0) var<uniform> vec4s: u32;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;
fn silu(x: f32) -> f32 { return x * sigmoid(x); }
fn slope(x: f32) -> f32 { let s = sigmoid(x); return s * (1.0 + x * (1.0 - s)); }
@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i < vec4s) { let v = x[i]; out[i] = vec4(silu(v.x), silu(v.y), silu(v.z), silu(v.w)); }
}
@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i < vec4s) { let v = x[i]; out[i] = dy[i] * vec4(slope(v.x), slope(v.y), slope(v.z), slope(v.w)); }
}";

#[derive(Clone, Debug)]
struct Silu;

fn sigmoid<T: Real>(x: T) -> T {
    T::one() / (T::one() + (-x).exp())
}

impl Kernel for Silu {
    const NAME: &'static str = "silu";
    fn shapes(&self, x: &[&Shape]) -> Result<Vec<Shape>> {
        Ok(vec![x[0].clone()])
    }
    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        y[0].data.iter_mut().zip(x[0].data).for_each(|(y, &x)| *y = x * sigmoid(x));
    }
    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        record(gpu, "forward", [x[0], &y[0]].as_slice())
    }
    fn cases() -> Vec<Case<Self>> {
        vec![Case::new("odd", Silu, vec![Input::normal([7, 5, 3])])]
    }
}

impl Differentiable for Silu {
    fn save(&self, x: &[&Tensor], _y: &[Tensor]) -> Vec<Keep> {
        vec![x[0].into()]
    }
    fn twin_backward<T: Real>(&self, saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        let Some(dx) = &mut dx[0] else { return };
        for ((dx, &x), &dy) in dx.data.iter_mut().zip(saved[0].data).zip(dy.data) {
            *dx = dy * sigmoid(x) * (T::one() + x * (T::one() - sigmoid(x)));
        }
    }
    fn gpu_backward(&self, gpu: &Gpu, saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        dx[0].as_ref().map_or(Ok(()), |dx| record(gpu, "backward", &[saved[0], dy, dx]))
    }
}

fn record(gpu: &Gpu, entry: &'static str, tensors: &[&Tensor]) -> Result<()> {
    let vec4s = tensors[0].elements().div_ceil(4);
    gpu.run(Dispatch::new(Silu::NAME, entry, [("vec4s", vec4s.into())], tensors, vec4s.div_ceil(256)))
}

fn main() -> Result<()> {
    add_shader(Silu::NAME, WGSL)?;
    let [case] = &AnyCase::differentiable::<Silu>()[..] else { unreachable!("one case") };
    let expected = case.evaluate(&Device::reference(), 1)?; // value and gradient of the f64 twin
    for device in [Device::cpu(), Device::gpu_named(None, Default::default())?] {
        for ((what, got), (_, expected)) in case.evaluate(&device, 1)?.iter().zip(&expected) {
            let error = relative_l2(got, expected);
            println!("{:32} {what}  relative error {error:.1e}", device.name());
            assert!(error < 1e-6);
        }
    }
    Ok(())
}
