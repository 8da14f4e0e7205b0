//! Crops of photos with their label maps, as a segmenter learns from them.
//!
//! What a crop looks like is drawn first ([`CropParams::draw`]), then done alike to pixels and labels ([`CropMaker::make`]): one
//! transform from the crop's pixels to the photo's, of which colours are interpolated and labels are the nearest.
//!
//! ```text
//! photo -> scale -> rotate -> mirror -> crop, padded -> blur -> (v / 255 - mean) / std
//! ```

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::photos::decode::Rgb;
use crate::photos::photo::Photo;
use crate::photos::read::{IGNORED, LabelMap};
use crate::photos::views::blur::Blur;
use crate::photos::views::config::{IMAGENET_MEAN, IMAGENET_STD};
use crate::photos::views::maker::{look_up, normal_values};
use crate::rng::KeyedRng;

/// The distribution that crops are drawn from, as a section of the configuration file.
///
/// The default is what PSPNet is trained with on Cityscapes.
///
/// # Source
/// PSPNet, Sec. 5.1, and its code (semseg), which scales without a filter too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CropConfig {
    /// Side of a crop in pixels: 1 more than a multiple of 8, so that it lies on its map exactly.
    pub size: usize,
    /// A photo's size is multiplied by a number between these, drawn evenly.
    pub scale: [f64; 2],
    /// Largest angle by which a photo is turned about its centre, degrees, either way.
    pub rotation: f64,
    /// Probability that it is turned.
    pub rotation_p: f64,
    /// Standard deviation of the blur, pixels.
    pub blur_sigma: f64,
    /// Probability that a crop is blurred.
    pub blur_p: f64,
    /// Probability that it is mirrored left to right.
    pub flip: f64,
    /// Subtracted from each channel, values in `[0, 1]`; also what stands where there is no photo.
    pub mean: [f32; 3],
    /// Then divided by.
    pub std: [f32; 3],
}

impl Default for CropConfig {
    fn default() -> CropConfig {
        CropConfig {
            size: 713,
            scale: [0.5, 2.0],
            rotation: 10.0,
            rotation_p: 0.5,
            blur_sigma: 1.1,
            blur_p: 0.5,
            flip: 0.5,
            mean: IMAGENET_MEAN,
            std: IMAGENET_STD,
        }
    }
}

/// Pixels beyond which the blur's weights are 0. Source: semseg, a kernel of 5 x 5.
const BLUR_RADIUS: usize = 2;
/// LIMIT: of a side.
const MOST: usize = 8193;

impl CropConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Input`] naming the first field that makes no sense.
    pub fn check(&self) -> Result<()> {
        let share = |p: f64| (0.0..=1.0).contains(&p);
        let [low, high] = self.scale;
        let rules = [
            (
                (9..=MOST).contains(&self.size) && self.size % 8 == 1,
                "size",
                "1 more than a multiple of 8, from 9 to 8193",
            ),
            (
                low >= 0.01 && low <= high && high <= 100.0,
                "scale",
                "two numbers from 0.01 to 100, the smaller first",
            ),
            ((0.0..=180.0).contains(&self.rotation), "rotation", "from 0 to 180 degrees"),
            (share(self.rotation_p), "rotation_p", "from 0 to 1"),
            (self.blur_sigma > 0.0 && self.blur_sigma <= 100.0, "blur_sigma", "above 0, at most 100"),
            (share(self.blur_p), "blur_p", "from 0 to 1"),
            (share(self.flip), "flip", "from 0 to 1"),
            (self.mean.iter().all(|m| m.is_finite()), "mean", "three numbers"),
            (self.std.iter().all(|&s| s > 0.0 && s.is_finite()), "std", "three numbers above 0"),
        ];
        match rules.iter().find(|rule| !rule.0) {
            Some((_, field, wanted)) => {
                let what = format!("crops: invalid {field}");
                Err(Error::input(what, "configuration", format!("it must be {wanted}")))
            }
            None => Ok(()),
        }
    }
}

/// All that is random in one crop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CropParams {
    /// What the photo's size is multiplied by.
    pub scale: f64,
    /// Angle by which it is turned, degrees, counterclockwise.
    pub angle: f64,
    /// Where the crop lies, down and to the right, as shares of the room that there is.
    pub at: [f64; 2],
    /// Whether it is blurred.
    pub blur: bool,
    /// Whether it is mirrored.
    pub flip: bool,
}

impl CropParams {
    /// Draws the parameters of a crop; seven numbers are taken from `rng`, whatever the configuration.
    pub fn draw(config: &CropConfig, rng: &mut KeyedRng) -> CropParams {
        let scale = rng.uniform(config.scale[0], config.scale[1]);
        let turned = rng.chance(config.rotation_p);
        let angle = rng.uniform(-config.rotation, config.rotation);
        let at = [rng.uniform(0.0, 1.0), rng.uniform(0.0, 1.0)];
        let blur = rng.chance(config.blur_p);
        let flip = rng.chance(config.flip);
        CropParams { scale, angle: if turned { angle } else { 0.0 }, at, blur, flip }
    }
}

/// A crop of a photo and of its label map.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Crop {
    /// `[size, size, 3]`: `(v / 255 - mean) / std`, 0 where there is no photo.
    pub pixels: Vec<f32>,
    /// `[size, size]`: indices of classes, [`IGNORED`] where there is no photo.
    pub labels: Vec<u8>,
}

/// Makes crops of one configuration and keeps its buffers between them; one per thread.
#[derive(Clone, Debug)]
pub struct CropMaker {
    config: CropConfig,
    bytes: Rgb,
    /// Pixels outside of the photo.
    outside: Vec<usize>,
    blur: Blur,
    blurred: Vec<f32>,
    normal_values: Box<[[f32; 256]; 3]>,
}

/// From pixels of a crop to those of the photo: `x = x0 + a u + b v`, `y = y0 + c u + d v` of its column u and row v.
struct Transform {
    origin: [f64; 2],
    right: [f64; 2],
    down: [f64; 2],
}

impl CropMaker {
    /// A maker for a configuration.
    ///
    /// # Errors
    /// [`Error::Input`] if the configuration makes no sense, see [`CropConfig::check`].
    pub fn new(config: CropConfig) -> Result<CropMaker> {
        config.check()?;
        let normal_values = Box::new(normal_values(config.mean, config.std));
        let bytes = Rgb::new(config.size, config.size);
        Ok(CropMaker {
            config,
            bytes,
            outside: Vec::new(),
            blur: Blur::default(),
            blurred: Vec::new(),
            normal_values,
        })
    }

    /// The configuration.
    pub fn config(&self) -> &CropConfig {
        &self.config
    }

    /// Makes the crop that `params` describe, of a photo and its label map, which is of the photo's own size.
    ///
    /// The photo at its new size is turned about its centre within its frame; a crop larger than that has equal margins. A pixel whose centre
    /// falls outside of the photo has no label; colours are interpolated between the four nearest pixels, those at edges repeated. What is
    /// blurred is the crop: semseg blurs the photo before, so that nothing of its margins reaches over its edge.
    pub fn make(&mut self, photo: &Photo, labels: &LabelMap, params: &CropParams) -> Crop {
        let size = self.config.size;
        let image = &photo.image;
        let own = [photo.height, photo.width];
        let transform = Transform::of(own, size, params);
        let [rows, columns] = own.map(|side| side as f64);
        // A photo that was decoded smaller has fewer pixels than its label map.
        let shrunk = [image.height as f64 / rows, image.width as f64 / columns];
        let mut crop = Crop { pixels: vec![0.0; size * size * 3], labels: vec![IGNORED; size * size] };
        let padding = self.config.mean.map(|mean| (255.0 * mean).round().clamp(0.0, 255.0) as u8);
        self.outside.clear();
        for v in 0..size {
            for u in 0..size {
                let [x, y] = transform.at(u, v);
                let pixel = &mut self.bytes.data[(v * size + u) * 3..][..3];
                if x >= 0.0 && y >= 0.0 && x < columns && y < rows {
                    crop.labels[v * size + u] = labels.classes[y as usize * labels.size[1] + x as usize];
                    pixel.copy_from_slice(&interpolated(image, x * shrunk[1] - 0.5, y * shrunk[0] - 0.5));
                } else {
                    pixel.copy_from_slice(&padding);
                    self.outside.push(v * size + u);
                }
            }
        }
        if params.blur {
            self.blurred.resize(size * size * 3, 0.0);
            self.blur.apply(
                &self.bytes.data,
                [size; 2],
                self.config.blur_sigma,
                BLUR_RADIUS,
                &mut self.blurred,
            );
            let rounded = self.bytes.data.iter_mut().zip(&self.blurred);
            rounded.for_each(|(byte, value)| *byte = (value + 0.5) as u8);
        }
        look_up(&self.bytes, &self.normal_values, &mut crop.pixels);
        self.outside.iter().for_each(|&at| crop.pixels[3 * at..][..3].fill(0.0));
        crop
    }
}

impl Transform {
    /// That of a crop of a photo of a height and a width.
    fn of(own: [usize; 2], size: usize, params: &CropParams) -> Transform {
        let scaled = own.map(|side| (side as f64 * params.scale).round().max(1.0));
        // The photo's pixels in one of the scaled one.
        let [unit_y, unit_x] = [0, 1].map(|axis| own[axis] as f64 / scaled[axis]);
        // Where the crop begins in the scaled photo: negative by half of what that lacks.
        let start = [0, 1].map(|axis| {
            let room = scaled[axis] - size as f64;
            if room > 0.0 { (params.at[axis] * (room + 1.0)).floor().min(room) } else { (room / 2.0).ceil() }
        });
        let (sin, cos) = params.angle.to_radians().sin_cos();
        let [centre_y, centre_x] = scaled.map(|side| side / 2.0);
        // From the crop to the frame, mirrored there; turned back about the centre; scaled back.
        let sign = if params.flip { -1.0 } else { 1.0 };
        let frame_x = start[1] + 0.5 - centre_x;
        let (first_x, first_y) = (sign * frame_x, start[0] + 0.5 - centre_y);
        let turned = |x: f64, y: f64| [cos * x - sin * y, sin * x + cos * y];
        let [x, y] = turned(first_x, first_y);
        let to_photo = |[x, y]: [f64; 2]| [x * unit_x, y * unit_y];
        Transform {
            origin: to_photo([x + centre_x, y + centre_y]),
            right: to_photo(turned(sign, 0.0)),
            down: to_photo(turned(0.0, 1.0)),
        }
    }

    /// Where the centre of a pixel falls, in pixels of the photo from its upper left corner.
    fn at(&self, u: usize, v: usize) -> [f64; 2] {
        let (u, v) = (u as f64, v as f64);
        [0, 1].map(|axis| self.origin[axis] + u * self.right[axis] + v * self.down[axis])
    }
}

/// The colour at a place between pixels, counted from the centre of the first.
fn interpolated(image: &Rgb, x: f64, y: f64) -> [u8; 3] {
    let (x, y) = (x.clamp(0.0, (image.width - 1) as f64), y.clamp(0.0, (image.height - 1) as f64));
    let (x0, y0) = (x as usize, y as usize);
    let (x1, y1) = ((x0 + 1).min(image.width - 1), (y0 + 1).min(image.height - 1));
    let (fx, fy) = ((x - x0 as f64) as f32, (y - y0 as f64) as f32);
    let pixel = |x: usize, y: usize| &image.data[(y * image.width + x) * 3..][..3];
    let [a, b, c, d] = [pixel(x0, y0), pixel(x1, y0), pixel(x0, y1), pixel(x1, y1)];
    std::array::from_fn(|channel| {
        let of = |pixel: &[u8]| f32::from(pixel[channel]);
        let upper = of(a) + fx * (of(b) - of(a));
        let lower = of(c) + fx * (of(d) - of(c));
        (upper + fy * (lower - upper) + 0.5) as u8
    })
}

#[cfg(test)]
#[path = "../../../tests/unit/photos/views/crop.rs"]
mod tests;
