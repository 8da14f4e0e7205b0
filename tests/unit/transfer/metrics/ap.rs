use super::*;
use crate::rng::KeyedRng;

const KINDS: [ApKind; 3] = [ApKind::ElevenPoint, ApKind::Area, ApKind::Sum];

fn ap(scores: &[f64], labels: &[i8], kind: ApKind) -> f64 {
    average_precision(scores, labels, kind).expect("valid").expect("a positive")
}

/// Precision and recall at every threshold by counting, then the definitions word by word.
fn naive(scores: &[f64], labels: &[i8], kind: ApKind) -> f64 {
    let kept: Vec<(f64, i8)> =
        scores.iter().copied().zip(labels.iter().copied()).filter(|k| k.1 != -1).collect();
    let positives = kept.iter().filter(|k| k.1 == 1).count();
    let mut thresholds: Vec<f64> = kept.iter().map(|k| k.0).collect();
    thresholds.sort_by(|a, b| b.partial_cmp(a).expect("numbers"));
    thresholds.dedup();
    let at = |t: f64| {
        let above: Vec<_> = kept.iter().filter(|k| k.0 >= t).collect();
        let hits = above.iter().filter(|k| k.1 == 1).count();
        (hits as f64 / above.len() as f64, hits as f64 / positives as f64)
    };
    let curve: Vec<(f64, f64)> = thresholds.into_iter().map(at).collect();
    let best = |recall: f64| curve.iter().filter(|p| p.1 >= recall - 1e-12).map(|p| p.0).fold(0.0, f64::max);
    match kind {
        ApKind::ElevenPoint => (0..=10).map(|k| best(f64::from(k) / 10.0)).sum::<f64>() / 11.0,
        // Each recall from 1/P to 1 in steps of 1/P.
        ApKind::Area => {
            (1..=positives).map(|k| best(k as f64 / positives as f64)).sum::<f64>() / positives as f64
        }
        ApKind::Sum => {
            let before = std::iter::once(0.0).chain(curve.iter().map(|p| p.1));
            curve.iter().zip(before).map(|(p, before)| p.0 * (p.1 - before)).sum()
        }
    }
}

#[test]
fn a_perfect_ranking_has_ap_one_and_the_worst_of_one_positive_one_over_n() {
    for kind in KINDS {
        assert_eq!(ap(&[0.9, 0.8, 0.1, 0.0], &[1, 1, 0, 0], kind), 1.0);
        assert!((ap(&[0.9, 0.8, 0.7, 0.0], &[0, 0, 0, 1], kind) - 0.25).abs() < 1e-12);
    }
}

#[test]
fn a_score_that_is_the_same_for_all_gives_the_share_of_positives() {
    for kind in KINDS {
        assert!((ap(&[0.5; 10], &[1, 0, 0, 0, 1, 0, 0, 0, 0, 1], kind) - 0.3).abs() < 1e-12);
    }
}

#[test]
fn random_rankings_average_to_about_the_share_of_positives() {
    let mut rng = KeyedRng::new("ap", 1, [0; 3]);
    let labels: Vec<i8> = (0..400).map(|i| i8::from(i % 20 == 0)).collect();
    let draw = |rng: &mut KeyedRng| (0..400).map(|_| rng.unit()).collect::<Vec<f64>>();
    let mean = (0..200).map(|_| ap(&draw(&mut rng), &labels, ApKind::Sum)).sum::<f64>() / 200.0;
    assert!((mean - 0.05).abs() < 0.02, "{mean}");
}

#[test]
fn every_kind_equals_its_definition_with_and_without_ties() {
    for seed in 0..60 {
        let mut rng = KeyedRng::new("ap", seed, [0; 3]);
        let n = 2 + rng.below(40) as usize;
        let levels = if rng.chance(0.5) { 5 } else { 1 << 40 };
        let scores: Vec<f64> = (0..n).map(|_| rng.below(levels) as f64 - 2.0).collect();
        let mut labels: Vec<i8> = (0..n).map(|_| rng.below(3) as i8 - 1).collect();
        labels[0] = 1;
        for kind in KINDS {
            let (got, expected) = (ap(&scores, &labels, kind), naive(&scores, &labels, kind));
            assert!((got - expected).abs() < 1e-12, "{kind:?}, seed {seed}: {got}, not {expected}");
        }
    }
}

#[test]
fn what_is_left_out_changes_nothing_and_no_positive_has_no_ap() {
    let with = ap(&[0.9, 0.8, 0.7, 0.6], &[1, -1, 0, 1], ApKind::Area);
    assert_eq!(with, ap(&[0.9, 0.7, 0.6], &[1, 0, 1], ApKind::Area));
    assert_eq!(average_precision(&[0.3, 0.2], &[0, -1], ApKind::Area).expect("valid"), None);
    let both = [(&[0.9, 0.2], &[1, 0]), (&[0.1, 0.3], &[0, 0])];
    let both = both.map(|(scores, labels)| average_precision(scores, labels, ApKind::Area).expect("valid"));
    assert_eq!((both, mean_of_known(&both)), ([Some(1.0), None], 1.0));
}

#[test]
fn what_does_not_fit_is_an_error() {
    let error = |scores: &[f64], labels: &[i8]| {
        average_precision(scores, labels, ApKind::Area).expect_err("an error").to_string()
    };
    assert!(error(&[0.1], &[1, 0]).contains("1 scores for 2 labels"));
    assert!(error(&[0.1], &[2]).contains("label 2"));
    assert!(error(&[f64::NAN], &[1]).contains("NaN"));
}
