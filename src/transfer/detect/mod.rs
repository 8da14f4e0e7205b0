//! Detectors: where in a photo objects are, of which class, with which outline. Trained as any long job, on the encoder of a run.
//!
//! ```text
//! photos + boxes + masks --SceneMaker--> scenes --DetectLearner::step--> a Detector --detect--> boxes, classes, masks --judge--> AP
//!
//! backbone C2..C5 -> (Fpn) maps -> RpnHead: which anchors stand for objects -> proposals -> RoIAlign -> heads: classes, boxes, masks
//! ```
//!
//! | file | what |
//! |---|---|
//! | `boxes`, `anchors`, `nms` | overlaps, differences, suppression: plain arithmetic on the host, of which no gradient is taken |
//! | `matching`, `targets` | which object each anchor and region stands for; samples; what should have been said |
//! | `proposals`, `inference` | boxes worth a look; from a photo to its objects |
//! | `parts`, `model`, `losses` | the trained parts under detectron2's names, composed; the losses |
//! | `config`, `presets`, `keys`, `settings` | a run's configuration, its presets, what each key means |
//! | `learn`, `job`, `memory`, `start`, `statistics` | the step, the [`Job`](crate::run::Job), what the largest step takes, batch norm before judging |
//! | `data`, `judge` | photos with boxes; average precision |
//! | `detectron2` | the same network for detectron2 |
//!
//! **Formula.** `loss = BCE(objectness) + L1(anchors' boxes) + CE(classes) + L1(regions' boxes) + BCE(masks)`; the first two over 256 anchors a
//! photo, the next two over all sampled regions, masks over those with an object.
//!
//! **Why so.** Everything that chooses (matching, sampling, suppression) is discrete and cheap: it runs on the host, keyed by (seed, step,
//! image), so that a run goes on to the bit. Shapes on the device do not depend on how many objects there are.
//!
//! **The trap.** Conventions that differ by half a pixel give a detector that learns, and is a few points worse: pixels are areas, widths have no
//! "+ 1", anchors are centred at multiples of the stride, masks are cropped by RoIAlign from the photo's own resolution.
//!
//! **The test.** Golden cases of detectron2's definitions, whole steps with every gradient among them, in `tests/conformance`; resume to the bit and
//! the commands in `tests/command/detect.rs`.
//!
//! ```
//! # use vista::transfer::detect::{Cell, Matcher, Match, nms};
//! let cell = Cell { stride: 16, sizes: vec![32.0], ratios: vec![0.5, 1.0, 2.0] };
//! let anchors = cell.over([4, 6]); // three at each of 24 cells
//! assert_eq!((anchors.len(), anchors[1]), (72, [-16.0, -16.0, 16.0, 16.0]));
//! let (_, stand_for) = Matcher::ANCHORS.matches(&anchors, &[[0.0, 0.0, 32.0, 32.0]]);
//! assert_eq!(stand_for.iter().filter(|m| matches!(m, Match::Object(_))).count(), 1);
//! assert_eq!(nms(&[[0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 9.0, 8.0]], &[0.9, 0.8], 0.5), [0]);
//! ```

mod anchors;
mod boxes;
mod config;
mod data;
mod detectron2;
mod inference;
mod job;
mod judge;
mod keys;
mod learn;
mod losses;
mod masks;
mod matching;
mod memory;
mod model;
mod nms;
mod parts;
mod presets;
mod proposals;
mod settings;
mod start;
mod statistics;
mod targets;

pub use anchors::Cell;
pub use boxes::{MOST, Rect, area, clipped, decode, encode, intersection, iou};
pub use config::{
    DetectConfig, DetectData, DetectEval, DetectModel, DetectOptimizer, Metric, NormKind, ProposalConfig,
    RegionConfig,
};
pub use data::{Classes, DetectSets};
pub use inference::{Detected, detect};
pub use job::{DetectRecord, DetectRun, Detection};
pub use judge::{DetectScores, Heard, Judged, Judging, Seen, as_detections, judge, judge_again, sides};
pub(crate) use keys::page;
pub use learn::{DetectLearner, DetectReport, Forward};
pub use losses::{BoxTargets, mask_loss, objectness_loss, smooth_l1};
pub use masks::{mask_targets, paste_mask};
pub use matching::{Match, Matcher, sample};
pub use memory::plan as memory_plan;
pub use model::{AnchorTargets, Detector, DetectorConfig, Kind, Losses, Region, RegionTargets};
pub use nms::{grouped_nms, nms};
pub use parts::{BoxHead, BoxPredictor, Fpn, Layer, MaskHead, RpnHead};
pub use presets::{DetectPreset, PRESETS};
pub use proposals::{Chosen, Found, Level, level_of, proposals};
pub use start::{load, starting_detector};
pub use targets::DrawnAnchors;
