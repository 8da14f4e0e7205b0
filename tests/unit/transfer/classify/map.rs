use super::*;
use crate::engine::device::GpuOptions;

/// Two clouds of points in five dimensions, ten apart along the third.
fn clouds(n: usize) -> Vec<f32> {
    let mut rng = KeyedRng::new("test", 1, [0; 3]);
    let point = |i: usize, rng: &mut KeyedRng| -> [f32; 5] {
        let mut p = [0.0; 5].map(|_: f32| rng.random::<f32>());
        p[2] += if i.is_multiple_of(2) { 10.0 } else { 0.0 };
        p
    };
    (0..n).flat_map(|i| point(i, &mut rng)).collect()
}

/// Whether even and odd rows lie on two sides along some column.
fn apart(plane: &[f32]) -> bool {
    let of = |odd: usize, c: usize| plane.chunks(2).skip(odd).step_by(2).map(move |p| p[c]);
    (0..2).any(|c| {
        let range = |odd| of(odd, c).fold([f32::MAX, f32::MIN], |[a, b], v| [a.min(v), b.max(v)]);
        let ([a, b], [c, d]) = (range(0), range(1));
        b < c || d < a
    })
}

#[test]
fn the_first_component_is_the_axis_of_two_clouds_and_holds_their_variance_on_both_devices() {
    let gpu = Device::gpu_named(None, GpuOptions::default()).expect("a GPU");
    gpu.start_trace();
    let mut found = Vec::new();
    for device in [&Device::cpu(), &gpu] {
        let of = |values: &[f32], count| principal(device, values, 5, count).expect("components");
        let (scores, shares) = of(&clouds(60), 2);
        assert_eq!((scores.len(), shares.len()), (120, 2));
        assert!(apart(&scores) && shares[0] > 0.95 && shares[1] < 0.03, "{shares:?}");
        let sum: f64 = of(&clouds(60), 5).1.iter().sum();
        assert!((sum - 1.0).abs() < 1e-3, "all components hold all of the variance: {sum}");
        assert!(of(&[], 2).0.is_empty());
        assert_eq!(of(&[0.7; 50], 2).1, [0.0; 2], "equal rows have no variance");
        found.push(scores);
    }
    assert!(gpu.take_trace().expect("trace").kernels.iter().any(|kernel| kernel.shader == "matmul"));
    let off = found[0]
        .iter()
        .zip(&found[1])
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |m: f32, e: f32| if e > m || e.is_nan() { e } else { m });
    assert!(off < 1e-3, "scores of the devices are {off} apart");
}

#[test]
fn components_are_exact_with_their_signs_and_zero_where_rows_do_not_differ() {
    // 5, -3 and -2 along u, 1 and -1 along v, around a mean; nothing along a third direction: 38, 2 and 0 of 40.
    let (u, v) = ([0.6, 0.8, 0.0, 0.0], [0.0, 0.0, 0.28, -0.96]);
    let row = |a: f64, b: f64| -> [f32; 4] {
        std::array::from_fn(|i| (10.0 * i as f64 + a * u[i] + b * v[i]) as f32)
    };
    let rows = [row(5.0, 0.0), row(-3.0, 0.0), row(-2.0, 0.0), row(0.0, 1.5), row(0.0, -0.5), row(0.0, -1.0)];
    for mirrored in [1.0, -1.0] {
        let values: Vec<f32> = rows.concat().iter().map(|x| mirrored * x).collect();
        let (scores, shares) = components(&values, 4, 3);
        let wanted = [[5.0, 0.0], [-3.0, 0.0], [-2.0, 0.0], [0.0, 1.5], [0.0, -0.5], [0.0, -1.0]];
        for (found, [a, b]) in scores.chunks(3).zip(wanted) {
            assert!((found[0] - a).abs() < 1e-5 && (found[1] - b).abs() < 1e-5, "{found:?}");
            assert_eq!(found[2], 0.0, "rounding is no component");
        }
        let off = shares.iter().zip([38.0 / 41.5, 3.5 / 41.5, 0.0]).map(|(a, b)| (a - b).abs());
        assert!(off.fold(0.0, f64::max) < 1e-6 && shares[2] == 0.0, "{shares:?}");
    }
    // More than there are columns, or rows; equal rows; none.
    let (scores, shares) = components(&[1.0, 2.0, 4.0], 1, 3);
    assert!(scores.len() == 9 && (shares[0] - 1.0).abs() < 1e-12 && shares[1..] == [0.0; 2]);
    assert_eq!(components(&[0.1, 0.7, -3.0], 3, 2), (vec![0.0; 2], vec![0.0; 2]));
    assert_eq!(components(&[0.7; 50], 5, 3), (vec![0.0; 30], vec![0.0; 3]));
    assert_eq!(components(&[], 5, 3), (Vec::new(), vec![0.0; 3]));
}

#[test]
fn components_are_orthogonal_and_settle_where_variances_are_near_each_other() {
    // Variances that fall by 5 % from one column to the next: after 30 rounds they would still be mixed.
    let (n, width) = (400, 12);
    let deviation: Vec<f64> = (0..width).map(|c| 0.95f64.powf(c as f64 / 2.0)).collect();
    // Columns of cosines are orthogonal over the rows.
    let value = |i: usize, c: usize| {
        let angle = std::f64::consts::PI * (c + 1) as f64 * (i as f64 + 0.5) / n as f64;
        (deviation[c] * angle.cos()) as f32
    };
    let plain: Vec<f32> = (0..n * width).map(|at| value(at / width, at % width)).collect();
    let (scores, shares) = components(&plain, width, 3);
    for c in 0..3 {
        for (i, row) in scores.chunks(3).enumerate() {
            assert!((row[c].abs() - f64::from(value(i, c)).abs()).abs() < 1e-4, "component {c}, row {i}");
        }
    }
    let all: f64 = deviation.iter().map(|d| d * d).sum();
    assert!((shares[0] - 1.0 / all).abs() < 1e-6 && shares.is_sorted_by(|a, b| a >= b), "{shares:?}");
}
