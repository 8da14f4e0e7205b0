use super::*;
use crate::Device;
use crate::engine::device::GpuOptions;
use crate::engine::tensor::init;
use rand::{SeedableRng, rngs::StdRng};

/// By its definition, in f64, of all rows.
fn by_definition(values: &[f32], width: usize) -> Dispersion {
    let n = values.len() / width;
    let mut rows: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
    let mut mean = vec![0.0; width];
    for row in rows.chunks_mut(width) {
        let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt();
        row.iter_mut().for_each(|v| *v /= norm);
        mean.iter_mut().zip(row.iter()).for_each(|(m, v)| *m += v / n as f64);
    }
    let pair = |a: usize, b: usize| -> f64 {
        rows[a * width..][..width].iter().zip(&rows[b * width..][..width]).map(|(a, b)| a * b).sum()
    };
    let pairs = (0..n).flat_map(|a| (0..a).map(move |b| (a, b)));
    let cosine = pairs.map(|(a, b)| pair(a, b)).sum::<f64>() / (n * (n - 1) / 2) as f64;
    let covariance = |i: usize, j: usize| -> f64 {
        rows.chunks(width).map(|row| (row[i] - mean[i]) * (row[j] - mean[j])).sum()
    };
    let trace: f64 = (0..width).map(|i| covariance(i, i)).sum();
    let squares: f64 = (0..width * width).map(|at| covariance(at / width, at % width).powi(2)).sum();
    Dispersion { cosine, rank: trace * trace / squares }
}

fn devices() -> [Device; 3] {
    [Device::reference(), Device::cpu(), Device::gpu_named(None, GpuOptions::default()).expect("a GPU")]
}

fn spread(device: &Device, values: &[f32], width: usize) -> Dispersion {
    let z = Tensor::new(device, [values.len() / width, width], values).expect("z");
    Dispersion::of(&z).expect("spread")
}

#[test]
fn spread_is_that_of_the_definition_on_every_device() {
    let rng = &mut StdRng::seed_from_u64(3);
    let narrow: Vec<f32> =
        init::normal(rng, 33 * 19, 0.01).iter().enumerate().map(|(i, v)| v + (i % 19) as f32).collect();
    for (values, width) in
        [(init::normal(rng, 50 * 7, 3.0), 7), (narrow, 19), (init::normal(rng, 2 * 65, 1.0), 65)]
    {
        let expected = by_definition(&values, width);
        for (device, bound) in devices().iter().zip([1e-9, 1e-4, 1e-4]) {
            let found = spread(device, &values, width);
            let errors = [found.cosine - expected.cosine, found.rank / expected.rank - 1.0];
            assert!(
                errors.iter().all(|error| error.abs() < bound),
                "{}: {found:?}, not {expected:?}",
                device.name()
            );
        }
    }
}

#[test]
fn spread_of_equal_rows_is_a_point_of_a_line_one_and_of_noise_the_width() {
    for (device, bound) in devices().iter().zip([1e-9, 1e-5, 1e-5]) {
        let equal = spread(device, &[1.0, 2.0, 3.0].repeat(256), 3);
        assert!((equal.cosine - 1.0).abs() < bound && equal.rank == 1.0, "{equal:?}");
        let line = spread(device, &[1.0, 0.0, -2.0, 0.0, 3.0, 0.0, -4.0, 0.0], 2);
        assert!((line.cosine + 1.0 / 3.0).abs() < bound && (line.rank - 1.0).abs() < bound, "{line:?}");
        let noise = spread(device, &init::normal(&mut StdRng::seed_from_u64(0), 16 * 4000, 1.0), 16);
        assert!(noise.cosine.abs() < 0.01 && (noise.rank - 16.0).abs() < 1.5, "{noise:?}");
        let odd = [1.0, f32::NAN, 2.0, 3.0, 1.0, f32::INFINITY];
        for values in [&odd[..4], &odd[2..], &odd[2..4]] {
            assert_eq!(spread(device, values, 2), Dispersion { cosine: 0.0, rank: 2.0 });
        }
    }
}
