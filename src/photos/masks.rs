//! Masks of objects: pixel by pixel, and as the run-length codes in which COCO's files have them.
//!
//! ```
//! # use vista::photos::{Bitmap, Rle};
//! let mask = Bitmap { size: [2, 3], pixels: vec![0, 1, 1, 0, 1, 0] };
//! let code = Rle::of(&mask);
//! assert_eq!(code.counts, [2, 3, 1]); // column by column: 2 zeros, 3 ones, 1 zero
//! assert_eq!((code.area(), code.rect()), (3, [1.0, 0.0, 2.0, 2.0]));
//! assert_eq!(Rle::parse(&code.text(), [2, 3])?, code);
//! assert_eq!(code.bitmap(), mask);
//! # Ok::<(), String>(())
//! ```

use hotcoco::mask;

use crate::photos::decode::MAX_PIXELS;

/// Which pixels of a photo are an object's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitmap {
    /// Height and width.
    pub size: [usize; 2],
    /// `height * width` values, row by row: 1 or 0.
    pub pixels: Vec<u8>,
}

/// A mask as the lengths of its runs: column by column, zeros first (possibly none), then ones, then zeros, ..
///
/// Its functions are pycocotools' to the pixel and to the character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rle {
    /// Height and width.
    pub size: [usize; 2],
    /// Lengths of the runs; their sum is `height * width`.
    pub counts: Vec<u32>,
}

impl Rle {
    /// The code of a mask.
    ///
    /// # Panics
    /// If the mask has not `height * width` pixels, or more than 2^32.
    pub fn of(mask: &Bitmap) -> Rle {
        let [height, width] = mask.size;
        let columns = transposed(&mask.pixels, height, width);
        let code = mask::encode(&columns, height as u32, width as u32).expect("height * width pixels");
        Rle { size: mask.size, counts: code.counts }
    }

    /// A code by its runs, checked; the reason as a sentence fragment if they do not cover the mask, each pixel once, or if the size is more
    /// than a photo's can be ([`MAX_PIXELS`]).
    pub fn new(counts: Vec<u32>, size: [usize; 2]) -> Result<Rle, String> {
        let pixels = sides(size)?.iter().map(|&side| u64::from(side)).product::<u64>();
        let covered: u64 = counts.iter().map(|&count| u64::from(count)).sum();
        if covered != pixels {
            return Err(format!(
                "its runs cover {covered} pixels, not the {} x {} of its size",
                size[0], size[1]
            ));
        }
        Ok(Rle { size, counts })
    }

    /// A code from COCO's compressed text ([`Rle::text`]); the reason as a sentence fragment if the text is damaged, or as
    /// [`Rle::new`] gives it. Takes no more memory than a few times the text's.
    pub fn parse(text: &str, size: [usize; 2]) -> Result<Rle, String> {
        let [height, width] = sides(size)?;
        // No character is above 'o': 48 + 5 bits + the bit that says "more".
        if let Some(strange) = text.chars().find(|c| !('0'..='o').contains(c)) {
            return Err(format!("its run-length code has a {strange:?}"));
        }
        let last = text.bytes().last().unwrap_or_default();
        if last >= 48 + 32 {
            return Err("its run-length code is cut off".into());
        }
        let code = mask::rle_from_string(text, height, width).map_err(|e| e.to_string())?;
        Rle::new(code.counts, size)
    }

    /// What lies in any of some polygons `[x0, y0, x1, y1, ..]` in pixels, (0, 0) being the photo's upper left corner; the reason as a
    /// sentence fragment if there is none of three points, or if a coordinate is missing or no number.
    ///
    /// Each is drawn at five times the resolution; a pixel's centre decides. Polygons of fewer than three points
    /// cover nothing.
    ///
    /// # Source
    /// pycocotools, `merge(frPyObjects(polygons, height, width))`.
    pub fn polygons(polygons: &[Vec<f64>], size: [usize; 2]) -> Result<Rle, String> {
        let [height, width] = sides(size)?;
        for polygon in polygons {
            if polygon.len() % 2 == 1 {
                return Err(format!("a polygon has {} coordinates, an odd number", polygon.len()));
            }
            if let Some(strange) = polygon.iter().find(|value| !value.is_finite()) {
                return Err(format!("a polygon has a coordinate of {strange}"));
            }
        }
        if polygons.iter().all(|polygon| polygon.len() < 6) {
            return Err("it has no polygon of three points or more".into());
        }
        let code = mask::fr_polys(polygons, height, width).map_err(|e| e.to_string())?;
        Ok(Rle { size, counts: code.counts })
    }

    /// The mask, pixel by pixel.
    pub fn bitmap(&self) -> Bitmap {
        let [height, width] = self.size;
        Bitmap { size: self.size, pixels: transposed(&mask::decode(&self.code()), width, height) }
    }

    /// Pixels of the object.
    pub fn area(&self) -> u64 {
        mask::area(&self.code())
    }

    /// The smallest rectangle around the object: x, y, width and height in pixels; zeros if it has no pixel.
    pub fn rect(&self) -> [f64; 4] {
        mask::to_bbox(&self.code())
    }

    /// COCO's compressed text: each count, from the fourth on its difference to the count two before, as 5-bit groups, the lowest
    /// first, a character for each.
    pub fn text(&self) -> String {
        mask::rle_to_string(&self.code())
    }

    /// Pixels of both over pixels of either; over those of this one alone if the other is a crowd, for a crowd may hold more
    /// objects. -1 if their sizes differ, 0 if there is no pixel.
    pub fn iou(&self, other: &Rle, crowd: bool) -> f64 {
        mask::iou(&[self.code()], &[other.code()], &[crowd])[0][0]
    }

    /// As the library has it.
    pub(crate) fn code(&self) -> hotcoco::Rle {
        let [h, w] = self.size.map(|side| side as u32);
        hotcoco::Rle { h, w, counts: self.counts.clone() }
    }
}

/// The sides of a photo as the library has them.
fn sides([height, width]: [usize; 2]) -> Result<[u32; 2], String> {
    match (height as u64).checked_mul(width as u64) {
        Some(0) => Err(format!("its size is {height} x {width}, without a pixel")),
        Some(pixels) if pixels <= MAX_PIXELS => Ok([height as u32, width as u32]),
        _ => Err(format!("its size of {height} x {width} pixels is more than {MAX_PIXELS}")),
    }
}

/// The columns of a picture one after another, as the rows of another; in tiles, for both sides to stay in the processor's cache.
fn transposed(pixels: &[u8], rows: usize, columns: usize) -> Vec<u8> {
    const TILE: usize = 64;
    assert_eq!(pixels.len(), rows * columns, "{rows} x {columns} pixels");
    let mut turned = vec![0; pixels.len()];
    for top in (0..rows).step_by(TILE) {
        for left in (0..columns).step_by(TILE) {
            for row in top..rows.min(top + TILE) {
                for column in left..columns.min(left + TILE) {
                    turned[column * rows + row] = pixels[row * columns + column];
                }
            }
        }
    }
    turned
}

#[cfg(test)]
#[path = "../../tests/unit/photos/masks.rs"]
mod tests;
