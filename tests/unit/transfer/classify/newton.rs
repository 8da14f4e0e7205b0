use super::super::svm::{Fit, SvmLoss};
use super::*;
use crate::rng::KeyedRng;
use std::sync::Mutex;

/// Directions of which the first feature says a little of the class; a sixth is positive, a fifth left out.
fn set(count: usize, width: usize, seed: u64) -> (Rows, Vec<i8>) {
    let mut rng = KeyedRng::new("newton", seed, [0; 3]);
    let signs: Vec<i8> = (0..count).map(|i| if i % 6 == 0 { 1 } else { -i8::from(i % 5 != 0) }).collect();
    let feature = |i: usize| {
        let centre = if i.is_multiple_of(width) && signs[i / width] == 1 { 2.0 } else { 1.0 };
        (centre + rng.normal()).max(0.0) as f32
    };
    let features: Vec<f32> = (0..count * width).map(feature).collect();
    (Rows::normalized(&features, width).expect("rows"), signs)
}

/// Weights and scores of every machine, by path and cost.
fn trained(svm: &Svm, rows: &Rows, paths: &[CostPath]) -> Vec<Vec<(Vec<f64>, Vec<f64>)>> {
    let all = Mutex::new(paths.iter().map(|p| vec![Default::default(); p.costs.len()]).collect::<Vec<_>>());
    svm.fit_paths(rows, paths, &|t: Trained| {
        all.lock().expect("lock")[t.path][t.cost] = (t.w.to_vec(), t.scores.to_vec());
        Ok(())
    })
    .expect("trained");
    all.into_inner().expect("lock")
}

fn by_coordinate_descent(svm: &Svm, rows: &Rows, signs: &[i8], cost: f64) -> Fit {
    let images: Vec<usize> = (0..signs.len()).filter(|&i| signs[i] != 0).collect();
    let positive: Vec<bool> = images.iter().map(|&i| signs[i] > 0).collect();
    Svm { tolerance: 1e-10, max_passes: 100_000, ..*svm }.fit(rows, &images, &positive, cost, None)
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    let square: f64 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
    square.sqrt() / dot(a, a).sqrt()
}

#[test]
fn weights_are_those_of_coordinate_descent_to_the_tolerance_at_every_cost() {
    for (count, width) in [(90, 7), (40, 60)] {
        let (rows, signs) = set(count, width, 1);
        let costs = vec![1e-7, 1e-3, 0.1, 1.0, 10.0, 100.0];
        let path = CostPath { signs, costs };
        for (tolerance, within) in [(1e-4, 1e-4), (1e-9, 1e-7)] {
            let svm = Svm { tolerance, ..Svm::default() };
            let fits = trained(&svm, &rows, std::slice::from_ref(&path));
            for ((w, scores), &cost) in fits[0].iter().zip(&path.costs) {
                let other = by_coordinate_descent(&svm, &rows, &path.signs, cost);
                assert!(distance(w, &other.w) < within, "{count}x{width}, {cost}: {}", distance(w, &other.w));
                assert!(distance(scores, &rows.scores(w)) < 1e-10, "scores are those of the weights");
            }
        }
    }
}

#[test]
fn a_machine_depends_on_neither_its_start_nor_the_others_nor_the_number_of_threads() {
    let svm = Svm { tolerance: 1e-8, ..Svm::default() };
    let (rows, signs) = set(90, 7, 2);
    // More than are trained at once; some are not to be trained, and some have no positive.
    let path = |i: usize| {
        let signs = signs.iter().enumerate().map(|(j, &sign)| if j % 70 == i { 0 } else { sign });
        let costs = vec![1e-2, 1.0, 100.0];
        match i % 10 {
            3 => CostPath { signs: signs.collect(), costs: Vec::new() },
            4 => CostPath { signs: signs.map(|sign| sign.min(0)).collect(), costs },
            _ => CostPath { signs: signs.collect(), costs },
        }
    };
    let paths: Vec<CostPath> = (0..AT_ONCE + 20).map(path).collect();
    let together = trained(&svm, &rows, &paths);
    for i in [0, 4, AT_ONCE + 3] {
        let cold = CostPath { costs: paths[i].costs[2..].to_vec(), ..paths[i].clone() };
        let alone = trained(&svm, &rows, &[cold]);
        let apart = distance(&together[i][2].0, &alone[0][0].0);
        assert!(apart < 2e-8, "path {i}: {apart}");
    }
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| trained(&svm, &rows, &paths))
    };
    assert!(with(1) == together && with(3) == together);
}

#[test]
fn training_ends_after_the_passes_allowed_and_a_failure_is_passed_on() {
    let (rows, signs) = set(90, 7, 3);
    let paths = [CostPath { signs, costs: vec![1.0, 100.0] }];
    let fit = |max_passes| trained(&Svm { tolerance: 0.0, max_passes, ..Svm::default() }, &rows, &paths);
    let (few, many) = (fit(3), fit(300));
    let best = by_coordinate_descent(&Svm::default(), &rows, &paths[0].signs, 100.0);
    assert!(distance(&many[0][1].0, &best.w) < 1e-7 && distance(&few[0][1].0, &best.w) > 1e-3);
    let failed = Svm::default().fit_paths(&rows, &paths, &|_| Err(crate::Error::Run("enough".into())));
    assert!(failed.expect_err("an error").to_string().contains("enough"));
}

#[test]
fn the_hinge_goes_the_same_paths_by_coordinate_descent() {
    let svm = Svm { loss: SvmLoss::Hinge, tolerance: 1e-8, max_passes: 50_000, ..Svm::default() };
    let (rows, signs) = set(60, 5, 4);
    let path = CostPath { signs, costs: vec![0.1, 1.0] };
    let fits = trained(&svm, &rows, std::slice::from_ref(&path));
    for (fit, &cost) in fits[0].iter().zip(&path.costs) {
        let w = by_coordinate_descent(&svm, &rows, &path.signs, cost).w;
        assert!(distance(&fit.0, &w) < 1e-4 && distance(&fit.1, &rows.scores(&w)) < 1e-4);
    }
}
