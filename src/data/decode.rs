//! From the bytes of a JPEG or PNG to upright 8-bit RGB.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};

/// The most pixels a photo may declare; a larger one counts as undecodable (a few bytes can declare gigabytes).
pub const MAX_PIXELS: u64 = 1 << 27;

/// An 8-bit RGB image: `data[(y * width + x) * 3 + channel]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rgb {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `height * width * 3` bytes, row by row.
    pub data: Vec<u8>,
}

impl Rgb {
    /// A black image.
    pub fn new(width: usize, height: usize) -> Rgb {
        Rgb { width, height, data: vec![0; width * height * 3] }
    }
}

/// Decodes a photo to 8-bit RGB, upright; the reason as a sentence fragment if it can't be decoded.
///
/// - The format is told by the content, not by the name.
/// - EXIF orientation is applied.
/// - Greyscale is repeated over the channels, CMYK and YCCK JPEGs are converted, 16-bit samples are rounded to 8.
/// - Transparent pixels are laid over white: `c' = (c a + 255 (255 - a) + 127) / 255`, for what lies under full
///   transparency is arbitrary.
/// - A JPEG whose data stop before its end marker is truncated, even where a decoder would fill up with grey.
pub fn decode(bytes: &[u8]) -> Result<Rgb, String> {
    // A decoder that panics on a broken file must not end the run: to us that file is undecodable.
    catch_unwind(AssertUnwindSafe(|| decode_unguarded(bytes)))
        .unwrap_or_else(|_| Err("the decoder failed".into()))
}

fn decode_unguarded(bytes: &[u8]) -> Result<Rgb, String> {
    if bytes.starts_with(&[0xFF, 0xD8]) && !jpeg_is_complete(bytes) {
        return Err("truncated JPEG".into());
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_PIXELS * 8);
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| e.to_string())?;
    if reader.format().is_none() {
        return Err("neither a JPEG nor a PNG".into());
    }
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|e| e.to_string())?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err("no pixels".into());
    }
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(format!("{width} x {height} pixels are more than {MAX_PIXELS}"));
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())?;
    image.apply_orientation(orientation);
    Ok(flatten(image))
}

/// 8-bit RGB, transparency laid over white.
fn flatten(image: DynamicImage) -> Rgb {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let data = if image.color().has_alpha() {
        let over_white = |c: u8, a: u32| ((u32::from(c) * a + 255 * (255 - a) + 127) / 255) as u8;
        let rgba = image.into_rgba8();
        rgba.pixels().flat_map(|p| [0, 1, 2].map(|i| over_white(p.0[i], u32::from(p.0[3])))).collect()
    } else {
        image.into_rgb8().into_raw()
    };
    Rgb { width, height, data }
}

/// Whether a JPEG's markers go on to its end marker.
///
/// Segments are skipped by their length, so that a thumbnail inside one is not taken for the photo's own data; in
/// entropy-coded data `FF 00` is a stuffed byte and `FF D0` to `FF D7` are restarts.
fn jpeg_is_complete(bytes: &[u8]) -> bool {
    let mut at = 2;
    while at + 1 < bytes.len() {
        match (bytes[at], bytes[at + 1]) {
            (0xFF, 0xD9) => return true,
            (0xFF, 0x00 | 0x01 | 0xD0..=0xD8) => at += 2,
            (0xFF, 0xFF) => at += 1,
            (0xFF, _) => match bytes.get(at + 2..at + 4) {
                Some(length) => at += 2 + usize::from(u16::from_be_bytes([length[0], length[1]])),
                None => return false,
            },
            _ => match bytes[at..].iter().position(|&b| b == 0xFF) {
                Some(offset) => at += offset,
                None => return false,
            },
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::ImageFormat;

    fn png(image: DynamicImage) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn jpeg(width: u32, height: u32) -> Vec<u8> {
        let pixel = |x, y| image::Rgb([(x * 6) as u8, (y * 9) as u8, 90]);
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::ImageRgb8(image::RgbImage::from_fn(width, height, pixel))
            .write_to(&mut bytes, ImageFormat::Jpeg)
            .unwrap();
        bytes.into_inner()
    }

    /// Puts an EXIF segment with only an orientation behind the start marker.
    fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
        let mut exif = b"\xFF\xE1\x00\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
        exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
        [&jpeg[..2], &exif, &jpeg[2..]].concat()
    }

    #[test]
    fn greyscale_is_repeated_over_the_channels() {
        let grey = png(DynamicImage::ImageLuma8(image::GrayImage::from_fn(3, 2, |x, y| {
            image::Luma([(x + 10 * y) as u8])
        })));
        let photo = decode(&grey).unwrap();
        assert_eq!((photo.width, photo.height), (3, 2));
        assert_eq!(photo.data[..6], [0, 0, 0, 1, 1, 1]);
        assert_eq!(photo.data[9..12], [10, 10, 10]);
    }

    #[test]
    fn sixteen_bit_samples_are_rounded_to_eight() {
        let deep = image::ImageBuffer::from_pixel(2, 1, image::Rgb([65535u16, 257 * 100, 257 * 7 + 100]));
        assert_eq!(decode(&png(DynamicImage::ImageRgb16(deep))).unwrap().data[..3], [255, 100, 7]);
    }

    #[test]
    fn transparency_is_laid_over_white() {
        let pixels =
            image::RgbaImage::from_fn(3, 1, |x, _| image::Rgba([100, 0, 200, [0, 128, 255][x as usize]]));
        let photo = decode(&png(DynamicImage::ImageRgba8(pixels))).unwrap();
        assert_eq!(photo.data, [255, 255, 255, 177, 127, 227, 100, 0, 200]);
    }

    #[test]
    fn exif_rotation_is_applied() {
        let plain = decode(&jpeg(40, 24)).unwrap();
        let turned = decode(&with_orientation(&jpeg(40, 24), 6)).unwrap(); // 6: turn clockwise to view
        assert_eq!((turned.width, turned.height), (24, 40));
        let at = |image: &Rgb, x: usize, y: usize| image.data[(y * image.width + x) * 3];
        assert_eq!(at(&turned, 23, 0), at(&plain, 0, 0));
        assert_eq!(at(&turned, 0, 39), at(&plain, 39, 23));
    }

    #[test]
    fn cmyk_jpeg_becomes_rgb() {
        // Left half pure red, right half pure green, written as an Adobe CMYK JPEG.
        let photo = decode(include_bytes!("../../tests/fixtures/cmyk.jpg")).unwrap();
        assert_eq!((photo.width, photo.height), (16, 8));
        let near = |pixel: &[u8], wanted: [u8; 3]| pixel.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) < 8);
        assert!(near(&photo.data[..3], [255, 0, 0]), "{:?}", &photo.data[..3]);
        assert!(near(&photo.data[45..48], [0, 255, 0]), "{:?}", &photo.data[45..48]);
    }

    #[test]
    fn truncated_or_foreign_files_are_named_as_such() {
        let whole = jpeg(64, 64);
        assert!(decode(&whole).is_ok());
        for cut in [3, 20, whole.len() / 2, whole.len() - 2] {
            assert_eq!(decode(&whole[..cut]).unwrap_err(), "truncated JPEG");
        }
        let image = png(DynamicImage::ImageLuma8(image::GrayImage::new(64, 64)));
        assert!(decode(&image[..image.len() / 2]).is_err());
        assert_eq!(decode(b"only text").unwrap_err(), "neither a JPEG nor a PNG");
        assert_eq!(decode(b"").unwrap_err(), "neither a JPEG nor a PNG");
    }

    #[test]
    fn a_huge_declared_size_is_refused_before_it_is_allocated() {
        let mut bytes = jpeg(64, 64);
        let frame = bytes.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
        bytes[frame + 5..frame + 9].copy_from_slice(&[0xFF, 0xFF, 0xFF, 0xFF]);
        assert_eq!(decode(&bytes).unwrap_err(), "65535 x 65535 pixels are more than 134217728");
    }

    #[test]
    fn a_photo_of_one_pixel_decodes() {
        assert_eq!(decode(&jpeg(1, 1)).unwrap().data.len(), 3);
    }
}
