//! From the bytes of a photo to upright 8-bit RGB.

mod exif;
mod header;
mod jpeg;

pub use header::MAX_PIXELS;
pub(super) use header::Scale;

use std::io::{BufRead, Cursor, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};

use exif::Directory;
use header::{believable, format};

use crate::photos::pixels::Pixels;

/// LIMIT: bytes of a PNG's colour profile, unpacked, and of its lines; real ones have less than 4 MiB. So of the tables of
/// other formats.
const MAX_CHUNK: u64 = 16 << 20;
/// LIMIT: bytes of a pixel as it is decoded: 16-bit RGBA.
const MAX_PIXEL: u64 = 8;
/// The chunk that ends a PNG.
const PNG_END: &[u8] = b"\0\0\0\0IEND\xAE\x42\x60\x82";

/// An 8-bit RGB image: `data[(y * width + x) * 3 + channel]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rgb {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `height * width * 3` bytes, row by row.
    pub data: Pixels,
}

impl Rgb {
    /// A black image.
    pub fn new(width: usize, height: usize) -> Rgb {
        Rgb { width, height, data: vec![0; width * height * 3].into() }
    }

    /// Sets a pixel; nothing outside the image.
    pub fn put(&mut self, x: usize, y: usize, color: [u8; 3]) {
        if x < self.width && y < self.height {
            self.data[(y * self.width + x) * 3..][..3].copy_from_slice(&color);
        }
    }
}

/// A photo that was read.
#[derive(Debug)]
pub(super) struct Read {
    /// Its pixels, upright.
    pub(super) image: Rgb,
    /// Its own width and height, upright: more than the image's where it was decoded smaller.
    pub(super) size: [usize; 2],
    /// What is missing of its file.
    pub(super) missing: Option<&'static str>,
}

/// Decodes a photo to 8-bit RGB, upright; the reason as a sentence fragment if it can't be decoded.
///
/// - JPEG, PNG, WebP, GIF, BMP and TIFF; the format is told by the content, not by the name.
/// - A JPEG's pixels are those of libjpeg-turbo.
/// - EXIF orientation is applied; of an animation the first picture is taken.
/// - Greyscale is repeated over the channels, CMYK and YCCK JPEGs are converted as Pillow does (all are taken as inverted),
///   16-bit samples are rounded to 8.
/// - Transparent pixels are laid over white: `c' = (c a + 255 (255 - a) + 127) / 255`, for what lies under full
///   transparency is arbitrary.
/// - A JPEG whose data stop short is truncated, even where a decoder would fill up with grey; one that lacks only its
///   end marker is read.
/// - Memory is at most 64 MiB beside the file, until the file is large enough for the pixels that it declares.
pub fn decode(bytes: &[u8]) -> Result<Rgb, String> {
    decode_scaled(bytes, 1)
}

/// [`decode`], a JPEG at `1 / scale` of its size, rounded up: its pixels are those of libjpeg-turbo's `-scale 1/scale`, for less
/// time than to decode it whole and to shrink it. Other formats are decoded whole.
///
/// # Panics
/// If `scale` is not 1, 2, 4 or 8.
pub fn decode_scaled(bytes: &[u8], scale: usize) -> Result<Rgb, String> {
    assert!(
        [1, 2, 4, 8].contains(&scale),
        "a photo is decoded at 1, 1/2, 1/4 or 1/8 of its size, not 1/{scale}"
    );
    read(bytes, &|_| scale).map(|read| read.image)
}

/// [`decode_scaled`] by a scale that follows from the photo's size, with that and what is missing of a file whose pixels are all
/// there.
pub(super) fn read(bytes: &[u8], scale: Scale) -> Result<Read, String> {
    // A decoder that panics on a broken file must not end the run: to us that file is undecodable.
    catch_unwind(AssertUnwindSafe(|| unguarded(bytes, scale)))
        .unwrap_or_else(|_| Err("the decoder failed".into()))
        .map_err(|why| why.split_whitespace().collect::<Vec<_>>().join(" ")) // decoders break lines
}

/// Height and width of a photo that is upright, as its file begins; `None` if it does not say.
pub(super) fn upright_size(file: impl BufRead + Seek) -> Option<[usize; 2]> {
    let mut decoder = ImageReader::new(file).with_guessed_format().ok()?.into_decoder().ok()?;
    let ((width, height), orientation) = (decoder.dimensions(), decoder.orientation().ok()?);
    let [height, width] = [height, width].map(|side| side as usize);
    Some(if is_turned(orientation) { [width, height] } else { [height, width] })
}

/// Whether height and width change places when a photo is turned upright.
fn is_turned(orientation: Orientation) -> bool {
    use Orientation::*;
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

fn unguarded(bytes: &[u8], scale: Scale) -> Result<Read, String> {
    let mut stored = None;
    let (image, exif, missing) = match format(bytes)? {
        ImageFormat::Jpeg => {
            let picture = jpeg::read(bytes, scale)?;
            stored = Some(picture.stored);
            let missing = "its end marker is missing, all its pixels are there";
            (picture.image, picture.exif, (!picture.ended).then_some(missing))
        }
        ImageFormat::Png => {
            let (exif, lacks_end) = exif::png(bytes);
            let image = match lacks_end {
                true => by_image_crate(&[bytes, PNG_END].concat(), ImageFormat::Png),
                false => by_image_crate(bytes, ImageFormat::Png),
            }?;
            (image, exif, lacks_end.then_some("its end chunk is missing, all its pixels are there"))
        }
        ImageFormat::Tiff if !Directory::of(bytes).is_some_and(|directory| directory.fits()) => {
            return Err("a damaged TIFF: its directory promises more than the file holds".into());
        }
        ImageFormat::Tiff => (by_image_crate(bytes, ImageFormat::Tiff)?, Some(bytes), None),
        ImageFormat::WebP => (by_image_crate(bytes, ImageFormat::WebP)?, exif::webp(bytes), None),
        format => (by_image_crate(bytes, format)?, None, None),
    };
    let orientation = exif.and_then(|block| Directory::of(block)?.orientation());
    let orientation = orientation.unwrap_or(Orientation::NoTransforms);
    let [width, height] = stored.unwrap_or([image.width() as usize, image.height() as usize]);
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    let is_turned = matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH);
    let size = if is_turned { [height, width] } else { [width, height] };
    // Upright at last: three bytes a pixel are turned then, not eight.
    let mut image = DynamicImage::ImageRgb8(image);
    image.apply_orientation(orientation);
    let (width, height) = (image.width() as usize, image.height() as usize);
    let image = Rgb { width, height, data: image.into_rgb8().into_raw().into() };
    Ok(Read { image, size, missing })
}

/// Decodes with the `image` crate, not turned.
fn by_image_crate(bytes: &[u8], format: ImageFormat) -> Result<RgbImage, String> {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_CHUNK); // of a PNG's chunks: its pixels are not counted
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(reason)?;
    let (width, height) = decoder.dimensions();
    believable([width, height].map(u64::from), bytes.len() as u64)?;
    if format != ImageFormat::Png {
        limits.max_alloc = Some(MAX_CHUNK + u64::from(width) * u64::from(height) * MAX_PIXEL);
        decoder.set_limits(limits).map_err(reason)?;
    }
    Ok(flatten(DynamicImage::from_decoder(decoder).map_err(reason)?))
}

fn reason(error: ImageError) -> String {
    match error {
        ImageError::Unsupported(_) => format!("{error}: save it as JPEG or PNG"),
        error => error.to_string(),
    }
}

/// 8-bit RGB, transparency laid over white.
fn flatten(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let over_white = |c: u8, a: u32| ((u32::from(c) * a + 255 * (255 - a) + 127) / 255) as u8;
    let rgba = image.into_rgba8();
    RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [r, g, b, a] = rgba.get_pixel(x, y).0;
        image::Rgb([r, g, b].map(|c| over_white(c, u32::from(a))))
    })
}

#[cfg(test)]
#[path = "../../../tests/unit/photos/decode/mod.rs"]
mod tests;
