use super::{SmoothAp, exact_ap};
use crate::engine::autograd::Tape;
use crate::engine::device::GpuOptions;
use crate::engine::ops::{Op, relative_l2, run};
use crate::{Device, Tensor};
use rand::{RngExt, SeedableRng, rngs::StdRng};

fn devices() -> [Device; 3] {
    [Device::reference(), Device::cpu(), Device::gpu_named(None, GpuOptions::default()).unwrap()]
}

fn similarities(n: usize) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(n as u64);
    (0..n * n).map(|_| rng.random_range(-1.0f32..1.0)).collect()
}

/// AP of query q by the definition, term by term.
fn naive_ap(s: &[f64], q: usize, views: usize, tau: f64) -> f64 {
    let same = |j: usize| j / views == q / views;
    let positives: Vec<usize> = (0..s.len()).filter(|&j| same(j) && j != q).collect();
    let rank = |i: usize, set: &dyn Fn(usize) -> bool| {
        let others = (0..s.len()).filter(|&j| j != q && j != i && set(j));
        1.0 + others.map(|j| 1.0 / (1.0 + (-(s[j] - s[i]) / tau).exp())).sum::<f64>()
    };
    positives.iter().map(|&i| rank(i, &same) / rank(i, &|_| true)).sum::<f64>() / positives.len() as f64
}

#[test]
fn value_and_gradient_agree_with_a_naive_cubic_loop() {
    let devices = devices();
    for (images, views, tau) in [(2, 2, 0.05f32), (3, 4, 0.01), (5, 3, 0.1), (8, 5, 0.05)] {
        let n = images * views;
        let s = similarities(n);
        let tau64 = f64::from(tau);
        let (mut expected, mut gradient) = (Vec::new(), Vec::new());
        for q in 0..n {
            let mut row: Vec<f64> = s[q * n..][..n].iter().map(|&v| f64::from(v)).collect();
            expected.push(naive_ap(&row, q, views, tau64));
            for j in 0..n {
                let h = 1e-5 * tau64;
                let at = row[j];
                row[j] = at + h;
                let above = naive_ap(&row, q, views, tau64);
                row[j] = at - h;
                let below = naive_ap(&row, q, views, tau64);
                row[j] = at;
                gradient.push(-(above - below) / (2.0 * h * n as f64));
            }
        }
        let loss = 1.0 - expected.iter().sum::<f64>() / n as f64;
        for device in &devices {
            let what = format!("{images} images of {views} views on {}", device.name());
            let s = Tensor::new(device, [n, n], &s).unwrap();
            let (y, saved) = SmoothAp { views, tau }.forward(&[&s]).unwrap();
            assert!((f64::from(y[0].item().unwrap()) - loss).abs() < 1e-5, "{what}");
            for (ap, expected) in y[1].to_f64().unwrap().iter().zip(&expected) {
                assert!((ap - expected).abs() < 1e-5, "{what}: {ap} instead of {expected}");
            }
            let one = Tensor::full(device, [], 1.0).unwrap();
            let ds = SmoothAp { views, tau }.backward(&saved, &one, &[true]).unwrap();
            let error = relative_l2(&ds[0].as_ref().unwrap().to_f64().unwrap(), &gradient);
            assert!(error < 1e-4, "{what}: gradient off by {error:.1e}");
        }
    }
}

#[test]
fn equal_similarities_give_one_over_the_number_of_images() {
    for device in devices() {
        for (images, views) in [(1, 4), (2, 2), (7, 5), (40, 8)] {
            let n = images * views;
            let s = Tensor::full(&device, [n, n], 0.7).unwrap();
            let y = run(&SmoothAp { views, tau: 0.01 }, &[&s]).unwrap();
            for ap in y[1].to_vec().unwrap() {
                assert!((ap - 1.0 / images as f32).abs() < 1e-7, "{ap} on {}", device.name());
            }
            let equal = exact_ap(&s.to_vec().unwrap(), n, views).unwrap();
            assert!(equal.iter().all(|&ap| ap == 1.0), "ties count as not above");
        }
    }
}

#[test]
fn smooth_ap_tends_to_exact_ap_as_tau_falls() {
    let (images, views) = (6, 4);
    let n = images * views;
    // Steps of 1/64, so that no two similarities of a query are near each other.
    let s: Vec<f32> =
        (0..n * n).map(|i| ((i % n * 7 + i / n * 5) % 32) as f32 / 64.0 + (i % n) as f32 / 4096.0).collect();
    let exact = exact_ap(&s, n, views).unwrap();
    for device in devices() {
        let s = Tensor::new(&device, [n, n], &s).unwrap();
        let furthest = |tau| {
            let y = run(&SmoothAp { views, tau }, &[&s]).unwrap();
            let ap = y[1].to_vec().unwrap();
            ap.iter()
                .zip(&exact)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, |m: f32, e: f32| if e > m || e.is_nan() { e } else { m })
        };
        assert!(furthest(0.1) > 0.05);
        assert!(furthest(1e-5) < 1e-6);
    }
}

#[test]
fn a_single_image_is_ranked_perfectly_and_has_no_gradient() {
    for device in devices() {
        let tape = Tape::new(&device);
        let s = tape.leaf(Tensor::new(&device, [4, 4], &similarities(4)).unwrap());
        let (loss, _) = s.smooth_ap(4, 0.1).unwrap();
        assert_eq!(loss.value().item().unwrap(), 0.0);
        assert_eq!(loss.backward().unwrap().of(&s).unwrap().to_vec().unwrap(), [0.0; 16]);
    }
}

#[test]
fn what_is_no_ranking_is_an_error() {
    let s = Tensor::full(&Device::cpu(), [6, 6], 0.0).unwrap();
    let message = |views, tau| run(&SmoothAp { views, tau }, &[&s]).unwrap_err().to_string();
    assert!(message(1, 0.1).contains("at least 2 views"));
    assert!(message(4, 0.1).contains("6 rows are not a whole number of images"));
    assert!(message(2, 0.0).contains("tau above 0"));
    assert!(message(2, f32::NAN).contains("tau above 0"));
    assert!(exact_ap(&[0.0; 36], 6, 1).is_err() && exact_ap(&[0.0; 35], 6, 2).is_err());
}

#[test]
fn blocks_of_queries_smaller_than_the_matrix_give_the_same_result() {
    let small = GpuOptions { max_binding: Some(64 * 150 * 4), ..Default::default() };
    let devices = [GpuOptions::default(), small].map(|options| Device::gpu_named(None, options).unwrap());
    let [whole, blocks] = devices.map(|device| {
        let tape = Tape::new(&device);
        let s = tape.leaf(Tensor::new(&device, [150, 150], &similarities(150)).unwrap());
        let (loss, ap) = s.smooth_ap(3, 0.1).unwrap();
        let gradient = loss.backward().unwrap().of(&s).unwrap().to_vec().unwrap();
        (ap.to_vec().unwrap(), gradient)
    });
    assert!(whole == blocks);
}

#[test]
fn ranking_64_images_of_20_views_takes_less_than_64_mb() {
    let device = Device::cpu();
    let tape = Tape::new(&device);
    let s = tape.leaf(Tensor::new(&device, [1280, 1280], &similarities(1280)).unwrap());
    let start = std::time::Instant::now();
    let (loss, _) = s.smooth_ap(20, 0.01).unwrap();
    let gradient = loss.backward().unwrap();
    println!("{:.3} s", start.elapsed().as_secs_f64());
    assert!(gradient.of(&s).is_some());
    assert!(device.usage().1 < 64 << 20);
}
