//! Detection: where in a photo objects are, of which class, with which outline.
//!
//! ```text
//! anchors   boxes at each cell of a map            proposals   the best of them, moved and thinned out
//!   matching   which object each stands for          detections   classified, moved again, thinned out
//! boxes, nms   overlaps, differences, suppression
//! ```
//!
//! All of this is plain arithmetic on the host: no gradient flows through boxes.
//!
//! **The test.** Golden cases of detectron2's definitions in `tests/conformance`.

pub mod anchors;
pub mod boxes;
pub mod losses;
pub mod masks;
pub mod matching;
pub mod model;
pub mod nms;
pub mod parts;
pub mod proposals;
