//! PNGs whose pixels are numbers, not colours: of objects, or of classes.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use png::{BitDepth, ColorType, Decoder, Limits, Transformations};

use crate::photos::decode::MAX_PIXELS;

/// LIMIT: pixels that a file of any size may declare, a byte or two each.
const FREE_PIXELS: u64 = 1 << 24;
/// LIMIT: beyond those, pixels for each byte of the file.
const PIXELS_PER_BYTE: u64 = 64;
/// LIMIT: bytes of a file's other chunks.
const MAX_CHUNK: usize = 1 << 20;

/// A number for each pixel.
#[derive(Debug)]
pub(super) struct Grid {
    /// Height and width.
    pub(super) size: [usize; 2],
    /// Bits that a number may have: 1, 2, 4, 8 or 16.
    pub(super) bits: usize,
    /// `height * width` numbers, row by row.
    pub(super) numbers: Vec<u16>,
}

impl Grid {
    /// The numbers in a PNG, indexed or grey; the reason as a sentence fragment if it can't be used. `what` its numbers are of.
    pub(super) fn read(bytes: &[u8], what: &str) -> Result<Grid, String> {
        // A decoder that panics on a broken file must not end the run.
        catch_unwind(AssertUnwindSafe(|| unguarded(bytes, what)))
            .unwrap_or_else(|_| Err("the decoder failed".into()))
    }
}

fn unguarded(bytes: &[u8], what: &str) -> Result<Grid, String> {
    let broken = |e: png::DecodingError| format!("no sound PNG: {e}");
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: MAX_CHUNK });
    decoder.set_transformations(Transformations::IDENTITY);
    decoder.set_ignore_text_chunk(true);
    let mut reader = decoder.read_info().map_err(broken)?;
    let (color, depth) = reader.output_color_type();
    let [width, height] = [reader.info().width, reader.info().height].map(|side| side as usize);
    if !matches!(color, ColorType::Grayscale | ColorType::Indexed) {
        return Err(format!("its pixels are colours, not numbers of {what}: save it grey or indexed"));
    }
    let pixels = width as u64 * height as u64;
    if pixels > MAX_PIXELS.min(FREE_PIXELS.max(bytes.len() as u64 * PIXELS_PER_BYTE)) {
        return Err(format!("{width} x {height} pixels in {} bytes: no mask is that small", bytes.len()));
    }
    let mut data = vec![0; reader.output_buffer_size().ok_or("its size is more than memory")?];
    let line = reader.next_frame(&mut data).map_err(broken)?.line_size;
    let bits = match depth {
        BitDepth::One => 1,
        BitDepth::Two => 2,
        BitDepth::Four => 4,
        BitDepth::Eight => 8,
        BitDepth::Sixteen => 16,
    };
    let mut numbers = Vec::with_capacity(width * height);
    for row in data.chunks(line).take(height) {
        match bits {
            8 => numbers.extend(row[..width].iter().map(|&byte| u16::from(byte))),
            16 => numbers.extend(row.as_chunks::<2>().0.iter().map(|&pair| u16::from_be_bytes(pair))),
            // The leftmost pixel in the highest bits.
            _ => numbers.extend((0..width).map(|x| {
                let shift = 8 - bits - x * bits % 8;
                u16::from(row[x * bits / 8] >> shift) & ((1 << bits) - 1)
            })),
        }
    }
    Ok(Grid { size: [height, width], bits, numbers })
}
