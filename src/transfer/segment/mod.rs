//! Semantic segmentation: a class for each pixel, by PSPNet and PSANet on the encoder of a run.
//!
//! ```text
//! photo -> ResNet, layer3 and layer4 dilated -> C5 -> pyramid of means, or attention between all cells -> classes -> resized to the photo
//! ```
//!
//! | file | what |
//! |---|---|
//! | `parts` | pyramid pooling, point-wise attention, classifier: trained parts under semseg's names |
//! | `model` | the networks and their losses |
//!
//! **Formula.** `loss = CE(classes) + 0.4 CE(classes said from layer3)`, each the mean over the labelled pixels of the batch.
//!
//! **The trap.** Every resize aligns corners; every 3x3 of a dilated stage is dilated, the first too; the mean is over labelled pixels of the
//! whole batch.
//!
//! **The test.** Golden steps of both networks, with every gradient, in `tests/conformance`.
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

mod model;
mod parts;

pub use model::{AUXILIARY, Context, Drops, IGNORED, Losses, Segmenter, SegmenterConfig};
pub use parts::{Classifier, PointwiseAttention, PyramidPooling};
