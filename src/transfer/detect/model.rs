//! Detectors: a backbone, a region proposal network and the heads of its regions.

use super::anchors::Cell;
use super::boxes::Rect;
use super::losses::{BoxTargets, mask_loss, objectness_loss};
use super::parts::{BoxHead, BoxPredictor, Fpn, MaskHead, RpnHead};
use super::proposals::level_of;
use crate::engine::autograd::Var;
use crate::engine::device::Device;
use crate::engine::nn::{BatchNorm, Mode, Module, Param, ResNet, STAGES};
use crate::engine::ops::RoiAlign;
use crate::engine::tensor::Tensor;
use crate::error::Result;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// Which detector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Boxes from C4, with the last stage as their head.
    FasterRcnnC4,
    /// Boxes and masks from C4.
    MaskRcnnC4,
    /// Boxes from a feature pyramid.
    FasterRcnnFpn,
    /// Boxes and masks from a feature pyramid.
    MaskRcnnFpn,
}

/// What a detector is built from.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectorConfig {
    /// Which detector.
    pub kind: Kind,
    /// Classes of objects, the background not among them.
    pub classes: usize,
    /// Anchors of each map.
    pub cells: Vec<Cell>,
    /// Channels of the pyramid, of the heads' convolutions and of the fully connected layer.
    pub widths: [usize; 3],
    /// Batch norm in the pyramid and the heads, and behind res5.
    pub norms: bool,
    /// Side of a box, and its level, from which a region's level is counted: 224 and 4.
    pub canonical: (f64, f64),
}

/// A detector.
#[derive(Debug)]
pub struct Detector {
    /// What it was built from.
    pub config: DetectorConfig,
    /// Its backbone, with torchvision's names; the last stage is the regions' head where there is no pyramid.
    pub backbone: ResNet,
    fpn: Option<Fpn>,
    rpn: RpnHead,
    box_head: Option<BoxHead>,
    /// Behind res5, where there is no pyramid.
    norm: Option<BatchNorm>,
    predictor: BoxPredictor,
    mask_head: Option<MaskHead>,
}

/// A region of interest: an image of the batch and a box in it.
pub type Region = (usize, Rect);

/// What the anchors of a batch are to be told apart by.
#[derive(Clone, Debug)]
pub struct AnchorTargets {
    /// `[N, A]`: 1 for an anchor that stands for an object.
    pub objects: Tensor,
    /// `[N, A]`: 1 for an anchor that takes part.
    pub sampled: Tensor,
    /// `[N, 4 A]`.
    pub boxes: BoxTargets,
    /// What sums are divided by: images times what could have been sampled of each.
    pub divisor: f32,
}

/// What the regions of a batch are to be told apart by.
#[derive(Clone, Debug)]
pub struct RegionTargets {
    /// The regions.
    pub regions: Vec<Region>,
    /// Their classes; the number of classes for the background.
    pub classes: Vec<usize>,
    /// `[R, 4 classes]`.
    pub boxes: BoxTargets,
    /// The regions, in order, of which the mask is known; none where no masks are learned.
    pub masked: Vec<usize>,
    /// Their masks, `[F, m, m]`.
    pub masks: Vec<f32>,
}

/// The losses of a batch.
#[derive(Clone, Debug)]
pub struct Losses<'t> {
    /// Whether anchors stand for objects.
    pub rpn_class: Var<'t>,
    /// How they differ from them.
    pub rpn_box: Var<'t>,
    /// Classes of regions.
    pub class: Var<'t>,
    /// How they differ from their objects.
    pub rect: Var<'t>,
    /// Their masks; none without an object, or where none are learned.
    pub mask: Option<Var<'t>>,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        self.serialize(f)
    }
}

impl Kind {
    /// Whether it has a feature pyramid.
    pub fn is_pyramid(self) -> bool {
        matches!(self, Kind::FasterRcnnFpn | Kind::MaskRcnnFpn)
    }

    /// The same without masks.
    pub fn of_boxes(self) -> Kind {
        if self.is_pyramid() { Kind::FasterRcnnFpn } else { Kind::FasterRcnnC4 }
    }

    /// Side of the masks that it learns, if it does.
    pub fn mask_side(self) -> Option<usize> {
        match self {
            Kind::FasterRcnnC4 | Kind::FasterRcnnFpn => None,
            Kind::MaskRcnnC4 => Some(C4_BINS),
            Kind::MaskRcnnFpn => Some(2 * MASK_BINS),
        }
    }
}

impl<'t> Losses<'t> {
    /// Their sum.
    ///
    /// # Errors
    /// The device's.
    pub fn total(&self) -> Result<Var<'t>> {
        let boxes = self.rpn_class.add(&self.rpn_box)?.add(&self.class)?.add(&self.rect)?;
        self.mask.as_ref().map_or(Ok(boxes.clone()), |mask| boxes.add(mask))
    }
}

impl Detector {
    /// A detector on a backbone; everything else is drawn.
    ///
    /// # Errors
    /// The device's.
    pub fn new(
        device: &Device,
        rng: &mut impl Rng,
        config: DetectorConfig,
        backbone: ResNet,
    ) -> Result<Detector> {
        let of = backbone.config();
        let channels: [usize; STAGES] =
            std::array::from_fn(|stage| (of.width << stage) * of.features() / (8 * of.width));
        let [pyramid, width, hidden] = config.widths;
        let (norms, classes) = (config.norms, config.classes);
        let anchors = config.cells.first().map_or(0, Cell::anchors);
        let pyramidal = config.kind.is_pyramid();
        let read = if pyramidal { pyramid } else { channels[2] };
        let fpn =
            pyramidal.then(|| Fpn::new(device, rng, "backbone.", channels, pyramid, norms)).transpose()?;
        let rpn = RpnHead::new(device, rng, "proposal_generator.rpn_head.", read, anchors)?;
        let heads = "roi_heads.";
        let name = |what: &str| format!("{heads}{what}");
        let box_head = match pyramidal {
            true => Some(BoxHead::new(
                device,
                rng,
                &name("box_head."),
                [pyramid, width, hidden],
                BOX_BINS,
                norms,
            )?),
            false => None,
        };
        let norm = match !pyramidal && norms {
            true => Some(BatchNorm::new(device, &name("res5.norm"), channels[3], 1.0)?),
            false => None,
        };
        let features = if pyramidal { hidden } else { channels[3] };
        let predictor = BoxPredictor::new(device, rng, &name("box_predictor."), features, classes)?;
        let masks = |inputs, convs, rng: &mut _| {
            MaskHead::new(
                device,
                rng,
                &name("mask_head."),
                [inputs, width, classes],
                convs,
                norms && pyramidal,
            )
        };
        let mask_head = match config.kind {
            Kind::FasterRcnnC4 | Kind::FasterRcnnFpn => None,
            Kind::MaskRcnnC4 => Some(masks(channels[3], 0, rng)?),
            Kind::MaskRcnnFpn => Some(masks(pyramid, 4, rng)?),
        };
        Ok(Detector { config, backbone, fpn, rpn, box_head, norm, predictor, mask_head })
    }

    /// The maps that anchors and regions are looked at on: C4, or P2 to P6.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if sides do not divide by the last map's stride.
    pub fn maps<'t>(&self, images: &Var<'t>, mode: Mode) -> Result<Vec<Var<'t>>> {
        let mut maps = Vec::new();
        let mut x = self.backbone.stem(images, mode)?;
        let stages = if self.fpn.is_some() { STAGES } else { STAGES - 1 };
        for stage in 0..stages {
            x = self.backbone.stage(stage, &x, mode)?;
            maps.push(x.clone());
        }
        match &self.fpn {
            Some(fpn) => fpn.forward(&maps, mode),
            None => Ok(vec![x]),
        }
    }

    /// Of all anchors of all maps in order, logits `[N, A]` and differences `[N, 4 A]`.
    ///
    /// # Errors
    /// The device's.
    pub fn anchors<'t>(&self, maps: &[Var<'t>]) -> Result<[Var<'t>; 2]> {
        let mut all: Option<[Var<'t>; 2]> = None;
        for map in maps {
            let [logits, deltas] = self.rpn.forward(map)?;
            all = Some(match all {
                None => [logits, deltas],
                Some([l, d]) => [l.concat(&logits)?, d.concat(&deltas)?],
            });
        }
        all.ok_or_else(|| crate::Error::shape("detector", "no map".to_string()))
    }

    /// Regions `[R, bins, bins, C]` of the maps, each from the map of its size.
    fn regions<'t>(&self, maps: &[Var<'t>], regions: &[Region], bins: usize) -> Result<Var<'t>> {
        // P6 has anchors, but no region is looked at on it.
        let last = if self.fpn.is_some() { maps.len() - 1 } else { 1 };
        let level = |rect: &Rect| match self.fpn {
            Some(_) => level_of(rect, self.config.canonical, [FINEST, FINEST + last - 1]) - FINEST,
            None => 0,
        };
        let levels: Vec<usize> = regions.iter().map(|(_, rect)| level(rect)).collect();
        let mut sum: Option<Var<'t>> = None;
        for (index, map) in maps[..last].iter().enumerate() {
            // A region of no area gives 0: of each region only its own level counts, and no shape depends on how many there are.
            let row = |((image, rect), &level): (&Region, &usize)| {
                let [x0, y0, x1, y1] = if level == index { *rect } else { [0.0; 4] };
                [*image as f32, x0, y0, x1, y1]
            };
            let rois: Vec<f32> = regions.iter().zip(&levels).flat_map(row).collect();
            let rois = map.tape().constant(Tensor::new(map.tape().device(), [regions.len(), 5], &rois)?);
            let scale = 1.0 / self.config.cells[index].stride as f32;
            let op = RoiAlign { bins: [bins; 2], scale, samples: 0 };
            let part = map.tape().apply(op, &[map, &rois])?.0;
            sum = Some(sum.map_or(Ok(part.clone()), |sum| sum.add(&part))?);
        }
        sum.ok_or_else(|| crate::Error::shape("detector", "no map".to_string()))
    }

    /// The heads of some regions: logits `[R, classes + 1]`, differences `[R, 4 classes]`, and what masks are made of where there is no
    /// pyramid.
    ///
    /// # Errors
    /// The device's.
    pub fn boxes<'t>(
        &self,
        maps: &[Var<'t>],
        regions: &[Region],
        mode: Mode,
    ) -> Result<([Var<'t>; 2], Option<Var<'t>>)> {
        if let Some(head) = &self.box_head {
            let features = head.forward(&self.regions(maps, regions, BOX_BINS)?, mode)?;
            return Ok((self.predictor.forward(&features)?, None));
        }
        let map = self.res5(&self.regions(maps, regions, C4_BINS)?, mode)?;
        Ok((self.predictor.forward(&map.global_avg_pool()?)?, Some(map)))
    }

    /// How likely each pixel of some regions shows an object of the region's class, `[R, m, m]`; `None` where no masks are learned.
    ///
    /// # Errors
    /// The device's.
    pub fn masks(
        &self,
        maps: &[Var],
        regions: &[Region],
        classes: &[usize],
        mode: Mode,
    ) -> Result<Option<Vec<f32>>> {
        let Some(head) = self.mask_head.as_ref().filter(|_| !regions.is_empty()) else { return Ok(None) };
        let bins = if self.fpn.is_some() { MASK_BINS } else { C4_BINS };
        let x = self.regions(maps, regions, bins)?;
        let x = if self.fpn.is_some() { x } else { self.res5(&x, mode)? };
        let logits = head.forward(&x, mode)?;
        let rows: Vec<f32> =
            classes.iter().enumerate().map(|(i, class)| (class * regions.len() + i) as f32).collect();
        let rows = Tensor::new(x.tape().device(), [rows.len()], &rows)?;
        logits.gather_rows(&rows)?.sigmoid()?.value().to_vec().map(Some)
    }

    /// The head of regions without a pyramid: the backbone's last stage, with a norm behind it where there are norms.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the regions have other channels than C4.
    pub fn res5<'t>(&self, regions: &Var<'t>, mode: Mode) -> Result<Var<'t>> {
        let map = self.backbone.stage(STAGES - 1, regions, mode)?;
        match &self.norm {
            Some(norm) => norm.forward(&map, mode),
            None => Ok(map),
        }
    }

    /// What the heads say of a batch's regions: logits, differences, and of those with a known mask the rows of all classes' masks
    /// (`None` without such a region, or where no masks are learned).
    ///
    /// # Errors
    /// The device's.
    pub fn heads<'t>(
        &self,
        maps: &[Var<'t>],
        regions: &RegionTargets,
        mode: Mode,
    ) -> Result<([Var<'t>; 2], Option<Var<'t>>)> {
        let (boxes, map) = self.boxes(maps, &regions.regions, mode)?;
        let Some(head) = self.mask_head.as_ref().filter(|_| !regions.masked.is_empty()) else {
            return Ok((boxes, None));
        };
        let x = match map {
            Some(map) => {
                let rows: Vec<f32> = regions.masked.iter().map(|&i| i as f32).collect();
                map.gather_rows(&Tensor::new(map.tape().device(), [rows.len()], &rows)?)?
            }
            None => {
                let of: Vec<Region> = regions.masked.iter().map(|&i| regions.regions[i]).collect();
                self.regions(maps, &of, MASK_BINS)?
            }
        };
        Ok((boxes, Some(head.forward(&x, mode)?)))
    }

    /// The losses of a batch whose maps and anchors' outputs are there.
    ///
    /// # Errors
    /// The device's.
    pub fn losses<'t>(
        &self,
        maps: &[Var<'t>],
        [logits, deltas]: &[Var<'t>; 2],
        anchors: &AnchorTargets,
        regions: &RegionTargets,
        mode: Mode,
    ) -> Result<Losses<'t>> {
        let device = logits.tape().device();
        let ([scores, moves], masks) = self.heads(maps, regions, mode)?;
        let labels: Vec<f32> = regions.classes.iter().map(|&class| class as f32).collect();
        let labels = Tensor::new(device, [labels.len()], &labels)?;
        let mask = match masks {
            None => None,
            Some(masks) => {
                let count = regions.masked.len();
                let row = |(i, &region): (usize, &usize)| (regions.classes[region] * count + i) as f32;
                let rows: Vec<f32> = regions.masked.iter().enumerate().map(row).collect();
                let rows = Tensor::new(device, [count], &rows)?;
                let targets = Tensor::new(device, [count, masks.shape()[1]], &regions.masks)?;
                Some(mask_loss(&masks, &rows, &targets)?)
            }
        };
        Ok(Losses {
            rpn_class: objectness_loss(logits, &anchors.objects, &anchors.sampled, anchors.divisor)?,
            rpn_box: anchors.boxes.loss(deltas, 0.0, anchors.divisor)?,
            class: scores.cross_entropy(&labels)?,
            rect: regions.boxes.loss(&moves, 0.0, regions.regions.len() as f32)?,
            mask,
        })
    }
}

/// Cells of a region on a pyramid, for boxes and for masks; and on C4, before its last stage.
const BOX_BINS: usize = 7;
const MASK_BINS: usize = 14;
const C4_BINS: usize = 14;
/// Level of the finest map, P2.
const FINEST: usize = 2;

impl Module for Detector {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.backbone.visit(f);
        self.fpn.iter().for_each(|part| part.visit(f));
        self.rpn.visit(f);
        self.box_head.iter().for_each(|part| part.visit(f));
        self.norm.iter().for_each(|part| part.visit(f));
        self.predictor.visit(f);
        self.mask_head.iter().for_each(|part| part.visit(f));
    }
}
