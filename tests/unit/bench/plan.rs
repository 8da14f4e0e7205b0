use super::*;
use crate::engine::nn::Architecture;

/// A ResNet-18 of width 4 on two images of 32 pixels: sides 16, 8 (pooled and first stage), 4, 2, 1.
fn tiny() -> Plan {
    Plan::of(StepConfig { width: 4, ..StepConfig::new(Architecture::Resnet18, [2, 32]) }).expect("plan")
}

fn phase<'a>(plan: &'a Plan, name: &str) -> &'a PhaseRow {
    plan.phases.iter().find(|phase| phase.phase == name).expect(name)
}

fn op<'a>(phase: &'a PhaseRow, name: &str) -> &'a OpRow {
    phase.ops.iter().find(|op| op.op == name).expect(name)
}

#[test]
fn flops_are_those_counted_by_hand() {
    let plan = tiny();
    let stem = 2 * 16 * 16 * 4 * (7 * 7 * 3);
    let first = 4 * 2 * 8 * 8 * 4 * (9 * 4);
    // The others halve the side and double the channels: a convolution of half the depth, three, a 1x1 shortcut.
    let other = 2 * 4 * 4 * 8 * (9 * 4 + 3 * 9 * 8 + 4);
    let forward = stem + first + 3 * other;
    assert_eq!(phase(&plan, "forward").flops, 2 * forward);
    assert_eq!(phase(&plan, "backward").flops, 2 * (2 * forward - stem));
    assert_eq!(phase(&plan, "total").flops, 2 * (3 * forward - stem));
}

#[test]
fn bytes_and_dispatches_are_those_counted_by_hand() {
    let plan = tiny();
    // Weights of the stem and of each stage, then gamma and beta of its batch norms, each but the last packed to a
    // multiple of 64.
    let channels = 4 + 4 * 4 + 5 * (8 + 16 + 32);
    let packed = |elements: u64| elements.next_multiple_of(64);
    let stage = |s: u64| packed(288 * s) + 3 * packed(576 * s) + packed(32 * s);
    let weights = packed(588) + 4 * packed(144) + stage(1) + stage(4) + stage(16);
    let norms = 2 * 20 * packed(4);
    let parameters = weights + norms - (64 - 32);
    let row = |name| {
        let row = phase(&plan, name);
        (row.least_bytes, row.moved_bytes)
    };
    assert_eq!(row("sgd"), (5 * 4 * parameters, 5 * 4 * parameters), "reads p, g, buffer; writes p, buffer");
    assert_eq!(row("ema"), (3 * 4 * parameters, 3 * 4 * parameters));
    // Reads and writes packed statistics, the last of 32 channels, and reads those of the batch; six norms to a dispatch.
    let (least, moved) = row("statistics");
    assert_eq!(least, 4 * (2 * (norms - 32) + 2 * channels));
    assert!(moved >= least && phase(&plan, "statistics").dispatches == 4);

    let forward = phase(&plan, "forward");
    let pool = op(forward, "max_pool");
    let (input, output) = (2 * 16 * 16 * 4, 2 * 8 * 8 * 4);
    assert_eq!((pool.calls, pool.dispatches), (1, 1));
    assert_eq!((pool.least_bytes, pool.moved_bytes), (4 * (input + 2 * output), 4 * (input + 2 * output)));
    // Of each convolution: x, weights, gamma, beta, four vectors of its output's channels and, behind a block's first
    // convolution, of its input's, and what it writes.
    let [a, b, c, d] = [8 * 8 * 4, 4 * 4 * 8, 2 * 2 * 16, 32];
    let inputs = 2 * (32 * 32 * 3 + 4 * a + (2 * a + 3 * b) + (2 * b + 3 * c) + (2 * c + 3 * d));
    let exact = 588 + 4 * 144 + (288 + 3 * 576 + 32) * (1 + 4 + 16);
    let outputs = input + 2 * (4 * a + 5 * (b + c + d));
    let inner = 2 * (4 + 8 + 16 + 32);
    let conv = op(forward, "conv_statistics");
    let least = inputs + exact + 6 * channels + 4 * inner + outputs;
    assert_eq!((conv.calls, conv.least_bytes), (20, 4 * least));
    assert!(conv.moved_bytes >= conv.least_bytes && conv.dispatches >= 20);
    // Of the norms that are not the next convolution's: x, four vectors, y, and the residuals of eight blocks.
    let normed = input + 2 * (2 * a + 3 * (b + c + d));
    let residuals = 2 * 2 * (a + b + c + d);
    let norm = op(forward, "normalize");
    let least = 2 * normed + 4 * (channels - inner) + residuals;
    assert_eq!((norm.calls, norm.least_bytes), (12, 4 * least));
    assert_eq!(norm.moved_bytes, norm.least_bytes);
    let backward = phase(&plan, "backward");
    assert_eq!(op(backward, "conv2d backward").calls, 12);
    assert_eq!(op(backward, "norm_conv2d backward").calls, 8);
}

#[test]
fn the_total_is_the_sum_of_the_phases_and_a_phase_that_of_its_kernels() {
    let plan = tiny();
    let (total, phases) = plan.phases.split_last().expect("phases");
    assert_eq!(
        phases.iter().map(|p| p.phase.as_str()).collect::<Vec<_>>(),
        ["forward", "backward", "statistics", "sgd", "ema"]
    );
    assert_eq!(total.dispatches, phases.iter().map(|p| p.dispatches).sum::<usize>());
    assert_eq!(total.moved_bytes, phases.iter().map(|p| p.moved_bytes).sum::<u64>());
    for phase in phases {
        let kernels = || phase.ops.iter().flat_map(|op| &op.kernels);
        assert_eq!(phase.dispatches, kernels().map(|kernel| kernel.dispatches).sum::<usize>());
        assert_eq!(phase.moved_bytes, kernels().map(|kernel| kernel.moved_bytes).sum::<u64>());
        assert!(phase.dispatches > 0 && phase.ratio > 0.5, "{}", phase.phase);
    }
}

#[test]
fn a_step_of_five_gigabytes_is_planned_without_them() {
    let plan = Plan::of(StepConfig::new(Architecture::Resnet50, [64, 224])).expect("plan");
    assert!(plan.peak_tensor_bytes > 5_000_000_000);
    // 4.09 billion multiply-adds an image are the usual figure of a ResNet-50.
    let forward = phase(&plan, "forward").flops as f64 / 2.0 / 64.0;
    assert!((forward / 4.09e9 - 1.0).abs() < 0.01, "{forward}");
    if let Some(held) = crate::bench::peak_resident() {
        assert!(held < 3_000_000_000, "the tests hold {held} bytes");
    }
}
