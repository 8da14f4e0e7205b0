use super::*;
use crate::engine::autograd::Tape;
use crate::engine::device::Device;

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
    let loss = swav.loss_of(&leaf, images, &[]).expect("loss");
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
