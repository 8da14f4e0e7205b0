use super::*;

fn sequence<T: Real>(n: usize, seed: usize) -> Vec<T> {
    (0..n).map(|i| T::of(((i * 7919 + seed * 104_729 + 13) % 10_007) as f64 / 5003.5 - 1.0)).collect()
}

/// Central differences of `sum(dy y)` along each single element.
fn numeric(x: &[f64], mut loss: impl FnMut(&[f64]) -> f64) -> Vec<f64> {
    let mut x = x.to_vec();
    (0..x.len())
        .map(|i| {
            let (old, step) = (x[i], 1e-5);
            x[i] = old + step;
            let up = loss(&x);
            x[i] = old - step;
            let down = loss(&x);
            x[i] = old;
            (up - down) / (2.0 * step)
        })
        .collect()
}

fn assert_close(got: &[f64], want: &[f64], what: &str) {
    for (i, (a, b)) in got.iter().zip(want).enumerate() {
        assert!((a - b).abs() < 1e-6 * (1.0 + b.abs()), "{what}[{i}]: {a}, expected {b}");
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    for (m, c, groups) in [(12, 5, 1), (12, 3, 3), (6, 1, 2), (4, 17, 2)] {
        for (relu, with_residual, batch_stats) in [
            (false, false, true),
            (true, false, true),
            (true, true, true),
            (false, true, true),
            (true, true, false),
        ] {
            let groups = if batch_stats { groups } else { 1 };
            let (x, residual, dy) = (sequence(m * c, 1), sequence(m * c, 2), sequence(m * c, 3));
            let (gamma, beta, constant) = (sequence(c, 4), sequence(c, 5), sequence(2 * c, 6));
            let constant: Vec<f64> = constant.iter().map(|v: &f64| v.abs()).collect();
            let run = |x: &[f64], gamma: &[f64], beta: &[f64], residual: &[f64]| {
                let (mut y, mut coefficients) = (vec![f64::NAN; m * c], vec![f64::NAN; 4 * groups * c]);
                let (stats, rest) = coefficients.split_at_mut(2 * groups * c);
                match batch_stats {
                    true => statistics(x, c, groups, stats),
                    false => stats.copy_from_slice(&constant),
                }
                factors(gamma, beta, 1e-5, stats, rest);
                apply([groups, c], relu, &coefficients, x, with_residual.then_some(residual), &mut y);
                coefficients.truncate(2 * groups * c);
                (y, coefficients)
            };
            let loss =
                |y: (Vec<f64>, Vec<f64>)| y.0.iter().zip(&dy).map(|(a, b): (&f64, &f64)| a * b).sum::<f64>();
            let (y, stats) = run(&x, &gamma, &beta, &residual);
            let [mut dx, mut dgamma, mut dbeta, mut dresidual] =
                [m * c, c, c, m * c].map(|count| vec![f64::NAN; count]);
            let norm = Norm { gamma: &gamma, groups, eps: 1e-5, relu, batch_stats };
            let residuals = with_residual.then_some(&mut dresidual[..]);
            let grads = [Some(&mut dx[..]), Some(&mut dgamma), Some(&mut dbeta), residuals];
            backward(&norm, Stats::new(&stats), [&x, &y, &dy], grads);
            assert_close(&dx, &numeric(&x, |x| loss(run(x, &gamma, &beta, &residual))), "dx");
            assert_close(&dgamma, &numeric(&gamma, |g| loss(run(&x, g, &beta, &residual))), "dgamma");
            assert_close(&dbeta, &numeric(&beta, |b| loss(run(&x, &gamma, b, &residual))), "dbeta");
            if with_residual {
                assert_close(
                    &dresidual,
                    &numeric(&residual, |r| loss(run(&x, &gamma, &beta, r))),
                    "dresidual",
                );
            }
        }
    }
}

#[test]
fn statistics_survive_a_mean_of_a_thousand_standard_deviations() {
    let (m, c) = (20_000, 3);
    let x: Vec<f32> = sequence::<f64>(m * c, 7).iter().map(|v| (1000.0 + v) as f32).collect();
    let mut stats = vec![0.0f32; 2 * c];
    statistics(&x, c, 1, &mut stats);
    for i in 0..c {
        let column = || x.iter().skip(i).step_by(c).map(|&v| f64::from(v));
        let mean = column().sum::<f64>() / m as f64;
        let var = column().map(|v| (v - mean).powi(2)).sum::<f64>() / m as f64;
        assert!((f64::from(stats[i]) - mean).abs() < 1e-4, "mean {} expected {mean}", stats[i]);
        assert!(
            (f64::from(stats[c + i]) / var - 1.0).abs() < 1e-4,
            "variance {} expected {var}",
            stats[c + i]
        );
    }
}

#[test]
fn a_nan_passes_through_the_fused_relu() {
    let mut y = [0.0f32; 2];
    apply([1, 1], true, &[0.0, 1.0, 1.0, 0.0], &[f32::NAN, -1.0], None, &mut y);
    assert!(y[0].is_nan() && y[1] == 0.0);
}
