use super::*;

/// Two Gaussian clouds of directions in five dimensions, `apart` from each other; a third is positive.
fn clouds(count: usize, apart: f64) -> (Rows, Vec<usize>, Vec<bool>) {
    let mut rng = KeyedRng::new("clouds", 3, [0; 3]);
    let positive: Vec<bool> = (0..count).map(|i| i % 3 == 0).collect();
    let features: Vec<f32> = (0..count * 5)
        .map(|i| {
            let centre = if i % 5 == 0 && positive[i / 5] { apart } else { 0.0 };
            (centre + if i % 5 == 1 { 3.0 } else { 0.0 } + rng.normal()) as f32
        })
        .collect();
    (Rows::normalized(&features, 5).expect("rows"), (0..count).collect(), positive)
}

/// The objective at `w`, from its formula.
fn objective(svm: &Svm, rows: &Rows, positive: &[bool], cost: f64, w: &[f64]) -> f64 {
    let terms = positive.iter().enumerate().map(|(i, &positive)| {
        let s: f64 = w.iter().zip(rows.row(i)).map(|(w, x)| w * x).sum();
        let slack = (1.0 - if positive { s } else { -s }).max(0.0);
        let price = if svm.loss == SvmLoss::Hinge { slack } else { slack * slack };
        price * cost * if positive { svm.positive_weight } else { 1.0 }
    });
    w.iter().map(|w| w * w).sum::<f64>() / 2.0 + terms.sum::<f64>()
}

/// The dual at a fit's variables, which no objective can get below.
fn dual(svm: &Svm, positive: &[bool], cost: f64, fit: &Fit) -> f64 {
    let terms = positive.iter().zip(&fit.alpha).map(|(&positive, alpha)| {
        let weight = cost * if positive { svm.positive_weight } else { 1.0 };
        let ridge = if svm.loss == SvmLoss::Hinge { 0.0 } else { 0.5 / weight };
        alpha - ridge / 2.0 * alpha * alpha
    });
    terms.sum::<f64>() - fit.w.iter().map(|w| w * w).sum::<f64>() / 2.0
}

#[test]
fn the_optimum_equals_that_of_plain_gradient_descent() {
    let (rows, images, positive) = clouds(40, 1.0);
    let svm = Svm { tolerance: 1e-9, ..Default::default() };
    for cost in [0.01, 1.0, 10.0] {
        let fit = svm.fit(&rows, &images, &positive, cost, None);
        // Naive: descent along differences of the formula, the step halved whenever it does not go down.
        let (mut w, mut step) = (vec![0.0; rows.width], 0.1);
        let mut value = objective(&svm, &rows, &positive, cost, &w);
        for _ in 0..4000 {
            let slope: Vec<f64> = (0..w.len())
                .map(|j| {
                    let mut moved = w.clone();
                    moved[j] += 1e-6;
                    let up = objective(&svm, &rows, &positive, cost, &moved);
                    moved[j] -= 2e-6;
                    (up - objective(&svm, &rows, &positive, cost, &moved)) / 2e-6
                })
                .collect();
            let next: Vec<f64> = w.iter().zip(&slope).map(|(w, s)| w - step * s).collect();
            let reached = objective(&svm, &rows, &positive, cost, &next);
            if reached < value { (w, value, step) = (next, reached, step * 1.1) } else { step /= 2.0 }
        }
        let primal = objective(&svm, &rows, &positive, cost, &fit.w);
        assert!((primal - value).abs() < 1e-4 * value, "cost {cost}: {primal} and {value}");
        for (a, b) in fit.w.iter().zip(&w) {
            assert!((a - b).abs() < 0.02 * (1.0 + b.abs()), "cost {cost}: {:?} and {w:?}", fit.w);
        }
    }
}

#[test]
fn primal_and_dual_meet_for_both_losses() {
    let (rows, images, positive) = clouds(120, 0.7);
    for loss in [SvmLoss::Hinge, SvmLoss::SquaredHinge] {
        let svm = Svm { loss, tolerance: 1e-7, max_passes: 20_000, ..Default::default() };
        for cost in [1e-6, 1e-2, 1.0, 100.0] {
            let fit = svm.fit(&rows, &images, &positive, cost, None);
            let primal = objective(&svm, &rows, &positive, cost, &fit.w);
            let gap = primal - dual(&svm, &positive, cost, &fit);
            assert!(gap > -1e-9 && gap < 1e-4 * primal, "{loss:?} at {cost}: gap {gap} of {primal}");
        }
    }
}

#[test]
fn separable_classes_are_told_apart_and_overlapping_ones_mostly() {
    for (apart, all) in [(60.0, true), (1.5, false)] {
        let (rows, images, positive) = clouds(90, apart);
        let fit = Svm::default().fit(&rows, &images, &positive, 100.0, None);
        let right =
            fit.scores(&rows, &images).iter().zip(&positive).filter(|(s, p)| (**s > 0.0) == **p).count();
        assert!(if all { right == 90 } else { (60..90).contains(&right) }, "{right} of 90 at {apart}");
    }
}

#[test]
fn a_warm_start_and_another_order_reach_the_same_optimum_and_one_seed_the_same_bits() {
    let (rows, images, positive) = clouds(80, 1.0);
    let svm = Svm { tolerance: 1e-8, max_passes: 20_000, ..Default::default() };
    let cold = svm.fit(&rows, &images, &positive, 2.0, None);
    assert_eq!(cold, svm.fit(&rows, &images, &positive, 2.0, None));
    let first = svm.fit(&rows, &images, &positive, 0.5, None);
    let warm = svm.fit(&rows, &images, &positive, 2.0, Some(&first.alpha));
    let other = Svm { seed: 1, ..svm }.fit(&rows, &images, &positive, 2.0, None);
    let primal = |fit: &Fit| objective(&svm, &rows, &positive, 2.0, &fit.w);
    for fit in [&warm, &other] {
        let (a, b) = (primal(fit), primal(&cold));
        assert!((a - b).abs() < 1e-5 * b, "{a} {b}");
    }
}

#[test]
fn rows_have_length_one_and_a_bias_and_refuse_what_is_not_finite() {
    let rows = Rows::normalized(&[3.0, 4.0, 0.0, 0.0], 2).expect("rows");
    assert!((rows.row(0)[0] - 0.6).abs() < 1e-12 && rows.row(0)[2] == 1.0 && rows.row(1) == [0.0, 0.0, 1.0]);
    assert!(Rows::normalized(&[1.0, f32::NAN], 1).expect_err("NaN").to_string().contains("image 1"));
    assert!(Rows::normalized(&[1.0; 3], 2).is_err());
}
