//! Adjustments of colour on floats in `[0, 1]`: the family without 8-bit steps, for `colour = "float"`.
//!
//! Brightness, contrast and saturation move every value away from or towards a *degenerate* image `d`:
//! `v' = clamp(factor v + (1 - factor) d, 0, 1)`. Factor 1 changes nothing, factor 0 leaves `d`. Images are slices of
//! RGB pixels. The formulas are torchvision's for float images.

/// Scales all values: `d = 0`.
pub fn adjust_brightness_float(image: &mut [f32], factor: f64) {
    blend_all(image, 0.0, factor as f32);
}

/// Moves all values away from the image's mean grey, see [`grayscale_float`].
pub fn adjust_contrast_float(image: &mut [f32], factor: f64) {
    let sum: f64 = image.as_chunks().0.iter().map(|p| f64::from(grey(*p))).sum();
    let mean = sum / (image.len() / 3).max(1) as f64;
    blend_all(image, mean as f32, factor as f32);
}

/// Moves each pixel away from its own grey, see [`grayscale_float`].
pub fn adjust_saturation_float(image: &mut [f32], factor: f64) {
    for pixel in image.as_chunks_mut().0 {
        let degenerate = grey(*pixel);
        *pixel = pixel.map(|v| blend(degenerate, v, factor as f32));
    }
}

/// Turns the hue by `shift` turns of the colour wheel, through HSV: `h' = (h + shift) mod 1`; grey pixels stay.
///
/// With `V = max`, `C = max - min` and the hue in sixths of the wheel, `6 h = (G - B) / C` if red is the largest, else
/// `2 + (B - R) / C` if green is, else `4 + (R - G) / C`. Back: `V - C clamp(min(k, 4 - k), 0, 1)` with
/// `k = (n + 6 h') mod 6`, n = 5, 3, 1 for red, green and blue.
pub fn adjust_hue_float(image: &mut [f32], shift: f64) {
    let sixths = (6.0 * shift.rem_euclid(1.0)) as f32;
    for pixel in image.as_chunks_mut().0 {
        *pixel = turned(*pixel, sixths);
    }
}

/// Makes an image grey: three times `0.2989 R + 0.587 G + 0.114 B`.
pub fn grayscale_float(image: &mut [f32]) {
    for pixel in image.as_chunks_mut().0 {
        *pixel = [grey(*pixel); 3];
    }
}

/// Inverts values of 128/255 of `most` and more: `v -> most - v`, for values up to `most`.
pub fn solarize_float(image: &mut [f32], most: f32) {
    let threshold = 128.0 / 255.0 * most;
    image.iter_mut().filter(|v| **v >= threshold).for_each(|v| *v = most - *v);
}

fn grey([r, g, b]: [f32; 3]) -> f32 {
    0.2989 * r + 0.587 * g + 0.114 * b
}

fn blend(degenerate: f32, v: f32, factor: f32) -> f32 {
    (factor * v + (1.0 - factor) * degenerate).clamp(0.0, 1.0)
}

fn blend_all(image: &mut [f32], degenerate: f32, factor: f32) {
    for v in image {
        *v = blend(degenerate, *v, factor);
    }
}

/// A pixel with its hue moved by 0 to 6 sixths of the wheel.
fn turned([r, g, b]: [f32; 3], sixths: f32) -> [f32; 3] {
    let (value, low) = (r.max(g).max(b), r.min(g).min(b));
    let chroma = value - low;
    if chroma == 0.0 {
        return [r, g, b];
    }
    let hue = if value == r {
        (g - b) / chroma
    } else if value == g {
        2.0 + (b - r) / chroma
    } else {
        4.0 + (r - g) / chroma
    };
    [5.0, 3.0, 1.0].map(|n| {
        let k = n + hue + sixths; // from 0 to 16
        let k = k - 6.0 * f32::from(u8::from(k >= 6.0) + u8::from(k >= 12.0));
        value - chroma * k.min(4.0 - k).clamp(0.0, 1.0)
    })
}

#[cfg(test)]
#[path = "../../../tests/unit/photos/views/color_float.rs"]
mod tests;
