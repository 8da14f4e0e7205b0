//! Ops on an adapter that binds little at once: the same bits as in one piece.

use vista::Device;
use vista::device::GpuOptions;
use vista::ops::all_cases;

const SPLIT: [&str; 6] = ["elementwise", "gather_rows", "concat", "sgd", "adam", "ema"];

#[test]
fn splitting_over_bindings_changes_no_bit() {
    let open = |max_binding| {
        let options = GpuOptions { max_binding, ..Default::default() };
        Device::gpu_named(None, options).expect("a device")
    };
    // 64 rows of the widest case.
    let (whole, split) = (open(None), open(Some(9000)));
    for case in all_cases().into_iter().filter(|c| SPLIT.contains(&c.op)) {
        let [a, b] = [&whole, &split].map(|device| case.evaluate(device, 17).expect("run"));
        assert!(a == b, "{}", case.full_name());
    }
}
