//! What a JPEG or PNG says of itself, read without a decoder and without memory: nothing is allocated for a photo
//! before this is found believable.

use std::io::{BufRead, ErrorKind, Read, Result as IoResult, Seek, SeekFrom};

use image::ImageFormat;

/// The most pixels a photo may declare; a larger one counts as undecodable (a few bytes can declare gigabytes).
pub const MAX_PIXELS: u64 = 1 << 27;
/// LIMIT: pixels that a file of any size may declare: decoders need up to 12 bytes for each, so less than 64 MiB.
const FREE_PIXELS: u64 = 1 << 22;
/// LIMIT: beyond those, pixels for each byte of the file. A photo has less than 20, one of poor quality 40; a single
/// colour has 1,000 as PNG, and a lie any number.
const PIXELS_PER_BYTE: u64 = 64;
/// LIMIT: passes of a progressive JPEG. Encoders make 3 to 20; each may take a few bytes and go over all pixels.
const MAX_SCANS: u64 = 100;

/// The format of a photo, once its header is believed.
///
/// A JPEG is walked marker by marker to its end, so that one which stops short is found here.
///
/// # Errors
/// The reason as a sentence fragment: another format, truncated, no pixels, or more pixels or scans than a file of
/// `length` bytes can be trusted with.
pub(super) fn believed(input: &mut (impl BufRead + Seek), length: u64) -> Result<ImageFormat, String> {
    let mut start = [0; 24]; // of a PNG: signature 8, length 4, "IHDR", width, height
    let read = fill(input, &mut start).map_err(|e| e.to_string())?;
    let (format, [width, height]) = if start.starts_with(&[0xFF, 0xD8, 0xFF]) {
        input.seek(SeekFrom::Start(2)).map_err(|e| e.to_string())?;
        (ImageFormat::Jpeg, jpeg_size(input)?)
    } else if start.starts_with(b"\x89PNG\r\n\x1a\n") {
        let number = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|i| start[at + i]));
        if read < start.len() || &start[12..16] != b"IHDR" {
            return Err("truncated PNG".into());
        }
        (ImageFormat::Png, [number(16), number(20)])
    } else {
        return Err("neither a JPEG nor a PNG".into());
    };
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        Err("no pixels".into())
    } else if pixels > MAX_PIXELS {
        Err(format!("{width} x {height} pixels are more than {MAX_PIXELS}"))
    } else if pixels > FREE_PIXELS.max(length.saturating_mul(PIXELS_PER_BYTE)) {
        Err(format!("{width} x {height} pixels in {length} bytes: no photo is that small"))
    } else {
        Ok(format)
    }
}

/// Reads until `bytes` are full or the input ends.
fn fill(input: &mut impl Read, bytes: &mut [u8]) -> IoResult<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match input.read(&mut bytes[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// Width and height of a JPEG, whose markers must go on to its end marker; of several frames the largest counts.
fn jpeg_size(input: &mut (impl BufRead + Seek)) -> Result<[u32; 2], String> {
    let mut walk = Walk { input, size: [0; 2], scans: 0 };
    loop {
        match walk.segment() {
            Ok(true) if walk.scans > MAX_SCANS => return Err(format!("more than {MAX_SCANS} scans")),
            Ok(true) => {}
            Ok(false) => return Ok(walk.size),
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Err("truncated JPEG".into()),
            Err(e) => return Err(e.to_string()),
        }
    }
}

/// A walk over a JPEG's markers.
struct Walk<'a, R> {
    input: &'a mut R,
    size: [u32; 2],
    scans: u64,
}

impl<R: BufRead + Seek> Walk<'_, R> {
    fn byte(&mut self) -> IoResult<u8> {
        let mut byte = [0];
        self.input.read_exact(&mut byte).map(|()| byte[0])
    }

    fn number(&mut self) -> IoResult<u16> {
        Ok(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    /// Goes behind the next marker and its segment; whether it was not the end marker.
    ///
    /// Segments are skipped by their length, so that a thumbnail inside one is not taken for the photo's own data; in
    /// entropy-coded data `FF 00` is a stuffed byte and `FF D0` to `FF D7` are restarts.
    fn segment(&mut self) -> IoResult<bool> {
        self.input.skip_until(0xFF)?;
        let mut marker = self.byte()?;
        while marker == 0xFF {
            marker = self.byte()?;
        }
        match marker {
            0xD9 => return Ok(false),
            0x00 | 0x01 | 0xD0..=0xD8 => return Ok(true),
            _ => {}
        }
        let mut left = i64::from(self.number()?) - 2;
        match marker {
            0xDA => self.scans += 1,
            0xC4 | 0xC8 | 0xCC => {} // tables, no frames
            0xC0..=0xCF => {
                let (_precision, height, width) = (self.byte()?, self.number()?, self.number()?);
                left -= 5;
                let pixels = |[w, h]: [u32; 2]| u64::from(w) * u64::from(h);
                let frame = [u32::from(width), u32::from(height)];
                if pixels(frame) >= pixels(self.size) {
                    self.size = frame;
                }
            }
            _ => {}
        }
        self.input.seek_relative(left.max(0)).map(|()| true)
    }
}
