//! How finely photos must be decoded for the views that are made of them.

use crate::photos::views::config::ViewConfig;
use crate::photos::views::scene::SceneConfig;

/// Pixels that a crop has, at least, to one of its view along each axis: with fewer, what the transform of a JPEG leaves out and
/// what the filter of the resize leaves out begin to differ.
const PIXELS: f64 = 2.0;

/// What the smallest crop of some views needs.
///
/// It follows from the views' configuration, not from a drawn crop: a photo is decoded at one scale whatever is drawn, so that one
/// decoded photo, kept in memory or on a disk, serves all epochs, and no view depends on what happened to be kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detail {
    /// Pixels of the smallest crop's short side to one of its view: by the root of the photo's pixels, and by its short side.
    by_area: f64,
    by_side: f64,
}

impl Detail {
    /// That of views, random and from the middle; `None` for no view.
    pub fn of(views: &[ViewConfig]) -> Option<Detail> {
        let of_one = |view: &ViewConfig| {
            let ([low, high], size) = (view.crop_ratio, view.size as f64);
            // Width and height of a crop of area a and ratio r are sqrt(a r) and sqrt(a / r).
            let by_area = (view.crop_scale[0] * low.min(1.0 / high)).sqrt() / size;
            // The middle of the photo, or the largest crop of an allowed shape, which stands in where no other fits.
            let by_side = (224.0 / 256.0) * high.min(1.0 / low).min(1.0) / size;
            Detail { by_area, by_side }
        };
        let least = |a: Detail, b: Detail| Detail {
            by_area: a.by_area.min(b.by_area),
            by_side: a.by_side.min(b.by_side),
        };
        views.iter().map(of_one).reduce(least)
    }

    /// That of scenes: whole photos of the longest short side that can be drawn.
    pub fn of_scenes(config: &SceneConfig) -> Detail {
        Detail::of_side(config.shortest.iter().copied().max().unwrap_or(1))
    }

    /// That of whole photos whose short side is to be `side`.
    pub(in crate::photos) fn of_side(side: usize) -> Detail {
        Detail { by_area: f64::INFINITY, by_side: 1.0 / side as f64 }
    }

    /// Pixels of the smallest crop's short side to one of its view: for each of the root of the photo's pixels, and of its short side.
    pub(crate) fn pixels(&self) -> [f64; 2] {
        [self.by_area, self.by_side]
    }

    /// By how much a photo of a width and a height may be decoded smaller: 1, 2, 4 or 8, the most at which each crop has twice
    /// the pixels of its view along each axis.
    pub fn scale(&self, [width, height]: [usize; 2]) -> usize {
        let (width, height) = (width as f64, height as f64);
        let least = (self.by_area * (width * height).sqrt()).min(self.by_side * width.min(height));
        [8, 4, 2].into_iter().find(|&scale| scale as f64 * PIXELS <= least).unwrap_or(1)
    }
}

#[cfg(test)]
#[path = "../../../tests/unit/photos/views/detail.rs"]
mod tests;
