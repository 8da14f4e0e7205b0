//! What a file says of itself before anything is decoded: its kind by its first bytes, and a size that is believed only if the
//! file is long enough for it.

use image::ImageFormat;

/// The most pixels a photo may declare; a larger one counts as undecodable (a few bytes can declare gigabytes).
pub const MAX_PIXELS: u64 = 1 << 27;
/// LIMIT: pixels that a file of any size may declare: decoders need up to 15 bytes for each, so less than 64 MiB.
const FREE_PIXELS: u64 = 1 << 22;
/// LIMIT: beyond those, pixels for each byte of the file. A photo has less than 20, one of poor quality 40; a single
/// colour has 1,000 as PNG, and a lie any number.
const PIXELS_PER_BYTE: u64 = 64;

/// By how much a JPEG of a width and a height (in either order) is decoded smaller: 1, 2, 4 or 8.
pub(in crate::photos) type Scale<'a> = &'a dyn Fn([usize; 2]) -> usize;

/// The format of a photo by its first bytes; else what the file is, as a sentence fragment.
pub(super) fn format(bytes: &[u8]) -> Result<ImageFormat, String> {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
    match image::guess_format(bytes) {
        Ok(Tiff) if bytes.get(8..10) == Some(b"CR") => Err(what(bytes)), // a camera's raw picture
        Ok(format @ (Jpeg | Png | Gif | Bmp | Tiff | WebP)) => Ok(format),
        _ => Err(what(bytes)),
    }
}

/// What a file is that is no photo of a format that is read.
fn what(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(512)];
    let text = String::from_utf8_lossy(start).to_ascii_lowercase();
    let text = text.trim_start_matches(|c: char| c == '\u{feff}' || c.is_whitespace());
    let begins = |starts: &[&[u8]]| starts.iter().any(|s| start.starts_with(s));
    let is_movie = start.starts_with(&[0; 3]) && start.get(4..8) == Some(b"ftyp");
    let brand = start.get(8..12).filter(|_| is_movie);
    let picture = match brand {
        Some(b"avif" | b"avis") => "an AVIF picture",
        Some(b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1") => {
            "a HEIC picture"
        }
        Some(b"crx ") => "a raw picture of a camera",
        Some(_) => return "a video, not a photo".into(),
        None if begins(&[b"\0\0\0\x0cJXL ", b"\xFF\x0A"]) => "a JPEG XL picture",
        None if begins(&[b"\0\0\0\x0cjP  ", b"\xFF\x4F\xFF\x51"]) => "a JPEG 2000 picture",
        None if begins(&[b"II*\0", b"FUJIFILM"]) => "a raw picture of a camera",
        None if begins(&[b"II+\0", b"MM\0+"]) => "a BigTIFF picture",
        None if begins(&[b"8BPS"]) => "a Photoshop file",
        None if text.contains("<svg") => "an SVG drawing",
        None if begins(&[b"%PDF"]) => "a PDF document",
        None => "",
    };
    if !picture.is_empty() {
        return format!("{picture}: save it as JPEG or PNG");
    }
    match () {
        () if bytes.is_empty() => "an empty file: copy or download it again",
        () if bytes.iter().all(|&b| b == 0) => "a file of zeros: copy or download it again",
        () if text.starts_with("version https://git-lfs") => {
            "a Git LFS pointer, not the photo itself: fetch it (git lfs pull)"
        }
        () if ["<!doctype html", "<html", "<head", "<body", "<script"]
            .iter()
            .any(|tag| text.starts_with(tag)) =>
        {
            "an HTML page, not a photo: download it again"
        }
        () if begins(&[b"PK\x03\x04", b"\x1f\x8b", b"7z\xBC\xAF", b"Rar!"]) => {
            "an archive, not a photo: unpack it"
        }
        () if start.iter().all(|&b| b.is_ascii_graphic() || b.is_ascii_whitespace()) => "a text, not a photo",
        () => "no photo of a known format (JPEG, PNG, WebP, GIF, BMP, TIFF)",
    }
    .into()
}

/// Refuses a width and a height that a file of `length` bytes can't be trusted with.
pub(super) fn believable([width, height]: [u64; 2], length: u64) -> Result<(), String> {
    let pixels = width * height;
    if pixels == 0 {
        Err("no pixels".into())
    } else if pixels > MAX_PIXELS {
        Err(format!("{width} x {height} pixels are more than {MAX_PIXELS}"))
    } else if pixels > FREE_PIXELS.max(length.saturating_mul(PIXELS_PER_BYTE)) {
        Err(format!("{width} x {height} pixels in {length} bytes: no photo is that small"))
    } else {
        Ok(())
    }
}
