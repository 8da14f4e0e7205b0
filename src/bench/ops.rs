//! Single ops, and the two products around which the losses turn, as workloads.

use super::workload::Workload;
use crate::engine::autograd::Tape;
use crate::engine::device::Device;
use crate::engine::ops::{Differentiable, Input, Kernel, Matmul, Op, TopK, run};
use crate::engine::tensor::{Shape, Tensor};
use crate::error::{Error, Result};
use rand::{SeedableRng, rngs::StdRng};

/// The most elements of a tensor of a workload.
const MOST_ELEMENTS: usize = 1 << 31;

/// Random inputs, none of them larger than can be made; a plan's have no values.
pub(super) fn tensors(device: &Device, inputs: &[Input]) -> Result<Vec<Tensor>> {
    inputs.iter().try_for_each(|input| check(&input.shape))?;
    let mut rng = StdRng::seed_from_u64(1);
    let tensor = |input: &Input| match device {
        Device::Gpu(gpu) if gpu.is_plan() => Tensor::uninit(device, input.shape.clone()),
        _ => Tensor::new(device, &input.shape, &input.values(&mut rng)),
    };
    inputs.iter().map(tensor).collect()
}

fn check(shape: &Shape) -> Result<()> {
    let elements = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    match elements {
        Some(elements) if elements <= MOST_ELEMENTS => Ok(()),
        _ => Err(Error::shape("bench", format!("{shape} is more than 2^31 elements"))),
    }
}

/// Checks all shapes of an op, so that nothing is made for one that cannot run.
fn checked<K: Kernel>(op: &K, inputs: &[Input]) -> Result<u64> {
    inputs.iter().try_for_each(|input| check(&input.shape))?;
    let shapes: Vec<&Shape> = inputs.iter().map(|input| &input.shape).collect();
    op.shapes(&shapes)?.iter().try_for_each(check)?;
    Ok(op.work(&shapes))
}

/// The value of an op.
pub(super) fn forward<K: Kernel>(device: &Device, op: K, inputs: Vec<Input>) -> Result<Workload> {
    let work = checked(&op, &inputs)?;
    let (device, x) = (device.clone(), tensors(device, &inputs)?);
    Ok(Workload::new(work, move || {
        std::hint::black_box(run(&op, &x.iter().collect::<Vec<_>>())?);
        device.wait()
    }))
}

/// The value of an op and its gradients with respect to the wanted inputs.
pub(super) fn backward<K: Differentiable>(
    device: &Device,
    op: K,
    inputs: Vec<Input>,
    wants: &'static [bool],
) -> Result<Workload> {
    let work = checked(&op, &inputs)?;
    let shapes: Vec<&Shape> = inputs.iter().map(|input| &input.shape).collect();
    let dy = tensors(device, &[Input::normal(&op.shapes(&shapes)?[0])])?.swap_remove(0);
    let (device, x) = (device.clone(), tensors(device, &inputs)?);
    let gradients = wants.iter().filter(|want| **want).count() as u64;
    Ok(Workload::new(work * (1 + gradients), move || {
        let (_, saved) = op.forward(&x.iter().collect::<Vec<_>>())?;
        std::hint::black_box(op.backward(&saved, &dy, wants)?);
        device.wait()
    }))
}

/// Cosines of all projections, smoothed average precision, gradients of the projections.
pub(super) fn ranking(device: &Device, [images, views, width]: [usize; 3]) -> Result<Workload> {
    let rows = images * views;
    check(&Shape::from([rows, rows]))?;
    let z = tensors(device, &[Input::normal([rows, width])])?.swap_remove(0);
    let device = device.clone();
    Ok(Workload::new(0, move || {
        let tape = Tape::new(&device);
        let z = tape.leaf(z.clone()).l2_normalize()?;
        let (loss, _) = z.matmul_nt(&z)?.smooth_ap(views, 0.05)?;
        std::hint::black_box(loss.backward()?);
        device.wait()
    }))
}

/// Scores of the batch against the queue, and the 20 best slots of each row with labels.
pub(super) fn queue(device: &Device, [batch, slots, width]: [usize; 3]) -> Result<Workload> {
    let inputs = [Input::normal([batch, width]), Input::normal([slots, width])];
    let top_k = TopK { k: 20.min(slots), labels: true };
    let work = checked(&Matmul::NT, &inputs)?;
    checked(&top_k, &[Input::normal([batch, slots])])?;
    let (device, x) = (device.clone(), tensors(device, &inputs)?);
    Ok(Workload::new(work, move || {
        let scores = run(&Matmul::NT, &[&x[0], &x[1]])?;
        std::hint::black_box(run(&top_k, &[&scores[0]])?);
        device.wait()
    }))
}
