//! Segmenters: a dilated backbone, what each cell is told of the whole photo, and the classes of cells.

use super::parts::{Classifier, PointwiseAttention, PyramidPooling};
use crate::engine::autograd::Var;
use crate::engine::device::Device;
use crate::engine::nn::{Mode, Module, Param, ResNet, STAGES};
use crate::engine::ops::Coordinates;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::photos::IGNORED;
use crate::rng::KeyedRng;
use rand::Rng;

/// Weight of the auxiliary loss. Source: PSPNet, Sec. 3.3.
pub const AUXILIARY: f32 = 0.4;

/// How the cells of a map are told of the rest of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Context {
    /// PSPNet's pyramid of means over grids of these numbers of bins a side: 1, 2, 3, 6.
    Pyramid {
        /// Bins of each level.
        bins: Vec<usize>,
    },
    /// PSANet's attention between all pairs of cells.
    Attention {
        /// Rows and columns of offsets for which weights are predicted; `2 h - 1` and `2 w - 1` for maps of h x w, once they are smaller.
        mask: [usize; 2],
        /// How many times smaller: 2.
        shrink: usize,
    },
}

/// What a segmenter is built from.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmenterConfig {
    /// How cells are told of others.
    pub context: Context,
    /// Classes of pixels.
    pub classes: usize,
    /// The probability that a channel before the last layer of a classifier is dropped in training: 0.1.
    pub dropout: f64,
}

/// A network from photos to a class for each pixel.
///
/// ```text
/// photo -> layer1..layer4 (1/8 of its size: layer3 and layer4 dilated) -> context -> cls -> logits, resized to the photo
///                layer3 -> aux -> logits, in training alone
/// ```
///
/// Hidden layers are 8 times as wide as the backbone's first stage (the auxiliary one 4 times): 512 and 256 behind a ResNet of width 64. All
/// resizing aligns corners: photos whose sides are 1 more than a multiple of 8 lie on their maps exactly.
///
/// # Source
/// PSPNet (Zhao et al. 2017), PSANet (Zhao et al. 2018) and their code (semseg), whose parameter names these are but for the backbone's
/// (torchvision's); its stem of three 3x3 convolutions is the encoder's own here.
#[derive(Debug)]
pub struct Segmenter {
    /// What it was built from.
    pub config: SegmenterConfig,
    /// Its backbone, with torchvision's names.
    pub backbone: ResNet,
    context: Mixer,
    cls: Classifier,
    aux: Classifier,
}

#[derive(Debug)]
enum Mixer {
    Pyramid(PyramidPooling),
    Attention(Box<PointwiseAttention>),
}

/// The losses of a batch.
#[derive(Clone, Debug)]
pub struct Losses<'t> {
    /// Of the classes.
    pub main: Var<'t>,
    /// Of those said from layer3.
    pub aux: Var<'t>,
}

impl<'t> Losses<'t> {
    /// `main + 0.4 aux`
    ///
    /// # Errors
    /// The device's.
    pub fn total(&self) -> Result<Var<'t>> {
        self.main.add(&self.aux.scale(AUXILIARY)?)
    }
}

/// What decides which channels are dropped.
#[derive(Clone, Copy, Debug, Default)]
pub struct DropoutKey {
    /// Seed of the run.
    pub seed: u64,
    /// The step.
    pub step: u64,
    /// The number of the first photo in the batch, of which this may be a part.
    pub first: usize,
}

impl Segmenter {
    /// A segmenter on a backbone whose last two stages are dilated; everything else is drawn.
    ///
    /// # Errors
    /// [`Error::Input`] if the backbone is not dilated so; the device's.
    pub fn new(
        device: &Device,
        rng: &mut impl Rng,
        config: SegmenterConfig,
        backbone: ResNet,
    ) -> Result<Segmenter> {
        let of = backbone.config();
        if of.dilated != 2 {
            let what = format!("{} dilated stages", of.dilated);
            return Err(Error::input(what, "a segmenter's backbone", "build it with `dilated: 2`"));
        }
        let (width, features, classes) = (of.width, of.features(), config.classes);
        let context = match &config.context {
            Context::Pyramid { bins } => Mixer::Pyramid(PyramidPooling::new(device, rng, features, bins)?),
            &Context::Attention { mask, shrink } => {
                let channels = [features, 8 * width];
                Mixer::Attention(PointwiseAttention::new(device, rng, channels, mask, shrink)?.into())
            }
        };
        let cls = Classifier::new(device, rng, "cls", [2 * features, 8 * width, classes])?;
        let aux = Classifier::new(device, rng, "aux", [features / 2, 4 * width, classes])?;
        Ok(Segmenter { config, backbone, context, cls, aux })
    }

    /// C4 and C5 of a batch of photos.
    fn maps<'t>(&self, images: &Var<'t>, mode: Mode) -> Result<[Var<'t>; 2]> {
        let last = STAGES - 1;
        let stem = self.backbone.stem(images, mode)?;
        let c4 = (0..last).try_fold(stem, |x, stage| self.backbone.stage(stage, &x, mode))?;
        let c5 = self.backbone.stage(last, &c4, mode)?;
        Ok([c4, c5])
    }

    /// The classes of C5's cells.
    fn classes<'t>(&self, c5: &Var<'t>, mode: Mode, drops: Option<DropoutKey>) -> Result<Var<'t>> {
        let mixed = match &self.context {
            Mixer::Pyramid(pyramid) => pyramid.forward(c5, mode)?,
            Mixer::Attention(attention) => attention.forward(c5, mode)?,
        };
        self.cls.forward(&mixed, mode, self.drops(drops, 0))
    }

    /// The stream of a layer, where channels are dropped.
    fn drops(&self, drops: Option<DropoutKey>, layer: u64) -> Option<(f64, KeyedRng, usize)> {
        let DropoutKey { seed, step, first } = drops.filter(|_| self.config.dropout > 0.0)?;
        Some((self.config.dropout, KeyedRng::new("dropout", seed, [step, layer, 0]), first))
    }

    /// Where its parameters are.
    pub fn device(&self) -> Device {
        self.backbone.state()[0].get().device().clone()
    }

    /// Logits of the cells of a batch of photos, an eighth of their size: `[N, H, W, 3] -> [N, h, w, classes]`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the photos are too small or not RGB.
    pub fn cells<'t>(&self, images: &Var<'t>, mode: Mode) -> Result<Var<'t>> {
        let [_, c5] = self.maps(images, mode)?;
        self.classes(&c5, mode, None)
    }

    /// Logits of every pixel of a batch of photos: `[N, H, W, 3] -> [N, H, W, classes]`.
    ///
    /// # Errors
    /// As [`Segmenter::cells`].
    pub fn pixels<'t>(&self, images: &Var<'t>, mode: Mode) -> Result<Var<'t>> {
        let size = [images.shape()[1], images.shape()[2]];
        self.cells(images, mode)?.bilinear_resize(size, Coordinates::AlignCorners)
    }

    /// The losses of a batch of photos `[N, H, W, 3]` with their label maps `[N, H, W]`, of which 255 is in no loss.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if photos and label maps differ in size, or are too small.
    pub fn losses<'t>(
        &self,
        images: &Var<'t>,
        labels: &Tensor,
        mode: Mode,
        drops: Option<DropoutKey>,
    ) -> Result<Losses<'t>> {
        let size = [images.shape()[1], images.shape()[2]];
        let [c4, c5] = self.maps(images, mode)?;
        let loss = |cells: Var<'t>| {
            cells
                .bilinear_resize(size, Coordinates::AlignCorners)?
                .cross_entropy_ignoring(labels, usize::from(IGNORED))
        };
        Ok(Losses {
            main: loss(self.classes(&c5, mode, drops)?)?,
            aux: loss(self.aux.forward(&c4, mode, self.drops(drops, 1))?)?,
        })
    }
}

impl Module for Segmenter {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.backbone.visit(f);
        match &self.context {
            Mixer::Pyramid(pyramid) => pyramid.visit(f),
            Mixer::Attention(attention) => attention.visit(f),
        }
        self.cls.visit(f);
        self.aux.visit(f);
    }
}
