//! Semantic segmentation: a class for each pixel, by PSPNet and PSANet on the encoder of a run.
//!
//! ```text
//! photos + label maps --CropMaker--> crops --SegmentLearner::step--> a Segmenter --segment--> label maps --judge--> mIoU
//!
//! photo -> ResNet, layer3 and layer4 dilated -> C5 -> pyramid of means, or attention between all cells -> classes -> resized to the photo
//! ```
//!
//! | file | what |
//! |---|---|
//! | `parts` | pyramid pooling, point-wise attention, classifier: trained parts under semseg's names |
//! | `model` | the networks and their losses |
//! | `config`, `presets`, `keys`, `settings` | a run's configuration, its presets, what each key means |
//! | `learn`, `job`, `memory`, `start` | the step, the [`Job`](crate::run::Job), what a step takes, the encoder that it starts from |
//! | `data`, `predict`, `judge` | photos with label maps; from a photo to its label map; mIoU, and the floor |
//!
//! **Formula.** `loss = CE(classes) + 0.4 CE(classes said from layer3)`, each the mean over the labelled pixels of the batch.
//!
//! **The trap.** Every resize inside the network aligns corners; every 3x3 of a dilated stage is dilated, the first too; the mean is over labelled pixels of the
//! whole batch.
//!
//! **The test.** Golden steps of both networks, with every gradient, in `tests/conformance`; resume to the bit and the commands in
//! `tests/command/segment.rs`.
//!
//! ```
//! # use vista::{Device, Tensor, engine::{autograd::Tape, nn::{Architecture, Mode, ResNet, ResNetConfig, Stem}}};
//! # use vista::transfer::segment::{Context, Segmenter, SegmenterConfig};
//! # use rand::{SeedableRng, rngs::StdRng};
//! let (device, rng) = (Device::cpu(), &mut StdRng::seed_from_u64(0));
//! let architecture = Architecture::Resnet18;
//! let backbone = ResNetConfig { architecture, width: 8, stem: Stem::Imagenet, zero_init: false, dilated: 2 };
//! let config = SegmenterConfig { context: Context::Pyramid { bins: vec![1, 2, 3, 6] }, classes: 19, dropout: 0.1 };
//! let backbone = ResNet::new(&device, rng, &backbone)?;
//! let net = Segmenter::new(&device, rng, config, backbone)?;
//! let tape = Tape::inert(&device);
//! let photo = tape.constant(Tensor::full(&device, [1, 65, 97, 3], 0.5)?);
//! assert_eq!(net.cells(&photo, Mode::Eval)?.shape()[..], [1, 9, 13, 19]);
//! assert_eq!(net.pixels(&photo, Mode::Eval)?.shape()[..], [1, 65, 97, 19]);
//! # Ok::<(), vista::Error>(())
//! ```

mod config;
mod data;
mod job;
mod judge;
mod keys;
mod learn;
mod memory;
mod model;
mod parts;
mod predict;
mod presets;
mod settings;
mod start;

pub use config::{SegmentConfig, SegmentData, SegmentEval, SegmentKind, SegmentModel, SegmentOptimizer};
pub use data::{LabelledAlbum, SegmentSets};
pub use job::{SegmentRecord, SegmentRun, Segmentation};
pub use judge::{Heard, Judged, SegmentScores, Segmented, Taken, WORST, floor, judge, own_numbers};
pub(crate) use keys::page;
pub use learn::{SegmentLearner, SegmentReport};
pub use memory::plan as memory_plan;
pub use model::{AUXILIARY, Context, DropoutKey, Losses, Segmenter, SegmenterConfig};
pub use parts::{Classifier, PointwiseAttention, PyramidPooling};
pub use predict::segment;
pub use presets::{PRESETS, SegmentPreset};
pub use start::{load, starting_segmenter};
