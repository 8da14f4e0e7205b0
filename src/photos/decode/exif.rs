//! Which way up a photo is: the EXIF orientation, and where the formats keep it.

use image::metadata::Orientation;

/// The tag of the orientation.
const ORIENTATION: u32 = 0x0112;

/// The first directory of a TIFF or an EXIF block, which is one.
pub(super) struct Directory<'a> {
    block: &'a [u8],
    big_endian: bool,
    at: usize,
}

impl<'a> Directory<'a> {
    /// `None` if there is none.
    pub(super) fn of(block: &'a [u8]) -> Option<Directory<'a>> {
        let big_endian = match block.first_chunk::<4>()? {
            b"II*\0" => false,
            b"MM\0*" => true,
            _ => return None,
        };
        let directory = Directory { block, big_endian, at: 0 };
        let at = directory.number(4, 4)? as usize;
        Some(Directory { at, ..directory })
    }

    fn number(&self, at: usize, bytes: usize) -> Option<u32> {
        let bytes = self.block.get(at..at.checked_add(bytes)?)?;
        let join = |number: u32, &byte: &u8| number << 8 | u32::from(byte);
        Some(if self.big_endian { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) })
    }

    /// Where each entry lies: tag, type, number of values, value or its place.
    fn entries(&self) -> impl Iterator<Item = usize> {
        let (first, n) = (self.at.saturating_add(2), self.number(self.at, 2).unwrap_or(0) as usize);
        (0..n).map(move |entry| first.saturating_add(12 * entry))
    }

    /// The orientation, a SHORT or a LONG.
    pub(super) fn orientation(&self) -> Option<Orientation> {
        let at = self.entries().find(|&at| self.number(at, 2) == Some(ORIENTATION))?;
        let bytes = match self.number(at + 2, 2)? {
            3 => 2,
            4 => 4,
            _ => return None,
        };
        Orientation::from_exif(u8::try_from(self.number(at + 8, bytes)?).ok()?)
    }

    /// Whether no entry claims more values than the block has bytes: a decoder makes room for them first.
    pub(super) fn fits(&self) -> bool {
        self.entries().all(|at| self.number(at + 4, 4).is_some_and(|n| n as usize <= self.block.len()))
    }
}

/// The EXIF block of a PNG, which may stand before or behind the pixels, and whether nothing but the end chunk is missing:
/// every chunk is whole. Their sums are for the decoder to check.
pub(super) fn png(bytes: &[u8]) -> (Option<&[u8]>, bool) {
    let (mut exif, mut rest) = (None, bytes.get(8..).unwrap_or_default());
    while let Some((head, behind)) = rest.split_first_chunk::<8>() {
        let [l0, l1, l2, l3, kind @ ..] = head;
        let length = u32::from_be_bytes([*l0, *l1, *l2, *l3]) as usize;
        let Some(body) = behind.get(..length) else { return (exif, false) };
        match kind {
            b"eXIf" => exif = exif.or(Some(body)),
            b"IEND" => return (exif, false),
            _ => {}
        }
        let Some(next) = behind.get(length + 4..) else { return (exif, false) };
        rest = next;
    }
    (exif, rest.is_empty())
}

/// The EXIF block of a WebP.
pub(super) fn webp(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.get(12..)?;
    while let Some((&[k0, k1, k2, k3, length @ ..], behind)) = rest.split_first_chunk::<8>() {
        let length = u32::from_le_bytes(length) as usize;
        if [k0, k1, k2, k3] == *b"EXIF" {
            let block = behind.get(..length)?;
            return Some(block.strip_prefix(b"Exif\0\0").unwrap_or(block));
        }
        rest = behind.get(length.checked_add(length % 2)?..)?;
    }
    None
}
