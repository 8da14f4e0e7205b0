//! Adjustments of colour on 8-bit RGB, in Pillow's arithmetic.
//!
//! Brightness, contrast and saturation move every value away from or towards a *degenerate* image `d`:
//! `v' = trunc(clip(d + factor (v - d), 0, 255))`. Factor 1 changes nothing, factor 0 leaves `d`.

use crate::data::Rgb;

/// Scales all values: `d = 0`.
pub fn adjust_brightness(image: &mut Rgb, factor: f64) {
    look_up(image, |v| blend(0.0, f32::from(v), factor as f32));
}

/// Moves all values away from the image's mean grey: `d = int(mean(L) + 0.5)`, `L` as in [`grayscale`].
pub fn adjust_contrast(image: &mut Rgb, factor: f64) {
    let sum: u64 = pixels(image).map(|p| u64::from(luma(*p))).sum();
    let count = (image.data.len() / 3).max(1);
    let mean = (sum as f64 / count as f64 + 0.5).floor() as f32;
    look_up(image, |v| blend(mean, f32::from(v), factor as f32));
}

/// Moves each pixel away from its own grey: `d = L`, `L` as in [`grayscale`].
pub fn adjust_saturation(image: &mut Rgb, factor: f64) {
    let factor = factor as f32;
    for pixel in pixels_mut(image) {
        let grey = f32::from(luma(*pixel));
        *pixel = pixel.map(|v| blend(grey, f32::from(v), factor));
    }
}

/// Turns the hue by `shift` turns of the colour wheel, through 8-bit HSV: `H' = (H + trunc(255 shift)) mod 256`.
///
/// `V = max`, `S = trunc(255 (max - min) / max)`, `H = trunc(255 frac(h / 6 + 1))` with `h` counted in sixths from
/// red; grey pixels stay.
///
/// PRECISION: quotients are rounded to f32 and combined in f64, which gives Pillow's bytes exactly.
pub fn adjust_hue(image: &mut Rgb, shift: f64) {
    let shift = (255.0 * shift) as i32 as u8; // mod 256
    let wheel: [Spoke; 256] = std::array::from_fn(|h| Spoke::at((h as u8).wrapping_add(shift)));
    for pixel in pixels_mut(image) {
        let [h, s, v] = to_hsv(*pixel);
        if s > 0 {
            *pixel = wheel[usize::from(h)].color(s, v);
        }
    }
}

/// Makes an image grey: three times `L = (19595 R + 38470 G + 7471 B + 32768) >> 16`.
pub fn grayscale(image: &mut Rgb) {
    for pixel in pixels_mut(image) {
        *pixel = [luma(*pixel); 3];
    }
}

/// Inverts values of 128 and more: `v -> 255 - v`.
pub fn solarize(image: &mut Rgb) {
    image.data.iter_mut().filter(|v| **v >= 128).for_each(|v| *v = 255 - *v);
}

fn pixels(image: &Rgb) -> impl Iterator<Item = &[u8; 3]> {
    image.data.as_chunks().0.iter()
}

fn pixels_mut(image: &mut Rgb) -> impl Iterator<Item = &mut [u8; 3]> {
    image.data.as_chunks_mut().0.iter_mut()
}

fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((19595 * u32::from(r) + 38470 * u32::from(g) + 7471 * u32::from(b) + 32768) >> 16) as u8
}

fn blend(degenerate: f32, v: f32, factor: f32) -> u8 {
    (degenerate + factor * (v - degenerate)).clamp(0.0, 255.0) as u8
}

/// Replaces every byte by a function of itself.
fn look_up(image: &mut Rgb, f: impl Fn(u8) -> u8) {
    let table: [u8; 256] = std::array::from_fn(|v| f(v as u8));
    for v in &mut image.data {
        *v = table[usize::from(*v)];
    }
}

/// Hue, saturation and value of a pixel.
///
/// With the parts `(max - c) / (max - min)` of the three channels, of which the largest channel's is 0 and the
/// smallest one's is 1: `h = b - g` if red is the largest, else `2 + r - b` if green is, else `4 + g - r`.
fn to_hsv([r, g, b]: [u8; 3]) -> [u8; 3] {
    let (max, min) = (r.max(g).max(b), r.min(g).min(b));
    if max == min {
        return [0, 0, max];
    }
    let range = f32::from(max - min);
    let part = |c: u8| f64::from(f32::from(max - c) / range);
    let h = if r == max {
        part(b) - part(g)
    } else if g == max {
        2.0 + part(r) - part(b)
    } else {
        4.0 + part(g) - part(r)
    };
    let turns = f64::from(h as f32) / 6.0 + 1.0;
    let h = (if turns >= 1.0 { turns - 1.0 } else { turns }) as f32; // turns < 2
    let s = range / f32::from(max);
    [(255.0 * f64::from(h)) as u8, (255.0 * f64::from(s)) as u8, max]
}

/// One of the 256 hues, made ready to turn saturation and value into a colour.
#[derive(Clone, Copy)]
struct Spoke {
    /// Where `[v, p, q, t]` stand in red, green and blue.
    order: [usize; 3],
    /// How far the hue is into its sixth of the wheel.
    f: f64,
}

impl Spoke {
    fn at(h: u8) -> Spoke {
        const V_P_Q_T: [[usize; 3]; 6] = [[0, 3, 1], [2, 0, 1], [1, 0, 3], [1, 2, 0], [3, 1, 0], [0, 1, 2]];
        let sixths = (f64::from(h) * 6.0 / 255.0) as f32;
        let sector = sixths.floor();
        let f = f64::from((f64::from(sixths) - f64::from(sector)) as f32);
        Spoke { order: V_P_Q_T[sector as usize % 6], f }
    }

    /// `p, q, t = round(V (1 - s)), round(V (1 - s f)), round(V (1 - s (1 - f)))` with `s = S / 255`.
    fn color(&self, s: u8, v: u8) -> [u8; 3] {
        let s = f64::from((f64::from(s) / 255.0) as f32);
        let of_v = |x: f64| (f64::from(v) * x + 0.5) as i32 as u8;
        let values = [v, of_v(1.0 - s), of_v(1.0 - s * self.f), of_v(1.0 - s * (1.0 - self.f))];
        self.order.map(|i| values[i])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_17th_color() -> Rgb {
        let steps = || (0..=255u8).step_by(17);
        let data: Vec<u8> =
            steps().flat_map(|r| steps().flat_map(move |g| steps().flat_map(move |b| [r, g, b]))).collect();
        Rgb { width: 16, height: 256, data }
    }

    #[test]
    fn factor_one_changes_nothing() {
        let image = every_17th_color();
        for adjust in [adjust_brightness, adjust_contrast, adjust_saturation] {
            let mut same = image.clone();
            adjust(&mut same, 1.0);
            assert_eq!(same, image);
        }
    }

    #[test]
    fn saturation_zero_is_grey() {
        let (mut faded, mut grey) = (every_17th_color(), every_17th_color());
        adjust_saturation(&mut faded, 0.0);
        grayscale(&mut grey);
        assert_eq!(faded, grey);
    }

    #[test]
    fn hue_keeps_greys_and_turns_red_into_green_in_a_third() {
        let mut image = Rgb { width: 2, height: 1, data: vec![77, 77, 77, 255, 0, 0] };
        adjust_hue(&mut image, 1.0 / 3.0);
        assert_eq!(image.data, [77, 77, 77, 0, 255, 0]);
    }
}
