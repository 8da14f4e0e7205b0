//! Masks of objects as sets have them: outlines, or pixel maps as runs.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::photos::masks::{Bitmap, Rle};

/// Which pixels of a photo are an object's, as its set says it.
#[derive(Clone, Debug, PartialEq)]
pub enum Mask {
    /// Outlines `x0, y0, x1, y1, ..` in pixels of the photo, (0, 0) being its upper left corner: what lies in any of them.
    Polygons(Vec<Vec<f64>>),
    /// A pixel map at the photo's own size.
    Rle(Rle),
}

/// A pixel map as COCO writes it.
#[derive(Deserialize)]
struct Runs<'a> {
    size: [usize; 2],
    #[serde(borrow)]
    counts: &'a RawValue,
}

impl Mask {
    /// COCO's `segmentation`: polygons, or runs as a list or as compressed text; the reason as a sentence fragment if it is neither.
    /// Polygons of fewer than three points are passed over.
    pub(super) fn of_coco(json: Option<&RawValue>) -> Result<Mask, String> {
        let json = json.map_or("null", RawValue::get);
        let mask = match json.as_bytes().first() {
            Some(b'[') => serde_json::from_str::<Vec<Vec<f64>>>(json)
                .or_else(|_| serde_json::from_str(json).map(|polygon| vec![polygon]))
                .map(polygons),
            Some(b'{') => serde_json::from_str::<Runs>(json).and_then(|runs| runs.read()),
            _ => return Err("it has none".into()),
        };
        mask.unwrap_or_else(|_| Err("it is neither polygons nor runs".into()))
    }

    /// Its pixels: those inside of polygons (their areas added, holes and what they share not seen), those of a pixel map.
    pub fn area(&self) -> f64 {
        // Shoelace: half of the sum of x_i y_(i+1) - x_(i+1) y_i.
        let inside =
            |polygon: &Vec<f64>| edges(polygon).map(|[x, y, u, v]| x * v - u * y).sum::<f64>().abs() / 2.0;
        match self {
            Mask::Polygons(polygons) => polygons.iter().map(inside).sum(),
            Mask::Rle(rle) => rle.area() as f64,
        }
    }

    /// The same if it fits a photo of a height and a width, should they be known; reasons as for [`Mask::rle`].
    pub(super) fn fitting(self, size: Option<[usize; 2]>) -> Result<Mask, String> {
        match (&self, size) {
            (Mask::Rle(rle), Some(size)) if rle.size != size => Err(other_size(rle, size)),
            (Mask::Polygons(polygons), Some(size)) => possible(polygons, size).map(|()| self),
            _ => Ok(self),
        }
    }

    /// Its runs in a photo of a height and a width: what a detection is judged against.
    ///
    /// The reason as a sentence fragment if it is made for a photo of another size, or if its outlines are impossible: far longer, or further out, than a photo allows.
    pub fn rle(&self, size: [usize; 2]) -> Result<Rle, String> {
        match self {
            Mask::Polygons(polygons) => drawn(polygons, size),
            Mask::Rle(rle) if rle.size == size => Ok(rle.clone()),
            Mask::Rle(rle) => Err(other_size(rle, size)),
        }
    }

    /// Its pixels where a photo of a size is shown at another, perhaps mirrored left to right: polygons are scaled, then drawn; of a pixel
    /// map the pixel nearest to each centre is taken. Reasons as for [`Mask::rle`].
    pub(in crate::photos) fn shown(
        &self,
        own: [usize; 2],
        size: [usize; 2],
        mirrored: bool,
    ) -> Result<Bitmap, String> {
        let [scale_y, scale_x] = [0, 1].map(|axis| size[axis] as f64 / own[axis] as f64);
        let width = size[1] as f64;
        let x = |x: f64| if mirrored { width - x * scale_x } else { x * scale_x };
        let moved = |polygon: &Vec<f64>| {
            polygon.as_chunks::<2>().0.iter().flat_map(|&[px, py]| [x(px), py * scale_y]).collect()
        };
        match self {
            Mask::Polygons(polygons) => {
                let scaled: Vec<Vec<f64>> = polygons.iter().map(moved).collect();
                drawn(&scaled, size).map(|rle| rle.bitmap())
            }
            Mask::Rle(rle) if rle.size == own => Ok(nearest(&rle.bitmap(), size, mirrored)),
            Mask::Rle(rle) => Err(other_size(rle, own)),
        }
    }
}

impl Runs<'_> {
    /// The outer error: no list of counts and no text.
    fn read(&self) -> serde_json::Result<Result<Mask, String>> {
        let rle = match self.counts.get().as_bytes().first() {
            Some(b'"') => Rle::parse(&serde_json::from_str::<String>(self.counts.get())?, self.size),
            _ => Rle::new(serde_json::from_str(self.counts.get())?, self.size),
        };
        Ok(rle.map(Mask::Rle))
    }
}

/// Those of some polygons that have an area to them.
fn polygons(mut polygons: Vec<Vec<f64>>) -> Result<Mask, String> {
    if polygons.is_empty() {
        return Err("it has none".into());
    }
    polygons.retain(|polygon| polygon.len() >= 6 && polygon.len().is_multiple_of(2));
    polygons.iter_mut().for_each(Vec::shrink_to_fit);
    if polygons.is_empty() {
        Err("it has no polygon of three points or more".into())
    } else {
        Ok(Mask::Polygons(polygons))
    }
}

/// Each edge `[x, y, u, v]` from (x, y) to (u, v) of a polygon, the one that closes it first.
fn edges(polygon: &[f64]) -> impl Iterator<Item = [f64; 4]> + '_ {
    let points = polygon.as_chunks::<2>().0;
    let from = points.last().into_iter().chain(points);
    from.zip(points).map(|(&[x, y], &[u, v])| [x, y, u, v])
}

/// LIMIT: the length of an object's outlines, and how far out they may lead, as a multiple of the photo's height and width together: drawing
/// takes time and memory by that length. Outlines of COCO stay below 10.
const MAX_OUTLINE: f64 = 256.0;

fn possible(polygons: &[Vec<f64>], size: [usize; 2]) -> Result<(), String> {
    let most = MAX_OUTLINE * (size[0] + size[1]) as f64;
    let all = || polygons.iter().flat_map(|polygon| edges(polygon));
    let length: f64 = all().map(|[x, y, u, v]| (u - x).abs().max((v - y).abs())).sum();
    let is_near = |[x, y, ..]: [f64; 4]| x.abs().max(y.abs()) <= most;
    if length <= most && all().all(is_near) {
        Ok(())
    } else {
        Err("its outline leads far out of the photo, or is longer than any can be".into())
    }
}

fn drawn(polygons: &[Vec<f64>], size: [usize; 2]) -> Result<Rle, String> {
    possible(polygons, size)?;
    Rle::polygons(polygons, size)
}

fn other_size(rle: &Rle, size: [usize; 2]) -> String {
    let [[h, w], [height, width]] = [rle.size, size];
    format!("it is made for a photo of {w} x {h} pixels, this one has {width} x {height}")
}

/// A pixel map at another size: for pixel i of n, of N before, that at `floor((i + 1/2) N / n)`.
///
/// # Source
/// Pillow, `image.resize(size, NEAREST)`.
fn nearest(map: &Bitmap, [height, width]: [usize; 2], mirrored: bool) -> Bitmap {
    let [rows, columns] = map.size;
    let from = |i: usize, n: usize, of: usize| (2 * i + 1) * of / (2 * n);
    let mut taken: Vec<usize> = (0..width).map(|x| from(x, width, columns)).collect();
    if mirrored {
        taken.reverse();
    }
    let mut pixels = Vec::with_capacity(height * width);
    for y in 0..height {
        let row = &map.pixels[from(y, height, rows) * columns..][..columns];
        pixels.extend(taken.iter().map(|&x| row[x]));
    }
    Bitmap { size: [height, width], pixels }
}

#[cfg(test)]
#[path = "../../../tests/unit/photos/read/mask.rs"]
mod tests;
