//! `cargo bench`: the matrix product against the `gemm` crate, whole training steps and S2R2's ranking on the CPU device.

use criterion::{Criterion, criterion_group, criterion_main};
use rand::{SeedableRng, rngs::StdRng};
use std::hint::black_box;
use vista::autograd::{Observation, Tape};
use vista::nn::{Architecture, Mode, Module, ResNet, ResNetConfig, Stem};
use vista::ops::{Matmul, Over, run};
use vista::optim::{Optimizer, Sgd, SgdConfig};
use vista::tensor::init;
use vista::{Device, Tensor};

fn random(device: &Device, shape: &[usize]) -> Tensor {
    let values = init::normal(&mut StdRng::seed_from_u64(1), shape.iter().product(), 1.0);
    Tensor::new(device, shape, &values).expect("a tensor")
}

/// `matmul:N` and `gemm:N`: C = A B of N x N matrices.
fn products(c: &mut Criterion) {
    const N: usize = 1024;
    let device = Device::cpu();
    let (a, b) = (random(&device, &[N, N]), random(&device, &[N, N]));
    c.bench_function("matmul:1024", |bench| {
        bench.iter(|| black_box(run(&Matmul::NN, &[&a, &b]).expect("product")))
    });
    let (a, b) = (a.to_vec().expect("a"), b.to_vec().expect("b"));
    let mut y = vec![0.0f32; N * N];
    c.bench_function("gemm:1024", |bench| {
        // SAFETY: all three are N x N, row-major, and y overlaps neither of the others.
        bench.iter(|| unsafe {
            let (n, row) = (N, N as isize);
            let threads = gemm::Parallelism::Rayon(0);
            gemm::gemm(
                n,
                n,
                n,
                y.as_mut_ptr(),
                1,
                row,
                false,
                a.as_ptr(),
                1,
                row,
                b.as_ptr(),
                1,
                row,
                0.0,
                1.0,
                false,
                false,
                false,
                threads,
            );
        })
    });
}

/// `NAME:batch,size`: forward, mean of squares of the pooled features, backward, SGD.
fn steps(c: &mut Criterion) {
    let device = Device::cpu();
    let cases = [
        ("resnet18", Architecture::Resnet18, 16, 96, Stem::Imagenet),
        ("resnet18", Architecture::Resnet18, 32, 32, Stem::Imagenet),
        ("resnet50", Architecture::Resnet50, 16, 96, Stem::Imagenet),
    ];
    let mut group = c.benchmark_group("step");
    group.sample_size(10);
    for (name, architecture, batch, size, stem) in cases {
        let config = ResNetConfig { architecture, width: 64, stem, zero_init: false };
        let net = ResNet::new(&device, &mut StdRng::seed_from_u64(0), &config).expect("network");
        let mut sgd = Sgd::new(SgdConfig { momentum: 0.9, weight_decay: 1e-4, nesterov: false });
        let x = random(&device, &[batch, size, size, 3]);
        group.bench_function(format!("{name}:{batch},{size}"), |bench| {
            bench.iter(|| {
                let tape = Tape::new(&device);
                let y = net.forward(&tape.constant(x.clone()), Mode::Train { splits: 1 }).expect("forward");
                let loss = y.mul(&y).and_then(|y| y.mean(Over::All)).expect("loss");
                let grads = loss.backward().expect("backward");
                Observation::apply(&tape.take_observations()).expect("statistics");
                sgd.step(&net.trained(), &grads, 1e-3).expect("step");
            })
        });
    }
    group.finish();
}

/// `smooth_ap:B,K`: cosines of B K projections of 128, smoothed average precision, and back to the projections.
fn ranking(c: &mut Criterion) {
    const VIEWS: usize = 20;
    let device = Device::cpu();
    let z = random(&device, &[64 * VIEWS, 128]);
    let mut group = c.benchmark_group("ranking");
    group.sample_size(10);
    group.bench_function("smooth_ap:64,20", |bench| {
        bench.iter(|| {
            let tape = Tape::new(&device);
            let z = tape.leaf(z.clone()).l2_normalize().expect("unit length");
            let (loss, _) = z.matmul_nt(&z).and_then(|s| s.smooth_ap(VIEWS, 0.05)).expect("ranking");
            black_box(loss.backward().expect("backward"))
        })
    });
    group.finish();
}

criterion_group!(benches, products, steps, ranking);
criterion_main!(benches);
