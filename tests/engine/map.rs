//! Functions of each element: kinks, ties, NaN and infinity as PyTorch has them, on every device; sizes and shapes.

use std::sync::OnceLock;
use vista::engine::device::GpuOptions;
use vista::engine::ops::{Map, Op, run};
use vista::{Device, Shape, Tensor};

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

fn devices() -> [Device; 3] {
    static GPU: OnceLock<Device> = OnceLock::new();
    let gpu = GPU.get_or_init(|| Device::gpu_named(None, GpuOptions::default()).expect("a device"));
    [Device::reference(), Device::cpu(), gpu.clone()]
}

fn tensor(device: &Device, shape: impl Into<Shape>, values: &[f64]) -> Tensor {
    Tensor::from_f64(device, shape.into(), values).expect("a tensor")
}

/// Value and gradients for an upstream gradient of 1.
fn evaluate(op: Map, device: &Device, inputs: &[&[f64]]) -> Vec<Vec<f64>> {
    let x: Vec<Tensor> = inputs.iter().map(|x| tensor(device, [x.len()], x)).collect();
    let (y, saved) = op.forward(&x.iter().collect::<Vec<_>>()).expect("a value");
    let one = tensor(device, y[0].shape(), &vec![1.0; y[0].elements()]);
    let dx = op.backward(&saved, &one, &vec![true; x.len()]).expect("gradients");
    let all = y.iter().chain(dx.iter().flatten());
    all.map(|t| t.to_f64().expect("values")).collect()
}

fn same(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() < 1e-5 * b.abs()
}

#[test]
fn kinks_ties_nan_and_infinity_are_those_of_pytorch_on_every_device() {
    let x: &[f64] = &[0.0, -1.0, 2.0, INF, -INF, NAN, 90.0];
    let exp = [1.0, (-1f64).exp(), 2f64.exp(), INF, 0.0, NAN];
    let ln_2 = 2f64.ln();
    // One row a function: the value, the gradient, at each of x.
    let table: [(Map, [&[f64]; 2]); 8] = [
        (Map::Relu, [&[0.0, 0.0, 2.0, INF, 0.0, NAN], &[0.0, 0.0, 1.0, 1.0, 0.0, 1.0]]),
        (Map::Abs, [&[0.0, 1.0, 2.0, INF, INF, NAN], &[0.0, -1.0, 1.0, 1.0, -1.0, 0.0]]),
        (Map::Sqrt, [&[0.0, NAN, 2f64.sqrt(), INF, NAN, NAN], &[INF, NAN, 0.125f64.sqrt(), 0.0, NAN, NAN]]),
        (Map::Log, [&[-INF, NAN, ln_2, INF, NAN, NAN], &[INF, -1.0, 0.5, 0.0, 0.0, NAN]]),
        (Map::Exp, [&exp, &exp]),
        (Map::Clamp(-1.0, 2.0), [&[0.0, -1.0, 2.0, 2.0, -1.0, NAN], &[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]]),
        (
            Map::Sigmoid,
            [
                &[0.5, 0.268_941_421, 0.880_797_078, 1.0, 0.0, NAN, 1.0],
                &[0.25, 0.196_611_933, 0.104_993_585, 0.0, 0.0, NAN],
            ],
        ),
        (
            Map::Softplus,
            [
                &[ln_2, 0.313_261_688, 2.126_928_011, INF, 0.0, NAN, 90.0],
                &[0.5, 0.268_941_421, 0.880_797_078, 1.0, 0.0, NAN, 1.0],
            ],
        ),
    ];
    for device in devices() {
        for (op, expected) in &table {
            for (what, (got, expected)) in
                ["value", "gradient"].iter().zip(evaluate(*op, &device, &[x]).iter().zip(expected))
            {
                for ((x, got), expected) in x.iter().zip(got).zip(*expected) {
                    assert!(
                        same(*got, *expected),
                        "{}: {op:?} {what} at {x}: {got} for {expected}",
                        device.name()
                    );
                }
            }
        }
        let (a, b): ([f64; 6], [f64; 6]) = ([1.0, 2.0, 3.0, NAN, 0.0, INF], [1.0, 3.0, 2.0, 0.0, NAN, INF]);
        let of_larger = [[0.5, 0.0, 1.0, 1.0, 1.0, 0.5], [0.5, 1.0, 0.0, 1.0, 1.0, 0.5]];
        let [first, second] = of_larger;
        for (op, value, da, db) in [
            (Map::Max, [1.0, 3.0, 3.0, NAN, NAN, INF], first, second),
            (Map::Min, [1.0, 2.0, 2.0, NAN, NAN, INF], second, first),
        ] {
            for (got, expected) in evaluate(op, &device, &[&a, &b]).iter().zip([value, da, db]) {
                let alike = got.iter().zip(expected).all(|(got, expected)| same(*got, expected));
                assert!(alike, "{}: {op:?} {got:?} for {expected:?}", device.name());
            }
        }
    }
}

#[test]
fn more_elements_than_groups_in_one_dimension_meet_their_row_and_column() {
    let [_, cpu, gpu] = devices();
    let (rows, columns) = (4099, 4097); // over 65,535 workgroups of 256 elements
    let on = |device: &Device| {
        let a: Vec<f64> = (0..rows).map(|i| f64::from(i % 251)).collect();
        let b: Vec<f64> = (0..columns).map(|i| f64::from(i % 13)).collect();
        let (a, b) = (tensor(device, [rows as usize, 1], &a), tensor(device, [columns as usize], &b));
        let (y, saved) = Map::Mul.forward(&[&a, &b]).expect("products");
        let dx = Map::Mul.backward(&saved, &y[0], &[true, true]).expect("gradients");
        [y[0].to_vec(), dx[0].as_ref().unwrap().to_vec(), dx[1].as_ref().unwrap().to_vec()]
            .map(|values| values.expect("values"))
    };
    let ([y, da, db], [y_gpu, da_gpu, db_gpu]) = (on(&cpu), on(&gpu));
    assert!(y == y_gpu, "whole numbers are exact");
    for (got, expected) in da_gpu.iter().zip(&da).chain(db_gpu.iter().zip(&db)) {
        assert!((got - expected).abs() <= 1e-5 * expected.abs(), "{got} for {expected}");
    }
}

#[test]
fn shapes_are_lined_up_at_their_ends_and_what_does_not_fit_is_named() {
    let device = Device::cpu();
    let shape = |a: &[usize], b: &[usize]| {
        let tensors = [a, b].map(|shape| Tensor::full(&device, shape, 1.0).expect("a tensor"));
        run(&Map::Add, &[&tensors[0], &tensors[1]]).map(|y| y[0].shape().to_vec())
    };
    assert_eq!(shape(&[3, 1, 5], &[4, 1]).unwrap(), [3, 4, 5]);
    assert_eq!(shape(&[], &[2, 1]).unwrap(), [2, 1]);
    assert_eq!(shape(&[0, 3], &[1, 3]).unwrap(), [0, 3]);
    for (a, b) in [(&[3][..], &[2][..]), (&[2, 3], &[2, 1, 2]), (&[0], &[2])] {
        assert!(shape(a, b).unwrap_err().to_string().contains("dimensions must be equal or 1"));
    }
    let error = shape(&[2, 1, 2, 1, 2, 1], &[1, 2, 1, 2, 1, 2]).unwrap_err().to_string();
    assert!(error.contains("repeated in too many places"), "{error}");
}
