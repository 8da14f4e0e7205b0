//! Photos of every kind, and the ways in which they come to harm.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat};
use vista::rng::KeyedRng;

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A black greyscale PNG: a thousandth of its pixels in bytes.
pub fn black_png(width: u32, height: u32) -> Vec<u8> {
    encoded(image::GrayImage::new(width, height), ImageFormat::Png)
}

/// An ordinary photo.
pub fn photo(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let pixel = |x, y| image::Rgb([(x * 5 + y) as u8, (y * 3) as u8, (x * y / 9) as u8]);
    encoded(image::RgbImage::from_fn(width, height, pixel), format)
}

/// Sound photos: JPEG (RGB, grey, CMYK, progressive), PNG (RGB, grey, transparent, 16-bit, palette, animated), and one of each
/// other format.
pub fn sound() -> Vec<Vec<u8>> {
    let deep = |x, y| image::Rgba([(x * 900) as u16, (y * 700) as u16, 9, (x * y) as u16]);
    let clear = |x, y| image::Rgba([x as u8, y as u8, 90, (x * y) as u8]);
    vec![
        photo(96, 64, ImageFormat::Jpeg),
        encoded(image::GrayImage::from_fn(70, 50, |x, y| image::Luma([(x * y) as u8])), ImageFormat::Jpeg),
        include_bytes!("../fixtures/cmyk.jpg").to_vec(),
        include_bytes!("../fixtures/progressive.jpg").to_vec(),
        photo(48, 32, ImageFormat::Png),
        encoded(image::GrayImage::from_fn(40, 30, |x, y| image::Luma([(x + y) as u8])), ImageFormat::Png),
        encoded(image::RgbaImage::from_fn(33, 20, clear), ImageFormat::Png),
        encoded(DynamicImage::ImageRgba16(image::ImageBuffer::from_fn(30, 20, deep)), ImageFormat::Png),
        include_bytes!("../fixtures/palette.png").to_vec(),
        include_bytes!("../fixtures/animated.png").to_vec(),
        photo(31, 27, ImageFormat::WebP),
        photo(29, 30, ImageFormat::Gif),
        photo(22, 19, ImageFormat::Bmp),
        photo(23, 21, ImageFormat::Tiff),
    ]
}

/// A photo that has come to harm in one to three ways.
pub fn damaged(sound: &[Vec<u8>], rng: &mut KeyedRng) -> Vec<u8> {
    let mut bytes = sound[rng.below(sound.len() as u64) as usize].clone();
    for _ in 0..=rng.below(3) {
        harm(&mut bytes, sound, rng);
    }
    // Half of the PNGs get sums that are right, so that the harm goes deeper.
    if rng.chance(0.5) {
        mend_sums(&mut bytes);
    }
    bytes
}

fn harm(bytes: &mut Vec<u8>, sound: &[Vec<u8>], rng: &mut KeyedRng) {
    if bytes.is_empty() {
        return;
    }
    let mut any = |n: usize| rng.below(n as u64 + 1) as usize;
    let (at, last) = (any(bytes.len() - 1), bytes.len() - 1);
    match any(8) {
        0..=2 => (0..=any(15)).for_each(|_| bytes[any(last)] ^= 1 << any(7)),
        3 => bytes.truncate(at),
        4 | 5 => lie(bytes, [(); 2].map(|()| (any(65535) >> any(8)) as u32)),
        6 => drop(bytes.splice(at..(at + any(40)).min(last), (0..any(40)).map(|_| 0xFF).collect::<Vec<_>>())),
        7 => {
            let other = &sound[any(sound.len() - 1)];
            bytes.splice(at.., other[any(other.len() - 1)..].iter().copied());
        }
        _ if any(9) == 0 => bytes.clear(),
        _ => bytes.extend(vec![0; any(3000)]),
    }
}

/// Writes another size into the header.
pub fn lie(bytes: &mut [u8], [width, height]: [u32; 2]) {
    if bytes.starts_with(b"GIF8") && bytes.len() > 10 {
        bytes[6..8].copy_from_slice(&(width as u16).to_le_bytes());
        bytes[8..10].copy_from_slice(&(height as u16).to_le_bytes());
    } else if bytes.starts_with(b"BM") && bytes.len() > 26 {
        bytes[18..22].copy_from_slice(&width.to_le_bytes());
        bytes[22..26].copy_from_slice(&height.to_le_bytes());
    } else if bytes.starts_with(b"\x89PNG") && bytes.len() > 24 {
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
    } else if let Some(frame) = bytes.windows(2).position(|w| matches!(w, [0xFF, 0xC0..=0xC2]))
        && frame + 9 < bytes.len()
    {
        bytes[frame + 5..frame + 7].copy_from_slice(&(height as u16).to_be_bytes());
        bytes[frame + 7..frame + 9].copy_from_slice(&(width as u16).to_be_bytes());
    }
}

/// A PNG chunk with its sum.
pub fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [kind.as_slice(), data].concat();
    [&(data.len() as u32).to_be_bytes(), body.as_slice(), &crc(&body).to_be_bytes()].concat()
}

/// The places of a PNG's chunks: the bytes of kind and data.
pub fn chunks(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let (mut at, mut found) = (8, Vec::new());
    while bytes.starts_with(b"\x89PNG") && at + 12 <= bytes.len() {
        let length = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        if length > bytes.len() - at - 12 {
            break;
        }
        found.push(at + 4..at + 8 + length);
        at += 12 + length;
    }
    found
}

pub fn mend_sums(bytes: &mut [u8]) {
    for place in chunks(bytes) {
        let sum = crc(&bytes[place.clone()]);
        bytes[place.end..place.end + 4].copy_from_slice(&sum.to_be_bytes());
    }
}

/// The sum of a PNG chunk: CRC-32.
fn crc(bytes: &[u8]) -> u32 {
    let bit = |sum: u32, _| if sum & 1 == 1 { 0xEDB8_8320 ^ (sum >> 1) } else { sum >> 1 };
    !bytes.iter().fold(!0, |sum: u32, &byte| (0..8).fold(sum ^ u32::from(byte), bit))
}
