//! From a photo to its objects.

use super::boxes::Rect;
use super::config::DetectConfig;
use super::learn::{Said, padded};
use super::masks::paste_mask;
use super::model::{Detector, Region};
use crate::engine::autograd::Tape;
use crate::engine::nn::{Mode, Module};
use crate::error::Result;
use crate::photos::Rle;
use crate::photos::views::Scene;
use rayon::prelude::*;

/// An object that was found in a photo.
#[derive(Clone, Debug, PartialEq)]
pub struct Detected {
    /// Where, in the photo's own pixels.
    pub rect: Rect,
    /// Its class.
    pub class: usize,
    /// How surely, from 0 to 1.
    pub score: f32,
    /// Its pixels, of the photo's own size, as runs: those of many photos fit into memory; `None` where no masks are learned.
    pub mask: Option<Rle>,
}

/// From this probability on a pixel is an object's.
const IS_OBJECT: f32 = 0.5;

/// The objects in a scene, by descending score.
///
/// # Errors
/// The device's.
pub fn detect(net: &Detector, config: &DetectConfig, scene: &Scene) -> Result<Vec<Detected>> {
    let scenes = std::slice::from_ref(scene);
    let Some(device) = net.state().first().map(|param| param.get().device().clone()) else {
        return Ok(Vec::new());
    };
    let tape = Tape::inert(&device);
    let maps = net.maps(&tape.constant(padded(&device, scenes, config.stride())?), Mode::Eval)?;
    let outputs = net.anchors(&maps)?;
    let proposals = Said::read(net, &maps, &outputs)?.proposals(config, scenes, false).swap_remove(0);
    if proposals.is_empty() {
        return Ok(Vec::new());
    }
    let in_image = |rects: &[Rect]| rects.iter().map(|&rect| (0, rect)).collect::<Vec<Region>>();
    let ([logits, deltas], _) = net.boxes(&maps, &in_image(&proposals), Mode::Eval)?;
    let [logits, deltas] = [logits.value().to_vec()?, deltas.value().to_vec()?];
    let found = config.found().detections(&proposals, &logits, &deltas, scene.size);
    let rects: Vec<Rect> = found.iter().map(|detection| detection.rect).collect();
    let classes: Vec<usize> = found.iter().map(|detection| detection.class).collect();
    let masks = net.masks(&maps, &in_image(&rects), &classes, Mode::Eval)?;
    let side = config.model.kind.mask_side().unwrap_or_default();
    let [down, across] = [0, 1].map(|axis| scene.own[axis] as f32 / scene.size[axis] as f32);
    let own = |(i, detection): (usize, &super::proposals::Detection)| {
        let [x0, y0, x1, y1] = detection.rect;
        let rect = [x0 * across, y0 * down, x1 * across, y1 * down];
        let mask = masks.as_ref().map(|all| {
            let probabilities = &all[i * side * side..(i + 1) * side * side];
            Rle::of(&paste_mask(probabilities, side, &rect, scene.own, IS_OBJECT))
        });
        Detected { rect, class: detection.class, score: detection.score, mask }
    };
    Ok(found.par_iter().enumerate().map(own).collect())
}
