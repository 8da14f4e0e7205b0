//! How many dispatches a training step of ResNet-50 takes on a GPU.

use vista::bench::{Plan, StepConfig};
use vista::engine::nn::Architecture;

/// Forward, backward, running statistics, SGD and the key encoder's average.
#[test]
fn a_training_step_of_resnet_50_takes_the_dispatches_and_bytes_that_are_claimed() {
    let plan = Plan::of(StepConfig::new(Architecture::Resnet50, [64, 224])).expect("plan");
    let total = plan.phases.last().expect("total");
    // What the README says.
    assert!(total.dispatches <= 420, "{} dispatches", total.dispatches);
    assert!(total.moved_bytes <= 48_100_000_000, "moves {} bytes", total.moved_bytes);
    assert!(total.ratio <= 1.22, "moves {} times the least bytes", total.ratio);
    let backward = plan.phases.iter().find(|phase| phase.phase == "backward").expect("backward");
    let kernels = || backward.ops.iter().flat_map(|op| &op.kernels);
    let added: usize = kernels().filter(|k| k.kernel == "conv2d/tiled_add").map(|k| k.dispatches).sum();
    assert_eq!(added, 16, "each block's gradients meet in a convolution's");
}
