//! One scan of a JPEG: its blocks in their order, decoded.

use super::bits::{Bits, DAMAGED, Huffman, TRUNCATED, ZIGZAG};
use super::frame::Frame;

/// A scan's header: components with their tables, the band of coefficients, and by how many bits they are shifted.
pub(super) struct Scan<'a> {
    /// Indices into the frame's components.
    pub(super) components: Vec<usize>,
    /// Tables of each component, where this scan needs them.
    pub(super) dc: Vec<Option<&'a Huffman>>,
    pub(super) ac: Vec<Option<&'a Huffman>>,
    /// First and last coefficient.
    pub(super) band: [usize; 2],
    /// Shift of the scan before this one for the same band (0: there was none), and of this one.
    pub(super) high: u32,
    pub(super) low: u32,
    /// MCUs between restart markers; 0 for none.
    pub(super) restart: usize,
}

/// What a restart forgets.
#[derive(Default)]
struct State {
    dc: [i32; 4],
    /// Blocks that are left in a run of blocks without further coefficients.
    ended: u32,
}

type Block = [i16; 64];
type Outcome<T = ()> = Result<T, &'static str>;

impl Scan<'_> {
    /// Decodes the scan from `at` on into the frame's planes, or its coefficients where it is progressive; where the data
    /// end.
    #[inline(always)]
    pub(super) fn decode(&self, frame: &mut Frame, data: &[u8], at: usize) -> Outcome<usize> {
        let mut bits = Bits::new(data, at);
        let parts = &mut frame.components;
        let grid = match self.components[..] {
            [one] => Grid {
                mcus: parts[one].size.map(|size| size.div_ceil(parts[one].side)),
                factors: vec![[1, 1]],
            },
            _ => {
                let factors = self.components.iter().map(|&part| parts[part].factors).collect();
                Grid { mcus: frame.mcus, factors }
            }
        };
        if frame.progressive {
            grid.walk(
                &mut bits,
                self.restart,
                #[inline(always)]
                |bits, state, n, x, y| {
                    let block = parts[self.components[n]].block(x, y);
                    match (self.band[0], self.high) {
                        (0, 0) => block[0] = (self.dc(bits, state, n)? << self.low) as i16,
                        (0, _) => block[0] |= i16::from(bits.flag()) << self.low,
                        (_, 0) if state.ended > 0 => state.ended -= 1,
                        (_, 0) => _ = self.first_ac::<false>(bits, state, n, block)?,
                        _ => self.refine_ac(bits, state, block)?,
                    }
                    Ok(())
                },
            )
        } else {
            grid.walk(
                &mut bits,
                self.restart,
                #[inline(always)]
                |bits, state, n, x, y| {
                    let mut block = [0; 64];
                    block[0] = self.dc(bits, state, n)? as i16;
                    let flat = self.first_ac::<true>(bits, state, n, &mut block)?;
                    parts[self.components[n]].inverse(&block, flat, x, y);
                    Ok(())
                },
            )
        }?;
        Ok(bits.at())
    }

    #[inline(always)]
    fn dc(&self, bits: &mut Bits, state: &mut State, n: usize) -> Outcome<i32> {
        bits.refill();
        let size = self.dc[n].ok_or(DAMAGED)?.symbol(bits)?;
        if size > 15 {
            return Err(DAMAGED);
        }
        state.dc[n] = state.dc[n].wrapping_add(bits.value(size.into()));
        Ok(state.dc[n])
    }

    /// The coefficients of a band of a block of zeros, or, of a sequential picture, all behind the first; whether they stay 0.
    #[inline(always)]
    fn first_ac<const SEQUENTIAL: bool>(
        &self,
        bits: &mut Bits,
        state: &mut State,
        n: usize,
        block: &mut Block,
    ) -> Outcome<bool> {
        let ac = self.ac[n].ok_or(DAMAGED)?;
        let ([from, to], low) = if SEQUENTIAL { ([1, 63], 0) } else { (self.band, self.low) };
        let (mut k, mut flat) = (from, true);
        while k <= to {
            let (run, value) = ac.run_and_value(bits)?;
            match (value, run) {
                (0, 15) => k += 16,
                (0, 0) if SEQUENTIAL => break,
                (0, _) if SEQUENTIAL => return Err(DAMAGED),
                (0, _) => {
                    state.ended = ended(bits, run) - 1;
                    break;
                }
                _ => {
                    k += run;
                    let place = ZIGZAG.get(k).filter(|_| k <= to).ok_or(DAMAGED)?;
                    block[usize::from(*place)] = (value << low) as i16;
                    (k, flat) = (k + 1, false);
                }
            }
        }
        Ok(flat)
    }

    /// One more bit of each coefficient that is not 0, and between them new ones of one bit.
    #[inline(always)]
    fn refine_ac(&self, bits: &mut Bits, state: &mut State, block: &mut Block) -> Outcome {
        let (one, ac) = (1_i16 << self.low, self.ac[0].ok_or(DAMAGED)?);
        let refine = |bits: &mut Bits, coefficient: &mut i16| {
            if bits.flag() && *coefficient & one == 0 {
                *coefficient = coefficient.wrapping_add(if *coefficient > 0 { one } else { -one });
            }
        };
        let mut k = self.band[0];
        if state.ended == 0 {
            while k <= self.band[1] {
                bits.refill();
                let symbol = ac.symbol(bits)?;
                let (mut run, mut new) = (usize::from(symbol >> 4), 0);
                match symbol & 15 {
                    0 if run < 15 => {
                        state.ended = ended(bits, run);
                        break;
                    }
                    0 => {}
                    1 => new = if bits.flag() { one } else { -one },
                    _ => return Err(DAMAGED),
                }
                // Over `run` coefficients that are 0 and any that are not.
                while k <= self.band[1] {
                    let coefficient = &mut block[usize::from(ZIGZAG[k])];
                    k += 1;
                    if *coefficient != 0 {
                        refine(bits, coefficient);
                    } else if run == 0 {
                        *coefficient = new;
                        new = 0;
                        break;
                    } else {
                        run -= 1;
                    }
                }
                if new != 0 {
                    return Err(DAMAGED); // no place was left for it
                }
            }
        }
        if state.ended > 0 {
            for &place in ZIGZAG.get(k..=self.band[1]).unwrap_or_default() {
                let coefficient = &mut block[usize::from(place)];
                if *coefficient != 0 {
                    refine(bits, coefficient);
                }
            }
            state.ended -= 1;
        }
        Ok(())
    }
}

/// The length of a run of ended blocks, this one included.
#[inline(always)]
fn ended(bits: &mut Bits, size: usize) -> u32 {
    bits.refill();
    let rest = if size == 0 { 0 } else { bits.take(size as u32) };
    (1 << size) + rest as u32
}

/// The blocks of a scan: those of one component row by row, of several in MCUs.
struct Grid {
    /// MCUs in a row, and rows of them.
    mcus: [usize; 2],
    /// For each component: columns and rows of blocks in an MCU.
    factors: Vec<[usize; 2]>,
}

impl Grid {
    /// Calls `block` with number of the component, column and row of each block.
    #[inline(always)]
    fn walk(
        &self,
        bits: &mut Bits,
        restart: usize,
        mut block: impl FnMut(&mut Bits, &mut State, usize, usize, usize) -> Outcome,
    ) -> Outcome {
        let (mut state, mut done) = (State::default(), 0);
        for mcu_y in 0..self.mcus[1] {
            for mcu_x in 0..self.mcus[0] {
                if restart > 0 && done > 0 && done % restart == 0 {
                    bits.restart(done / restart - 1)?;
                    state = State::default();
                }
                for (n, &[h, v]) in self.factors.iter().enumerate() {
                    for y in mcu_y * v..(mcu_y + 1) * v {
                        for x in mcu_x * h..(mcu_x + 1) * h {
                            if let Err(why) = block(bits, &mut state, n, x, y) {
                                return Err(if bits.are_cut() { TRUNCATED } else { why });
                            }
                        }
                    }
                }
                done += 1;
                if bits.is_short() {
                    return Err(TRUNCATED);
                }
            }
        }
        Ok(())
    }
}
