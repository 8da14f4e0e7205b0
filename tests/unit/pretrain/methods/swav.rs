use super::*;
use crate::engine::autograd::Tape;
use crate::engine::device::{Device, GpuOptions};
use rand::{SeedableRng, rngs::StdRng};

/// How the loss changes along scores of `SIZE` that are +1 or -1 for two prototypes, and of two views that correlate by
/// `correlation`.
fn slope(eps: f32, correlation: f64) -> f64 {
    const SIZE: f64 = 1e-4;
    let device = Device::reference();
    let images = 80;
    // Of 40 images of each sign so many keep it in their second view that the mean product is the correlation.
    let agree = ((1.0 + correlation) / 2.0 * 40.0).round() as usize;
    let first = |i: usize| if i.is_multiple_of(2) { 1.0 } else { -1.0 };
    let second = |i: usize| if i / 2 < agree { first(i) } else { -first(i) };
    let signs: Vec<f64> = (0..images).map(first).chain((0..images).map(second)).collect();
    let directions: Vec<f64> = signs.iter().flat_map(|s| [*s, -s]).collect();
    let scores: Vec<f64> = directions.iter().map(|d| SIZE * d).collect();
    let tape = Tape::new(&device);
    let leaf = tape.leaf(Tensor::from_f64(&device, [2 * images, 2], &scores).expect("scores"));
    let swav = Swav { tau: 0.1, sinkhorn_eps: eps, ..Swav::default() };
    let loss = swav.loss_of(&leaf, images, None).expect("loss");
    assert!((f64::from(loss.terms[0].collapsed) - 2f64.ln()).abs() < 1e-6);
    assert!(loss.terms[0].helps.contains("lower method.sinkhorn_eps"));
    let one = Tensor::full(&device, [], 1.0).expect("one");
    let grads = tape.gradients(&[(&loss.terms[0].value, one)]).expect("gradients");
    let d = grads.of(&leaf).expect("of the scores").to_f64().expect("values");
    d.iter().zip(&directions).map(|(d, direction)| d * direction).sum()
}

#[test]
fn a_direction_of_nearly_equal_scores_grows_only_if_views_correlate_by_more_than_eps_over_tau() {
    for (eps, least) in [(0.05, 0.5), (0.03, 0.3), (0.01, 0.1)] {
        assert!(slope(eps, least + 0.05) < 0.0, "eps {eps}");
        assert!(slope(eps, least - 0.05) > 0.0, "eps {eps}");
    }
}

/// By the paper's listing, in f64.
fn by_listing(scores: &[f32], prototypes: usize, eps: f64, iterations: usize) -> Vec<f64> {
    let rows = scores.len() / prototypes;
    let mut q: Vec<f64> = scores.iter().map(|&s| ((f64::from(s) - 1.0) / eps).exp()).collect();
    for _ in 0..iterations {
        for c in 0..prototypes {
            let sum: f64 = q.iter().skip(c).step_by(prototypes).sum();
            q.iter_mut().skip(c).step_by(prototypes).for_each(|v| *v /= sum * prototypes as f64);
        }
        for row in q.chunks_mut(prototypes) {
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|v| *v /= sum * rows as f64);
        }
    }
    q.iter().map(|v| v * rows as f64).collect()
}

/// In f32 `exp(score / 0.01)` of such scores is 0 where it matters: of a prototype that no sample is near, and of a sample that is
/// near no prototype.
#[test]
fn codes_are_those_of_the_listing_on_every_device_for_prototypes_and_samples_far_from_all_others() {
    let (rows, prototypes) = (37, 21);
    let mut scores = init::normal(&mut StdRng::seed_from_u64(4), rows * prototypes, 0.3);
    scores.iter_mut().for_each(|s| *s = s.clamp(-1.0, 1.0));
    scores.iter_mut().skip(5).step_by(prototypes).for_each(|s| *s = *s / 50.0 - 0.9);
    scores[8 * prototypes..9 * prototypes].iter_mut().for_each(|s| *s = *s / 50.0 - 0.95);
    let gpu = Device::gpu_named(None, GpuOptions::default()).expect("a GPU");
    for (eps, iterations) in [(0.05, 3), (0.01, 3), (0.01, 1)] {
        let expected = by_listing(&scores, prototypes, eps, iterations);
        for (device, bound) in [(Device::reference(), 1e-11), (Device::cpu(), 1e-4), (gpu.clone(), 1e-4)] {
            let on_device = Tensor::new(&device, [rows, prototypes], &scores).expect("scores");
            let codes = sinkhorn(&on_device, eps, iterations).expect("codes").to_f64().expect("values");
            let off = codes
                .iter()
                .zip(&expected)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, |m: f64, e: f64| if e > m || e.is_nan() { e } else { m });
            println!("{}, eps {eps}: off by {off:.1e}", device.name());
            assert!(off < bound, "{}, eps {eps}: off by {off:.1e}", device.name());
        }
    }
}
