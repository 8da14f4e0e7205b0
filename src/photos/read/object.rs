//! An object in a photo.

use std::sync::Arc;

use crate::photos::read::mask::Mask;

/// An object in a photo.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledBox {
    /// Index into [`Photos::classes`](crate::photos::Photos::classes).
    pub class: usize,
    /// `[x, y, width, height]` in pixels of the photo itself, from its upper left corner.
    pub rect: [f32; 4],
    /// Marked as hard to recognise (Pascal VOC): such objects are not counted in judging.
    pub difficult: bool,
    /// A group of objects under one box (COCO).
    pub crowd: bool,
    /// Its size in pixels of the photo, by which objects are small, medium or large: as the set says, or else of its mask, or of its
    /// box.
    pub area: f32,
    /// Which pixels are the object's; `None` where that is not known, or was not asked for by
    /// [`Source::masks`](crate::photos::Source::masks).
    pub mask: Option<Arc<Mask>>,
}

impl LabelledBox {
    /// An object of a box and nothing else.
    pub fn new(class: usize, rect: [f32; 4]) -> LabelledBox {
        let area = rect[2] * rect[3];
        LabelledBox { class, rect, difficult: false, crowd: false, area, mask: None }
    }

    /// The object with its mask, and its area, if its set says it.
    pub(super) fn shaped(self, area: Option<f32>, mask: Option<Mask>) -> LabelledBox {
        let area = area.or_else(|| mask.as_ref().map(|mask| mask.area() as f32)).unwrap_or(self.area);
        LabelledBox { area, mask: mask.map(Arc::new), ..self }
    }

    /// Why a detector can't learn a box in a photo of a height and a width, to go on after "3 of 7 objects ..".
    pub(super) fn unlearnable(rect: [f32; 4], size: Option<[usize; 2]>) -> Option<&'static str> {
        let [x, y, width, height] = rect;
        let misses =
            |[h, w]: [usize; 2]| x >= w as f32 || y >= h as f32 || x + width <= 0.0 || y + height <= 0.0;
        match () {
            () if width == 0.0 || height == 0.0 => Some("have a box of no area"),
            () if size.is_some_and(misses) => Some("have a box outside their photo"),
            () => None,
        }
    }

    /// Whether a rectangle is finite and its sides are not negative.
    pub(super) fn is_sane(rect: [f32; 4]) -> bool {
        rect.iter().all(|v| v.is_finite()) && rect[2] >= 0.0 && rect[3] >= 0.0
    }
}
