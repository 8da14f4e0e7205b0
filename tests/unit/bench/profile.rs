use super::*;
use crate::engine::device::{Events, KernelRun, OpRun};
use crate::engine::nn::Architecture;

#[test]
fn the_shares_of_a_step_on_the_cpu_add_up_to_one_and_its_ops_to_less_than_the_step() {
    let device = Device::cpu();
    let profile =
        Profile::of(&device, StepConfig::new(Architecture::Resnet18, [2, 32]), [0, 2]).expect("profile");
    assert!(profile.is_timed() && profile.gflops > 0.0 && profile.peak_tensor_bytes > 4 * 11_000_000);
    let shares: f64 = profile.ops.iter().filter_map(|op| op.share).sum();
    assert!((shares - 1.0).abs() < 1e-9, "{shares}");
    let calls = |name: &str| profile.ops.iter().find(|op| op.op == name).map(|op| op.calls.round());
    assert_eq!(calls("conv_statistics"), Some(20.0));
    assert_eq!(calls("normalize"), Some(12.0));
    assert_eq!(calls("batch_norm backward"), Some(12.0));
    assert_eq!(calls("norm_conv2d backward"), Some(8.0));
    assert_eq!(calls("update"), Some(61.0), "on the CPU one parameter at a time, and the running statistics");
    assert!(device.take_trace().expect("trace").ops.is_empty(), "the trace is off");
}

#[test]
fn on_a_gpu_an_op_takes_the_time_of_its_kernels() {
    let op = |op| OpRun { op, backward: false, work: 3, bytes: 8, milliseconds: None };
    let kernel = |op, milliseconds| {
        let (shader, entry, constants) = ("a", "b", Vec::new());
        KernelRun { shader, entry, constants, op: Some(op), bytes: 4, milliseconds }
    };
    let events = Events {
        ops: vec![op("sum"), op("product"), op("product"), op("nothing")],
        kernels: vec![kernel(0, Some(1.0)), kernel(1, Some(2.0)), kernel(1, Some(3.0)), kernel(2, Some(4.0))],
        reads: Vec::new(),
    };
    let rows = by_op(&events, 1.0);
    let product = &rows[0];
    assert_eq!((product.op.as_str(), product.milliseconds, product.share), ("product", Some(9.0), Some(0.9)));
    assert_eq!((product.calls, product.flops, product.least_bytes), (2.0, 12.0, 16.0));
    assert!(rows.iter().any(|row| row.op == "nothing" && row.milliseconds.is_none()));
}
