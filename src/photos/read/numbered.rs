//! Photos with masks whose pixels are object numbers: 0 for none, k for the photo's k-th object.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;

use crate::error::Result;
use crate::photos::masks::Rle;
use crate::photos::read::endings::bare;
use crate::photos::read::grid::Grid;
use crate::photos::read::mask::Mask;
use crate::photos::read::object::LabelledBox;
use crate::photos::read::part::Split;
use crate::photos::read::photos::Photos;
use crate::photos::read::source::{Fence, Source};
use crate::photos::read::tally::Tally;

/// LIMIT: runs of all objects of a photo; real ones have less than 100,000.
const MAX_RUNS: usize = 1 << 21;
/// The masks of a photo's objects, by their numbers.
pub(super) type Masks = BTreeMap<usize, Rle>;

/// The folders of photos and of masks in the published archive.
pub(super) const FOLDERS: [&str; 2] = ["PNGImages", "PedMasks"];

impl Photos {
    /// Photos with their annotations apart from them: a list in COCO's format (`.json`, see [`Photos::coco`]), or a folder of masks.
    ///
    /// A mask is a PNG, indexed or grey, of its photo's name (`X.png` or `X_mask.png` for `X.jpg`, in the same folder of folders) and
    /// size. A pixel of 0 is nobody's, one of k is the k-th object's. An object's box is the smallest around its pixels. All are of one
    /// class: [`Source::class`], `object` unless set. Masks are held where [`Source::masks`] asks for them.
    ///
    /// Left out and counted in [`Photos::warnings`]: photos without a mask, or whose mask is damaged. A photo whose mask is all 0 is one
    /// without an object.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) as for [`Photos::coco`] and [`Photos::folder`], or if more photos have no usable mask than
    /// [`Source::max_broken`] allows.
    pub fn annotated(annotations: impl Into<Source>, photos: &Path) -> Result<Photos> {
        let source = annotations.into();
        if !source.path.is_dir() {
            return Photos::coco(source, Some(photos));
        }
        let all = Photos::folder(source.other(photos))?;
        all.numbered(&source.fence(&source.path)?, &source)
    }

    /// The objects of these photos, by masks in the folder of a source.
    fn numbered(mut self, fence: &Fence, source: &Source) -> Result<Photos> {
        let mut unusable = Tally::new("photos", "left out");
        let items = std::mem::take(&mut self.items);
        let of = items.len();
        let masks: Vec<_> = items.par_iter().map(|item| masks_for(fence, &source.path, &item.name)).collect();
        for (mut item, masks) in items.into_iter().zip(masks) {
            match masks {
                None => unusable.note("have no mask", &item.name),
                Some(Err(why)) => {
                    unusable.note("have a mask that can't be used", format_args!("{} ({why})", item.name))
                }
                Some(Ok(masks)) => {
                    masks.into_values().for_each(|mask| item.add(0, false, Some(object(mask, source.masks))));
                    item.tidy();
                    self.items.push(item);
                }
            }
        }
        self.account(&unusable, of, Some(source.max_broken))?;
        self.classes = vec![source.class.clone().unwrap_or_else(|| "object".into())];
        Ok(self)
    }

    /// Penn-Fudan as published: photos in `PNGImages`, masks in `PedMasks`, one class `person`. It has no parts: of the photos in the order
    /// of their names each fifth is judged on, the others are learned from.
    pub(super) fn penn_fudan(source: Source, split: Option<Split>) -> Result<Photos> {
        let [photos, masks] = FOLDERS.map(|folder| source.part(source.path.join(folder)));
        let mut photos = Photos::folder(photos)?;
        let Some(split) = split else { return Ok(photos) };
        let mut number = 0;
        photos.items.retain(|_| {
            number += 1;
            (number % 5 == 0) == (split == Split::Test)
        });
        let masks = if masks.class.is_some() { masks } else { masks.class("person") };
        photos.numbered(&masks.fence(&masks.path)?, &masks)
    }
}

/// The object of a mask.
fn object(mask: Rle, is_held: bool) -> LabelledBox {
    let area = mask.area() as f32;
    let object = LabelledBox::new(0, mask.rect().map(|v| v as f32));
    object.shaped(Some(area), is_held.then_some(Mask::Rle(mask)))
}

/// The masks of a photo of a name; `None` if there is no file of them.
fn masks_for(fence: &Fence, folder: &Path, photo: &str) -> Option<Result<Masks, String>> {
    let stem = bare(photo);
    let names = ["_mask.png", ".png", "_mask.PNG", ".PNG"].map(|end| folder.join(format!("{stem}{end}")));
    names.iter().find_map(|path| masks_in(fence, path))
}

/// The masks in a file; `None` if there is none.
pub(super) fn masks_in(fence: &Fence, path: &Path) -> Option<Result<Masks, String>> {
    path.exists().then(|| fence.read(path).map_err(|e| e.to_string()).and_then(|bytes| masks(&bytes)))
}

/// The masks in a PNG; the reason as a sentence fragment if it can't be used.
pub(super) fn masks(bytes: &[u8]) -> Result<Masks, String> {
    let grid = Grid::read(bytes, "objects")?;
    let width = grid.size[1];
    runs(grid.size, |x, y| usize::from(grid.numbers[y * width + x]))
}

/// The runs of each number but 0 in a map of a height and a width, column by column.
fn runs([height, width]: [usize; 2], number: impl Fn(usize, usize) -> usize) -> Result<Masks, String> {
    let total = height * width;
    let mut found: BTreeMap<usize, (Vec<u32>, usize)> = BTreeMap::new(); // counts, and where they end
    let mut close = |number: usize, start: usize, end: usize| {
        if number > 0 {
            let (counts, at) = found.entry(number).or_default();
            counts.extend([start - *at, end - start].map(|run| run as u32));
            *at = end;
        }
    };
    let (mut last, mut start, mut count) = (0, 0, 0);
    for x in 0..width {
        for y in 0..height {
            let (next, at) = (number(x, y), x * height + y);
            if next != last {
                close(last, start, at);
                (last, start, count) = (next, at, count + 1);
            }
        }
        if count > MAX_RUNS {
            return Err(format!("more than {MAX_RUNS} runs of object numbers: no mask is that ragged"));
        }
    }
    close(last, start, total);
    let mask = |(number, (mut counts, at)): (usize, (Vec<u32>, usize))| {
        counts.extend((at < total).then(|| (total - at) as u32));
        Ok((number, Rle::new(counts, [height, width])?))
    };
    found.into_iter().map(mask).collect()
}

#[cfg(test)]
#[path = "../../../tests/unit/photos/read/numbered.rs"]
mod tests;
