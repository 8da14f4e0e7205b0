//! MLS, Fig. 4: query crops and their nearest neighbours, drawn on the original photos.

use super::glyphs::PLAIN;
use crate::error::{Error, Result};
use crate::photos::Rgb;
use crate::photos::views::{CropBox, resized_crop};

/// The query's rectangle.
pub const RED: [u8; 3] = [230, 20, 20];
/// A neighbour's rectangle.
pub const YELLOW: [u8; 3] = [255, 221, 0];
/// Text below a photo.
pub const BLACK: [u8; 3] = [30, 30, 30];
/// Text below a neighbour that shares a label with its query.
pub const GREEN: [u8; 3] = [0, 120, 60];

/// Height of every photo in the picture.
const HEIGHT: usize = 150;
/// The widest that a photo may be; a wider one is drawn lower.
const WIDEST: usize = 2 * HEIGHT;
/// Space between photos, and around the picture.
const GAP: usize = 12;
/// Space between the query and its neighbours.
const WIDE_GAP: usize = 36;
/// Width of a rectangle's line.
const LINE: usize = 3;
/// Width of the frame around a photo.
const FRAME: usize = 1;

/// What stands at the beginning of a picture that [`png()`] made, in PNG's own words for the program that made it.
pub const PNG_MARK: &str = "tEXtSoftware\0vista";

/// A picture as the bytes of a JPEG of a quality from 1 to 100.
///
/// # Errors
/// [`Error::Run`] if it is larger than a JPEG can be.
pub fn encoded_jpeg(picture: &Rgb, quality: u8) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, quality)
        .encode(&picture.data, picture.width as u32, picture.height as u32, image::ExtendedColorType::Rgb8)
        .map_err(|e| Error::Run(format!("JPEG: {e}")))?;
    Ok(bytes)
}

/// A picture as PNG that says what program it is from.
///
/// # Errors
/// [`Error::Run`] for a picture that is no PNG's, one without pixels.
pub fn png(picture: &Rgb) -> Result<Vec<u8>> {
    use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
    let (width, height) = (picture.width as u32, picture.height as u32);
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(&picture.data, width, height, ExtendedColorType::Rgb8)
        .map_err(|e| Error::Run(format!("a picture of {width}x{height} pixels: {e}")))?;
    // A chunk of text (length, name and contents, CRC-32 of both) behind the first chunk, which ends at byte 33.
    let length = (PNG_MARK.len() - 4) as u32;
    let sum = crc32fast::hash(PNG_MARK.as_bytes());
    let chunk = [&length.to_be_bytes(), PNG_MARK.as_bytes(), &sum.to_be_bytes()].concat();
    bytes.splice(33..33, chunk);
    Ok(bytes)
}

/// A photo in the picture.
#[derive(Clone, Debug)]
pub struct Tile {
    /// The whole photo, as large as it is drawn: many of a camera's photos would fill the memory.
    photo: Rgb,
    /// What was cut out of it, in the same pixels.
    crop: CropBox,
    /// Colour of the rectangle around the crop.
    color: [u8; 3],
    /// A short text below it.
    text: String,
    /// Colour of that text.
    ink: [u8; 3],
}

impl Tile {
    /// A photo with a rectangle of a colour around a crop, given in the photo's own pixels, and a text of a colour below.
    pub fn new(photo: &Rgb, crop: CropBox, color: [u8; 3], text: String, ink: [u8; 3]) -> Tile {
        let (w, h) = (photo.width.max(1), photo.height.max(1));
        let width = ((w * HEIGHT + h / 2) / h).max(1);
        let [width, height] =
            if width <= WIDEST { [width, HEIGHT] } else { [WIDEST, ((h * WIDEST + w / 2) / w).max(1)] };
        let (x, y) = (|x: usize| (x * width + w / 2) / w, |y: usize| (y * height + h / 2) / h);
        let (x0, y0, x1, y1) = (x(crop.x0), y(crop.y0), x(crop.x1), y(crop.y1));
        let crop = CropBox::at(x0, y0, (x1 - x0).max(1), (y1 - y0).max(1));
        let photo = resized_crop(photo, CropBox::whole(photo), width, height);
        Tile { photo, crop, color, text, ink }
    }

    /// Width and height in the picture.
    fn size(&self) -> [usize; 2] {
        [self.photo.width, self.photo.height]
    }

    /// Draws it at its place in the picture.
    fn draw(&self, image: &mut Rgb, at: CropBox) {
        let [width, height] = self.size();
        for (i, pixel) in self.photo.data.as_chunks::<3>().0.iter().enumerate() {
            image.put(at.x0 + i % width, at.y0 + i / width, *pixel);
        }
        let around = CropBox::at(at.x0 - FRAME, at.y0 - FRAME, width + 2 * FRAME, height + 2 * FRAME);
        outline(image, around, FRAME, [90; 3]);
        let crop =
            CropBox::at(at.x0 + self.crop.x0, at.y0 + self.crop.y0, self.crop.width(), self.crop.height());
        outline(image, crop, LINE, self.color);
        PLAIN.write(image, at.x0, at.y1 + 5, &self.text, self.ink);
    }
}

/// Rows of a query and its neighbours as one picture: photos of one height, columns aligned, a rectangle around each
/// crop, a text below each photo, white between.
pub fn mosaic(rows: &[Vec<Tile>]) -> Rgb {
    let (places, width, height) = layout(rows);
    let mut image = Rgb { width, height, data: vec![255; width * height * 3].into() };
    for (row, places) in rows.iter().zip(places) {
        row.iter().zip(places).for_each(|(tile, at)| tile.draw(&mut image, at));
    }
    image
}

/// Every tile's place, and the picture's size.
fn layout(rows: &[Vec<Tile>]) -> (Vec<Vec<CropBox>>, usize, usize) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width_of = |column: usize| rows.iter().filter_map(|r| r.get(column)).map(|t| t.size()[0]).max();
    let mut lefts = vec![GAP];
    for column in 0..columns {
        let gap = if column == 0 { WIDE_GAP } else { GAP };
        lefts.push(lefts[column] + width_of(column).unwrap_or(0) + gap);
    }
    let below = HEIGHT + 5 + PLAIN.height() + GAP;
    let place = |(i, row): (usize, &Vec<Tile>)| {
        let tiles = row.iter().enumerate().map(|(column, tile)| {
            let [width, height] = tile.size();
            CropBox::at(lefts[column], GAP + i * below + (HEIGHT - height) / 2, width, height)
        });
        tiles.collect()
    };
    let places = rows.iter().enumerate().map(place).collect();
    (places, lefts[columns].max(1), GAP + rows.len() * below)
}

/// The frame of a box, drawn inwards.
fn outline(image: &mut Rgb, at: CropBox, line: usize, color: [u8; 3]) {
    for y in at.y0..at.y1 {
        for x in at.x0..at.x1 {
            if x < at.x0 + line || y < at.y0 + line || x + line >= at.x1 || y + line >= at.y1 {
                image.put(x, y, color);
            }
        }
    }
}

#[cfg(test)]
#[path = "../../../tests/unit/show/figures/mosaic.rs"]
mod tests;
