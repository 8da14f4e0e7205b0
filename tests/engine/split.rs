//! Ops on an adapter that binds little at once: the same bits as in one piece.

use vista::engine::autograd::Tape;
use vista::engine::device::GpuOptions;
use vista::engine::ops::{
    AdaptiveAvgPool, AnyCase, BilinearResize, Concat, Coordinates, CrossEntropy, L2Normalize, Matmul,
    MaxPool, Op, Over, PsaMask, Reduce, Softmax, TopK, all_cases, relative_l2, run,
};
use vista::engine::tensor::Shape;
use vista::{Device, Tensor};

const SPLIT: [&str; 6] = ["map", "batch_norm", "gather_rows", "concat", "update", "half"];

fn open(max_binding: Option<u64>) -> Device {
    let options = GpuOptions { max_binding, ..Default::default() };
    Device::gpu_named(None, options).expect("a device")
}

#[test]
fn splitting_over_bindings_changes_no_bit() {
    // A little more than 64 rows of the widest case.
    let (whole, split) = (open(None), open(Some(9600)));
    // Of several matrices whose columns are summed each must fit a binding.
    let fits = |c: &AnyCase| c.full_name() != "map/in the middle";
    for case in
        all_cases().into_iter().filter(|c| SPLIT.contains(&c.op) && fits(c) && !c.name.starts_with("lars"))
    {
        let [a, b] = [&whole, &split].map(|device| case.evaluate(device, 17).expect("run"));
        assert!(a == b, "{}", case.full_name());
    }
}

#[test]
fn norms_of_a_split_tensor_have_the_same_bits() {
    let devices = [None, Some(1 << 16)].map(open);
    for case in all_cases().into_iter().filter(|c| c.name.starts_with("lars")) {
        let [a, b] = devices.each_ref().map(|device| case.evaluate(device, 17).expect("run"));
        assert!(a == b, "{}", case.full_name());
    }
}

/// Values in (-1, 1) that repeat after no short period.
fn tensor(device: &Device, shape: impl Into<Shape>, seed: usize) -> Tensor {
    let shape = shape.into();
    let value = |i: usize| ((i * 7919 + seed * 104_729 + 13) % 10_007) as f32 / 5003.5 - 1.0;
    Tensor::new(device, &shape, &(0..shape.elements()).map(value).collect::<Vec<_>>()).expect("a tensor")
}

/// Value and gradients of an op for a fixed upstream gradient.
fn evaluate(op: &dyn Op, device: &Device, shapes: &[Shape]) -> vista::Result<Vec<Vec<f64>>> {
    evaluate_some(op, device, shapes, &vec![true; shapes.len()])
}

/// Value and those gradients that are wanted.
fn evaluate_some(
    op: &dyn Op,
    device: &Device,
    shapes: &[Shape],
    wants: &[bool],
) -> vista::Result<Vec<Vec<f64>>> {
    let inputs: Vec<Tensor> = shapes.iter().enumerate().map(|(i, s)| tensor(device, s, i)).collect();
    let (y, saved) = op.forward(&inputs.iter().collect::<Vec<_>>())?;
    let dy = tensor(device, y[0].shape(), 7);
    let dx = op.backward(&saved, &dy, wants)?;
    y[..1].iter().chain(dx.iter().flatten()).map(Tensor::to_f64).collect()
}

#[test]
fn products_with_any_operand_over_one_binding_are_cut() {
    let gpu = |kib: usize, as_real, checked| {
        let options = GpuOptions { max_binding: Some((kib as u64) << 10), as_real, checked, cache: None };
        Device::gpu_named(None, options).expect("a device")
    };
    let tt = Matmul { trans_a: true, trans_b: true };
    // Rows, columns, steps: odd, whole vec4s; a queue, steps so long that blocks of them are cut into parts too.
    let small: &[[usize; 3]] = &[[70, 131, 45], [132, 72, 48]];
    let long: &[[usize; 3]] = &[[19, 4099, 36], [12, 8, 6004]];
    for (kib, as_real, checked, sizes) in
        [(4, false, false, &small[..1]), (4, true, true, small), (64, false, false, long)]
    {
        let device = gpu(kib, as_real, checked);
        for (op, [m, n, k]) in [Matmul::NN, Matmul::NT, Matmul::TN, tt]
            .iter()
            .flat_map(|op| sizes.iter().map(move |&size| (op, size)))
        {
            let a = Shape::from(if op.trans_a { [k, m] } else { [m, k] });
            let b = Shape::from(if op.trans_b { [n, k] } else { [k, n] });
            // The gradient of a bias takes 512 rows at once.
            let wants = [true, true, m.min(512) * 4 * n <= kib << 10];
            for shapes in [vec![a.clone(), b.clone()], vec![a, b, Shape::from([n])]] {
                let wants = &wants[..shapes.len()];
                let got = evaluate_some(op, &device, &shapes, wants).expect("cut");
                let expected = evaluate_some(op, &Device::reference(), &shapes, wants).expect("reference");
                for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
                    let error = relative_l2(got, expected);
                    assert!(
                        error < 1e-5,
                        "{op:?} of {m}, {n}, {k}: {error:.1e} in {i} ({kib} KiB, {as_real})"
                    );
                }
            }
        }
    }
}

#[test]
fn a_row_over_one_binding_is_an_error_that_names_both_sizes() {
    let shapes = [[2, 5000], [3, 5000]].map(Shape::from);
    let error = evaluate(&Matmul::NT, &open(Some(16 << 10)), &shapes).expect_err("too long").to_string();
    assert!(error.contains("matmul") && error.contains("16"), "{error}");
}

/// Value and gradient.
fn log_softmax(device: &Device, shape: &Shape) -> vista::Result<Vec<Vec<f64>>> {
    let tape = Tape::new(device);
    let x = tape.leaf(tensor(device, shape.clone(), 0));
    let y = x.log_softmax()?;
    let grads = y.backward_with(tensor(device, shape.clone(), 7))?;
    [y.value(), grads.of(&x).expect("a gradient")].map(Tensor::to_f64).into_iter().collect()
}

#[test]
fn rows_as_long_as_the_largest_queue_are_split_without_changing_a_bit() {
    // 64 rows of the longest fit.
    let devices = [None, Some(64 * 65_537 * 4)].map(open);
    let results = devices.each_ref().map(|device| {
        let wide = Shape::from([70, 65_537]);
        let mut all = Vec::new();
        all.extend(evaluate(&L2Normalize, device, std::slice::from_ref(&wide)).expect("rows"));
        all.extend(log_softmax(device, &wide).expect("rows"));
        all.extend(evaluate(&Softmax { log: false }, device, std::slice::from_ref(&wide)).expect("rows"));
        all.extend(
            evaluate(&Concat, device, &[Shape::from([70, 1]), Shape::from([70, 65_536])]).expect("concat"),
        );
        let labels = Tensor::new(device, [70], &[[0.0, 65_536.0]; 35].concat()).expect("labels");
        let logits = tensor(device, &wide, 3);
        let (y, saved) = CrossEntropy::default().forward(&[&logits, &labels]).expect("forward");
        let dx = CrossEntropy::default().backward(&saved, &y[0], &[true, false]).expect("backward");
        all.extend(y.iter().chain(dx.iter().flatten()).map(|t| t.to_f64().expect("values")));
        let similarities = tensor(device, [70, 65_536], 4);
        let best = run(&TopK { k: 20, labels: true }, &[&similarities]).expect("top_k");
        all.extend(best.iter().map(|t| t.to_f64().expect("values")));
        all
    });
    assert!(results[0] == results[1]);
    assert!(results[0].iter().all(|values| values.iter().all(|v| v.is_finite())));
}

#[test]
fn ops_on_maps_split_the_batch_where_a_binding_may_start() {
    let ops: [&dyn Op; 5] = [
        &MaxPool { kernel: [3, 3], stride: [2, 2], padding: [1, 1] },
        &Reduce { over: Over::Pixels, mean: true },
        &AdaptiveAvgPool { bins: [3, 2] },
        &BilinearResize { size: [5, 9], coordinates: Coordinates::AlignCorners },
        &PsaMask { mask: [2, 2], collect: false },
    ];
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

#[test]
fn pixels_are_split_without_changing_a_bit() {
    let results = [None, Some(1 << 12)].map(|max_binding| {
        let device = open(max_binding);
        let labels: Vec<f32> = (0..500).map(|i| [0.0, 2.0, 255.0, 1.0, 255.0][i % 5]).collect();
        let labels = Tensor::new(&device, [2, 10, 25], &labels).expect("labels");
        let op = CrossEntropy { ignore: Some(255) };
        let (y, saved) = op.forward(&[&tensor(&device, [2, 10, 25, 3], 3), &labels]).expect("forward");
        let dx = op.backward(&saved, &y[0], &[true, false]).expect("backward");
        y.iter().chain(dx.iter().flatten()).map(|t| t.to_f64().expect("values")).collect::<Vec<_>>()
    });
    assert!(results[0] == results[1]);
    assert_eq!(results[0][2][1], 300.0, "rows that count");
}
