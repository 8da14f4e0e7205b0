//! Ops on an adapter that binds little at once: the same bits as in one piece.

use vista::device::GpuOptions;
use vista::ops::{AvgPool, MaxPool, Op, all_cases};
use vista::{Device, Tensor};

const SPLIT: [&str; 7] = ["elementwise", "batch_norm", "gather_rows", "concat", "sgd", "adam", "ema"];

fn open(max_binding: Option<u64>) -> Device {
    let options = GpuOptions { max_binding, ..Default::default() };
    Device::gpu_named(None, options).expect("a device")
}

#[test]
fn splitting_over_bindings_changes_no_bit() {
    // 64 rows of the widest case.
    let (whole, split) = (open(None), open(Some(9000)));
    for case in all_cases().into_iter().filter(|c| SPLIT.contains(&c.op)) {
        let [a, b] = [&whole, &split].map(|device| case.evaluate(device, 17).expect("run"));
        assert!(a == b, "{}", case.full_name());
    }
}

#[test]
fn norms_of_a_split_tensor_have_the_same_bits() {
    let devices = [None, Some(1 << 16)].map(open);
    for case in all_cases().into_iter().filter(|c| c.op == "lars") {
        let [a, b] = devices.each_ref().map(|device| case.evaluate(device, 17).expect("run"));
        assert!(a == b, "{}", case.full_name());
    }
}

#[test]
fn pooling_splits_the_batch_where_a_binding_may_start() {
    let pool = MaxPool { kernel: [3, 3], stride: [2, 2], padding: [1, 1] };
    let ops: [&dyn Op; 2] = [&pool, &AvgPool];
    // 1 KiB an image; 16 images are the fewest whose average starts on a multiple of 64 elements.
    let values: Vec<f32> = (0..40 * 256).map(|i| (i * 7919 % 10_007) as f32 / 64.0).collect();
    for op in ops {
        let [a, b] = [None, Some(1 << 14)].map(|max_binding| {
            let x = Tensor::new(&open(max_binding), [40, 8, 8, 4], &values).expect("x");
            let (y, saved) = op.forward(&[&x]).expect("forward");
            let dx = op.backward(&saved, &y[0], &[true]).expect("backward").remove(0).expect("wanted");
            (y[0].to_vec().expect("y"), dx.to_vec().expect("dx"))
        });
        assert!(a == b, "{}", op.name());
    }
}
