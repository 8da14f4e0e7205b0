//! How many dispatches a training step of ResNet-50 takes on a GPU.

use rand::{SeedableRng, rngs::StdRng};
use vista::Device;
use vista::autograd::{Observation, Tape};
use vista::device::GpuOptions;
use vista::nn::{Architecture, Mode, Module, ResNet, ResNetConfig, Stem};
use vista::optim::{OptimConfig, SgdConfig, ema_update};
use vista::tensor::Tensor;

/// Forward, backward, running statistics, SGD and the key encoder's average, the second step of two: in the first one
/// the parameters are not packed yet.
#[test]
fn a_training_step_of_resnet_50_takes_at_most_450_dispatches() {
    let device =
        Device::gpu_named(None, GpuOptions::default()).expect("a Vulkan, Metal or DirectX 12 device");
    let Device::Gpu(gpu) = &device else { unreachable!("a GPU was asked for") };
    let config = ResNetConfig {
        architecture: Architecture::Resnet50,
        width: 8,
        stem: Stem::Imagenet,
        zero_init: false,
    };
    let net = |seed| ResNet::new(&device, &mut StdRng::seed_from_u64(seed), &config).expect("network");
    let (query, key) = (net(1), net(2));
    let values: Vec<f32> = (0..2 * 64 * 64 * 3).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect();
    let images = Tensor::new(&device, [2, 64, 64, 3], &values).expect("images");
    let mut sgd = OptimConfig::Sgd(SgdConfig::default()).build();
    let mut step = || {
        let before = gpu.dispatches();
        ema_update(&key, &query, 0.99).expect("average");
        let tape = Tape::new(&device);
        let g = query.forward(&tape.constant(images.clone()), Mode::Train { splits: 1 }).expect("forward");
        let dy = Tensor::full(&device, g.shape(), 1.0).expect("gradient");
        let mut grads = tape.backward(&[(&g, dy)]).expect("backward");
        Observation::apply(&tape.take_observations()).expect("statistics");
        let flat = grads.pack(&query.trained()).expect("gradients").expect("gradients");
        sgd.step(&query.trained(), &grads, 0.1).expect("step");
        assert!(flat.to_vec().expect("values").iter().all(|d| d.is_finite()));
        gpu.dispatches() - before
    };
    let (_, count) = (step(), step());
    println!("{count} dispatches");
    assert!(count <= 450, "{count} dispatches");
}
