//! Running statistics of many batch norms after one batch: packed, with the batch's statistics where each norm has them.

use crate::engine::device::kernel::Dispatch;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, packed};
use crate::error::{Error, Result};

/// Norms that one dispatch moves, and their names in the shader's params: as many as there are bindings for.
const NORMS: [&str; 6] = ["norm_0", "norm_1", "norm_2", "norm_3", "norm_4", "norm_5"];

/// Where mean and variance of each norm of these channels lie in `running`, and its length.
pub(super) fn places(channels: impl Iterator<Item = usize>) -> (Vec<[usize; 2]>, usize) {
    let (starts, total) = packed(channels.flat_map(|c| [c, c]));
    (starts.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect(), total)
}

pub(super) fn shapes(counts: &[usize], inputs: &[&Shape]) -> Result<Vec<Shape>> {
    if counts.iter().any(|&count| count < 2) {
        let detail = "one value per channel has no variance: use a larger --batch or --image-size";
        return Err(Error::shape("update", detail));
    }
    let fits = |running: &Shape, statistics: &[&Shape]| {
        statistics.len() == counts.len()
            && statistics.iter().all(|s| s.len() == 3 && s[0] == 2 && s[1] == statistics[0][1])
            && running[..] == [places(statistics.iter().map(|s| s[2])).1]
    };
    match inputs {
        [running, statistics @ ..] if fits(running, statistics) => Ok(vec![Shape::clone(running)]),
        _ => {
            let expected =
                format!("expects packed statistics and [2,G,C] for each of {} norms", counts.len());
            Err(Error::shape("update", format!("{expected}, got {inputs:?}")))
        }
    }
}

pub(super) fn twin<T: Real>(momentum: T, counts: &[usize], x: &[View<T>], y: &mut [T]) {
    let (running, norms) = (x[0].data, &x[1..]);
    y.fill(T::zero());
    let places = places(norms.iter().map(|s| s.shape[2])).0;
    for ((statistics, place), &count) in norms.iter().zip(places).zip(counts) {
        let (groups, channels) = (statistics.shape[1], statistics.shape[2]);
        let unbias = count as f64 / (count as f64 - 1.0);
        for (which, unbias) in [1.0, unbias].into_iter().enumerate() {
            let batch = &statistics.data[which * groups * channels..][..groups * channels];
            for c in 0..channels {
                let sum: T = (0..groups).map(|g| batch[g * channels + c]).sum();
                let target = T::of(unbias) * sum / T::of(groups as f64);
                let at = place[which] + c;
                y[at] = (T::one() - momentum) * running[at] + momentum * target;
            }
        }
    }
}

pub(super) fn gpu(gpu: &Gpu, momentum: f32, counts: &[usize], x: &[&Tensor], moved: &Tensor) -> Result<()> {
    let (running, norms) = (x[0], &x[1..]);
    let places = places(norms.iter().map(|s| s.shape()[2])).0;
    let all: Vec<_> = norms.iter().zip(places).zip(counts).collect();
    for some in all.chunks(NORMS.len()) {
        let mut params = vec![("groups", norms[0].shape()[1].into()), ("momentum", momentum.into())];
        for (i, name) in NORMS.into_iter().enumerate() {
            let norm = some.get(i).map_or([0; 4], |((statistics, [mean, var]), count)| {
                [statistics.shape()[2], *mean, *var, **count]
            });
            params.push((name, norm.into()));
        }
        let statistics = (0..NORMS.len()).map(|i| *some.get(i).map_or(&norms[0], |((s, _), _)| s));
        let tensors: Vec<&Tensor> = [running].into_iter().chain(statistics).chain([moved]).collect();
        let groups = some.iter().map(|((s, _), _)| s.shape()[2].div_ceil(64)).sum();
        gpu.run(Dispatch::new("update", "running", params, &tensors, groups))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::device::{Device, GpuOptions};
    use crate::engine::ops::{Update, run};

    #[test]
    fn norms_of_odd_widths_are_found_between_the_gaps() {
        let gpu =
            Device::gpu_named(None, GpuOptions::default()).expect("a Vulkan, Metal or DirectX 12 device");
        for device in [Device::cpu(), gpu] {
            let full = |shape: &[usize], value| Tensor::full(&device, shape, value).expect("tensor");
            let running = [full(&[5], 1.0), full(&[5], 2.0), full(&[70], 3.0), full(&[70], 4.0)];
            let shapes = running.each_ref().map(|t| t.shape().clone());
            let op = Update::Running { momentum: 0.5, counts: vec![2, 3] };
            let flat = Tensor::pack(&running.each_ref()).expect("pack");
            let moved = run(&op, &[&flat, &full(&[2, 1, 5], 10.0), &full(&[2, 1, 70], 20.0)]).expect("run");
            let moved = moved[0].unpack(&shapes).expect("unpack");
            // Half of the old value and half of the batch's, whose variances are unbiased by 2/1 and 3/2.
            for (tensor, value) in moved.iter().zip([5.5, 11.0, 11.5, 17.0]) {
                assert!(
                    tensor.to_vec().expect("values").iter().all(|&v| (v - value).abs() < 1e-5),
                    "{tensor:?}"
                );
            }
        }
    }
}
