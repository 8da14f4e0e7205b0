//! How well a detector finds the objects of labelled photos.

use super::boxes::Rect;
use super::config::{DetectConfig, Metric};
use super::inference::{Detected, detect};
use super::model::Detector;
use crate::error::{Error, Result, counted};
use crate::photos::views::{SceneConfig, SceneMaker, SceneParams};
use crate::photos::{Album, LabelledBox};
use crate::transfer::metrics::ApKind;
use crate::transfer::metrics::detection::{Detection, DetectionAp, Measure, Truth, coco, voc};
use serde::{Deserialize, Serialize};

/// A detector, its configuration, and the photos that it looks at.
#[derive(Clone, Copy)]
pub struct Judging<'a> {
    /// The detector.
    pub net: &'a Detector,
    /// What it was trained by.
    pub config: &'a DetectConfig,
    /// The photos.
    pub album: &'a Album,
}

/// What a detector found in some photos, and how good that is.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The objects that were found; photos by their numbers in the album.
    pub detections: Vec<Detection>,
    /// Those that there are.
    pub truths: Vec<Truth>,
    /// How well boxes were found.
    pub boxes: DetectionAp,
    /// How well masks were, where they are learned and known.
    pub masks: Option<DetectionAp>,
    /// The same in short.
    pub scores: DetectScores,
    /// Photos that could not be judged on, and why; those that can't be decoded the album knows.
    pub left_out: Vec<String>,
}

/// What was found in a photo.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The photo, by its number in the album.
    pub photo: usize,
    /// Its height and width.
    pub size: [usize; 2],
    /// The objects, by descending score.
    pub objects: Vec<Detected>,
}

/// How well the objects of some photos were found: AP, AP50 and AP75 as shares; `None` where there is no object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DetectScores {
    /// Photos that were judged on.
    pub photos: usize,
    /// Objects in them.
    pub objects: usize,
    /// Of boxes.
    pub boxes: [Option<f64>; 3],
    /// Of masks.
    pub masks: Option<[Option<f64>; 3]>,
}

/// The numbers that papers print.
const SHORT: [&str; 3] = ["AP", "AP50", "AP75"];

impl DetectScores {
    /// What detectors are compared by: AP of boxes.
    pub fn figure(&self) -> f64 {
        self.boxes[0].unwrap_or_default()
    }
}

impl std::fmt::Display for DetectScores {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let told = |of: &[Option<f64>; 3]| {
            let value = |(name, value): (&str, &Option<f64>)| {
                format!("{name} {}", value.map_or("-".to_string(), |value| format!("{value:.3}")))
            };
            SHORT.into_iter().zip(of).map(value).collect::<Vec<_>>().join(" ")
        };
        write!(f, "boxes {}", told(&self.boxes))?;
        if let Some(masks) = &self.masks {
            write!(f, "  masks {}", told(masks))?;
        }
        let counts = [counted(self.photos, "photo", "photos"), counted(self.objects, "object", "objects")];
        write!(f, "  ({})", counts.join(", "))
    }
}

impl Judging<'_> {
    /// What is found in each of some photos, in order, but for those that can't be decoded. `heard` is told how many are done, of how
    /// many; false from it ends the work.
    ///
    /// # Errors
    /// The device's; [`Error::Interrupted`] if it was ended.
    pub fn detections(&self, ids: &[usize], heard: &mut Heard) -> Result<Vec<Seen>> {
        let shortest = self.config.eval.shortest;
        let scenes = SceneConfig { shortest: vec![shortest], flip: 0.0, ..self.config.scenes.clone() };
        let mut maker = SceneMaker::new(scenes)?;
        let mut all = Vec::with_capacity(ids.len());
        for (i, &photo) in ids.iter().enumerate() {
            if let Ok(shown) = self.album.photo(photo) {
                let scene = maker.make(&shown, &[], SceneParams { shortest, flip: false });
                let objects = detect(self.net, self.config, &scene)?;
                all.push(Seen { photo, size: [shown.height, shown.width], objects });
            }
            if !heard(i + 1, ids.len()) {
                return Err(Error::Interrupted(format!("interrupted at photo {} of {}", i + 1, ids.len())));
            }
        }
        Ok(all)
    }
}

/// Who hears how many photos are done, of how many, and says whether to go on.
pub type Heard<'a> = dyn FnMut(usize, usize) -> bool + 'a;

/// `[x0, y0, x1, y1]` as x, y, width and height.
pub fn sides([x0, y0, x1, y1]: Rect) -> [f64; 4] {
    let [x0, y0, x1, y1] = [x0, y0, x1, y1].map(f64::from);
    [x0, y0, x1 - x0, y1 - y0]
}

/// What was found in photos as the measures and results files want it.
pub fn as_detections(all: &[Seen]) -> Vec<Detection> {
    let of = |seen: &Seen| {
        let photo = seen.photo;
        let one = move |detected: &Detected| Detection {
            photo,
            class: detected.class,
            rect: sides(detected.rect),
            score: f64::from(detected.score),
            mask: detected.mask.clone(),
        };
        seen.objects.iter().map(one).collect::<Vec<_>>()
    };
    all.iter().flat_map(of).collect()
}

/// The objects of photos of these sizes, with the masks that are known if those are wanted, and the photos whose annotations were made for
/// another size, with a sentence each.
fn truths(album: &Album, sizes: &[(usize, [usize; 2])], masks: bool) -> (Vec<Truth>, Vec<(usize, String)>) {
    let (mut truths, mut misfits) = (Vec::new(), Vec::new());
    for &(photo, size) in sizes {
        let one = |object: &LabelledBox| Truth {
            photo,
            class: object.class,
            rect: object.rect.map(f64::from),
            area: f64::from(object.area),
            crowd: object.crowd,
            difficult: object.difficult,
            mask: object.mask.as_ref().filter(|_| masks).and_then(|mask| mask.rle(size).ok()),
        };
        match album.photos().objects_in(photo, size) {
            Ok(objects) => truths.extend(objects.iter().map(one)),
            Err(why) => {
                misfits.push((photo, format!("{} is not judged on: {why}", album.photos().name(photo))))
            }
        }
    }
    (truths, misfits)
}

/// Finds the objects of some photos, and compares them with those that are there. Photos that can't be decoded, or whose annotations were
/// made for another size, are left out.
///
/// # Errors
/// The device's and those of the measures.
pub fn judge(judging: &Judging, ids: &[usize], heard: &mut Heard) -> Result<Judged> {
    let seen = judging.detections(ids, heard)?;
    let sizes: Vec<_> = seen.iter().map(|seen| (seen.photo, seen.size)).collect();
    measured(judging.config, judging.net.config.classes, judging.album, &sizes, as_detections(&seen))
}

/// The same of detections that were found before, in all photos of an album.
///
/// # Errors
/// Those of the measures.
pub fn judge_again(
    config: &DetectConfig,
    classes: usize,
    album: &Album,
    found: Vec<Detection>,
) -> Result<Judged> {
    // A photo that is annotated for a size has it, or else was left out.
    let size = |id: usize| {
        let decoded = || album.photo(id).ok().map(|photo| [photo.height, photo.width]);
        Some((id, album.photos().stated_size(id).or_else(decoded)?))
    };
    let sizes: Vec<_> = (0..album.photos().len()).filter_map(size).collect();
    measured(config, classes, album, &sizes, found)
}

/// How well what there is in some photos was found.
///
/// # Errors
/// As [`coco`](fn@coco) and [`voc`](fn@voc).
fn measured(
    config: &DetectConfig,
    classes: usize,
    album: &Album,
    sizes: &[(usize, [usize; 2])],
    mut detections: Vec<Detection>,
) -> Result<Judged> {
    let (truths, misfits) = truths(album, sizes, config.model.kind.mask_side().is_some());
    detections.retain(|found| misfits.iter().all(|(photo, _)| *photo != found.photo));
    let photos = sizes.len() - misfits.len();
    let boxes = match config.eval.metric {
        Metric::Coco => coco(&truths, &detections, classes, Measure::Box)?,
        Metric::Voc => voc(&truths, &detections, classes, ApKind::ElevenPoint)?,
    };
    // An object whose mask is not known is none to masks: it can't be missed, and who finds it is wrong.
    let masked: Vec<Truth> = truths.iter().filter(|truth| truth.mask.is_some()).cloned().collect();
    let masks =
        (!masked.is_empty()).then(|| coco(&masked, &detections, classes, Measure::Mask)).transpose()?;
    let short = |ap: &DetectionAp| SHORT.map(|name| ap.value(name));
    let counts = |truth: &&Truth| !truth.crowd && (config.eval.metric == Metric::Coco || !truth.difficult);
    let objects = truths.iter().filter(counts).count();
    let scores = DetectScores { photos, objects, boxes: short(&boxes), masks: masks.as_ref().map(short) };
    let left_out = misfits.into_iter().map(|(_, why)| why).collect();
    Ok(Judged { detections, truths, boxes, masks, scores, left_out })
}
