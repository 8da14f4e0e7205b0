//! Stage 1: photos. Where they come from, how they are decoded, and how batches of views are prepared ahead of the device.
//!
//! ```text
//! Photos    what there is: a folder, a folder per class, a csv list, STL-10, CIFAR-10, Pascal VOC, COCO, masks (one file
//!           each; `Photos::open` tells them apart), the bundled photos
//!   Album   decodes them once, no finer than their views need, keeps what fits in memory, or in a folder for later runs; names what
//!           can't be decoded
//!     Loader   worker threads: epoch order, views, batches; the same batches for any number of threads
//! ```
//!
//! **Why so.** A batch depends on (seed, epoch, photo, view) alone, never on which thread was first: two runs with other
//! numbers of threads learn the same, and a run goes on from any batch.
//!
//! So do the pixels of a photo: at which scale a large JPEG is decoded follows from the views' configuration and the photo's size, not
//! from what was drawn or what a cache happens to hold.
//!
//! **Where a run waits for photos** (`waiting` in the log, a share of each step's time): `data.threads`, `data.cache_dir` (decoded
//! photos in a folder), `data.shrink_to` (scaled down once).
//!
//! **The trap.** A photo that can't be decoded, simply left out, moves every later photo to another batch. Here another photo
//! stands in for it, chosen by the seed, counted and named.
//!
//! **The test.** `batches_are_the_same_for_one_and_four_threads`, `a_loader_goes_on_from_any_batch` in `tests/photos/data.rs`; pixels of
//! every kind of file, and of JPEGs at each scale, in `tests/pixels`; the folder of decoded photos in `tests/unit/photos/cache.rs`; damaged photos in `tests/wild`; sets as people have them in `tests/photos/found.rs`.
//!
//! ```
//! # use std::sync::Arc;
//! # use vista::photos::{Album, AlbumOptions, Loader, LoaderOptions, Photos, views::ViewConfig};
//! let album = Arc::new(Album::new(Photos::bundled_pretrain(), AlbumOptions::default()));
//! let options = LoaderOptions::new(4, vec![ViewConfig::moco_v2(16); 2], 0); // 4 images x 2 views of 16 pixels
//! let batch = Loader::new(album, options)?.next().expect("a batch")?;
//! assert_eq!((batch.ids.len(), batch.data.images.len()), (4, 4 * 2 * 16 * 16 * 3));
//! # Ok::<(), vista::Error>(())
//! ```

use std::sync::{Mutex, MutexGuard, PoisonError};

mod album;
mod cache;
mod decode;
mod loader;
mod masks;
mod photo;
mod pixels;
mod read;
mod survey;
pub mod views;

pub use album::{Album, AlbumOptions};
pub use decode::{MAX_PIXELS, Rgb, decode, decode_scaled};
pub use loader::{
    Batch, CropRecipe, Crops, CropsMaker, Draw, Loader, LoaderOptions, Made, Maker, Position, Recipe,
    Replaced, Scenes, ScenesMaker, Views, ViewsMaker, expect_few,
};
pub use masks::{Bitmap, Rle};
pub use photo::Photo;
pub use pixels::Pixels;
pub(crate) use read::tally::allowed;
pub use read::{
    IGNORED, LabelMap, LabelledBox, Labels, Mask, Photos, PixelClass, PixelClasses, Source, Split,
    has_objects, labelled_split, multi_label_split, train_folder,
};
pub use survey::Survey;

/// What a lock holds, after a panic too: every change behind one is whole.
fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
