//! A decoded photo.

use crate::photos::decode::Rgb;
use crate::photos::views::CropBox;

/// A decoded photo.
#[derive(Clone, Debug)]
pub struct Photo {
    /// Its pixels, perhaps scaled down.
    pub image: Rgb,
    /// Its own width in pixels, upright.
    pub width: usize,
    /// Its own height in pixels, upright.
    pub height: usize,
}

impl Photo {
    /// A box in `image` as a box in the photo's own pixels: the same box unless the photo was scaled down.
    pub fn original_box(&self, b: CropBox) -> CropBox {
        let scale = |x: usize, own: usize, kept: usize| (x * own + kept / 2) / kept;
        let x = |x| scale(x, self.width, self.image.width);
        let y = |y| scale(y, self.height, self.image.height);
        CropBox { x0: x(b.x0), y0: y(b.y0), x1: x(b.x1), y1: y(b.y1) }
    }
}
