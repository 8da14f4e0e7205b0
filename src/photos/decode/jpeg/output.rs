//! From planes of samples to rows of RGB: libjpeg-turbo's upsampling ("fancy") and its colours.

use super::frame::{Colours, Component, Frame};

/// How a component of fewer samples is spread.
#[derive(Clone, Copy)]
enum Spread {
    /// A triangle filter over half the columns, half the rows, or both.
    Triangle { columns: bool, rows: bool },
    /// Each sample so many times in a row.
    Repeated(usize),
}

impl Spread {
    fn of(part: &Component, most: [usize; 2]) -> Spread {
        let [h, v] = [0, 1].map(|axis| most[axis] / part.factors[axis]);
        match (h, v) {
            (1, 1) => Spread::Repeated(1),
            (2, 1 | 2) if part.size[0] > 2 => Spread::Triangle { columns: true, rows: v == 2 },
            (1, 2) => Spread::Triangle { columns: false, rows: true },
            _ => Spread::Repeated(h),
        }
    }
}

/// Rows of a component in full width.
struct Rows<'a> {
    part: &'a Component,
    spread: Spread,
    /// Rows of the picture to one of the component.
    repeat: usize,
    sums: Vec<u16>,
    row: Vec<u8>,
}

impl<'a> Rows<'a> {
    fn new(part: &'a Component, most: [usize; 2]) -> Rows<'a> {
        let columns = part.size[0];
        let row = vec![0; columns * (most[0] / part.factors[0])];
        Rows {
            part,
            spread: Spread::of(part, most),
            repeat: most[1] / part.factors[1],
            sums: vec![0; columns],
            row,
        }
    }

    /// Row `y` of the picture.
    #[inline(always)]
    fn row(&mut self, y: usize) -> &[u8] {
        let columns = self.part.size[0];
        let near = self.part.row(y / self.repeat);
        let (columns_too, rows_too) = match self.spread {
            Spread::Repeated(1) => return near,
            Spread::Repeated(times) => {
                for (spread, &sample) in self.row.chunks_exact_mut(times).zip(near) {
                    spread.fill(sample);
                }
                return &self.row;
            }
            Spread::Triangle { columns, rows } => (columns, rows),
        };
        let lower = y % 2;
        if rows_too {
            let last = self.part.size[1] - 1;
            let far = if lower == 0 { (y / 2).saturating_sub(1) } else { (y / 2 + 1).min(last) };
            for ((sum, &near), &far) in self.sums.iter_mut().zip(near).zip(self.part.row(far)) {
                *sum = 3 * u16::from(near) + u16::from(far);
            }
        }
        if !columns_too {
            for (sample, &sum) in self.row.iter_mut().zip(&self.sums) {
                *sample = ((sum + 1 + lower as u16) >> 2) as u8;
            }
        } else if rows_too {
            widened(&mut self.row, &self.sums[..columns], 4, [8, 7]);
        } else {
            for (sum, &near) in self.sums.iter_mut().zip(near) {
                *sum = near.into();
            }
            widened(&mut self.row, &self.sums[..columns], 2, [1, 2]);
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

/// The picture, `[height, width, 3]`.
#[inline(always)]
pub(super) fn rgb(frame: &Frame, colours: Colours) -> Vec<u8> {
    let [width, height] = frame.size;
    let mut parts: Vec<Rows> = frame.components.iter().map(|part| Rows::new(part, frame.most)).collect();
    let mut out = vec![0; width * height * 3];
    for (y, line) in out.chunks_exact_mut(width * 3).enumerate() {
        match (&mut parts[..], colours) {
            ([grey], _) => {
                for (pixel, &level) in line.chunks_exact_mut(3).zip(grey.row(y)) {
                    pixel.fill(level);
                }
            }
            ([r, g, b], Colours::Rgb) => {
                let rows = [&r.row(y)[..width], &g.row(y)[..width], &b.row(y)[..width]];
                for (i, pixel) in line.chunks_exact_mut(3).enumerate() {
                    pixel.copy_from_slice(&[rows[0][i], rows[1][i], rows[2][i]]);
                }
            }
            ([luma, cb, cr], _) => {
                let rows = [&luma.row(y)[..width], &cb.row(y)[..width], &cr.row(y)[..width]];
                from_luma(line, rows);
            }
            ([a, b, c, black], _) => {
                let rows = [&a.row(y)[..width], &b.row(y)[..width], &c.row(y)[..width]];
                if colours == Colours::Luma {
                    from_luma(line, rows);
                }
                for (i, pixel) in line.chunks_exact_mut(3).enumerate() {
                    if colours != Colours::Luma {
                        pixel.copy_from_slice(&[255 - rows[0][i], 255 - rows[1][i], 255 - rows[2][i]]);
                    }
                }
                for (pixel, &black) in line.chunks_exact_mut(3).zip(black.row(y)) {
                    for ink in pixel {
                        let product = u32::from(*ink) * u32::from(black) + 128;
                        *ink = black - (((product >> 8) + product) >> 8) as u8;
                    }
                }
            }
            _ => {}
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
