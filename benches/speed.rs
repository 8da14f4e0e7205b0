//! `cargo bench`: every op at the shapes of a ResNet-18 on 16 images of 96 pixels, whole training steps, and the matrix
//! product beside the `gemm` crate's; on the CPU device. The names are those of `vista bench --test`.

use criterion::{Criterion, criterion_group, criterion_main};
use rand::{SeedableRng, rngs::StdRng};
use std::hint::black_box;
use vista::bench::Name;
use vista::engine::autograd::{Tape, Var};
use vista::engine::ops::Over;
use vista::engine::tensor::init;
use vista::{Device, Result, Tensor};

const OPS: &[&str] = &[
    // Stem, then a block of each stage: 3x3, the first 3x3 of a stage, its 1x1 shortcut.
    "conv:16,3,96,96,64,7,2,3",
    "convw:16,3,96,96,64,7,2,3",
    "conv:16,64,24,24,64,3,1,1",
    "convb:16,64,24,24,64,3,1,1",
    "conv:16,64,24,24,128,3,2,1",
    "convb:16,64,24,24,128,3,2,1",
    "conv:16,64,24,24,128,1,2,0",
    "convb:16,64,24,24,128,1,2,0",
    "conv:16,128,12,12,128,3,1,1",
    "convb:16,128,12,12,128,3,1,1",
    "conv:16,256,6,6,256,3,1,1",
    "convb:16,256,6,6,256,3,1,1",
    "conv:16,512,3,3,512,3,1,1",
    "convb:16,512,3,3,512,3,1,1",
    "batch_norm:16,48,48,64",
    "batch_normb:16,48,48,64",
    "batch_norm:16,3,3,512",
    "batch_normb:16,3,3,512",
    "max_pool:16,48,48,64",
    "max_poolb:16,48,48,64",
    // Projections, losses, queues.
    "matmul:512",
    "matmul:16,512,128",
    "l2_normalize:16,512",
    "l2_normalizeb:16,512",
    "cross_entropyb:16,4097",
    "smooth_ap:64,20,128",
    "queue:256,4096,256",
    "top_k:16,4096,20",
    // The largest parameter.
    "sgd:2359296",
    "ema:2359296",
    "views:500x375,224",
];

const STEPS: &[&str] = &["resnet18:16,96", "resnet18:32,32", "resnet50:16,96"];

fn by_name(c: &mut Criterion, group: &str, names: &[&str], samples: usize) {
    let device = Device::cpu();
    let mut group = c.benchmark_group(group);
    group.sample_size(samples);
    for name in names {
        let name = Name::parse(name).expect("a name of a test");
        group.bench_function(name.to_string(), |bench| {
            let mut workload = name.prepare(&device).expect("inputs");
            bench.iter(|| workload.run().expect("a run"));
        });
    }
    group.finish();
}

fn ops(c: &mut Criterion) {
    by_name(c, "op", OPS, 20);
}

fn steps(c: &mut Criterion) {
    by_name(c, "step", STEPS, 10);
}

/// `matmul:N` and `gemm:N`: C = A B of N x N matrices.
fn products(c: &mut Criterion) {
    const N: usize = 1024;
    by_name(c, "product", &["matmul:1024"], 20);
    let values = || init::normal(&mut StdRng::seed_from_u64(1), N * N, 1.0);
    let (a, b, mut y) = (values(), values(), vec![0.0f32; N * N]);
    c.bench_function("product/gemm:1024", |bench| {
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
        });
        black_box(&y);
    });
}

/// `fused/cross_entropy` and `composed/cross_entropy`: value and gradient of logits `[256, 16385]`, MoCo's batch against a
/// queue, by the fused op and by the functions that it stands for.
fn fused(c: &mut Criterion) {
    let shape @ [rows, columns] = [256, 16385];
    let device = Device::cpu();
    let tensor = |shape: &[usize], values: &[f32]| Tensor::new(&device, shape, values).expect("tensor");
    let logits = tensor(&shape, &init::normal(&mut StdRng::seed_from_u64(1), rows * columns, 1.0));
    let labels = tensor(&[rows], &vec![0.0; rows]);
    let one_hot = (0..rows * columns).map(|at| f32::from(at.is_multiple_of(columns))).collect::<Vec<_>>();
    let one_hot = tensor(&shape, &one_hot);
    let mut bench = |name: &str, loss: &dyn for<'t> Fn(&Var<'t>) -> Result<Var<'t>>| {
        c.bench_function(name, |bench| {
            bench.iter(|| {
                let tape = Tape::new(&device);
                loss(&tape.leaf(logits.clone())).and_then(|loss| loss.backward()).expect("a loss")
            });
        });
    };
    bench("fused/cross_entropy", &|x| x.cross_entropy(&labels));
    bench("composed/cross_entropy", &|x| {
        let log_p = x.log_softmax()?.mul(&x.tape().constant(one_hot.clone()))?;
        log_p.sum(Over::Row)?.mean(Over::All)?.scale(-1.0)
    });
}

criterion_group!(benches, ops, products, fused, steps);
criterion_main!(benches);
