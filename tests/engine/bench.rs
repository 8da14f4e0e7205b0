//! A plan counts what a GPU does: the same kernels, the same bytes, the same memory.

use vista::Device;
use vista::bench::{StepConfig, TrainingStep};
use vista::engine::device::{Events, GpuOptions, KernelRun};
use vista::engine::nn::Architecture;

/// The second step of a tiny ResNet-18, and the most bytes of tensors in use.
fn traced(device: &Device) -> (Events, u64) {
    let mut step = TrainingStep::new(
        device,
        StepConfig { width: 4, ..StepConfig::new(Architecture::Resnet18, [2, 32]) },
    )
    .expect("network");
    step.run(|_| Ok(())).expect("first step");
    device.start_trace();
    step.run(|_| Ok(())).expect("second step");
    let events = device.take_trace().expect("trace");
    device.stop_trace();
    (events, device.usage().1)
}

#[test]
fn a_plan_records_the_kernels_that_a_gpu_runs() {
    // A software driver with the tilings of a GPU.
    let options = GpuOptions { as_real: true, ..Default::default() };
    let gpu = Device::gpu_named(None, options).expect("a Vulkan, Metal or DirectX 12 device");
    let (mut run, run_bytes) = traced(&gpu);
    let (planned, planned_bytes) = traced(&Device::plan());
    let timed = run.kernels.iter().filter(|kernel| kernel.milliseconds.is_some()).count();
    assert!([0, run.kernels.len()].contains(&timed), "{timed} of {} kernels are timed", run.kernels.len());
    run.kernels.iter_mut().for_each(|kernel: &mut KernelRun| kernel.milliseconds = None);
    assert!(planned.kernels.len() > 100);
    assert_eq!(planned.ops, run.ops);
    assert_eq!(planned.kernels, run.kernels);
    assert_eq!(planned_bytes, run_bytes);
}

#[test]
fn a_plan_has_no_values_and_gives_zeros_for_them() {
    let x = vista::Tensor::new(&Device::plan(), [2], &[1.0, 2.0]).expect("a tensor");
    assert_eq!(x.to_vec().expect("zeros"), [0.0, 0.0]);
}

#[test]
fn a_trace_that_has_ended_notes_nothing() {
    let device = Device::cpu();
    let (events, _) = traced(&device);
    assert!(events.kernels.is_empty() && events.ops.iter().all(|op| op.milliseconds.is_some()));
    let x = vista::Tensor::new(&device, [2, 2], &[1.0; 4]).expect("a tensor");
    vista::engine::ops::run(&vista::engine::ops::Matmul::NN, &[&x, &x]).expect("a product");
    assert_eq!(device.take_trace().expect("trace"), Events::default());
}
