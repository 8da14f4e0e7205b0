//! Top-k where parity tests cannot look: NaN in the row, ties, infinities, and k that does not fit.

use std::collections::HashSet;
use vista::engine::device::GpuOptions;
use vista::engine::ops::{TopK, run};
use vista::{Device, Tensor};

fn devices() -> Vec<Device> {
    let gpu = Device::gpu_named(None, GpuOptions::default()).expect("a device");
    vec![Device::cpu(), Device::reference(), gpu]
}

fn top_k(device: &Device, k: usize, x: &[f32]) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let x = Tensor::new(device, [1, x.len()], x).expect("x");
    let y = run(&TopK { k, labels: true }, &[&x]).expect("top_k");
    (y[0].to_vec().expect("values"), y[1].to_vec().expect("indices"), y[2].to_vec().expect("labels"))
}

const NAN: f32 = f32::NAN;
const INF: f32 = f32::INFINITY;

#[test]
fn nan_ranks_below_minus_infinity_and_never_changes_the_count() {
    for device in devices() {
        let (_, indices, labels) = top_k(&device, 3, &[NAN, 1.0, -NAN, -INF, INF, NAN]);
        assert_eq!(indices, [4.0, 1.0, 3.0], "{}", device.name());
        assert_eq!(labels, [0.0, 1.0, 0.0, 1.0, 1.0, 0.0]);
        let (values, indices, labels) = top_k(&device, 4, &[NAN, 2.0, -NAN, NAN, NAN]);
        assert_eq!(indices, [1.0, 0.0, 2.0, 3.0], "{}", device.name());
        assert!(values[0] == 2.0 && values[1..].iter().all(|v| v.is_nan()));
        assert_eq!(labels, [1.0, 1.0, 1.0, 1.0, 0.0]);
        let (_, indices, _) = top_k(&device, 64, &[NAN; 1000]);
        assert!(indices.iter().enumerate().all(|(i, &index)| i as f32 == index), "{}", device.name());
    }
}

#[test]
fn ties_go_to_the_lowest_index_and_zeros_of_both_signs_tie() {
    for device in devices() {
        let (_, indices, _) = top_k(&device, 4, &[-1.0, -0.0, 0.0, 5.0, -0.0, 5.0]);
        assert_eq!(indices, [3.0, 5.0, 1.0, 2.0], "{}", device.name());
        // Equal values across the byte border of the index.
        let (_, indices, labels) = top_k(&device, 64, &[0.25; 777]);
        assert!(indices.iter().enumerate().all(|(i, &index)| i as f32 == index), "{}", device.name());
        assert_eq!(labels.iter().sum::<f32>(), 64.0);
    }
}

#[test]
fn subnormal_and_negative_values_are_ordered() {
    let x: Vec<f32> = (0..500).map(|i| -((i * 37 % 500) as f32) * 1e-3 - 1e-30).collect();
    for device in devices() {
        let (values, indices, _) = top_k(&device, 50, &x);
        assert!(values.windows(2).all(|v| v[0] > v[1]), "{}", device.name());
        let distinct: HashSet<u32> = indices.iter().map(|&i| i as u32).collect();
        assert_eq!(distinct.len(), 50);
        assert!(values.iter().zip(&indices).all(|(&v, &i)| x[i as usize] == v));
    }
}

#[test]
fn rows_beyond_one_binding_are_split() {
    let options = GpuOptions { max_binding: Some(64 * 100 * 4), ..Default::default() };
    let small = Device::gpu_named(None, options).expect("a device");
    let x: Vec<f32> = (0..150 * 100).map(|i| ((i * 7919) % 10_007) as f32).collect();
    let results = [Device::cpu(), small].map(|device| {
        let x = Tensor::new(&device, [150, 100], &x).expect("x");
        let y = run(&TopK { k: 7, labels: true }, &[&x]).expect("top_k");
        y.iter().map(|y| y.to_vec().expect("values")).collect::<Vec<_>>()
    });
    assert!(results[0] == results[1]);
}

#[test]
fn a_k_that_does_not_fit_is_an_error_that_says_what_does() {
    let x = Tensor::full(&Device::cpu(), [2, 100], 0.0).expect("x");
    for (k, advice) in [(0, "from 1 to 64"), (65, "from 1 to 64"), (200, "from 1 to 64")] {
        let error = run(&TopK { k, labels: false }, &[&x]).expect_err("k").to_string();
        assert!(error.contains(advice), "{error}");
    }
    let short = Tensor::full(&Device::cpu(), [2, 5], 0.0).expect("x");
    let error = run(&TopK { k: 6, labels: false }, &[&short]).expect_err("k").to_string();
    assert!(error.contains("from 1 to 5"), "{error}");
}
