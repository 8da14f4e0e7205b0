//! JPEG: baseline, extended and progressive, 8 bits a sample, Huffman-coded; the pixels are libjpeg-turbo's, bit for bit.
//!
//! Written here because no pure decoder gives libjpeg's pixels: others round the transform differently, and fail, some
//! silently, where chroma is finer than luma or each component has a scan of its own.

mod bits;
mod frame;
mod idct;
mod output;
mod reduced;
mod scan;

use bits::{DAMAGED, Huffman, TRUNCATED, ZIGZAG};
use frame::{Component, Frame};
use scan::Scan;

use image::RgbImage;

use crate::engine::device::vector::vectorised;
use crate::photos::decode::header::{Scale, believable};

/// LIMIT: passes over a picture. Encoders make 3 to 20; each may take a few bytes and go over all pixels.
const MAX_SCANS: usize = 100;

/// What a JPEG holds.
pub(super) struct Picture<'a> {
    /// Its pixels, as they are stored or fewer.
    pub(super) image: RgbImage,
    /// Width and height as it is stored.
    pub(super) stored: [usize; 2],
    /// What its first EXIF segment before the pixels holds.
    pub(super) exif: Option<&'a [u8]>,
    /// Whether the end marker is there; all pixels are.
    pub(super) ended: bool,
}

/// Reads a JPEG at a part of its size that `scale` tells by its width and height: 1, or 2, 4 or 8 for a half, a quarter, an
/// eighth, rounded up. The pixels are then libjpeg-turbo's for that scale.
///
/// # Errors
/// The reason as a sentence fragment: a kind that is not read, truncated, damaged, or more pixels or scans than a file of
/// this length can be trusted with.
pub(super) fn read<'a>(bytes: &'a [u8], scale: Scale) -> Result<Picture<'a>, String> {
    let mut reader = Reader { bytes, at: 2, ..Reader::default() };
    while reader.segment(scale)? {}
    let Some(mut frame) = reader.frame else { return Err(TRUNCATED.into()) };
    if frame.components.iter().any(|part| part.shifts.iter().any(|&shift| shift != 0)) {
        let why = if reader.ended { "a damaged JPEG: scans are missing" } else { TRUNCATED };
        return Err(why.into());
    }
    let luma = has_luma(&frame, reader.jfif, reader.adobe)?;
    let data = vectorised(
        #[inline(always)]
        || {
            transform(&mut frame);
            output::rgb(&frame, luma)
        },
    );
    let [width, height] = frame.size.map(|side| side as u32);
    let image = RgbImage::from_raw(width, height, data).expect("three bytes a pixel");
    Ok(Picture { image, stored: frame.stored, exif: reader.exif, ended: reader.ended })
}

/// The planes of a progressive picture from its coefficients.
#[inline(always)]
fn transform(frame: &mut Frame) {
    for part in &mut frame.components {
        for (i, block) in std::mem::take(&mut part.coefficients).iter().enumerate() {
            let flat = block[1..].iter().all(|&c| c == 0);
            part.inverse(block, flat, i % part.blocks[0], i / part.blocks[0]);
        }
    }
}

/// Whether the components are luma and chroma (a fourth is black ink), by libjpeg's rules.
fn has_luma(frame: &Frame, jfif: bool, adobe: Option<u8>) -> Result<bool, String> {
    let ids: Vec<u8> = frame.components.iter().map(|part| part.id).collect();
    match (ids.len(), adobe) {
        (3, Some(0)) => Ok(jfif),
        (3, None) => Ok(jfif || ids != *b"RGB"),
        (4, None | Some(0)) => Ok(false),
        (1 | 3 | 4, _) => Ok(true),
        (n, _) => Err(format!("a JPEG of {n} components, neither grey nor RGB nor CMYK")),
    }
}

/// A walk over a JPEG's markers.
#[derive(Default)]
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    quants: [Option<[u16; 64]>; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    restart: usize,
    frame: Option<Frame>,
    scans: usize,
    jfif: bool,
    adobe: Option<u8>,
    exif: Option<&'a [u8]>,
    ended: bool,
}

impl<'a> Reader<'a> {
    /// Goes behind the next marker and its segment; whether the picture goes on.
    fn segment(&mut self, scale: Scale) -> Result<bool, String> {
        let scanned = self.at;
        let Some(marker) = self.marker() else {
            // Nothing but the end marker may be missing, or be a line break now: a file filled up with zeros is cut off.
            let ends_here = self.bytes.len().saturating_sub(scanned) <= 2;
            return if self.scans > 0 && ends_here { Ok(false) } else { Err(TRUNCATED.into()) };
        };
        match marker {
            0xD9 => {
                self.ended = true;
                return Ok(false);
            }
            0x00 | 0x01 | 0xD0..=0xD8 => return Ok(true),
            _ => {}
        }
        let rest = &self.bytes[self.at..];
        let length = rest.first_chunk().map(|&two| usize::from(u16::from_be_bytes(two)));
        let body = length.and_then(|length| rest.get(2..length)).ok_or(TRUNCATED)?;
        self.at += 2 + body.len();
        match marker {
            0xC4 => self.huffman(body)?,
            0xC0..=0xC2 => self.frame(marker, body, scale)?,
            0xC3 => return Err(unread("lossless")),
            0xC5..=0xC7 => return Err(unread("hierarchical")),
            0xC9..=0xCB | 0xCD..=0xCF => return Err(unread("arithmetic-coded")),
            0xF7 => return Err("a JPEG-LS picture: save it as an ordinary JPEG or PNG".into()),
            0xDA => self.scan(body)?,
            0xDB => self.quants(body)?,
            0xDD => self.restart = usize::from(u16::from_be_bytes(*body.first_chunk().ok_or(DAMAGED)?)),
            0xE0 => self.jfif |= body.starts_with(b"JFIF\0"),
            0xE1 if self.exif.is_none() && self.scans == 0 => self.exif = body.strip_prefix(b"Exif\0\0"),
            0xEE if body.starts_with(b"Adobe") => self.adobe = body.get(11).copied().or(self.adobe),
            _ => {}
        }
        Ok(true)
    }

    /// Goes behind the next marker; in coded data `FF 00` is a byte.
    fn marker(&mut self) -> Option<u8> {
        loop {
            self.at += self.bytes.get(self.at..)?.iter().position(|&b| b == 0xFF)?;
            self.at += self.bytes[self.at..].iter().position(|&b| b != 0xFF)?;
            self.at += 1;
            match self.bytes[self.at - 1] {
                0 => {}
                marker => return Some(marker),
            }
        }
    }

    fn quants(&mut self, mut body: &[u8]) -> Result<(), String> {
        while let Some((&first, rest)) = body.split_first() {
            let size = if first >> 4 == 0 { 1 } else { 2 };
            let (values, rest) = rest.split_at_checked(64 * size).ok_or(DAMAGED)?;
            let mut table = [0; 64];
            for (value, &place) in values.chunks_exact(size).zip(&ZIGZAG) {
                table[usize::from(place)] = value.iter().fold(0, |v, &b| v << 8 | u16::from(b));
            }
            *self.quants.get_mut(usize::from(first & 15)).ok_or(DAMAGED)? = Some(table);
            body = rest;
        }
        Ok(())
    }

    fn huffman(&mut self, mut body: &[u8]) -> Result<(), String> {
        while let Some((&first, rest)) = body.split_first() {
            let (counts, rest) = rest.split_first_chunk().ok_or(DAMAGED)?;
            let n = counts.iter().map(|&n| usize::from(n)).sum();
            let (symbols, rest) = rest.split_at_checked(n).ok_or(DAMAGED)?;
            let with_runs = first >> 4 != 0;
            let tables = if with_runs { &mut self.ac } else { &mut self.dc };
            let table = Huffman::new(counts, symbols, with_runs).ok_or(DAMAGED)?;
            *tables.get_mut(usize::from(first & 15)).ok_or(DAMAGED)? = Some(table);
            body = rest;
        }
        Ok(())
    }

    fn frame(&mut self, marker: u8, body: &[u8], scale: Scale) -> Result<(), String> {
        let &[precision, h1, h0, w1, w0, n, ref parts @ ..] = body else { return Err(DAMAGED.into()) };
        let stored = [[w1, w0], [h1, h0]].map(|two| usize::from(u16::from_be_bytes(two)));
        if precision != 8 {
            return Err(unread(&format!("{precision}-bit")));
        }
        believable(stored.map(|side| side as u64), self.bytes.len() as u64)?;
        let (parts, rest) = parts.as_chunks::<3>();
        let factors: Vec<[usize; 2]> =
            parts.iter().map(|&[_, both, _]| [both >> 4, both & 15].map(usize::from)).collect();
        let twice = (0..parts.len()).any(|i| parts[..i].iter().any(|other| other[0] == parts[i][0]));
        let odd = twice || factors.as_flattened().iter().any(|factor| !(1..=4).contains(factor));
        let many = parts.len() != usize::from(n) || !rest.is_empty() || !(1..=4).contains(&n);
        if self.frame.is_some() || many || odd {
            return Err(DAMAGED.into());
        }
        let most = [0, 1].map(|axis| factors.iter().map(|own| own[axis]).max().unwrap_or(1));
        if factors.iter().any(|own| (0..2).any(|axis| most[axis] % own[axis] != 0)) {
            let what = "a JPEG with sampling factors in a broken ratio";
            return Err(format!("{what}: save it as an ordinary JPEG or PNG"));
        }
        let mcus = [0, 1].map(|axis| stored[axis].div_ceil(8 * most[axis]));
        let side = 8 / scale(stored);
        let size = stored.map(|stored| (stored * side).div_ceil(8));
        let progressive = marker == 0xC2;
        let component = |(&[id, _, quant_table], &factors): (&[u8; 3], &[usize; 2])| {
            let blocks = [0, 1].map(|axis| mcus[axis] * factors[axis]);
            let count = blocks[0] * blocks[1];
            let side = side_of(factors, most, side);
            Component {
                id,
                factors,
                side,
                size: [0, 1].map(|axis| (stored[axis] * factors[axis] * side).div_ceil(8 * most[axis])),
                blocks,
                quant_table: quant_table.into(),
                quant: [0; 64],
                plane: vec![0; side * side * count],
                coefficients: vec![[0; 64]; if progressive { count } else { 0 }],
                shifts: [255; 64],
            }
        };
        let components = parts.iter().zip(&factors).map(component).collect();
        self.frame = Some(Frame { progressive, stored, size, side, most, mcus, components });
        Ok(())
    }

    fn scan(&mut self, body: &[u8]) -> Result<(), String> {
        self.scans += 1;
        if self.scans > MAX_SCANS {
            return Err(format!("more than {MAX_SCANS} scans"));
        }
        let frame = self.frame.as_mut().ok_or(DAMAGED)?;
        let (&n, rest) = body.split_first().ok_or(DAMAGED)?;
        let (parts, rest) = rest.split_at_checked(2 * usize::from(n)).ok_or(DAMAGED)?;
        let &[from, to, shifts] = rest.first_chunk().ok_or(DAMAGED)?;
        let (band, high, low) = match frame.progressive {
            true => ([from, to].map(usize::from), shifts >> 4, shifts & 15),
            false => ([0, 63], 0, 0),
        };
        let band_is_sound = match band {
            [0, to] => to == 0 || !frame.progressive,
            [from, to] => from <= to && to < 64 && n == 1,
        };
        if !band_is_sound || low > 13 || !(1..=4).contains(&n) {
            return Err(DAMAGED.into());
        }
        let (mut components, mut dc, mut ac) = (Vec::new(), Vec::new(), Vec::new());
        for part in parts.chunks_exact(2) {
            let place = frame.components.iter().position(|c| c.id == part[0]).ok_or(DAMAGED)?;
            if components.contains(&place) {
                return Err(DAMAGED.into());
            }
            components.push(place);
            dc.push(self.dc.get(usize::from(part[1] >> 4)).and_then(Option::as_ref));
            ac.push(self.ac.get(usize::from(part[1] & 15)).and_then(Option::as_ref));
            let component = &mut frame.components[place];
            if component.shifts[0] == 255 {
                component.quant = self.quants.get(component.quant_table).copied().flatten().ok_or(DAMAGED)?;
            }
            // A band is sent once, then a bit at a time.
            for shift in &mut component.shifts[band[0]..=band[1]] {
                let follows = if high == 0 {
                    *shift == 255 || !frame.progressive
                } else {
                    *shift == high && low + 1 == high
                };
                if !follows {
                    return Err(DAMAGED.into());
                }
                *shift = low;
            }
        }
        let restart = self.restart;
        let scan = Scan { components, dc, ac, band, high: high.into(), low: low.into(), restart };
        let (bytes, at) = (self.bytes, self.at);
        self.at = vectorised(
            #[inline(always)]
            || scan.decode(frame, bytes, at),
        )?;
        Ok(())
    }
}

/// Samples in each direction of a block of a component, where the finest has `side`: twice as many where its samples are too few
/// in both directions by that, so that they need not be repeated.
///
/// # Source
/// libjpeg-turbo, `jpeg_calc_output_dimensions`.
fn side_of(factors: [usize; 2], most: [usize; 2], side: usize) -> usize {
    let fits = |own: &usize| (0..2).all(|axis| (most[axis] * side).is_multiple_of(factors[axis] * own));
    [8, 4, 2].into_iter().filter(|&own| own > side).find(fits).unwrap_or(side)
}

fn unread(kind: &str) -> String {
    let article = if kind.starts_with('a') { "an" } else { "a" };
    format!("{article} {kind} JPEG: save it as an ordinary JPEG or PNG")
}
