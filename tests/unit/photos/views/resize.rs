use super::*;
use crate::photos::views::quickly_resized_crop;
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
        let crop = CropBox::at(x, y, w - x, h - y);
        let ways = [resized_crop, quickly_resized_crop].map(|resized| resized(&image, crop, out_w, out_h));
        for c in 0..3 {
            let at = |row: usize, col: usize| f64::from(image.data[(row * w + col) * 3 + c]);
            for i in 0..out_w {
                let column: Vec<f64> = (y..h)
                    .map(|row| triangle(&(x..w).map(|col| at(row, col)).collect::<Vec<_>>(), out_w, i))
                    .collect();
                for j in 0..out_h {
                    let expected = triangle(&column, out_h, j);
                    for way in &ways {
                        let error = f64::from(way.data[(j * out_w + i) * 3 + c]) - expected;
                        assert!(error.abs() <= 1.1, "{error} at {w}x{h} from {x},{y} to {out_w}x{out_h}");
                    }
                }
            }
        }
    }
}

/// Boxes of a photo, sizes, and the CRC-32 of the bytes that Pillow 13.0 makes of them:
/// `zlib.crc32(photo.crop(box).resize(size, Image.Resampling.BILINEAR).tobytes())`.
const PILLOWS: [([usize; 4], [usize; 2], u32); 9] = [
    ([0, 0, 190, 140], [48, 48], 0xe3da_e7bd),
    ([10, 5, 150, 130], [96, 96], 0xd523_f7b6),
    ([30, 20, 158, 136], [64, 64], 0xd592_034c),
    ([100, 90, 131, 112], [80, 60], 0x3182_a13a),
    ([0, 0, 190, 140], [190, 35], 0x41ab_fe93),
    ([50, 40, 60, 139], [7, 99], 0x289d_462c),
    ([189, 0, 190, 140], [3, 5], 0x3db9_5e95),
    ([3, 4, 67, 68], [32, 32], 0xd078_4434),
    ([0, 0, 190, 140], [1, 1], 0xc8f1_ffeb),
];

#[test]
fn a_resized_crop_has_the_bytes_of_pillow() {
    let mut photo = Rgb::new(190, 140);
    for (i, value) in photo.data.iter_mut().enumerate() {
        let (x, y, c) = (i / 3 % 190, i / 3 / 190, i % 3);
        *value = ((x * x * (c + 2) / 9 + y * 13 + ((x * y) >> (c + 3))) ^ (x * 7 * (y % 5))) as u8;
    }
    for ([x0, y0, x1, y1], [width, height], expected) in PILLOWS {
        let got = resized_crop(&photo, CropBox { x0, y0, x1, y1 }, width, height);
        assert_eq!(crc32fast::hash(&got.data), expected, "{x0},{y0} to {x1},{y1} as {width}x{height}");
    }
}
