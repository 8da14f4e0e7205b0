//! What a run has written, to look at: [figures] as SVG and PNG, and a [report] as one page.
//!
//! ```
//! # use vista::{photos::Rgb, show::figures::png};
//! let white = Rgb { width: 1, height: 1, data: vec![255; 3].into() };
//! assert!(png(&white)?.starts_with(b"\x89PNG"));
//! # Ok::<(), vista::Error>(())
//! ```

pub mod figures;
pub mod report;
