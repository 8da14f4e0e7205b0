//! Which way up a photo is: the EXIF orientation, and where a PNG keeps it.

use image::metadata::Orientation;

/// The tag of the orientation.
const ORIENTATION: u32 = 0x0112;

/// The orientation of an EXIF block (a TIFF header and its first directory), a SHORT or a LONG; `None` if it has none.
pub(super) fn orientation(block: &[u8]) -> Option<Orientation> {
    let big = match block.first_chunk::<4>()? {
        b"II*\0" => false,
        b"MM\0*" => true,
        _ => return None,
    };
    let number = |at: usize, bytes: usize| -> Option<u32> {
        let bytes = block.get(at..at.checked_add(bytes)?)?;
        let join = |number: u32, &byte: &u8| number << 8 | u32::from(byte);
        Some(if big { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) })
    };
    let directory = number(4, 4)? as usize;
    for entry in 0..number(directory, 2)? as usize {
        let at = directory + 2 + 12 * entry;
        if number(at, 2)? == ORIENTATION {
            let bytes = match number(at + 2, 2)? {
                3 => 2,
                4 => 4,
                _ => return None,
            };
            return Orientation::from_exif(u8::try_from(number(at + 8, bytes)?).ok()?);
        }
    }
    None
}

/// A PNG's chunks.
#[derive(Default)]
pub(super) struct Png<'a> {
    /// The EXIF block, which may stand before or behind the pixels.
    pub(super) exif: Option<&'a [u8]>,
    /// Whether nothing but the end chunk is missing: every chunk is whole.
    pub(super) lacks_end: bool,
}

impl<'a> Png<'a> {
    /// Walks over the chunks; their sums are for the decoder to check.
    pub(super) fn read(bytes: &'a [u8]) -> Png<'a> {
        let mut png = Png::default();
        let mut rest = bytes.get(8..).unwrap_or_default();
        while let Some((head, behind)) = rest.split_first_chunk::<8>() {
            let [l0, l1, l2, l3, kind @ ..] = head;
            let length = u32::from_be_bytes([*l0, *l1, *l2, *l3]) as usize;
            let Some(body) = behind.get(..length) else { return png };
            match kind {
                b"eXIf" if png.exif.is_none() => png.exif = Some(body),
                b"IEND" => return png,
                _ => {}
            }
            let Some(next) = behind.get(length + 4..) else { return png };
            rest = next;
        }
        png.lacks_end = rest.is_empty();
        png
    }
}
