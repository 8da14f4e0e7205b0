//! Where the elements of repeated inputs lie.

use crate::engine::tensor::Shape;
use crate::error::{Error, Result};

/// How an operand meets the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    /// Element for element.
    Full = 0,
    /// One element for all.
    One = 1,
    /// By its strides.
    Strided = 2,
}

/// The result as few dimensions, its innermost last, and how far each operand moves along them: 0 where it is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broadcast {
    /// Sizes, led by 1s.
    pub sizes: [usize; 4],
    /// Of a and of b.
    pub strides: [[usize; 4]; 2],
    full: [bool; 2],
}

/// The dimension of a shape that stands above place `i` of `rank` dimensions.
fn dimension(shape: &Shape, rank: usize, i: usize) -> usize {
    (i + shape.len()).checked_sub(rank).map_or(1, |at| shape[at])
}

/// The shape of the result.
///
/// # Errors
/// [`Error::Shape`] if the inputs are of another number or do not fit.
pub(super) fn shape(op: &dyn std::fmt::Debug, needs: usize, inputs: &[&Shape]) -> Result<Shape> {
    if inputs.len() != needs {
        return Err(Error::shape("map", format!("{op:?} needs {needs} inputs, got {inputs:?}")));
    }
    let [a, b] = [inputs[0], inputs[needs - 1]];
    let rank = a.len().max(b.len());
    let dims: Option<Vec<usize>> = (0..rank)
        .map(|i| match [dimension(a, rank, i), dimension(b, rank, i)] {
            [a, b] if a == b || b == 1 => Some(a),
            [1, b] => Some(b),
            _ => None,
        })
        .collect();
    let Some(dims) = dims else {
        let detail = format!("{op:?} of {a} and {b}: lined up at their ends, dimensions must be equal or 1");
        return Err(Error::shape("map", detail));
    };
    let shape = Shape::from(dims);
    match Broadcast::of(&shape, [a, b]) {
        Some(_) => Ok(shape),
        None => {
            Err(Error::shape("map", format!("{op:?} of {a} and {b}: one is repeated in too many places")))
        }
    }
}

impl Broadcast {
    /// `None` if neighbouring dimensions that are repeated alike, taken as one, leave more than four.
    pub fn of(y: &Shape, inputs: [&Shape; 2]) -> Option<Broadcast> {
        let rank = y.len();
        // [size, whether a moves, whether b moves]
        let mut dims: Vec<(usize, [bool; 2])> = Vec::new();
        for i in 0..rank {
            let moves = inputs.map(|input| dimension(input, rank, i) != 1);
            match dims.last_mut() {
                _ if y[i] == 1 => {}
                Some((size, before)) if *before == moves => *size *= y[i],
                _ => dims.push((y[i], moves)),
            }
        }
        let lead = 4usize.checked_sub(dims.len())?;
        let (mut sizes, mut strides) = ([1; 4], [[0; 4]; 2]);
        let mut next = [1; 2];
        for (i, (size, moves)) in dims.iter().enumerate().rev() {
            sizes[lead + i] = *size;
            for input in 0..2 {
                if moves[input] {
                    strides[input][lead + i] = next[input];
                    next[input] *= size;
                }
            }
        }
        let full = [0, 1].map(|input| dims.iter().all(|(_, moves)| moves[input]));
        Some(Broadcast { sizes, strides, full })
    }

    /// How a and b meet the result.
    pub fn operands(&self) -> [Operand; 2] {
        [0, 1].map(|input| match (self.full[input], self.strides[input] == [0; 4]) {
            (true, _) => Operand::Full,
            (_, true) => Operand::One,
            _ => Operand::Strided,
        })
    }

    /// The element of an operand that element `i` of the result meets.
    pub fn place(&self, input: usize, mut i: usize) -> usize {
        let mut at = 0;
        for (size, stride) in self.sizes.iter().zip(self.strides[input]).rev() {
            at += i % size * stride;
            i /= size;
        }
        at
    }
}

/// The axes to add up, one after the other, to get from the shape `y` to that of an input, each as
/// `[outer, terms, inner]`.
pub(super) fn repeated(x: &Shape, y: &Shape) -> Vec<[usize; 3]> {
    let rank = y.len();
    let mut axes: Vec<[usize; 3]> = Vec::new();
    let mut inner = 1;
    for i in (0..rank).rev() {
        let own = dimension(x, rank, i);
        if own == y[i] {
            inner *= own;
            continue;
        }
        let outer = y[..i].iter().product();
        match axes.last_mut() {
            // Next to the axis before.
            Some([before, terms, behind]) if *behind == inner => {
                *before = outer;
                *terms *= y[i];
            }
            _ => axes.push([outer, y[i], inner]),
        }
    }
    axes
}
