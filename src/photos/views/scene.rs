//! Scenes: whole photos at a detector's size, the boxes and masks of their objects carried along.
//!
//! What a scene looks like is drawn first ([`SceneParams::draw`]), then done alike to pixels, boxes and masks ([`SceneMaker::make`]).
//!
//! ```text
//! photo -> resize -> flip -> (v / 255 - mean) / std
//! ```

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::photos::decode::Rgb;
use crate::photos::masks::Bitmap;
use crate::photos::photo::Photo;
use crate::photos::read::LabelledBox;
use crate::photos::views::config::{IMAGENET_MEAN, IMAGENET_STD};
use crate::photos::views::geometry::{CropBox, horizontal_flip};
use crate::photos::views::maker::{look_up, normal_values};
use crate::photos::views::resize::Resize;
use crate::rng::KeyedRng;

/// The distribution that scenes are drawn from, as a section of the configuration file.
///
/// The default is what Mask R-CNN is trained with on COCO: short sides of 640, 672, .. 800 pixels, at most 1333, half of them mirrored.
///
/// # Source
/// detectron2, `ResizeShortestEdge` and the configurations of MoCo and DenseCL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SceneConfig {
    /// Short side of a scene in pixels: one of these, drawn for each photo.
    pub shortest: Vec<usize>,
    /// Long side of a scene in pixels, at most: a photo that is longer is shrunk to it, and its short side with it.
    pub longest: usize,
    /// Probability that a scene is mirrored left to right.
    pub flip: f64,
    /// Subtracted from each channel, values in `[0, 1]`.
    pub mean: [f32; 3],
    /// Then divided by.
    pub std: [f32; 3],
}

impl Default for SceneConfig {
    fn default() -> SceneConfig {
        SceneConfig {
            shortest: (640..=800).step_by(32).collect(),
            longest: 1333,
            flip: 0.5,
            mean: IMAGENET_MEAN,
            std: IMAGENET_STD,
        }
    }
}

impl SceneConfig {
    /// Height and width of the scene of a photo of a height and a width, given the short side that was drawn.
    ///
    /// With `s = shortest / min(h, w)`, made smaller if need be until `s max(h, w) = longest`: `floor(s h + 1/2), floor(s w + 1/2)`, each
    /// at least 1.
    ///
    /// # Source
    /// detectron2, `ResizeShortestEdge.get_output_shape`.
    pub fn size(&self, [height, width]: [usize; 2], shortest: usize) -> [usize; 2] {
        let [h, w, short, longest] = [height, width, shortest, self.longest].map(|side| side as f64);
        let scale = short / h.min(w);
        let sides = if h < w { [short, scale * w] } else { [scale * h, short] };
        let long = sides[0].max(sides[1]);
        let shrunk = if long > longest { longest / long } else { 1.0 };
        sides.map(|side| ((side * shrunk + 0.5) as usize).max(1))
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Input`] naming the first field that makes no sense.
    pub fn check(&self) -> Result<()> {
        let side = |side: usize| (1..=8192).contains(&side);
        let are_sides = !self.shortest.is_empty() && self.shortest.iter().all(|&s| side(s));
        let rules = [
            (are_sides, "shortest", "a list of sides from 1 to 8192"),
            (side(self.longest), "longest", "from 1 to 8192"),
            ((0.0..=1.0).contains(&self.flip), "flip", "from 0 to 1"),
            (self.mean.iter().all(|m| m.is_finite()), "mean", "three numbers"),
            (self.std.iter().all(|&s| s > 0.0 && s.is_finite()), "std", "three numbers above 0"),
        ];
        match rules.iter().find(|rule| !rule.0) {
            Some((_, field, wanted)) => {
                let what = format!("scenes: invalid {field}");
                Err(Error::input(what, "configuration", format!("it must be {wanted}")))
            }
            None => Ok(()),
        }
    }
}

/// All that is random in one scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SceneParams {
    /// Its short side in pixels, unless its long side is too long.
    pub shortest: usize,
    /// Whether it is mirrored.
    pub flip: bool,
}

impl SceneParams {
    /// Draws the parameters of a scene; two numbers are taken from `rng`, whatever the configuration.
    pub fn draw(config: &SceneConfig, rng: &mut KeyedRng) -> SceneParams {
        let shortest = config.shortest[rng.below(config.shortest.len() as u64) as usize];
        SceneParams { shortest, flip: rng.chance(config.flip) }
    }
}

/// A photo as a detector sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scene {
    /// `[height, width, 3]`: `(v / 255 - mean) / std`.
    pub pixels: Vec<f32>,
    /// Its height and width.
    pub size: [usize; 2],
    /// Height and width of the photo itself.
    pub own: [usize; 2],
    /// What is to be seen in it.
    pub objects: Vec<SceneObject>,
    /// What of the photo's objects is not.
    pub left_out: Vec<LeftOut>,
}

/// An object in a scene.
#[derive(Clone, Debug, PartialEq)]
pub struct SceneObject {
    /// Index into the set's classes.
    pub class: usize,
    /// `[x0, y0, x1, y1]` in pixels of the scene, inside of it.
    pub rect: [f32; 4],
    /// A group of objects under one box.
    pub crowd: bool,
    /// Marked as hard to recognise.
    pub difficult: bool,
    /// [`LabelledBox::area`], in pixels of the photo itself.
    pub area: f32,
    /// Its pixels, at the scene's size; `None` if they are not known.
    pub mask: Option<Bitmap>,
}

/// An object that is not in a scene, or is there without its mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Which of the photo's objects; `None` for all of them.
    pub object: Option<usize>,
    /// Whether it is its mask alone.
    pub only_mask: bool,
    /// Why: a sentence.
    pub why: String,
}

/// Boxes of no more pixels along a side than this are no boxes: the coder of boxes takes logarithms of their sides.
///
/// # Source
/// detectron2, `filter_empty_instances`.
const NOTHING: f64 = 1e-5;

/// Makes scenes of one configuration and keeps its buffers between them; one per thread.
#[derive(Clone, Debug)]
pub struct SceneMaker {
    config: SceneConfig,
    resize: Resize,
    resized: Rgb,
    normal_values: Box<[[f32; 256]; 3]>,
}

impl SceneMaker {
    /// A maker for a configuration.
    ///
    /// # Errors
    /// [`Error::Input`] if the configuration makes no sense, see [`SceneConfig::check`].
    pub fn new(config: SceneConfig) -> Result<SceneMaker> {
        config.check()?;
        let normal_values = Box::new(normal_values(config.mean, config.std));
        Ok(SceneMaker { config, resize: Resize::default(), resized: Rgb::new(1, 1), normal_values })
    }

    /// The configuration.
    pub fn config(&self) -> &SceneConfig {
        &self.config
    }

    /// Makes the scene that `params` describe, of a photo and its objects.
    ///
    /// The resize is that of [`resized_crop`](crate::photos::views::resized_crop), in 8 bits. Boxes are clipped to the scene. An object
    /// whose box has no area then, or is not finite, is left out, and so is a mask of another size than the photo, or without a pixel in
    /// the scene: [`Scene::left_out`].
    pub fn make(&mut self, photo: &Photo, objects: &[LabelledBox], params: SceneParams) -> Scene {
        let own = [photo.height, photo.width];
        let size @ [height, width] = self.config.size(own, params.shortest);
        if [self.resized.height, self.resized.width] != size {
            self.resized = Rgb::new(width, height);
        }
        self.resize.crop(&photo.image, CropBox::whole(&photo.image), &mut self.resized);
        let mut pixels = vec![0.0; height * width * 3];
        look_up(&self.resized, &self.normal_values, &mut pixels);
        if params.flip {
            horizontal_flip(&mut pixels, width);
        }
        let mut scene = Scene { pixels, size, own, ..Scene::default() };
        for (number, object) in objects.iter().enumerate() {
            scene.take_in(number, object, params.flip);
        }
        scene
    }
}

impl Scene {
    fn take_in(&mut self, number: usize, object: &LabelledBox, flip: bool) {
        let Some(rect) = self.shown(object.rect, flip) else {
            let [x, y, w, h] = object.rect;
            let why = format!("its box of {w} x {h} pixels at {x}, {y} has no area in the photo");
            self.left_out.push(LeftOut { object: Some(number), only_mask: false, why });
            return;
        };
        let mask = object.mask.as_ref().and_then(|mask| {
            let shown = mask.shown(self.own, self.size, flip);
            let seen = |mask: Bitmap| match mask.pixels.contains(&1) {
                true => Ok(mask),
                false => Err("its mask has no pixel in the scene".into()),
            };
            let refused = |why| self.left_out.push(LeftOut { object: Some(number), only_mask: true, why });
            shown.and_then(seen).map_err(refused).ok()
        });
        let LabelledBox { class, crowd, difficult, area, .. } = *object;
        self.objects.push(SceneObject { class, rect, crowd, difficult, area, mask });
    }

    /// A box `[x, y, width, height]` of the photo as a box of the scene; `None` if nothing is left of it.
    fn shown(&self, [x, y, w, h]: [f32; 4], flip: bool) -> Option<[f32; 4]> {
        let [height, width] = self.size.map(|side| side as f64);
        let [scale_y, scale_x] = [0, 1].map(|axis| self.size[axis] as f64 / self.own[axis] as f64);
        let [x, y, w, h] = [x, y, w, h].map(f64::from);
        let [mut x0, mut x1] = [x * scale_x, (x + w) * scale_x];
        if flip {
            [x0, x1] = [width - x1, width - x0];
        }
        let rect = [x0.max(0.0), (y * scale_y).max(0.0), x1.min(width), ((y + h) * scale_y).min(height)];
        let is_seen = [x, y, w, h].iter().all(|v| v.is_finite())
            && rect[2] - rect[0] > NOTHING
            && rect[3] - rect[1] > NOTHING;
        is_seen.then(|| rect.map(|v| v as f32))
    }
}

#[cfg(test)]
#[path = "../../../tests/unit/photos/views/scene.rs"]
mod tests;
