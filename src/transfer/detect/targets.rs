//! What a detector should have said: of each anchor, of each region, of each mask. On the host; no gradient flows here.

use super::boxes::{Rect, encode};
use super::config::{DetectConfig, REGION_WEIGHTS};
use super::losses::BoxTargets;
use super::masks::mask_targets;
use super::matching::{Match, Matcher, sample};
use super::model::{AnchorTargets, Region, RegionTargets};
use crate::engine::device::Device;
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::photos::views::{Scene, SceneObject};
use crate::rng::KeyedRng;
use rayon::prelude::*;

/// The objects of a scene that are learned: crowds stand for none.
struct Objects<'a> {
    rects: Vec<Rect>,
    all: Vec<&'a SceneObject>,
}

impl Objects<'_> {
    fn of(scene: &Scene) -> Objects<'_> {
        let all: Vec<&SceneObject> = scene.objects.iter().filter(|object| !object.crowd).collect();
        Objects { rects: all.iter().map(|object| object.rect).collect(), all }
    }
}

/// What samples are drawn by: of each photo its own, in each step others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sampling {
    /// The run's seed.
    pub seed: u64,
    /// The step.
    pub step: u64,
}

impl Sampling {
    fn rng(self, kind: &'static str, image: usize) -> KeyedRng {
        KeyedRng::new(kind, self.seed, [self.step, image as u64, 0])
    }
}

/// The anchors of a batch, of which a sample is learned from.
#[derive(Clone, Debug)]
pub struct DrawnAnchors {
    /// What they should have said.
    pub targets: AnchorTargets,
    /// How many of the sample stand for objects.
    pub positive: usize,
}

/// Which of a batch's anchors stand for objects, which take part, and how they differ from their objects.
///
/// # Errors
/// The device's.
pub(super) fn anchor_targets(
    device: &Device,
    config: &DetectConfig,
    anchors: &[Rect],
    scenes: &[Scene],
    sampling: Sampling,
) -> Result<DrawnAnchors> {
    let count = anchors.len();
    let of = |(image, scene): (usize, &Scene)| {
        let objects = Objects::of(scene);
        let (matched, stand_for) = Matcher::ANCHORS.matches(anchors, &objects.rects);
        let mut rng = sampling.rng("anchors", image);
        let drawn = sample(&stand_for, config.proposals.sampled, config.proposals.objects, &mut rng);
        let differ = |&i: &usize| (i, encode(&anchors[i], &objects.rects[matched[i]], [1.0; 4]));
        let deltas: Vec<_> = drawn[0].iter().map(differ).collect();
        (drawn, deltas)
    };
    let all: Vec<_> = scenes.par_iter().enumerate().map(of).collect();
    let (mut objects, mut sampled) = (vec![0.0; scenes.len() * count], vec![0.0; scenes.len() * count]);
    let (mut deltas, mut counts) = (vec![0.0; 4 * objects.len()], vec![0.0; 4 * objects.len()]);
    for (image, ([positive, negative], differences)) in all.iter().enumerate() {
        let first = image * count;
        positive.iter().for_each(|&i| objects[first + i] = 1.0);
        positive.iter().chain(negative).for_each(|&i| sampled[first + i] = 1.0);
        for (i, differ) in differences {
            let at = 4 * (first + i);
            deltas[at..at + 4].copy_from_slice(differ);
            counts[at..at + 4].fill(1.0);
        }
    }
    let tensor = |each: usize, values: &[f32]| Tensor::new(device, [scenes.len(), each * count], values);
    let targets = AnchorTargets {
        objects: tensor(1, &objects)?,
        sampled: tensor(1, &sampled)?,
        boxes: BoxTargets { deltas: tensor(4, &deltas)?, counts: tensor(4, &counts)? },
        divisor: (scenes.len() * config.proposals.sampled) as f32,
    };
    Ok(DrawnAnchors { targets, positive: all.iter().map(|(drawn, _)| drawn[0].len()).sum() })
}

/// A region that was drawn: where, of which class, and the object that it shows.
struct Drawn<'a> {
    region: Region,
    class: usize,
    object: Option<&'a SceneObject>,
}

/// A sample of a batch's proposals, the objects themselves among them, with what they show.
///
/// # Errors
/// The device's.
/// # Source
/// Fast R-CNN, Sec. 2.3; detectron2 appends the objects to the proposals.
pub(super) fn region_targets(
    device: &Device,
    config: &DetectConfig,
    classes: usize,
    proposals: &[Vec<Rect>],
    scenes: &[Scene],
    sampling: Sampling,
) -> Result<RegionTargets> {
    let of = |image: usize| {
        let objects = Objects::of(&scenes[image]);
        let rects: Vec<Rect> = proposals[image].iter().chain(&objects.rects).copied().collect();
        let (matched, stand_for) = Matcher::PROPOSALS.matches(&rects, &objects.rects);
        let mut rng = sampling.rng("regions", image);
        let drawn = sample(&stand_for, config.regions.sampled, config.regions.objects, &mut rng);
        let shown = |&i: &usize| {
            let object = matches!(stand_for[i], Match::Object(_)).then(|| objects.all[matched[i]]);
            Drawn { region: (image, rects[i]), class: object.map_or(classes, |object| object.class), object }
        };
        let mut all: Vec<Drawn> = drawn.iter().flatten().map(shown).collect();
        if all.is_empty() {
            // Nothing was proposed or drawn: the whole photo, which shows nothing of its own.
            let [height, width] = scenes[image].size.map(|side| side as f32);
            all.push(Drawn { region: (image, [0.0, 0.0, width, height]), class: classes, object: None });
        }
        all
    };
    let all: Vec<Drawn> = (0..scenes.len()).into_par_iter().flat_map_iter(of).collect();
    let side = config.model.kind.mask_side();
    let masked: Vec<usize> = match side {
        Some(_) => {
            (0..all.len()).filter(|&i| all[i].object.is_some_and(|object| object.mask.is_some())).collect()
        }
        None => Vec::new(),
    };
    let target = |&i: &usize| {
        let mask = all[i].object.and_then(|object| object.mask.as_ref());
        mask.map_or(Ok(Vec::new()), |mask| mask_targets(mask, &[all[i].region.1], side.unwrap_or_default()))
    };
    let masks = masked.par_iter().map(target).collect::<Result<Vec<_>>>()?.concat();
    let [rects, objects]: [Vec<Rect>; 2] = [
        all.iter().map(|drawn| drawn.region.1).collect(),
        all.iter().map(|drawn| drawn.object.map_or([0.0; 4], |object| object.rect)).collect(),
    ];
    let of_classes: Vec<usize> = all.iter().map(|drawn| drawn.class).collect();
    Ok(RegionTargets {
        boxes: BoxTargets::of_classes(device, &rects, &objects, &of_classes, classes, REGION_WEIGHTS)?,
        regions: all.iter().map(|drawn| drawn.region).collect(),
        classes: of_classes,
        masked,
        masks,
    })
}
