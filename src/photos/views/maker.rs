//! From a photo and drawn parameters to a normalised view.

use fast_image_resize::Resizer;

use crate::error::Result;
use crate::photos::decode::Rgb;
use crate::photos::views::blur::Blur;
use crate::photos::views::color::{
    adjust_brightness, adjust_contrast, adjust_hue, adjust_saturation, grayscale, solarize,
};
use crate::photos::views::color_float::{
    adjust_brightness_float, adjust_contrast_float, adjust_hue_float, adjust_saturation_float,
    grayscale_float, solarize_float,
};
use crate::photos::views::config::{Colour, ViewConfig};
use crate::photos::views::geometry::{CropBox, horizontal_flip, quickly_resized_crop_into};
use crate::photos::views::params::{Adjustment, ViewParams};
use crate::photos::views::resize::Resize;

/// Makes views of one configuration and keeps its buffers between them; one per thread.
#[derive(Clone, Debug)]
pub struct ViewMaker {
    config: ViewConfig,
    resizer: Resizer,
    exact: Resize,
    view: Rgb,
    normal_values: Box<[[f32; 256]; 3]>,
    blur: Blur,
    blurred: Vec<f32>,
    /// The view in `[0, 1]`, where colours are changed in floats.
    floats: Vec<f32>,
}

impl ViewMaker {
    /// A maker for a configuration.
    ///
    /// # Errors
    /// [`Error::Input`](crate::error::Error::Input) if the configuration makes no sense, see [`ViewConfig::check`].
    pub fn new(config: ViewConfig) -> Result<ViewMaker> {
        config.check()?;
        let view = Rgb::new(config.size, config.size);
        let normal_values = Box::new(normal_values(config.mean, config.std));
        let (resizer, exact, blur) = (Resizer::new(), Resize::default(), Blur::default());
        let (blurred, floats) = (Vec::new(), Vec::new());
        Ok(ViewMaker { config, resizer, exact, view, normal_values, blur, blurred, floats })
    }

    /// The configuration.
    pub fn config(&self) -> &ViewConfig {
        &self.config
    }

    /// Floats in one view: `size * size * 3`.
    pub fn len(&self) -> usize {
        self.view.data.len()
    }

    /// Always false: a view has at least one pixel.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes the view that `params` describe: `out` is `[size, size, 3]`, `(v / 255 - mean) / std`.
    ///
    /// Crop and resize are in 8 bits. Then [`Colour`] decides: values are rounded to 8 bits after every step up to the
    /// blur, or not rounded any more. Blurred values are normalised unrounded in both.
    /// The crop must lie inside the photo. A photo of one pixel gives a view of one colour.
    pub fn make(&mut self, photo: &Rgb, params: &ViewParams, out: &mut [f32]) {
        quickly_resized_crop_into(&mut self.resizer, photo, params.crop, &mut self.view);
        match self.config.colour {
            Colour::U8 => adjust(&mut self.view, params),
            Colour::Float => {
                self.floats.clear();
                self.floats.extend(self.view.data.iter().map(|&v| f32::from(v) / 255.0));
                adjust_floats(&mut self.floats, params);
            }
        }
        if let Some(sigma) = params.blur {
            let (size, radius) = ([self.config.size; 2], self.config.blur_radius(sigma));
            self.blurred.resize(self.view.data.len(), 0.0);
            match self.config.colour {
                Colour::U8 => self.blur.apply(&self.view.data, size, sigma, radius, &mut self.blurred),
                Colour::Float => self.blur.apply(&self.floats, size, sigma, radius, &mut self.blurred),
            }
        }
        let white = if self.config.colour == Colour::U8 { 255.0 } else { 1.0 };
        let floats = match (self.config.colour, params.blur) {
            (_, Some(_)) => Some(&mut self.blurred),
            (Colour::Float, None) => Some(&mut self.floats),
            (Colour::U8, None) => None,
        };
        match floats {
            Some(image) => {
                if params.solarize {
                    solarize_float(image, white);
                }
                normalize_floats(image, white, &self.config, out);
            }
            None => {
                if params.solarize {
                    solarize(&mut self.view);
                }
                look_up(&self.view, &self.normal_values, out);
            }
        }
        if params.flip {
            horizontal_flip(out, self.config.size);
        }
    }

    /// Makes the view that evaluations use, without chance: the middle of the photo.
    ///
    /// A square photo is taken whole. Of any other, the centred square of 224/256 of the short side is: what resizing
    /// the short side to 256 and cutting out the middle 224 shows, in one step, at any size. Its bytes are Pillow's, so an exported encoder finds the same
    /// features there.
    pub fn center(&mut self, photo: &Rgb, out: &mut [f32]) {
        self.exact.crop(photo, center_box(photo.width, photo.height), &mut self.view);
        look_up(&self.view, &self.normal_values, out);
    }
}

/// Jitter and grey, in bytes.
fn adjust(image: &mut Rgb, params: &ViewParams) {
    for adjustment in params.jitter.iter().flatten() {
        match *adjustment {
            Adjustment::Brightness(factor) => adjust_brightness(image, factor),
            Adjustment::Contrast(factor) => adjust_contrast(image, factor),
            Adjustment::Saturation(factor) => adjust_saturation(image, factor),
            Adjustment::Hue(shift) => adjust_hue(image, shift),
        }
    }
    if params.gray {
        grayscale(image);
    }
}

/// The same in floats.
fn adjust_floats(image: &mut [f32], params: &ViewParams) {
    for adjustment in params.jitter.iter().flatten() {
        match *adjustment {
            Adjustment::Brightness(factor) => adjust_brightness_float(image, factor),
            Adjustment::Contrast(factor) => adjust_contrast_float(image, factor),
            Adjustment::Saturation(factor) => adjust_saturation_float(image, factor),
            Adjustment::Hue(shift) => adjust_hue_float(image, shift),
        }
    }
    if params.gray {
        grayscale_float(image);
    }
}

fn center_box(width: usize, height: usize) -> CropBox {
    if width == height {
        return CropBox::at(0, 0, width, height);
    }
    let side = ((width.min(height) * 224 + 128) / 256).max(1);
    CropBox::at((width - side) / 2, (height - side) / 2, side, side)
}

/// `out[y, x, c] = (v / 255 - mean_c) / std_c`.
pub fn normalize(image: &Rgb, mean: [f32; 3], std: [f32; 3], out: &mut [f32]) {
    look_up(image, &normal_values(mean, std), out);
}

/// The normalised value of each byte in each channel.
pub(super) fn normal_values(mean: [f32; 3], std: [f32; 3]) -> [[f32; 256]; 3] {
    std::array::from_fn(|c| {
        let (mean, std) = (f64::from(mean[c]), f64::from(std[c]));
        std::array::from_fn(|v| ((v as f64 / 255.0 - mean) / std) as f32)
    })
}

/// `out[y, x, c] = (v / white - mean_c) / std_c`
fn normalize_floats(image: &[f32], white: f32, config: &ViewConfig, out: &mut [f32]) {
    let (mean, std) = (config.mean, config.std);
    let line: [(f32, f32); 3] = std::array::from_fn(|c| (1.0 / (white * std[c]), -mean[c] / std[c]));
    for (y, x) in out.as_chunks_mut::<3>().0.iter_mut().zip(image.as_chunks::<3>().0) {
        *y = std::array::from_fn(|c| x[c] * line[c].0 + line[c].1);
    }
}

pub(super) fn look_up(image: &Rgb, table: &[[f32; 256]; 3], out: &mut [f32]) {
    for (y, x) in out.as_chunks_mut::<3>().0.iter_mut().zip(image.data.as_chunks::<3>().0) {
        *y = std::array::from_fn(|c| table[c][usize::from(x[c])]);
    }
}

#[cfg(test)]
#[path = "../../../tests/unit/photos/views/maker.rs"]
mod tests;
