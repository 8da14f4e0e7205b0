//! How many dispatches a training step of ResNet-50 takes on a GPU.

use vista::bench::{Plan, StepConfig};
use vista::nn::Architecture;

/// Forward, backward, running statistics, SGD and the key encoder's average.
#[test]
fn a_training_step_of_resnet_50_takes_at_most_450_dispatches() {
    let plan = Plan::of(StepConfig::new(Architecture::Resnet50, [64, 224])).expect("plan");
    let total = plan.phases.last().expect("total");
    assert!(total.dispatches <= 450, "{} dispatches", total.dispatches);
    assert!(total.ratio <= 1.3, "moves {} times the least bytes", total.ratio);
}
