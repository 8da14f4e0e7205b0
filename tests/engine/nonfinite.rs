//! What an op makes of NaN and infinity: one of them at a place of an input or of the upstream gradient gives NaN, an
//! infinity or a number at the same elements of every output and gradient on the f64 reference, the CPU and the GPU.
//!
//! `VISTA_OPS=update,matmul` takes these ops alone; `--nocapture` prints the table; `VISTA_TABLE=FILE` writes what the
//! definition gives, for `tests/nonfinite/check.py` to compare with PyTorch.

use serde_json::{Value, json};
use std::fmt::Write;
use std::sync::OnceLock;
use vista::engine::autograd::Tape;
use vista::engine::device::{GpuOptions, Precision};
use vista::engine::ops::{
    AnyCase, BatchNorm, BilinearResize, Coefficients, Conv2d, ConvStatistics, Coordinates, CrossEntropy,
    Draw, Kernel, L2Normalize, Normalize, Op, Update, all_cases, relative_l2, run,
};
use vista::{Device, Shape, Tensor};

/// Rows of the table that are known to be wrong, as they are printed: `op/case input value place: device`.
const KNOWN: &[&str] = &[];

/// Ops that take other kernels on a real GPU than on a software driver, which runs them too.
const OF_REAL_GPUS: [&str; 7] =
    ["matmul", "conv2d", "norm_conv2d", "conv_statistics", "batch_norm", "coefficients", "normalize"];

/// Inputs so far apart that a factor may be 0 in f32 and not in f64: where the upstream gradient is infinite, the
/// gradient may be infinite or NaN, which it is in PyTorch too.
const OUT_OF_RANGE: [&str; 1] = ["smooth_ap/sharp"];

const VALUES: [(&str, f32); 4] =
    [("NaN", f32::NAN), ("inf", f32::INFINITY), ("-inf", f32::NEG_INFINITY), ("0.5", 0.5)];

fn gpu() -> &'static Device {
    static GPU: OnceLock<Device> = OnceLock::new();
    GPU.get_or_init(|| {
        Device::gpu_named(None, GpuOptions::default()).expect("a Vulkan, Metal or DirectX 12 device")
    })
}

/// Only the ops named in `VISTA_OPS` (all if unset).
fn cases() -> Vec<AnyCase> {
    let only = std::env::var("VISTA_OPS").unwrap_or_default();
    all_cases().into_iter().filter(|c| only.is_empty() || only.split(',').any(|o| o == c.op)).collect()
}

/// NaN, an infinity with its sign, or a number that f32 holds.
fn class(x: f64) -> char {
    match x as f32 {
        x if x.is_nan() => 'n',
        f32::INFINITY => '+',
        f32::NEG_INFINITY => '-',
        _ => '.',
    }
}

fn classes(values: &[f64]) -> String {
    values.iter().map(|&x| class(x)).collect()
}

/// How many of each class there are.
fn counts(classes: &str) -> String {
    let named = [('n', "NaN"), ('+', "inf"), ('-', "-inf"), ('.', "finite")];
    let counted = named.map(|(class, name)| (classes.matches(class).count(), name));
    let some: Vec<_> = counted.iter().filter(|c| c.0 > 0).map(|(n, name)| format!("{n} {name}")).collect();
    some.join(" ")
}

/// Whether Winograd's algorithm may be taken on a device: a NaN or an infinity spreads over its tile, and its sign is lost.
fn spreads(case: &AnyCase, device: &str) -> bool {
    let weight = case.inputs.get(1).map(|weight| &weight.shape[..]);
    let by_one = ["stride: [1, 1]", "stride: 1,"].iter().any(|stride| case.attributes.contains(stride));
    let applies = matches!(weight, Some([_, 3, 3, _])) && by_one;
    case.attributes.contains("algorithm: Some")
        || (applies && case.op.contains("conv") && device != "real gpu")
}

/// What differs from the definition, if anything does.
fn difference(
    case: &AnyCase,
    device: &str,
    expected: &[(String, Vec<f64>)],
    got: &[(String, Vec<f64>)],
) -> Option<String> {
    let mut text = String::new();
    for ((name, expected), (_, got)) in expected.iter().zip(got) {
        let (mut a, b) = (classes(expected), classes(got));
        if OUT_OF_RANGE.contains(&case.full_name().as_str()) && name.starts_with("grad") {
            let alike =
                |(a, b): (char, char)| if a != '.' && b != '.' && (a == 'n' || b == 'n') { b } else { a };
            a = a.chars().zip(b.chars()).map(alike).collect();
        }
        // What spreads must not vanish.
        if spreads(case, device) && a.contains(['n', '+', '-']) {
            if let Some(at) = a.chars().zip(b.chars()).position(|(a, b)| a != '.' && b == '.') {
                let _ = write!(text, " {name}: {} for {}, finite at {at};", counts(&b), counts(&a));
            }
        } else if a != b {
            let at = a.chars().zip(b.chars()).position(|(a, b)| a != b).expect("a difference");
            let _ = write!(text, " {name}: {} for {}, first at {at};", counts(&b), counts(&a));
            continue;
        }
        let both = || expected.iter().zip(got).filter(|(a, b)| class(**a) == '.' && class(**b) == '.');
        let (expected, got): (Vec<f64>, Vec<f64>) = both().map(|(a, b)| (*a, *b)).unzip();
        let error = relative_l2(&got, &expected);
        let chosen = case.attributes.contains("algorithm: Some");
        let loose = name.starts_with("grad") || (case.op.contains("conv") && !chosen);
        let bound = if loose { 1e-3 } else { 1e-4 };
        if error > bound {
            let _ = write!(text, " {name}: finite values off by {error:.0e};");
        }
    }
    (!text.is_empty()).then_some(text)
}

/// One row of the table: what is put in where.
struct Row<'a> {
    case: &'a AnyCase,
    name: String,
    values: Vec<Vec<f32>>,
    dy: Vec<f32>,
    input: usize,
    at: usize,
    put: f32,
}

/// Every place of a case where a value is put in: first, middle and last element of each input and of the upstream
/// gradient; a fraction only where whole numbers are expected.
fn rows(case: &AnyCase) -> Vec<Row<'_>> {
    let values = case.values(7);
    let value = case.evaluate_at(&Device::cpu(), &values, |n| vec![0.0; n]).expect("value");
    let dy = AnyCase::upstream(value[0].1.len(), 7);
    let mut rows = Vec::new();
    let with_gradient = case.op().is_some();
    for input in 0..values.len() + usize::from(with_gradient) {
        let whole = case
            .inputs
            .get(input)
            .is_some_and(|i| matches!(i.draw, Draw::Binary | Draw::Index(_) | Draw::Permutation));
        for (name, put) in VALUES.into_iter().filter(|v| whole || v.1 != 0.5) {
            let count = values.get(input).unwrap_or(&dy).len();
            if count == 0 {
                continue; // there is no place for it
            }
            let mut places = vec![("first", 0), ("middle", count / 2), ("last", count - 1)];
            places.dedup_by_key(|place| place.1);
            for (place, at) in places {
                let (mut values, mut dy) = (values.clone(), dy.clone());
                values.get_mut(input).unwrap_or(&mut dy)[at] = put;
                let into = if input < values.len() { format!("input{input}") } else { "dy".into() };
                let name = format!("{} {into} {name} {place}", case.full_name());
                rows.push(Row { case, name, values, dy, input, at, put });
            }
        }
    }
    rows
}

impl Row<'_> {
    fn on(&self, device: &Device) -> Vec<(String, Vec<f64>)> {
        let result = self.case.evaluate_at(device, &self.values, |_| self.dy.clone());
        result.unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    /// For the comparison with PyTorch.
    fn json(&self, expected: &[(String, Vec<f64>)]) -> Value {
        let outputs: Vec<_> = expected.iter().map(|(name, x)| json!([name, classes(x)])).collect();
        json!({"name": self.name, "input": self.input, "at": self.at, "value": self.put.to_string(), "outputs": outputs})
    }
}

/// A case before anything is put in, with its rows.
fn table(case: &AnyCase, rows: Vec<Value>) -> Value {
    let values = case.values(7);
    let value = case.evaluate_at(&Device::cpu(), &values, |n| vec![0.0; n]).expect("value");
    let shapes: Vec<_> = case.inputs.iter().map(|input| input.shape.to_vec()).collect();
    let dy = AnyCase::upstream(value[0].1.len(), 7);
    json!({"op": case.op, "attributes": case.attributes, "shapes": shapes, "values": values, "dy": dy, "rows": rows})
}

#[test]
fn nan_and_infinity_come_out_of_every_op_at_the_same_elements_on_every_device() {
    let reference = Device::reference();
    let cpu = Device::cpu();
    let options = GpuOptions { as_real: true, ..GpuOptions::default() };
    let real = Device::gpu_named(None, options).expect("device");
    let (mut wrong, mut count) = (Vec::new(), 0);
    let mut lines = String::new();
    for case in &cases() {
        let mut json = Vec::new();
        for row in rows(case) {
            count += 1;
            let expected = row.on(&reference);
            json.push(row.json(&expected));
            let summary: Vec<_> =
                expected.iter().map(|(name, x)| format!("{name} {}", counts(&classes(x)))).collect();
            println!("{}: {}", row.name, summary.join(", "));
            for (name, device) in [("cpu", &cpu), ("gpu", gpu()), ("real gpu", &real)] {
                if name == "real gpu" && !OF_REAL_GPUS.contains(&case.op) {
                    continue;
                }
                if let Some(difference) = difference(case, name, &expected, &row.on(device)) {
                    println!("  {name}:{difference}");
                    wrong.push(format!("{}: {name}", row.name));
                }
            }
        }
        let _ = writeln!(lines, "{}", table(case, json));
    }
    if let Ok(path) = std::env::var("VISTA_TABLE") {
        std::fs::write(path, lines).expect("the table");
    }
    println!("{count} rows, {} wrong on a device", wrong.len());
    let news: Vec<_> = wrong.iter().filter(|row| !KNOWN.contains(&row.as_str())).collect();
    let mended: Vec<_> = KNOWN.iter().filter(|row| !wrong.iter().any(|w| w == *row)).collect();
    let complete = std::env::var("VISTA_OPS").is_err();
    assert!(news.is_empty(), "not as the f64 definition: {news:#?}");
    assert!(mended.is_empty() || !complete, "as the f64 definition, take them off the list: {mended:#?}");
}

/// The f64 reference, the CPU and the GPU.
fn devices() -> [Device; 3] {
    [Device::reference(), Device::cpu(), gpu().clone()]
}

fn tensor(device: &Device, shape: impl Into<Shape>, values: &[f32]) -> Tensor {
    Tensor::new(device, shape, values).expect("tensor")
}

fn values<K: Kernel>(op: &K, x: &[&Tensor]) -> Vec<Vec<f32>> {
    run(op, x).expect("op").iter().map(|y| y.to_vec().expect("values")).collect()
}

#[test]
fn a_variance_over_the_range_of_f32_is_infinite_and_normalises_to_beta() {
    // The squared deviation of 1e20 is 1e40. As PyTorch's in f32; f64 holds it.
    for (channels, outlier) in [(4, 0), (4, 11), (5, 5), (5, 11)] {
        let column = |row: usize| if row == outlier { 1e20 } else { 1.0 + 0.01 * row as f32 };
        let x: Vec<f32> = (0..12 * channels).map(|i| column(i / channels)).collect();
        for device in devices() {
            let x = tensor(&device, [12, 1, 1, channels], &x);
            let gamma = tensor(&device, [channels], &vec![2.0; channels]);
            let beta = tensor(&device, [channels], &vec![0.5; channels]);
            let identity: Vec<f32> =
                (0..channels * channels).map(|i| f32::from(i / channels == i % channels)).collect();
            let identity = tensor(&device, [channels, 1, 1, channels], &identity);
            let by = Coefficients::Batch { groups: 1, eps: 1e-5 };
            let norm = BatchNorm { by, relu: false };
            let conv = ConvStatistics { conv: Conv2d::new(1, 0), by };
            let whole = values(&norm, &[&x, &gamma, &beta]);
            let apart = run(&conv, &[&x, &identity, &gamma, &beta]).expect("statistics");
            let normalised = values(&Normalize { relu: false }, &[&apart[0], &apart[1]]);
            let coefficients = apart[1].to_vec().expect("coefficients");
            let exact = matches!(&device, Device::Cpu(cpu) if cpu.precision == Precision::F64);
            for (y, stats) in [(&whole[0], &whole[1]), (&normalised[0], &coefficients)] {
                let name = device.name();
                assert!(
                    stats[..channels].iter().all(|m| (m / 8.333_333e18 - 1.0).abs() < 1e-5),
                    "{name}: {stats:?}"
                );
                assert!(
                    stats[channels..2 * channels].iter().all(|&v| v == f32::INFINITY),
                    "{name}: {stats:?}"
                );
                if exact {
                    let right = |(i, y): (usize, &f32)| {
                        (y - if i / channels == outlier { 7.1332 } else { -0.1030 }).abs() < 1e-3
                    };
                    assert!(y.iter().enumerate().all(right), "{name}: {y:?}");
                } else {
                    assert!(y.iter().all(|&y| y == 0.5), "{name}: {y:?}");
                }
            }
        }
    }
}

#[test]
fn rows_of_the_least_f32_have_the_softmax_of_equal_values() {
    for device in devices() {
        for least in [f32::MIN, -3.401e38] {
            let x = tensor(&device, [2, 3], &[least; 6]);
            let tape = Tape::inert(&device);
            let y = tape.constant(x.clone()).log_softmax().expect("rows");
            let y = y.value().to_vec().expect("values");
            assert!(y.iter().all(|y| (y + 3f32.ln()).abs() < 1e-6), "{}: {y:?}", device.name());
            let loss = values(&CrossEntropy::default(), &[&x, &tensor(&device, [2], &[0.0, 2.0])])[0][0];
            assert!((loss - 3f32.ln()).abs() < 1e-6, "{}: {loss}", device.name());
            let labels = tensor(&device, [2, 3], &[1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
            let loss = tape.constant(x).knn_softmax(&labels).expect("rows").value().item().expect("a value");
            assert!((loss - 3f32.ln()).abs() < 1e-6, "{}: {loss}", device.name());
        }
    }
}

#[test]
fn softmax_of_nan_and_infinity_and_its_logarithm_are_those_of_pytorch() {
    const INF: f32 = f32::INFINITY;
    for device in devices() {
        let x = [[1.0, f32::NAN, 2.0], [INF, 0.0, 1.0], [-INF, -INF, -INF], [0.0, -INF, 0.0]].concat();
        let tape = Tape::new(&device);
        let x = tape.leaf(tensor(&device, [4, 3], &x));
        let y = x.log_softmax().expect("rows");
        let dy = tensor(&device, [4, 3], &[1.0, 2.0, 3.0].repeat(4));
        let grads = y.backward_with(dy).expect("a gradient");
        let [y, dx] = [y.value(), grads.of(&x).expect("a gradient")].map(|t| t.to_f64().expect("values"));
        assert_eq!(classes(&y), "nnnnnnnnn.-.", "{}: {y:?}", device.name());
        assert_eq!(classes(&dx), "nnnnnnnnn...", "{}: {dx:?}", device.name());
        assert!(relative_l2(&dx[9..], &[-2.0, 2.0, 0.0]) < 1e-6, "{}: {dx:?}", device.name());
        let y = x.softmax().expect("rows");
        let dy = tensor(&device, [4, 3], &[1.0, 2.0, 3.0].repeat(4));
        let grads = y.backward_with(dy).expect("a gradient");
        let [y, dx] = [y.value(), grads.of(&x).expect("a gradient")].map(|t| t.to_f64().expect("values"));
        assert_eq!(classes(&y), "nnnnnnnnn...", "{}: {y:?}", device.name());
        assert_eq!(y[9..], [0.5, 0.0, 0.5], "{}", device.name());
        assert_eq!(classes(&dx), "nnnnnnnnn...", "{}: {dx:?}", device.name());
        assert!(relative_l2(&dx[9..], &[-0.5, 0.0, 0.5]) < 1e-6, "{}: {dx:?}", device.name());
    }
}

#[test]
fn rows_longer_than_the_largest_f32_get_unit_length() {
    for device in devices() {
        let x = tensor(&device, [2, 4], &[3e38, -3e38, 2.0, 0.0, f32::MAX, 0.0, 0.0, 1.0]);
        let y = values(&L2Normalize, &[&x]).swap_remove(0);
        let expected = [0.5f32.sqrt(), -0.5f32.sqrt(), 0.0, 0.0, 1.0, 0.0, 0.0, 0.0];
        assert!(y.iter().zip(expected).all(|(y, e)| (y - e).abs() < 1e-6), "{}: {y:?}", device.name());
    }
}

#[test]
fn adam_moves_by_its_rate_at_a_gradient_of_1e20() {
    let op = Update::Adam { lr: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, step: 1 };
    for device in devices() {
        let of = |value: f32| tensor(&device, [5], &[value; 5]);
        let [p, m, v] = &values(&op, &[&of(1.0), &of(1e20), &of(0.0), &of(0.0)])[..] else {
            panic!("three outputs")
        };
        let name = device.name();
        assert!(p.iter().all(|p| (p - 0.99).abs() < 1e-6), "{name}: {p:?}");
        assert!(
            m.iter().all(|m| (m / 1e19 - 1.0).abs() < 1e-5)
                && v.iter().all(|v| (v / 1e37 - 1.0).abs() < 1e-4),
            "{name}"
        );
    }
}

#[test]
fn a_resize_to_the_same_size_changes_no_bit() {
    let special = [-0.0, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 0.0, f32::MIN_POSITIVE];
    for (channels, coordinates) in [
        (3, Coordinates::HalfPixel),
        (4, Coordinates::HalfPixel),
        (3, Coordinates::AlignCorners),
        (4, Coordinates::AlignCorners),
    ] {
        let x: Vec<f32> = (0..2 * 3 * 5 * channels)
            .map(|i| if i % 2 == 0 { special[i / 2 % special.len()] } else { i as f32 })
            .collect();
        for device in devices() {
            let x_tensor = tensor(&device, [2, 3, 5, channels], &x);
            let op = BilinearResize { size: [3, 5], coordinates };
            let (y, saved) = op.forward(&[&x_tensor]).expect("forward");
            let y = y[0].to_vec().expect("values");
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&y), bits(&x), "{}", device.name());
            let dx = op.backward(&saved, &x_tensor, &[true]).expect("backward");
            assert_eq!(dx[0].as_ref().expect("dx").to_vec().expect("values"), x, "{}", device.name());
        }
    }
}
