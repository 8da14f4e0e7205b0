//! Adjustments of colour on 8-bit RGB, in Pillow's arithmetic.
//!
//! Brightness, contrast and saturation move every value away from or towards a *degenerate* image `d`:
//! `v' = trunc(clip(d + factor (v - d), 0, 255))`. Factor 1 changes nothing, factor 0 leaves `d`.

use crate::engine::device::vector::vectorised;
use crate::photos::decode::Rgb;

/// Scales all values: `d = 0`.
pub fn adjust_brightness(image: &mut Rgb, factor: f64) {
    look_up(image, |v| moved(0.0, f32::from(v), factor as f32) as u8);
}

/// Moves all values away from the image's mean grey: `d = int(mean(L) + 0.5)`, `L` as in [`grayscale`].
pub fn adjust_contrast(image: &mut Rgb, factor: f64) {
    let pixels = image.data.as_chunks::<3>().0;
    let grey = |[r, g, b]: [u8; 3]| {
        (19595 * u32::from(r) + 38470 * u32::from(g) + 7471 * u32::from(b) + 32768) >> 16
    };
    let sum: u64 = vectorised(
        #[inline(always)]
        || pixels.iter().map(|&pixel| u64::from(grey(pixel))).sum(),
    );
    let mean = (sum as f64 / pixels.len().max(1) as f64 + 0.5).floor() as f32;
    look_up(image, |v| moved(mean, f32::from(v), factor as f32) as u8);
}

/// Moves each pixel away from its own grey: `d = L`, `L` as in [`grayscale`].
pub fn adjust_saturation(image: &mut Rgb, factor: f64) {
    let factor = factor as f32;
    change(
        image,
        #[inline(always)]
        |[r, g, b]| {
            let grey = grey(r, g, b);
            [moved(grey, r, factor), moved(grey, g, factor), moved(grey, b, factor)]
        },
    );
}

/// Turns the hue by `shift` turns of the colour wheel, through 8-bit HSV: `H' = (H + trunc(255 shift)) mod 256`.
///
/// `V = max`, `S = trunc(255 (max - min) / max)`, `H = trunc(255 frac(h / 6 + 1))` with `h` counted in sixths from
/// red; grey pixels stay.
///
/// PRECISION: quotients are rounded to f32 and combined in f64, which gives Pillow's bytes exactly.
pub fn adjust_hue(image: &mut Rgb, shift: f64) {
    let shift = f64::from((255.0 * shift) as i32 as u8); // mod 256
    change(
        image,
        #[inline(always)]
        |pixel| {
            let [h, s] = hue_and_saturation(pixel);
            let turned = if h + shift >= 256.0 { h + shift - 256.0 } else { h + shift };
            let color = color(turned, s, pixel[0].max(pixel[1]).max(pixel[2]));
            if s > 0.0 { color } else { pixel }
        },
    );
}

/// Makes an image grey: three times `L = (19595 R + 38470 G + 7471 B + 32768) >> 16`.
pub fn grayscale(image: &mut Rgb) {
    change(
        image,
        #[inline(always)]
        |[r, g, b]| [grey(r, g, b); 3],
    );
}

/// Inverts values of 128 and more: `v -> 255 - v`.
pub fn solarize(image: &mut Rgb) {
    image.data.iter_mut().filter(|v| **v >= 128).for_each(|v| *v = 255 - *v);
}

/// Pixels that are worked on at a time.
const BLOCK: usize = 64;

/// Replaces every pixel by a function of itself, bytes as floats. Without branches it is computed for many at once.
#[inline(always)]
fn change(image: &mut Rgb, f: impl Fn([f32; 3]) -> [f32; 3]) {
    for pixels in image.data.as_chunks_mut::<3>().0.chunks_mut(BLOCK) {
        vectorised(
            #[inline(always)]
            || {
                let [mut r, mut g, mut b] = [[0.0; BLOCK]; 3];
                for (i, pixel) in pixels.iter().enumerate() {
                    (r[i], g[i], b[i]) = (f32::from(pixel[0]), f32::from(pixel[1]), f32::from(pixel[2]));
                }
                for i in 0..BLOCK {
                    [r[i], g[i], b[i]] = f([r[i], g[i], b[i]]);
                }
                for (i, pixel) in pixels.iter_mut().enumerate() {
                    *pixel = [r[i] as u8, g[i] as u8, b[i] as u8];
                }
            },
        );
    }
}

/// L of a pixel; its sum is a whole number below 2^24 and so exact.
#[inline(always)]
fn grey(r: f32, g: f32, b: f32) -> f32 {
    ((19595.0 * r + 38470.0 * g + 7471.0 * b + 32768.0) / 65536.0).floor()
}

#[inline(always)]
fn moved(degenerate: f32, v: f32, factor: f32) -> f32 {
    (degenerate + factor * (v - degenerate)).clamp(0.0, 255.0).floor()
}

/// Replaces every byte by a function of itself.
fn look_up(image: &mut Rgb, f: impl Fn(u8) -> u8) {
    let table: [u8; 256] = std::array::from_fn(|v| f(v as u8));
    for v in image.data.iter_mut() {
        *v = table[usize::from(*v)];
    }
}

/// H and S of a pixel.
///
/// With the parts `(max - c) / (max - min)` of the three channels, of which the largest channel's is 0 and the
/// smallest one's is 1: `h = b - g` if red is the largest, else `2 + r - b` if green is, else `4 + g - r`.
#[inline(always)]
fn hue_and_saturation([r, g, b]: [f32; 3]) -> [f64; 2] {
    let (max, min) = (r.max(g).max(b), r.min(g).min(b));
    let range = max - min;
    // A grey pixel has no hue; its saturation is 0 whatever these are.
    let (divisor, most) = (range.max(1.0), max.max(1.0));
    let part = |c: f32| f64::from((max - c) / divisor);
    let h = if r == max {
        part(b) - part(g)
    } else if g == max {
        2.0 + part(r) - part(b)
    } else {
        4.0 + part(g) - part(r)
    };
    let turns = f64::from(h as f32) / 6.0 + 1.0;
    let h = (if turns >= 1.0 { turns - 1.0 } else { turns }) as f32; // turns < 2
    [(255.0 * f64::from(h)).floor(), (255.0 * f64::from(range / most)).floor()]
}

/// The colour of H, S and V: with `f` how far H is into its sixth of the wheel and `s = S / 255`,
/// `p, q, t = round(V (1 - s)), round(V (1 - s f)), round(V (1 - s (1 - f)))`.
#[inline(always)]
fn color(h: f64, s: f64, v: f32) -> [f32; 3] {
    let sixths = (h * 6.0 / 255.0) as f32;
    let sector = sixths.floor();
    let f = f64::from((f64::from(sixths) - f64::from(sector)) as f32);
    let s = f64::from((s / 255.0) as f32);
    let of_v = |x: f64| (f64::from(v) * x + 0.5).floor() as f32;
    let (p, q, t) = (of_v(1.0 - s), of_v(1.0 - s * f), of_v(1.0 - s * (1.0 - f)));
    let in_sector = |of: [f32; 6]| {
        let first = if sector == 1.0 { of[1] } else { of[0] }; // 6 is 0 again
        let second = if sector == 3.0 { of[3] } else { of[2] };
        let third = if sector == 5.0 { of[5] } else { of[4] };
        let later = if sector >= 4.0 { third } else { second };
        if (2.0..6.0).contains(&sector) { later } else { first }
    };
    [in_sector([v, q, p, p, t, v]), in_sector([t, v, v, q, p, p]), in_sector([p, p, t, v, v, q])]
}

#[cfg(test)]
#[path = "../../../tests/unit/photos/views/color.rs"]
mod tests;
