//! Entropy-coded data: bits, and Huffman codes in them.

/// Why coded data can't be read.
pub(super) const DAMAGED: &str = "a damaged JPEG: its coded data make no sense";
/// Coded data that stop short.
pub(super) const TRUNCATED: &str = "truncated JPEG";

/// Coefficients lie in a file from low to high frequency: the place of each in a block of 8 rows by 8 columns.
pub(super) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// The bits of a scan up to the next marker; behind them come zeros, which are counted.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    /// The next bits, from the highest on. Below the first `count` lie bits that are loaded again.
    buffer: u64,
    count: u32,
    /// Zeros that stand for data that are not there.
    made_up: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8], at: usize) -> Bits<'a> {
        Bits { data, at, buffer: 0, count: 0, made_up: 0 }
    }

    /// Where whole bytes are left, or else a marker or the end.
    pub(super) fn at(&self) -> usize {
        self.at - (self.count.saturating_sub(self.made_up) / 8) as usize
    }

    /// Whether more bits were taken than there are.
    #[inline(always)]
    pub(super) fn is_short(&self) -> bool {
        self.made_up > self.count
    }

    /// Whether the file ends here, or more bits were taken than there are.
    #[cold]
    pub(super) fn are_cut(&self) -> bool {
        self.is_short() || self.made_up > 0 && self.at + 1 >= self.data.len()
    }

    /// Makes sure of 32 bits: the longest code and its value.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        if self.count >= 32 {
            return;
        }
        if let Some(next) = self.data.get(self.at..).and_then(|rest| rest.first_chunk::<8>()) {
            let next = u64::from_be_bytes(*next);
            let has_ff = next & !next.wrapping_add(0x0101_0101_0101_0101) & 0x8080_8080_8080_8080;
            if has_ff == 0 {
                self.buffer |= next >> self.count;
                let bytes = (63 - self.count) >> 3;
                self.at += bytes as usize;
                self.count += bytes * 8;
                return;
            }
        }
        self.refill_by_bytes();
    }

    /// The same where a byte is `FF`: followed by 0 it is data, followed by anything else a marker, where data end.
    #[cold]
    fn refill_by_bytes(&mut self) {
        while self.count <= 56 {
            let byte = match self.data.get(self.at..) {
                Some([0xFF, 0, ..]) => {
                    self.at += 2;
                    0xFF
                }
                Some([0xFF, 0xFF, ..]) => {
                    self.at += 1; // a fill byte
                    continue;
                }
                Some([0xFF, ..] | []) | None => {
                    self.made_up += 8;
                    0
                }
                Some([byte, ..]) => {
                    self.at += 1;
                    *byte
                }
            };
            // What was loaded beyond `count` is of this byte too, unless it is made up.
            let place = 56 - self.count;
            self.buffer = self.buffer & !(0xFF << place) | u64::from(byte) << place;
            self.count += 8;
        }
    }

    #[inline(always)]
    fn peek(&self, bits: u32) -> usize {
        (self.buffer >> (64 - bits)) as usize
    }

    #[inline(always)]
    fn skip(&mut self, bits: u32) {
        self.buffer <<= bits;
        self.count -= bits;
    }

    /// The next bits (1 to 16), of those that [`Bits::refill`] made sure of.
    #[inline(always)]
    pub(super) fn take(&mut self, bits: u32) -> i32 {
        let value = self.peek(bits) as i32;
        self.skip(bits);
        value
    }

    /// The next bit.
    #[inline(always)]
    pub(super) fn flag(&mut self) -> bool {
        self.refill();
        self.take(1) == 1
    }

    /// The value of so many bits (0 to 15): the upper half of their range is positive, the lower negative.
    #[inline(always)]
    pub(super) fn value(&mut self, bits: u32) -> i32 {
        if bits == 0 {
            return 0;
        }
        extend(self.take(bits), bits)
    }

    /// Goes behind the restart marker of this number; nothing but it may lie there.
    pub(super) fn restart(&mut self, number: usize) -> Result<(), &'static str> {
        if self.is_short() {
            return Err(TRUNCATED);
        }
        // The marker is reached by loading all before it.
        while self.made_up == 0 {
            if self.count >= 32 {
                return Err("a damaged JPEG: a restart marker is missing");
            }
            self.refill();
        }
        while self.data.get(self.at + 1) == Some(&0xFF) {
            self.at += 1;
        }
        match self.data.get(self.at + 1) {
            None => Err(TRUNCATED),
            Some(&marker) if marker == 0xD0 + (number % 8) as u8 => {
                *self = Bits::new(self.data, self.at + 2);
                Ok(())
            }
            Some(_) => Err("a damaged JPEG: a restart marker is missing"),
        }
    }
}

#[inline(always)]
fn extend(value: i32, bits: u32) -> i32 {
    if value >> (bits - 1) == 0 { value + 1 - (1 << bits) } else { value }
}

/// Bits that are looked up at once.
const LOOK: u32 = 9;

/// A Huffman table.
#[derive(Clone)]
pub(super) struct Huffman {
    /// For each [`LOOK`] bits: length of the code and its symbol, `length << 8 | symbol`; 0 for a longer code.
    short: Box<[u16; 1 << LOOK]>,
    /// Where a code of run and size and its value fit into [`LOOK`] bits: `value << 16 | run << 8 | bits`; else 0. Empty
    /// for a table of first coefficients.
    whole: Vec<i32>,
    /// For each length: the first code, of 16 bits, that is longer.
    ends: [u32; 17],
    /// For each length: what to add to a code for the place of its symbol.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

impl Huffman {
    /// From the number of codes of each length and the symbols; `None` if there are more codes than fit.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8], with_runs: bool) -> Option<Huffman> {
        let mut short = Box::new([0; 1 << LOOK]);
        let mut whole = vec![0; if with_runs { 1 << LOOK } else { 0 }];
        let (mut ends, mut offsets) = ([0; 17], [0; 17]);
        let (mut code, mut place) = (0_u32, 0);
        for length in 1..=16_u32 {
            offsets[length as usize] = place as i32 - code as i32;
            for _ in 0..counts[length as usize - 1] {
                let symbol = *symbols.get(place)?;
                if length <= LOOK {
                    let free = LOOK - length;
                    let from = (code << free) as usize;
                    short.get_mut(from..from + (1 << free))?.fill((length << 8) as u16 | u16::from(symbol));
                }
                (code, place) = (code + 1, place + 1);
            }
            if code > 1 << length {
                return None;
            }
            ends[length as usize] = code << (16 - length);
            code <<= 1;
        }
        for (look, entry) in whole.iter_mut().enumerate() {
            let (length, symbol) = (u32::from(short[look] >> 8), short[look] & 0xFF);
            let (run, size) = (i32::from(symbol >> 4), u32::from(symbol & 15));
            if length > 0 && size > 0 && length + size <= LOOK {
                let value = (look >> (LOOK - length - size)) as i32 & ((1 << size) - 1);
                *entry = extend(value, size) << 16 | run << 8 | (length + size) as i32;
            }
        }
        Some(Huffman { short, whole, ends, offsets, symbols: symbols.to_vec() })
    }

    /// The next symbol; 32 bits must be there, and 16 are left.
    #[inline(always)]
    pub(super) fn symbol(&self, bits: &mut Bits) -> Result<u8, &'static str> {
        let short = self.short[bits.peek(LOOK)];
        if short != 0 {
            bits.skip(u32::from(short >> 8));
            return Ok(short as u8);
        }
        self.long_symbol(bits)
    }

    #[cold]
    fn long_symbol(&self, bits: &mut Bits) -> Result<u8, &'static str> {
        let code = bits.peek(16) as u32;
        let length = (LOOK + 1..=16).find(|&l| code < self.ends[l as usize]).ok_or(DAMAGED)?;
        let place = (code >> (16 - length)) as i32 + self.offsets[length as usize];
        bits.skip(length);
        usize::try_from(place).ok().and_then(|place| self.symbols.get(place)).copied().ok_or(DAMAGED)
    }

    /// The next run of zeros and the value behind it; a size of 0 has no value: end of block, or a run of 16.
    #[inline(always)]
    pub(super) fn run_and_value(&self, bits: &mut Bits) -> Result<(usize, i32), &'static str> {
        bits.refill();
        let whole = self.whole.get(bits.peek(LOOK)).copied().unwrap_or(0);
        if whole != 0 {
            bits.skip(whole as u32 & 0xFF);
            return Ok((whole as usize >> 8 & 15, whole >> 16));
        }
        let symbol = self.symbol(bits)?;
        Ok((usize::from(symbol >> 4), bits.value(u32::from(symbol & 15))))
    }
}
