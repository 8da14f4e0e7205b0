//! Step 1, photos: where they come from, how they are decoded, and how batches of views are prepared ahead of the device.
//!
//! ```text
//! Photos    what there is: a folder, a folder per class, a csv list, the bundled photos
//!   Album   decodes them once, keeps what fits in memory, names what can't be decoded
//!     Loader   worker threads: epoch order, views, batches; the same batches for any number of threads
//! ```

mod album;
mod bundled;
mod decode;
mod list;
mod loader;
mod photos;

pub use album::{Album, AlbumOptions, Photo};
pub use bundled::Split;
pub use decode::{MAX_PIXELS, Rgb, decode};
pub use loader::{Batch, Loader, LoaderOptions, Position, Replaced};
pub use photos::Photos;
