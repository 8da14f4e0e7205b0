//! Batches of crops of photos with their label maps.

use std::sync::Arc;

use super::recipe::{Draw, Maker, Recipe};
use crate::error::Result;
use crate::photos::photo::Photo;
use crate::photos::read::{IGNORED, LabelMap, Labels};
use crate::photos::views::{Crop, CropConfig, CropMaker, CropParams};

/// A crop of each photo, with its label map.
#[derive(Clone, Debug)]
pub struct CropRecipe {
    /// What crops are drawn from.
    pub config: CropConfig,
    /// The label maps of the album's photos.
    pub labels: Arc<Labels>,
}

/// The crops of a batch, in order.
#[derive(Clone, Debug, Default)]
pub struct Crops {
    /// `[N, size, size, 3]`
    pub pixels: Vec<f32>,
    /// `[N, size, size]`: indices of classes, or [`IGNORED`].
    pub labels: Vec<f32>,
    /// Of each image why its label map can't be used: all of it is ignored then.
    pub left_out: Vec<Option<String>>,
}

impl Recipe for CropRecipe {
    type Maker = CropsMaker;

    fn maker(&self) -> Result<CropsMaker> {
        let maker = CropMaker::new(self.config.clone())?;
        Ok(CropsMaker { maker, labels: self.labels.clone(), one: (Crop::default(), None) })
    }
}

/// Makes the crop of one photo at a time.
#[derive(Clone)]
pub struct CropsMaker {
    maker: CropMaker,
    labels: Arc<Labels>,
    /// The one made last, and why it has no labels.
    one: (Crop, Option<String>),
}

impl Maker for CropsMaker {
    type Made = Crops;

    fn room(&self, images: usize, used: Option<Crops>) -> Crops {
        let pixels = images * self.maker.config().size.pow(2);
        let mut crops = used.unwrap_or_default();
        crops.pixels.resize(3 * pixels, 0.0);
        crops.labels.resize(pixels, 0.0);
        crops.left_out = vec![None; images];
        crops
    }

    fn make(&mut self, shown: &Photo, draw: &Draw) {
        let params = CropParams::draw(self.maker.config(), &mut draw.rng("crop", 0));
        let size = [shown.height, shown.width];
        let map = draw.objects.clone().and_then(|objects| self.labels.map(draw.photo, size, objects));
        let blank = || LabelMap { size, classes: vec![IGNORED; size[0] * size[1]] };
        let (map, why) = map.map_or_else(|why| (blank(), Some(why)), |map| (map, None));
        self.one = (self.maker.make(shown, &map, &params), why);
    }

    fn lay(&mut self, image: usize, _: usize, into: &mut Crops) {
        let (Crop { pixels, labels }, why) = std::mem::take(&mut self.one);
        into.pixels[image * pixels.len()..][..pixels.len()].copy_from_slice(&pixels);
        let room = &mut into.labels[image * labels.len()..][..labels.len()];
        room.iter_mut().zip(&labels).for_each(|(to, &class)| *to = f32::from(class));
        into.left_out[image] = why;
    }
}
