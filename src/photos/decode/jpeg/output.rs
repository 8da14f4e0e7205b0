//! From planes of samples to rows of RGB: libjpeg-turbo's upsampling ("fancy") and its colours.

use super::frame::{Component, Frame};

/// Rows of a component in full width.
struct Rows<'a> {
    part: &'a Component,
    /// Columns and rows of the picture to one of the component.
    times: [usize; 2],
    /// Whether a triangle filter goes over the columns, and over the rows, that are halved; else samples are repeated.
    smooth: [bool; 2],
    sums: Vec<u16>,
    row: Vec<u8>,
}

impl<'a> Rows<'a> {
    fn new(part: &'a Component, frame: &Frame) -> Rows<'a> {
        let times = [0, 1].map(|axis| frame.most[axis] * frame.side / (part.factors[axis] * part.side));
        let columns = part.size[0];
        let smooth = match times {
            _ if frame.side == 1 => [false; 2], // libjpeg has no neighbouring rows then
            [2, 1 | 2] if columns > 2 => [true, times[1] == 2],
            _ => [false, times == [1, 2]],
        };
        Rows { part, times, smooth, sums: vec![0; columns], row: vec![0; columns * times[0]] }
    }

    /// Row `y` of the picture.
    #[inline(always)]
    fn row(&mut self, y: usize) -> &[u8] {
        let near = self.part.row(y / self.times[1]);
        let [smooth_columns, smooth_rows] = self.smooth;
        if !smooth_columns && !smooth_rows {
            if self.times[0] == 1 {
                return near;
            }
            for (spread, &sample) in self.row.chunks_exact_mut(self.times[0]).zip(near) {
                spread.fill(sample);
            }
            return &self.row;
        }
        let lower = y % 2;
        if smooth_rows {
            let last = self.part.size[1] - 1;
            let far = if lower == 0 { (y / 2).saturating_sub(1) } else { (y / 2 + 1).min(last) };
            for ((sum, &near), &far) in self.sums.iter_mut().zip(near).zip(self.part.row(far)) {
                *sum = 3 * u16::from(near) + u16::from(far);
            }
        } else {
            for (sum, &near) in self.sums.iter_mut().zip(near) {
                *sum = near.into();
            }
        }
        match self.smooth {
            [true, true] => widened(&mut self.row, &self.sums, 4, [8, 7]),
            [true, false] => widened(&mut self.row, &self.sums, 2, [1, 2]),
            _ => {
                for (sample, &sum) in self.row.iter_mut().zip(&self.sums) {
                    *sample = ((sum + 1 + lower as u16) >> 2) as u8;
                }
            }
        }
        &self.row
    }
}

/// Twice as many samples: three parts of the nearer and one of the farther, divided by `2^shift`, rounded by turns.
#[inline(always)]
fn widened(out: &mut [u8], x: &[u16], shift: u32, round: [u16; 2]) {
    let n = x.len();
    let mix = |near: u16, far: u16, round: u16| ((3 * near + far + round) >> shift) as u8;
    out[0] = mix(x[0], x[0], round[0]);
    let middle = out[1..2 * n - 1].chunks_exact_mut(2);
    for ((pair, &left), &right) in middle.zip(&x[..n - 1]).zip(&x[1..]) {
        pair[0] = mix(left, right, round[1]);
        pair[1] = mix(right, left, round[0]);
    }
    out[2 * n - 1] = mix(x[n - 1], x[n - 1], round[1]);
}

/// The picture, `[height, width, 3]`; `luma`: of luma and chroma, not of red, green and blue. A fourth component is black
/// ink; without luma, the others are inks too then.
#[inline(always)]
pub(super) fn rgb(frame: &Frame, luma: bool) -> Vec<u8> {
    let [width, height] = frame.size;
    let mut parts: Vec<Rows> = frame.components.iter().map(|part| Rows::new(part, frame)).collect();
    let mut out = vec![0; width * height * 3];
    for (y, line) in out.chunks_exact_mut(width * 3).enumerate() {
        let rows: Vec<&[u8]> = parts.iter_mut().map(|part| &part.row(y)[..width]).collect();
        match rows[..] {
            [a, b, c, ..] if luma => from_luma(line, [a, b, c]),
            [a, b, c, ref black @ ..] => {
                let flip = if black.is_empty() { 0 } else { 255 };
                for (i, pixel) in line.chunks_exact_mut(3).enumerate() {
                    pixel.copy_from_slice(&[a[i] ^ flip, b[i] ^ flip, c[i] ^ flip]);
                }
            }
            [grey, ..] => {
                for (pixel, &level) in line.chunks_exact_mut(3).zip(grey) {
                    pixel.fill(level);
                }
            }
            [] => {}
        }
        if let [_, _, _, black] = rows[..] {
            for (pixel, &black) in line.chunks_exact_mut(3).zip(black) {
                for ink in pixel {
                    let product = u32::from(*ink) * u32::from(black) + 128;
                    *ink = black - (((product >> 8) + product) >> 8) as u8;
                }
            }
        }
    }
    out
}

/// `r = y + 1.402 cr`, `g = y - 0.34414 cb - 0.71414 cr`, `b = y + 1.772 cb`, in 16 bits behind the point.
#[inline(always)]
fn from_luma(line: &mut [u8], [luma, cb, cr]: [&[u8]; 3]) {
    const HALF: i32 = 1 << 15;
    for (((pixel, &luma), &cb), &cr) in line.chunks_exact_mut(3).zip(luma).zip(cb).zip(cr) {
        let (y, cb, cr) = (i32::from(luma), i32::from(cb) - 128, i32::from(cr) - 128);
        pixel[0] = (y + ((91881 * cr + HALF) >> 16)).clamp(0, 255) as u8;
        pixel[1] = (y + ((-22554 * cb - 46802 * cr + HALF) >> 16)).clamp(0, 255) as u8;
        pixel[2] = (y + ((116130 * cb + HALF) >> 16)).clamp(0, 255) as u8;
    }
}
