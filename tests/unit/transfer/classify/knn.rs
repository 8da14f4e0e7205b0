use super::*;
use crate::engine::device::GpuOptions;

fn labelled(values: &[f32], labels: &[usize]) -> Features {
    Features { values: values.to_vec(), labels: labels.to_vec() }
}

#[test]
fn one_neighbour_is_the_most_similar_whatever_its_length() {
    let train = labelled(&[100.0, 0.0, 0.0, 0.01, 3.0, 3.0], &[0, 1, 2]);
    let test = labelled(&[0.1, 7.0, 2.0, 1.9, 5.0, -1.0], &[1, 2, 2]);
    let votes = Knn { k: 1, tau: 0.07 }.classify(&Device::cpu(), &train, &test).expect("votes");
    assert_eq!(votes.predicted, [1, 2, 0]);
    assert!((votes.top1 - 2.0 / 3.0).abs() < 1e-12 && (votes.balanced - 0.75).abs() < 1e-12);
}

#[test]
fn a_small_temperature_never_overflows_and_votes_sum_to_one() {
    let train = labelled(&[1.0, 0.0, 0.9, 0.1, 0.0, 1.0], &[0, 1, 1]);
    let test = labelled(&[1.0, 0.0], &[0]);
    let votes = Knn { k: 3, tau: 1e-4 }.classify(&Device::cpu(), &train, &test).expect("votes");
    assert_eq!(votes.predicted, [0]);
    assert!((votes.votes.iter().sum::<f32>() - 1.0).abs() < 1e-6);
}

#[test]
fn left_out_of_its_own_neighbours_an_image_is_judged_as_if_it_were_the_only_test_image() {
    let mut rng = crate::rng::KeyedRng::new("rows", 0, [0; 3]);
    let features: Vec<f32> = (0..3 * 41).map(|_| rng.below(2001) as f32 - 1000.0).collect();
    let labels: Vec<usize> = (0..41).map(|_| rng.below(4) as usize).collect();
    for knn in [Knn { k: 1, tau: 0.07 }, Knn { k: 5, tau: 0.1 }, Knn { k: 40, tau: 1.0 }] {
        let all = knn.leave_one_out(&Device::cpu(), &labelled(&features, &labels)).expect("votes");
        let mut right = 0;
        for i in 0..41 {
            let rest: Vec<f32> = [&features[..3 * i], &features[3 * i + 3..]].concat();
            let known: Vec<usize> = [&labels[..i], &labels[i + 1..]].concat();
            let one = labelled(&features[3 * i..][..3], &labels[i..=i]);
            let alone = knn.classify(&Device::cpu(), &labelled(&rest, &known), &one).expect("votes");
            assert_eq!(all.predicted[i], alone.predicted[0], "{knn:?}, image {i}");
            right += usize::from(alone.predicted[0] == labels[i]);
        }
        let top1 = right as f64 / 41.0;
        assert_eq!(all.top1, top1);
        assert!((all.error - (top1 * (1.0 - top1) / 41.0).sqrt()).abs() < 1e-12, "{all:?}");
    }
}

#[test]
fn what_does_not_fit_is_an_error_that_says_what_does() {
    let train = labelled(&[1.0, 0.0, 0.0, 1.0], &[0, 1]);
    let test = labelled(&[1.0, 0.0], &[0]);
    let message = |knn: Knn, train: &Features, test: &Features| {
        knn.classify(&Device::cpu(), train, test).expect_err("error").to_string()
    };
    assert!(message(Knn { k: 3, tau: 0.07 }, &train, &test).contains("from 1 to 2"));
    assert!(message(Knn { k: 1, tau: 0.0 }, &train, &test).contains("above 0"));
    assert!(message(Knn::default(), &train, &labelled(&[1.0; 3], &[0])).contains("3 per test image"));
    assert!(message(Knn::default(), &labelled(&[], &[]), &test).contains("at least one image"));
    let broken = labelled(&[1.0, f32::NAN, 0.0, 1.0], &[0, 1]);
    assert!(message(Knn { k: 1, tau: 0.07 }, &broken, &test).contains("image 0"));
    let alone =
        |knn: Knn, all: &Features| knn.leave_one_out(&Device::cpu(), all).expect_err("error").to_string();
    assert!(alone(Knn { k: 2, tau: 0.07 }, &train).contains("from 1 to 1"));
    assert!(alone(Knn::default(), &labelled(&[], &[])).contains("at least one image"));
}

/// Features around a centre for each class, none of them at the origin.
fn clouds(count: usize, width: usize) -> Features {
    let mut rng = crate::rng::KeyedRng::new("clouds", 0, [0; 3]);
    let labels: Vec<usize> = (0..count).map(|i| i % 5).collect();
    let near = |i: usize, c: usize| f64::from(u8::from(c % 5 == i % 5)) + 0.5;
    let values = (0..count * width).map(|at| (near(at / width, at % width) + rng.normal()) as f32).collect();
    Features { values, labels }
}

#[test]
fn votes_of_a_gpu_are_those_of_the_cpu_and_are_found_there() {
    let gpu = Device::gpu_named(None, GpuOptions::default()).expect("a GPU");
    let (train, test) = (clouds(150, 33), clouds(40, 33));
    // 64 and more neighbours are more than one of its kernels finds.
    for k in [1, 20, 64, 100] {
        let knn = Knn { k, tau: 0.07 };
        let judge = |device: &Device| {
            let all = knn.leave_one_out(device, &train).expect("votes");
            [knn.classify(device, &train, &test).expect("votes"), all]
        };
        gpu.start_trace();
        let found = judge(&gpu);
        let kernels = gpu.take_trace().expect("trace").kernels;
        gpu.stop_trace();
        for (found, expected) in found.iter().zip(judge(&Device::cpu())) {
            assert_eq!((&found.predicted, found.top1), (&expected.predicted, expected.top1), "k = {k}");
            let off = found
                .votes
                .iter()
                .zip(&expected.votes)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, |m: f32, e: f32| if e > m || e.is_nan() { e } else { m });
            assert!(off < 1e-4, "k = {k}: votes are off by {off}");
        }
        let of = |shader: &str| kernels.iter().filter(|kernel| kernel.shader == shader).count();
        assert_eq!(
            (of("matmul"), of("top_k")),
            (2, if k < 64 { 2 } else { usize::from(k == 64) }),
            "k = {k}"
        );
    }
}
