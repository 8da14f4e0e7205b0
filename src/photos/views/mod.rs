//! Stage 2: views. A random crop of a photo, its colours changed, perhaps grey, blurred or mirrored.
//!
//! What a view looks like is drawn first ([`ViewParams::draw`]), then made by pure functions of an image and numbers
//! ([`ViewMaker::make`]); the crop box and the flip stay known. Images are 8-bit RGB and follow Pillow's arithmetic;
//! colours may be changed in floats instead ([`Colour`]).
//!
//! ```text
//! photo -> crop + antialiased resize -> colour jitter -> grey -> blur -> solarise -> flip -> (v / 255 - mean) / std
//! ```
//!
//! A detector is fed whole photos instead, with what is to be found in them: [`Scene`]. A segmenter is fed a [`Crop`] with its label map.
//!
//! **Why so.** Two views of a photo must share content and little else, or the encoder learns colours: of all changes the crop
//! and the colours matter most (SimCLR, Fig. 5). The boxes are kept because MLS's Fig. 4 draws them on the photos.
//!
//! **The trap.** The order and the arithmetic are part of the method: the four colour changes come in random order, hue turns in
//! bytes as Pillow does, and shrinking needs a filter as wide as the reduction, or thin lines become noise.
//!
//! **The test.** Golden cases from Pillow and torchvision in `tests/conformance.rs`.
//!
//! ```
//! # use vista::photos::{Rgb, views::{ViewConfig, ViewMaker, ViewParams}};
//! let config = ViewConfig { jitter_p: 0.0, ..ViewConfig::moco_v2(8) };
//! let mut maker = ViewMaker::new(config)?;
//! let grey = Rgb { width: 20, height: 10, data: vec![128; 20 * 10 * 3].into() };
//! let mut view = vec![0.0; 8 * 8 * 3];
//! maker.center(&grey, &mut view);
//! assert!((view[0] - (128.0 / 255.0 - 0.485) / 0.229).abs() < 1e-5); // normalised by ImageNet's statistics
//! # Ok::<(), vista::Error>(())
//! ```

mod blur;
mod color;
mod color_float;
mod config;
mod crop;
mod detail;
mod geometry;
mod maker;
mod params;
mod resize;
mod scene;

pub use blur::gaussian_blur;
pub use color::{adjust_brightness, adjust_contrast, adjust_hue, adjust_saturation, grayscale, solarize};
pub use color_float::{
    adjust_brightness_float, adjust_contrast_float, adjust_hue_float, adjust_saturation_float,
    grayscale_float, solarize_float,
};
pub use config::{Colour, IMAGENET_MEAN, IMAGENET_STD, ViewConfig};
pub use crop::{Crop, CropConfig, CropMaker, CropParams};
pub use detail::Detail;
pub(in crate::photos) use geometry::quickly_resized_crop;
pub use geometry::{CropBox, horizontal_flip};
pub use maker::{ViewMaker, normalize};
pub use params::{Adjustment, ViewParams};
pub use resize::resized_crop;
pub use scene::{LeftOut, Scene, SceneConfig, SceneMaker, SceneObject, SceneParams};
