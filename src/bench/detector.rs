//! Detectors as workloads: Mask R-CNN R50-FPN of the preset `mask-rcnn-fpn-coco-90k`, from random parameters. Photos are 4 to 3, of noise, with
//! eight objects each, of a fifth to three fifths of its sides.

use super::workload::Workload;
use crate::engine::device::Device;
use crate::engine::nn::Module;
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::photos::Bitmap;
use crate::photos::views::{Scene, SceneObject};
use crate::rng::KeyedRng;
use crate::run::Now;
use crate::transfer::detect::{Cell, DetectConfig, DetectLearner, Matcher, Rect, detect, nms};

const CLASSES: usize = 80;
const OBJECTS: usize = 8;

fn learner(device: &Device, batch: usize) -> Result<(DetectConfig, DetectLearner)> {
    let mut config = DetectConfig::preset("mask-rcnn-fpn-coco-90k")?;
    config.train.batch = batch;
    let learner = DetectLearner::new(&config, CLASSES, device, false)?;
    Ok((config, learner))
}

/// A box of a fifth to three fifths of the sides of an image.
fn object(rng: &mut KeyedRng, [height, width]: [usize; 2]) -> Rect {
    let [(x0, x1), (y0, y1)] = [width, height].map(|side| {
        let size = (0.2 + 0.4 * rng.unit()) * side as f64;
        let start = rng.unit() * (side as f64 - size);
        (start as f32, (start + size) as f32)
    });
    [x0, y0, x1, y1]
}

fn scene(image: u64, shortest: usize) -> Scene {
    let size @ [height, width] = [shortest, shortest * 4 / 3];
    let rng = &mut KeyedRng::new("bench", 0, [image, 0, 0]);
    let mut object = || {
        let rect = object(rng, size);
        let [x0, y0, x1, y1] = rect.map(|side| side as usize);
        let mut pixels = vec![0; height * width];
        pixels.chunks_mut(width).take(y1).skip(y0).for_each(|row| row[x0..x1].fill(1));
        let class = rng.below(CLASSES as u64) as usize;
        let area = (rect[2] - rect[0]) * (rect[3] - rect[1]);
        SceneObject { class, rect, crowd: false, difficult: false, area, mask: Some(Bitmap { size, pixels }) }
    };
    let objects = (0..OBJECTS).map(|_| object()).collect();
    let pixels = (0..height * width * 3).map(|_| rng.normal() as f32).collect();
    Scene { pixels, size, own: size.map(|side| 2 * side), objects, left_out: Vec::new() }
}

/// A training step: proposals, targets, losses, every gradient, SGD.
pub(super) fn step(device: &Device, [batch, shortest]: [usize; 2]) -> Result<Workload> {
    let (_, mut learner) = learner(device, batch)?;
    let scenes: Vec<Scene> = (0..batch as u64).map(|image| scene(image, shortest)).collect();
    let (device, mut step) = (device.clone(), 0);
    Ok(Workload::new(0, move || {
        learner.step(&scenes, &Now { step, lr: 1e-5, base_lr: 1e-5, ..Now::default() })?;
        step += 1;
        device.wait()
    }))
}

/// The objects in one photo of twice the size. Four classes are likelier than the others by `exp 4`, so that a hundred objects are found and
/// have their masks made.
pub(super) fn photo(device: &Device, shortest: usize) -> Result<Workload> {
    let (config, learner) = learner(device, 1)?;
    for param in learner.net.state().iter().filter(|param| param.name().ends_with("cls_score.bias")) {
        let likelier: Vec<f32> = (0..=CLASSES).map(|class| if class < 4 { 4.0 } else { 0.0 }).collect();
        param.set(Tensor::new(device, [CLASSES + 1], &likelier)?)?;
    }
    let scene = scene(0, shortest);
    Ok(Workload::new(0, move || {
        std::hint::black_box(detect(&learner.net, &config, &scene)?);
        Ok(())
    }))
}

/// Suppression at an overlap of 0.7 of as many boxes as a photo of 1333 x 800 has proposals before it, or of boxes that stay all.
pub(super) fn suppression(boxes: usize, disjoint: bool) -> Result<Workload> {
    let rng = &mut KeyedRng::new("bench", 1, [0; 3]);
    let centres: Vec<Rect> = (0..OBJECTS).map(|_| object(rng, [800, 1333])).collect();
    let side = boxes.isqrt() + 1;
    let mut proposal = |i: usize| -> Rect {
        match disjoint {
            true => [i % side, i / side, i % side + 1, i / side + 1].map(|v| v as f32),
            // Half lie around objects, half anywhere.
            false if i.is_multiple_of(2) => {
                centres[i / 2 % OBJECTS].map(|side| side + 20.0 * rng.normal() as f32)
            }
            false => object(rng, [800, 1333]),
        }
    };
    let rects: Vec<Rect> = (0..boxes).map(&mut proposal).collect();
    let scores: Vec<f32> = (0..boxes).map(|_| rng.unit() as f32).collect();
    Ok(Workload::new(0, move || {
        std::hint::black_box(nms(&rects, &scores, 0.7));
        Ok(())
    }))
}

/// Matching of anchors at stride 16 with objects.
pub(super) fn matching([anchors, objects]: [usize; 2]) -> Result<Workload> {
    let cell = Cell { stride: 16, sizes: vec![32.0, 64.0, 128.0, 256.0, 512.0], ratios: vec![0.5, 1.0, 2.0] };
    let side = anchors.div_ceil(15).isqrt() + 1;
    let mut all = cell.over([side, side]);
    all.truncate(anchors);
    let rng = &mut KeyedRng::new("bench", 2, [0; 3]);
    let objects: Vec<Rect> = (0..objects).map(|_| object(rng, [16 * side; 2])).collect();
    Ok(Workload::new(0, move || {
        std::hint::black_box(Matcher::ANCHORS.matches(&all, &objects));
        Ok(())
    }))
}
