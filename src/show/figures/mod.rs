//! Figures: from embeddings and logs to drawings, as text (SVG) or pixels. Nothing here needs a display or a font.
//!
//! | figure | from | made by |
//! |---|---|---|
//! | scores of one photo against the queue, before and after | MLS, Fig. 3 | [`Study::scores`] |
//! | query crops and their nearest neighbours on the photos | MLS, Fig. 4 | [`Study::neighbours`] |
//! | share of pseudo-positives that share a label | ours | [`Study::purity`] |
//! | loss, accuracy, signs of a collapse, speed over views | ours | [`course`], [`curves()`] |
//! | accuracy against a setting | MLS, Table 8, Fig. 5; S2R2, Fig. 1 | [`sweep_panel`] |
//!
//! [`Sampler`] draws crops and embeds them; all the rest are functions of numbers and photos. [`svg()`] draws panels,
//! [`mosaic()`] photos.

mod chart;
mod curves;
mod glyphs;
mod histogram;
mod mosaic;
mod sample;
mod study;
mod svg;
mod sweep;

pub use chart::{Level, Mark, Panel, Series, Unit};
pub use curves::{JUDGED, course, curves};
pub use histogram::{BINS, Histogram, Moments, Scores, score_panels};
pub use mosaic::{BLACK, GREEN, PNG_MARK, RED, Tile, YELLOW, mosaic, png};
pub(crate) use sample::gone;
pub use sample::{BATCH, Embedded, Sample, Sampler};
pub use study::{Drawing, Figure, Rows, Study};
pub use svg::svg;
pub use sweep::sweep_panel;
