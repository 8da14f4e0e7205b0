//! How views are drawn, as a plain struct that is also a section of the configuration file.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Mean of ImageNet's channels, values in `[0, 1]`.
pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Standard deviation of ImageNet's channels, values in `[0, 1]`.
pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// In which arithmetic the colours of a view are changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    /// In 8 bits, as Pillow: rounded after every step up to the blur.
    #[default]
    U8,
    /// In floats, as torchvision's operations on float images: nothing is rounded after the resize.
    Float,
}

/// The distribution that views are drawn from.
///
/// The default is [`ViewConfig::moco_v2`] at 224 pixels.
///
/// # Source
/// Chen, Fan, Girshick and He, "Improved baselines with momentum contrastive learning" (MoCo-v2), 2020, and its code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ViewConfig {
    /// Width and height of a view in pixels.
    pub size: usize,
    /// Area of the crop as a fraction of the photo's, drawn uniformly from this range.
    pub crop_scale: [f64; 2],
    /// Width over height of the crop, its logarithm drawn uniformly from this range.
    pub crop_ratio: [f64; 2],
    /// In which arithmetic colours are changed: `u8`, as Pillow does, or `float`.
    pub colour: Colour,
    /// Probability that the four adjustments of colour are made, in random order.
    pub jitter_p: f64,
    /// Brightness factor from `[max(0, 1 - b), 1 + b]`.
    pub brightness: f64,
    /// Contrast factor from `[max(0, 1 - c), 1 + c]`.
    pub contrast: f64,
    /// Saturation factor from `[max(0, 1 - s), 1 + s]`.
    pub saturation: f64,
    /// Hue shift from `[-h, h]`, in turns of the colour wheel; at most 0.5.
    pub hue: f64,
    /// Probability that the view is grey.
    pub gray_p: f64,
    /// Probability that the view is blurred.
    pub blur_p: f64,
    /// Standard deviation of the blur in pixels of the view, drawn uniformly from this range.
    pub blur_sigma: [f64; 2],
    /// Width of the blur's kernel as a fraction of the view's side; 0 for three standard deviations to each side.
    pub blur_kernel: f64,
    /// Probability that the view is solarised: values of 128 and more are inverted.
    pub solarize_p: f64,
    /// Probability that the view is mirrored left to right.
    pub flip_p: f64,
    /// Subtracted from each channel, values in `[0, 1]`.
    pub mean: [f32; 3],
    /// Then divided by.
    pub std: [f32; 3],
}

impl Default for ViewConfig {
    fn default() -> ViewConfig {
        ViewConfig::moco_v2(224)
    }
}

impl ViewConfig {
    /// MoCo-v2's views: crops of 20 to 100 % of the area, mild jitter, untruncated blur.
    ///
    /// # Source
    /// Chen, Fan, Girshick and He, "Improved baselines with momentum contrastive learning", 2020, and its code.
    pub fn moco_v2(size: usize) -> ViewConfig {
        ViewConfig {
            size,
            crop_scale: [0.2, 1.0],
            crop_ratio: [3.0 / 4.0, 4.0 / 3.0],
            colour: Colour::U8,
            jitter_p: 0.8,
            brightness: 0.4,
            contrast: 0.4,
            saturation: 0.4,
            hue: 0.1,
            gray_p: 0.2,
            blur_p: 0.5,
            blur_sigma: [0.1, 2.0],
            blur_kernel: 0.0,
            solarize_p: 0.0,
            flip_p: 0.5,
            mean: IMAGENET_MEAN,
            std: IMAGENET_STD,
        }
    }

    /// SimCLR's views at colour strength 1: crops of 8 to 100 % of the area, strong jitter, a blur kernel of 10 % of
    /// the side.
    ///
    /// # Source
    /// Chen, Kornblith, Norouzi and Hinton, "A simple framework for contrastive learning of visual
    /// representations", 2020, appendix A.
    pub fn simclr(size: usize) -> ViewConfig {
        ViewConfig {
            crop_scale: [0.08, 1.0],
            brightness: 0.8,
            contrast: 0.8,
            saturation: 0.8,
            hue: 0.2,
            blur_kernel: 0.1,
            ..ViewConfig::moco_v2(size)
        }
    }

    /// BYOL's views, which differ between the first (0) and the second (1): the first is always blurred, the second
    /// rarely, but sometimes solarised.
    ///
    /// # Source
    /// Grill et al., "Bootstrap your own latent", 2020, appendix B, Table 6.
    pub fn byol(size: usize, view: usize) -> ViewConfig {
        let (blur_p, solarize_p) = if view == 0 { (1.0, 0.0) } else { (0.1, 0.2) };
        ViewConfig {
            crop_scale: [0.08, 1.0],
            saturation: 0.2,
            blur_p,
            blur_kernel: 0.1,
            solarize_p,
            ..ViewConfig::moco_v2(size)
        }
    }

    /// The largest distance from a pixel that the blur takes in, for a standard deviation.
    pub fn blur_radius(&self, sigma: f64) -> usize {
        let untruncated = (3.0 * sigma).ceil() as usize;
        if self.blur_kernel == 0.0 { untruncated } else { (self.blur_kernel * self.size as f64) as usize / 2 }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Input`] naming the first field that makes no sense.
    pub fn check(&self) -> Result<()> {
        let range = |[low, high]: [f64; 2]| 0.0 < low && low <= high && high.is_finite();
        let probability = |p: f64| (0.0..=1.0).contains(&p);
        let factor = |f: f64| (0.0..=100.0).contains(&f);
        let rules = [
            (self.size >= 1 && self.size <= 8192, "size", "from 1 to 8192"),
            (
                range(self.crop_scale) && self.crop_scale[1] <= 1.0,
                "crop_scale",
                "low <= high, above 0 and at most 1",
            ),
            (range(self.crop_ratio), "crop_ratio", "low <= high, above 0"),
            (probability(self.jitter_p), "jitter_p", "from 0 to 1"),
            (factor(self.brightness), "brightness", "0 or more"),
            (factor(self.contrast), "contrast", "0 or more"),
            (factor(self.saturation), "saturation", "0 or more"),
            ((0.0..=0.5).contains(&self.hue), "hue", "from 0 to 0.5"),
            (probability(self.gray_p), "gray_p", "from 0 to 1"),
            (probability(self.blur_p), "blur_p", "from 0 to 1"),
            (range(self.blur_sigma) && self.blur_sigma[1] <= 100.0, "blur_sigma", "low <= high, above 0"),
            (probability(self.blur_kernel), "blur_kernel", "from 0 to 1"),
            (probability(self.solarize_p), "solarize_p", "from 0 to 1"),
            (probability(self.flip_p), "flip_p", "from 0 to 1"),
            (self.mean.iter().all(|m| m.is_finite()), "mean", "three numbers"),
            (self.std.iter().all(|&s| s > 0.0 && s.is_finite()), "std", "three numbers above 0"),
        ];
        match rules.iter().find(|rule| !rule.0) {
            Some((_, field, wanted)) => Err(Error::input(
                format!("views: invalid {field}"),
                "configuration",
                format!("it must be {wanted}"),
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_in_bytes_unless_a_configuration_says_otherwise() {
        let read = |text: &str| toml::from_str::<ViewConfig>(text).map(|config| config.colour);
        assert_eq!(read("size = 96").unwrap(), Colour::U8);
        assert_eq!(read("colour = \"u8\"").unwrap(), Colour::U8);
        assert_eq!(read("colour = \"float\"").unwrap(), Colour::Float);
        assert!(read("colour = \"half\"").unwrap_err().to_string().contains("float"));
    }
}
