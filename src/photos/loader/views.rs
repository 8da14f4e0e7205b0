//! Batches of views: of each photo K random crops, each of its own configuration.

use super::recipe::{Draw, Maker, Recipe};
use crate::error::{Error, Result};
use crate::photos::photo::Photo;
use crate::photos::views::{CropBox, ViewConfig, ViewMaker, ViewParams};

/// K views of each of B images, view-major: the first views of all images, then their second views, and so on.
#[derive(Clone, Debug, Default)]
pub struct Views {
    /// Normalised views, `[B K, size, size, 3]`; where sizes differ, `[B, size_k, size_k, 3]` for each k in turn.
    pub images: Vec<f32>,
    /// What was cut out for each of the B K rows, in the photo's own pixels.
    pub crops: Vec<CropBox>,
    /// Which rows are mirrored.
    pub flips: Vec<bool>,
    /// K.
    pub count: usize,
}

/// One configuration for each of the K views of an image.
impl Recipe for Vec<ViewConfig> {
    type Maker = ViewsMaker;

    fn maker(&self) -> Result<ViewsMaker> {
        let makers = self.iter().cloned().map(ViewMaker::new).collect::<Result<Vec<_>>>()?;
        if makers.is_empty() {
            let advice = "use at least one image and one view";
            return Err(Error::input("no batch can be made", "configuration", advice));
        }
        Ok(ViewsMaker { makers, one: Views::default() })
    }
}

/// Makes the views of one photo at a time.
#[derive(Clone)]
pub struct ViewsMaker {
    makers: Vec<ViewMaker>,
    /// Those made last.
    one: Views,
}

impl ViewsMaker {
    /// Floats of the views of an image.
    fn len(&self) -> usize {
        self.makers.iter().map(ViewMaker::len).sum()
    }
}

impl Maker for ViewsMaker {
    type Made = Views;

    fn room(&self, images: usize, used: Option<Views>) -> Views {
        let (count, mut views) = (self.makers.len(), used.unwrap_or_default().images);
        views.resize(images * self.len(), 0.0);
        Views {
            images: views,
            crops: vec![CropBox::default(); images * count],
            flips: vec![false; images * count],
            count,
        }
    }

    fn make(&mut self, shown: &Photo, draw: &Draw) {
        let length = self.len();
        let Views { images, crops, flips, .. } = &mut self.one;
        images.resize(length, 0.0);
        crops.clear();
        flips.clear();
        let mut rest = &mut images[..];
        for (view, maker) in self.makers.iter_mut().enumerate() {
            let (out, others) = rest.split_at_mut(maker.len());
            rest = others;
            let mut rng = draw.rng("view", view as u64);
            let params = ViewParams::draw(maker.config(), shown.image.width, shown.image.height, &mut rng);
            maker.make(&shown.image, &params, out);
            crops.push(shown.original_box(params.crop));
            flips.push(params.flip);
        }
    }

    fn lay(&mut self, image: usize, images: usize, into: &mut Views) {
        let mut before = 0; // floats of one image's earlier views
        for (view, maker) in self.makers.iter().enumerate() {
            let (row, length) = (view * images + image, maker.len());
            let at = images * before + image * length;
            into.images[at..][..length].copy_from_slice(&self.one.images[before..][..length]);
            before += length;
            into.crops[row] = self.one.crops[view];
            into.flips[row] = self.one.flips[view];
        }
    }
}
