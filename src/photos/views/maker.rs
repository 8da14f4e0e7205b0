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
use crate::photos::views::geometry::{CropBox, horizontal_flip, resized_crop_into};
use crate::photos::views::params::{Adjustment, ViewParams};

/// Makes views of one configuration and keeps its buffers between them; one per thread.
#[derive(Clone, Debug)]
pub struct ViewMaker {
    config: ViewConfig,
    resizer: Resizer,
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
        let (resizer, blur) = (Resizer::new(), Blur::default());
        let (blurred, floats) = (Vec::new(), Vec::new());
        Ok(ViewMaker { config, resizer, view, normal_values, blur, blurred, floats })
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
        resized_crop_into(&mut self.resizer, photo, params.crop, &mut self.view);
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
    /// the short side to 256 and cutting out the middle 224 shows, in one step, at any size.
    pub fn center(&mut self, photo: &Rgb, out: &mut [f32]) {
        resized_crop_into(&mut self.resizer, photo, center_box(photo.width, photo.height), &mut self.view);
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
fn normal_values(mean: [f32; 3], std: [f32; 3]) -> [[f32; 256]; 3] {
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

fn look_up(image: &Rgb, table: &[[f32; 256]; 3], out: &mut [f32]) {
    for (y, x) in out.as_chunks_mut::<3>().0.iter_mut().zip(image.data.as_chunks::<3>().0) {
        *y = std::array::from_fn(|c| table[c][usize::from(x[c])]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::KeyedRng;

    #[test]
    fn a_photo_of_one_pixel_gives_views_of_one_color_at_most() {
        let photo = Rgb { width: 1, height: 1, data: vec![10, 200, 30] };
        let mut maker = ViewMaker::new(ViewConfig::simclr(33)).unwrap();
        let mut out = vec![0.0; maker.len()];
        for i in 0..50 {
            let params = ViewParams::draw(maker.config(), 1, 1, &mut KeyedRng::new("view", 0, [0, i, 0]));
            maker.make(&photo, &params, &mut out);
            assert!(out.chunks(3).all(|p| p.iter().zip(&out[..3]).all(|(a, b)| (a - b).abs() < 1e-5)));
        }
        maker.center(&photo, &mut out);
        assert!((out[1] - (200.0 / 255.0 - 0.456) / 0.224).abs() < 1e-6);
    }

    #[test]
    fn center_takes_a_square_whole_and_seven_eighths_of_another_short_side() {
        assert_eq!(center_box(96, 96), CropBox::at(0, 0, 96, 96));
        assert_eq!(center_box(500, 256), CropBox::at(138, 16, 224, 224));
        assert_eq!(center_box(1, 9), CropBox::at(0, 4, 1, 1));
    }

    #[test]
    fn a_solarised_view_inverts_what_is_128_and_more_blurred_or_not_in_bytes_and_floats() {
        let photo = Rgb { width: 2, height: 1, data: vec![127, 128, 255, 127, 128, 255] };
        for (colour, blur) in
            [(Colour::U8, None), (Colour::U8, Some(0.5)), (Colour::Float, None), (Colour::Float, Some(0.5))]
        {
            let mut maker = ViewMaker::new(ViewConfig { colour, ..ViewConfig::byol(2, 1) }).unwrap();
            let drawn = ViewParams::draw(maker.config(), 2, 1, &mut KeyedRng::new("view", 1, [0; 3]));
            let crop = CropBox::at(0, 0, 2, 1);
            let params = ViewParams { crop, jitter: None, gray: false, blur, solarize: true, ..drawn };
            let mut out = vec![0.0; maker.len()];
            maker.make(&photo, &params, &mut out);
            for (i, v) in out.iter().enumerate() {
                let (c, wanted) = (i % 3, [127.0, 127.0, 0.0][i % 3]);
                let (mean, std) = (maker.config().mean[c], maker.config().std[c]);
                assert!((v - (wanted / 255.0 - mean) / std).abs() < 1e-4, "{colour:?} {blur:?}: {v}");
            }
        }
    }

    #[test]
    fn a_flipped_view_is_the_mirrored_view() {
        let data = (0..20 * 30 * 3).map(|i| (i * 7 % 251) as u8).collect();
        let photo = Rgb { width: 30, height: 20, data };
        let mut maker = ViewMaker::new(ViewConfig::moco_v2(8)).unwrap();
        let (mut plain, mut flipped) = (vec![0.0; maker.len()], vec![0.0; maker.len()]);
        let mut params = ViewParams::draw(maker.config(), 30, 20, &mut KeyedRng::new("view", 1, [0; 3]));
        for (flip, out) in [(false, &mut plain), (true, &mut flipped)] {
            params.flip = flip;
            maker.make(&photo, &params, out);
        }
        for y in 0..8 {
            for x in 0..8 {
                assert_eq!(plain[(y * 8 + x) * 3..][..3], flipped[(y * 8 + 7 - x) * 3..][..3]);
            }
        }
    }

    #[test]
    fn colours_in_floats_are_those_in_bytes_but_for_rounding() {
        let data = (0..40 * 40 * 3).map(|i| (i * 97 % 251) as u8).collect();
        let photo = Rgb { width: 40, height: 40, data };
        let config = |colour, jitter_p| ViewConfig { colour, jitter_p, ..ViewConfig::moco_v2(16) };
        let stream = |i| KeyedRng::new("view", 0, [i, 0, 0]);
        for (jitter_p, allowed) in [(0.0, 1e-5), (1.0, 0.08)] {
            let mut makers =
                [Colour::U8, Colour::Float].map(|c| ViewMaker::new(config(c, jitter_p)).unwrap());
            for i in 0..20 {
                let params = ViewParams::draw(makers[0].config(), 40, 40, &mut stream(i));
                if params.gray && jitter_p == 0.0 {
                    continue; // grey is rounded in bytes
                }
                let mut views = [(); 2].map(|()| vec![0.0; makers[0].len()]);
                makers.iter_mut().zip(&mut views).for_each(|(maker, out)| maker.make(&photo, &params, out));
                let mean = views[0].iter().zip(&views[1]).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>()
                    / views[0].len() as f64;
                // One grey level is 1 / (255 * 0.225) = 0.017; four adjustments round down, and hue has 256 steps.
                assert!(mean <= allowed, "{mean} in view {i}: {params:?}");
            }
        }
    }
}
