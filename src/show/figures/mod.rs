//! Figures: from embeddings and logs to drawings, as text (SVG) or pixels. Nothing here needs a display or an installed font.
//!
//! | figure | from | made by |
//! |---|---|---|
//! | scores of one photo against the queue, before and after | MLS, Fig. 3 | [`Study::scores`] |
//! | query crops and their nearest neighbours on the photos | MLS, Fig. 4 | [`Study::neighbours`] |
//! | share of pseudo-positives that share a label | ours | [`Study::purity`] |
//! | what an encoder tells apart inside photos | DINOv2, Fig. 1 | [`Sampler::feature_maps`] |
//! | loss, accuracy, signs of a collapse, speed over views | ours | [`course`], [`curves()`] |
//! | accuracy against a setting | MLS, Table 8, Fig. 5; S2R2, Fig. 1 | [`sweep_panel`] |
//! | what a detector found, or what is there, on a photo | ours | [`detections()`] |
//! | precision against recall of a detector | ours | [`precision_recall`] |
//! | label maps on photos, and which classes are taken for which | ours | [`label_map`], [`confusion_matrix`] |
//!
//! [`Sampler`] draws crops and embeds them; all the rest are functions of numbers and photos. [`svg()`] draws panels,
//! [`mosaic()`] photos.
//!
//! ```
//! # use vista::{run::History, show::figures::{course, svg}};
//! let log = std::env::temp_dir().join(format!("vista-log-{}.jsonl", std::process::id()));
//! std::fs::write(&log, "{\"kind\":\"step\",\"views\":8,\"loss\":2.0}\n{\"kind\":\"step\",\"views\":16,\"loss\":1.0}\n")?;
//! let panels = course(&History::read(&log)?); // loss, kNN, signs of a collapse, speed
//! assert!(svg(&panels, 1).contains("<svg"));
//! # std::fs::remove_file(&log)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chart;
mod curves;
mod detections;
mod feature_maps;
mod glyphs;
mod histogram;
mod labels;
mod mosaic;
mod recall;
mod sample;
mod study;
mod svg;
mod sweep;

pub use chart::{Level, Mark, Panel, Series, Unit};
pub use curves::{JUDGED, course, curves};
pub use detections::{Drawn, color, detections};
pub use histogram::{BINS, Histogram, Moments, Scores, score_panels};
pub use labels::{confusion_matrix, label_map};
pub use mosaic::{BLACK, GREEN, PNG_MARK, RED, Tile, YELLOW, encoded_jpeg, mosaic, png};
pub use recall::precision_recall;
pub(crate) use sample::gone;
pub use sample::{BATCH, Embedded, Sample, Sampler};
pub use study::{Drawing, Figure, Rows, Study};
pub(crate) use svg::escaped;
pub use svg::svg;
pub use sweep::sweep_panel;
