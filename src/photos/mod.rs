//! Step 1, photos: where they come from, how they are decoded, and how batches of views are prepared ahead of the device.
//!
//! ```text
//! Photos    what there is: a folder, a folder per class, a csv list, STL-10, CIFAR-10, Pascal VOC, COCO (one file
//!           each; `Photos::open` tells them apart), the bundled photos
//!   Album   decodes them once, keeps what fits in memory, names what can't be decoded
//!     Loader   worker threads: epoch order, views, batches; the same batches for any number of threads
//! ```
//!
//! **Why so.** A batch depends on (seed, epoch, photo, view) alone, never on which thread was first: two runs with other
//! numbers of threads learn the same, and a run goes on from any batch.
//!
//! **The trap.** A photo that can't be decoded, simply left out, moves every later photo to another batch. Here another photo
//! stands in for it, chosen by the seed, counted and named.
//!
//! **The test.** `batches_are_the_same_for_one_and_four_threads`, `a_loader_goes_on_from_any_batch` in `tests/data.rs`; pixels of
//! every kind of file in `tests/pixels`; damaged photos in `tests/wild`; sets as people have them in `tests/found.rs`.

mod album;
mod bundled;
mod cifar10;
mod coco;
mod decode;
mod endings;
mod exif;
mod files;
mod folder;
mod header;
mod jpeg;
mod list;
mod loader;
mod loose;
mod open;
mod part;
mod photos;
mod shelf;
mod source;
mod stl10;
mod tally;
pub mod views;
mod voc;

pub use album::{Album, AlbumOptions, Photo};
pub use decode::{Rgb, decode};
pub use header::MAX_PIXELS;
pub use loader::{Batch, Loader, LoaderOptions, Position, Replaced};
pub use open::{Split, labelled_split, multi_label_split};
pub use photos::{LabelledBox, Photos};
pub use source::Source;
