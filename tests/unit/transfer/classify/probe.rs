use super::*;

/// Three Gaussian classes in four dimensions whose scales differ by six orders of magnitude.
fn set(seed: u64, count: usize) -> Features {
    let mut rng = StdRng::seed_from_u64(seed);
    let noise = crate::engine::tensor::init::normal(&mut rng, 4 * count, 0.3);
    let labels: Vec<usize> = (0..count).map(|i| i % 3).collect();
    let scales = [1e-3, 1.0, 1e3, 0.0];
    let value = |(i, noise): (usize, &f32)| {
        let centre = f32::from(labels[i / 4] == i % 4);
        (centre + noise) * scales[i % 4] + 5.0
    };
    Features { values: noise.iter().enumerate().map(value).collect(), labels }
}

#[test]
fn separable_classes_are_learned_whatever_the_scale_of_their_features() {
    let (train, test) = (set(1, 150), set(2, 60));
    let probe = Probe { epochs: 30, batch: 32, lr: 0.05, ..Default::default() };
    let fit = || probe.fit(&Device::cpu(), &train, &test, &mut |_| ()).expect("probe");
    let result = fit();
    assert!(result.top1 > 0.85 && result.balanced > 0.85, "{result:?}");
    assert!(result.best_on_test >= result.top1 && result.train_loss < 0.5, "{result:?}");
    assert_eq!(result, fit());
}

#[test]
fn scaled_features_have_mean_zero_and_deviation_one_and_constant_ones_are_dropped() {
    let Features { values, labels } = set(1, 150);
    let scaled = Scaling::of(&values, 4).apply(&values).expect("finite");
    for c in 0..4 {
        let column: Vec<f64> = scaled.iter().skip(c).step_by(4).map(|&v| f64::from(v)).collect();
        let mean = column.iter().sum::<f64>() / labels.len() as f64;
        let square = column.iter().map(|v| v * v).sum::<f64>() / labels.len() as f64;
        // The last one is the same for all.
        let expected = if c == 3 { 0.0 } else { 1.0 };
        assert!(mean.abs() < 1e-3 && (square - expected).abs() < 1e-3, "{c}: {mean} {square}");
    }
}

#[test]
fn what_does_not_fit_is_an_error_that_says_what_does() {
    let good = set(1, 6);
    let message = |probe: Probe, set| {
        probe.fit(&Device::cpu(), set, &good, &mut |_| ()).expect_err("error").to_string()
    };
    assert!(message(Probe { batch: 0, ..Default::default() }, &good).contains("at least 1"));
    let broken = Features { values: vec![f32::INFINITY; 24], ..good.clone() };
    assert!(message(Probe::default(), &broken).contains("image 0"));
}
