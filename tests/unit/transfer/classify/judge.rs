use super::super::supervised::tests::{colour_album, two_colours};
use super::*;
use crate::engine::device::{Events, GpuOptions};
use crate::engine::exchange::Alone;
use crate::engine::nn::{Architecture, ResNetConfig, Stem};
use crate::transfer::classify::{Probe, ProbeResult, SgdProbe};
use rand::{SeedableRng, rngs::StdRng};
use std::sync::Arc;

/// What a device makes of the same weights and photos: scores of a training's judge, features, both probes.
fn found(device: &Device) -> ([Score; 3], Vec<f32>, [ProbeResult; 2]) {
    let config = ResNetConfig {
        architecture: Architecture::Resnet18,
        width: 4,
        stem: Stem::Small,
        zero_init: false,
        dilated: 0,
    };
    let net = ResNet::new(device, &mut StdRng::seed_from_u64(0), &config).expect("backbone");
    let album = |seed, count| {
        let colours = [[120, 90, 90], [100, 100, 90], [90, 110, 95]];
        Arc::into_inner(colour_album(seed, count, &colours)).expect("an album of one owner")
    };
    let (train, test, views) = (album(1, 30), album(2, 12), ViewConfig::moco_v2(16));
    let knn = Knn { k: 5, tau: 0.07 };
    let judge = KnnJudge { train, test, knn, protocol: KnnProtocol::LeaveOneOut, views: views.clone() };
    let scores =
        [judge.judge(&net, device, &Alone), judge.untrained(&net, device, &Alone), judge.colour(device)];
    let scores = scores.map(|score| score.expect("a score"));
    let of = |album| features(&net, album, &views, device, &Alone).expect("features");
    let (train, test) = (of(&judge.train), of(&judge.test));
    let adam = Probe { epochs: 6, batch: 8, ..Probe::default() };
    let adam = adam.fit(device, &train, &test, &mut |_| ()).expect("a probe");
    let sgd = SgdProbe { epochs: 2, ..SgdProbe::scaled(8) };
    let sgd = sgd.fit(&net, &two_colours(), &views, device, &mut |_| ()).expect("a probe");
    (scores, train.values, [adam, sgd])
}

#[test]
fn a_gpu_judges_as_the_cpu_does_and_does_the_work_itself() {
    let gpu = Device::gpu_named(None, GpuOptions::default()).expect("a GPU");
    let (scores, features, probes) = found(&Device::cpu());
    gpu.start_trace();
    let (gpu_scores, gpu_features, gpu_probes) = found(&gpu);
    let Events { ops, kernels, .. } = gpu.take_trace().expect("trace");
    gpu.stop_trace();
    assert_eq!(scores, gpu_scores);
    let largest = features.iter().fold(0.0f32, |most, v| most.max(v.abs()));
    let off = features
        .iter()
        .zip(&gpu_features)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |m: f32, e: f32| if e > m || e.is_nan() { e } else { m });
    assert!(off < 1e-4 * largest, "features are off by {off} of {largest}");
    for (cpu, gpu) in probes.iter().zip(&gpu_probes) {
        assert_eq!((cpu.top1, cpu.balanced), (gpu.top1, gpu.balanced));
        assert!((cpu.train_loss - gpu.train_loss).abs() < 1e-3, "{cpu:?} and {gpu:?}");
    }
    // Every op that ran there has recorded kernels, but for those that only give a tensor another shape.
    let idle = |i: &usize| !kernels.iter().any(|kernel| kernel.op == Some(*i));
    let idle: Vec<&str> =
        (0..ops.len()).filter(idle).map(|i| ops[i].op).filter(|op| *op != "reshape").collect();
    assert!(idle.is_empty(), "without kernels: {idle:?}");
    for shader in ["conv2d", "top_k", "matmul", "update"] {
        assert!(kernels.iter().any(|kernel| kernel.shader == shader), "{shader} did not run");
    }
}
