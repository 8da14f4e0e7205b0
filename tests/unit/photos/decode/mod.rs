use super::*;

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
    let photo = decode(include_bytes!("../../../fixtures/cmyk.jpg")).unwrap();
    assert_eq!((photo.width, photo.height), (16, 8));
    let near = |pixel: &[u8], wanted: [u8; 3]| pixel.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) < 8);
    assert!(near(&photo.data[..3], [255, 0, 0]), "{:?}", &photo.data[..3]);
    assert!(near(&photo.data[45..48], [0, 255, 0]), "{:?}", &photo.data[45..48]);
}

#[test]
fn truncated_or_foreign_files_are_named_as_such() {
    let whole = jpeg(64, 64);
    assert!(decode(&whole).is_ok());
    for cut in [3, 20, whole.len() / 2, whole.len() - 3] {
        assert_eq!(decode(&whole[..cut]).unwrap_err(), "truncated JPEG");
    }
    let image = png(DynamicImage::ImageLuma8(image::GrayImage::new(64, 64)));
    assert!(decode(&image[..image.len() / 2]).is_err());
    assert_eq!(decode(b"only text").unwrap_err(), "a text, not a photo");
    assert_eq!(decode(b"").unwrap_err(), "an empty file: copy or download it again");
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
