//! The numbers that make one view, drawn before any pixel is touched.

use crate::photos::views::config::ViewConfig;
use crate::photos::views::geometry::CropBox;
use crate::rng::KeyedRng;

/// One adjustment of colour and its factor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Adjustment {
    /// See [`adjust_brightness`](crate::photos::views::adjust_brightness).
    Brightness(f64),
    /// See [`adjust_contrast`](crate::photos::views::adjust_contrast).
    Contrast(f64),
    /// See [`adjust_saturation`](crate::photos::views::adjust_saturation).
    Saturation(f64),
    /// See [`adjust_hue`](crate::photos::views::adjust_hue).
    Hue(f64),
}

/// All that is random in one view.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewParams {
    /// What is cut out of the photo.
    pub crop: CropBox,
    /// The adjustments of colour, in the order in which they are made.
    pub jitter: Option<[Adjustment; 4]>,
    /// Whether the view is grey.
    pub gray: bool,
    /// Standard deviation of the blur in pixels.
    pub blur: Option<f64>,
    /// Whether the view is solarised.
    pub solarize: bool,
    /// Whether the view is mirrored.
    pub flip: bool,
}

impl ViewParams {
    /// Draws the parameters of a view of a `width` x `height` photo.
    ///
    /// Every view takes the same count of numbers from `rng` whatever is chosen, apart from the crop's tries.
    pub fn draw(config: &ViewConfig, width: usize, height: usize, rng: &mut KeyedRng) -> ViewParams {
        let crop = draw_crop(config, width, height, rng);
        let jittered = rng.chance(config.jitter_p);
        let mut factor = |strength: f64| rng.uniform((1.0 - strength).max(0.0), 1.0 + strength);
        let mut jitter = [
            Adjustment::Brightness(factor(config.brightness)),
            Adjustment::Contrast(factor(config.contrast)),
            Adjustment::Saturation(factor(config.saturation)),
            Adjustment::Hue(rng.uniform(-config.hue, config.hue)),
        ];
        rng.shuffle(&mut jitter);
        let gray = rng.chance(config.gray_p);
        let blurred = rng.chance(config.blur_p);
        let sigma = rng.uniform(config.blur_sigma[0], config.blur_sigma[1]);
        let flip = rng.chance(config.flip_p);
        let solarize = rng.chance(config.solarize_p);
        let (jitter, blur) = (jittered.then_some(jitter), blurred.then_some(sigma));
        ViewParams { crop, jitter, gray, blur, solarize, flip }
    }
}

/// A crop of random area and shape: ten tries, then the largest centred crop of an allowed shape.
///
/// # Source
/// torchvision, `RandomResizedCrop.get_params`.
fn draw_crop(config: &ViewConfig, width: usize, height: usize, rng: &mut KeyedRng) -> CropBox {
    let (w, h) = (width as f64, height as f64);
    let [low, high] = config.crop_ratio;
    for _ in 0..10 {
        let area = w * h * rng.uniform(config.crop_scale[0], config.crop_scale[1]);
        let ratio = rng.uniform(low.ln(), high.ln()).exp();
        let crop_w = (area * ratio).sqrt().round_ties_even() as usize;
        let crop_h = (area / ratio).sqrt().round_ties_even() as usize;
        if (1..=width).contains(&crop_w) && (1..=height).contains(&crop_h) {
            let y = rng.below((height - crop_h + 1) as u64) as usize;
            let x = rng.below((width - crop_w + 1) as u64) as usize;
            return CropBox::at(x, y, crop_w, crop_h);
        }
    }
    let (crop_w, crop_h) = if w / h < low {
        (width, ((w / low).round_ties_even() as usize).clamp(1, height))
    } else if w / h > high {
        (((h * high).round_ties_even() as usize).clamp(1, width), height)
    } else {
        (width, height)
    };
    CropBox::at((width - crop_w) / 2, (height - crop_h) / 2, crop_w, crop_h)
}

#[cfg(test)]
#[path = "../../../tests/unit/photos/views/params.rs"]
mod tests;
