use super::*;
use crate::rng::KeyedRng;

/// The definition along one axis, in f64.
fn triangle(x: &[f64], out: usize, i: usize) -> f64 {
    let n = x.len();
    let scale = n as f64 / out as f64;
    let support = scale.max(1.0);
    let weight = |j: usize| (1.0 - (j as f64 + 0.5 - (i as f64 + 0.5) * scale).abs() / support).max(0.0);
    let sum: f64 = (0..n).map(weight).sum();
    (0..n).map(|j| weight(j) * x[j]).sum::<f64>() / sum
}

#[test]
fn resizing_stays_within_its_roundings_of_the_definition() {
    for seed in 0..60 {
        let mut rng = KeyedRng::new("resize", seed, [0; 3]);
        let mut side = |n| 1 + rng.below(n) as usize;
        let (w, h, out_w, out_h) = (side(90), side(90), side(48), side(48));
        let noise = rng.chance(0.5); // else smooth and bright, where errors would add up
        let data = (0..w * h * 3)
            .map(|i| if noise { rng.below(256) as u8 } else { 200 + (i / 3 / w / 2) as u8 })
            .collect();
        let image = Rgb { width: w, height: h, data };
        let (x, y) = (rng.below(w as u64) as usize, rng.below(h as u64) as usize);
        let got = resized_crop(&image, CropBox::at(x, y, w - x, h - y), out_w, out_h);
        for c in 0..3 {
            let at = |row: usize, col: usize| f64::from(image.data[(row * w + col) * 3 + c]);
            for i in 0..out_w {
                let column: Vec<f64> = (y..h)
                    .map(|row| triangle(&(x..w).map(|col| at(row, col)).collect::<Vec<_>>(), out_w, i))
                    .collect();
                for j in 0..out_h {
                    let expected = triangle(&column, out_h, j);
                    let error = f64::from(got.data[(j * out_w + i) * 3 + c]) - expected;
                    assert!(error.abs() <= 1.1, "{error} at {w}x{h} from {x},{y} to {out_w}x{out_h}");
                }
            }
        }
    }
}
