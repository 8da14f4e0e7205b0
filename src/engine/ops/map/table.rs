//! The functions, and the loops of the twin over them.

use super::broadcast::{Broadcast, Operand};
use crate::engine::device::real::Real;
use crate::engine::device::vector::vectorised;
use rayon::prelude::*;

/// A function of each element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Map {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a b`
    Mul,
    /// `a / b`
    Div,
    /// The larger of two
    Max,
    /// The smaller of two
    Min,
    /// `c a`
    Scale(f32),
    /// `a + c`
    Offset(f32),
    /// `exp a`
    Exp,
    /// `ln a`
    Log,
    /// The square root
    Sqrt,
    /// `a^2`
    Square,
    /// The absolute value
    Abs,
    /// `1 / (1 + exp(-a))`
    Sigmoid,
    /// `ln(1 + exp a)`
    Softplus,
    /// `max(a, 0)`
    Relu,
    /// The nearest value in a range
    Clamp(f32, f32),
}

use Map::*;

/// Elements per parallel task.
const CHUNK: usize = 1 << 14;

/// What can be done with a function: to take its value, or its gradients.
pub(super) trait Visit<T> {
    /// The value of a and b (b is a where there is one input); the gradients of both from dy, a, b and the value.
    fn visit(self, value: impl Fn(T, T) -> T + Sync, gradients: impl Fn(T, T, T, T) -> [T; 2] + Sync);
}

/// `1 / (1 + exp(-x))` without overflow.
#[inline(always)]
pub(in crate::engine::ops) fn sigmoid<T: Real>(x: T) -> T {
    let e = (-x.abs()).exp();
    (if x < T::zero() { e } else { T::one() }) / (T::one() + e)
}

/// What one of two inputs gets of a maximum's or minimum's gradient.
#[inline(always)]
fn share<T: Real>(dy: T, loses: bool, ties: bool) -> T {
    if loses {
        T::zero()
    } else if ties {
        dy / (T::one() + T::one())
    } else {
        dy
    }
}

impl Map {
    /// The number of the function in the shader.
    pub(super) fn kind(self) -> f64 {
        match self {
            Add => 0.0,
            Sub => 1.0,
            Mul => 2.0,
            Div => 3.0,
            Max => 4.0,
            Min => 5.0,
            Scale(_) => 6.0,
            Offset(_) => 7.0,
            Exp => 8.0,
            Log => 9.0,
            Sqrt => 10.0,
            Square => 11.0,
            Abs => 12.0,
            Sigmoid => 13.0,
            Softplus => 14.0,
            Relu => 15.0,
            Clamp(..) => 16.0,
        }
    }

    /// The functions: value, then gradients.
    pub(super) fn table<T: Real>(self, to: impl Visit<T>) {
        let (zero, one) = (T::zero(), T::one());
        let two = one + one;
        let number = |c: f32| T::of(f64::from(c));
        match self {
            Add => to.visit(|a, b| a + b, |dy, _, _, _| [dy, dy]),
            Sub => to.visit(|a, b| a - b, |dy, _, _, _| [dy, -dy]),
            Mul => to.visit(|a, b| a * b, |dy, a, b, _| [dy * b, dy * a]),
            Div => to.visit(|a, b| a / b, |dy, a, b, _| [dy / b, -dy * (a / b / b)]),
            Max => to.visit(
                |a, b| if a > b || a.is_nan() { a } else { b },
                |dy, a, b, _| [share(dy, a < b, a == b), share(dy, b < a, a == b)],
            ),
            Min => to.visit(
                |a, b| if a < b || a.is_nan() { a } else { b },
                |dy, a, b, _| [share(dy, a > b, a == b), share(dy, b > a, a == b)],
            ),
            Scale(c) => {
                let c = number(c);
                to.visit(|a, _| a * c, |dy, _, _, _| [dy * c, zero]);
            }
            Offset(c) => {
                let c = number(c);
                to.visit(|a, _| a + c, |dy, _, _, _| [dy, zero]);
            }
            Exp => to.visit(|a, _| a.exp(), |dy, _, _, y| [dy * y, zero]),
            Log => to.visit(|a, _| a.ln(), |dy, a, _, _| [dy / a, zero]),
            Sqrt => to.visit(|a, _| a.sqrt(), |dy, _, _, y| [dy / (two * y), zero]),
            Square => to.visit(|a, _| a * a, |dy, a, _, _| [dy * (two * a), zero]),
            Abs => to.visit(
                |a, _| a.abs(),
                |dy, a, _, _| {
                    let sign = if a > zero { one } else { zero } - if a < zero { one } else { zero };
                    [dy * sign, zero]
                },
            ),
            Sigmoid => to.visit(|a, _| sigmoid(a), |dy, _, _, y| [dy * ((one - y) * y), zero]),
            Softplus => {
                to.visit(|a, _| a.max(zero) + (-a.abs()).exp().ln_1p(), |dy, a, _, _| [dy * sigmoid(a), zero])
            }
            // NaN stays NaN.
            Relu => to.visit(
                |a, _| if a < zero { zero } else { a },
                |dy, _, _, y| [if y <= zero { zero } else { dy }, zero],
            ),
            Clamp(low, high) => {
                let (low, high) = (number(low), number(high));
                to.visit(
                    |a, _| {
                        let a = if a < low { low } else { a };
                        if a > high { high } else { a }
                    },
                    |dy, a, _, _| [if a >= low && a <= high { dy } else { zero }, zero],
                );
            }
        }
    }
}

/// The elements of an operand that the elements `at..at + count` of the result meet; repeated ones are written into `room`.
fn run<'a, T: Real>(
    repeat: &Broadcast,
    input: usize,
    data: &'a [T],
    [mut at, count]: [usize; 2],
    room: &'a mut Vec<T>,
) -> &'a [T] {
    if repeat.operands()[input] == Operand::Full {
        return &data[at..at + count];
    }
    let (inner, stride) = (repeat.sizes[3], repeat.strides[input][3]);
    while room.len() < count {
        let length = (inner - at % inner).min(count - room.len());
        let from = repeat.place(input, at);
        match stride {
            0 => room.resize(room.len() + length, data[from]),
            _ => room.extend_from_slice(&data[from..from + length]),
        }
        at += length;
    }
    room
}

/// `y = value(a, b)`
pub(super) struct Forward<'a, T> {
    pub repeat: &'a Broadcast,
    pub a: &'a [T],
    pub b: &'a [T],
    pub y: &'a mut [T],
}

impl<T: Real> Visit<T> for Forward<'_, T> {
    fn visit(self, value: impl Fn(T, T) -> T + Sync, _: impl Fn(T, T, T, T) -> [T; 2] + Sync) {
        let Forward { repeat, a, b, y } = self;
        y.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, y)| {
            let mut rooms = [Vec::new(), Vec::new()];
            let [room_a, room_b] = &mut rooms;
            let range = [chunk * CHUNK, y.len()];
            let a = run(repeat, 0, a, range, room_a);
            let b = run(repeat, 1, b, range, room_b);
            vectorised(
                #[inline(always)]
                || {
                    for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
                        *y = value(a, b);
                    }
                },
            );
        });
    }
}

/// `dx = gradients(dy, a, b, y)` of one input, as large as the result.
pub(super) struct Backward<'a, T> {
    pub repeat: &'a Broadcast,
    pub input: usize,
    pub dy: &'a [T],
    pub a: &'a [T],
    pub b: &'a [T],
    pub y: &'a [T],
    pub dx: &'a mut [T],
}

impl<T: Real> Visit<T> for Backward<'_, T> {
    fn visit(self, _: impl Fn(T, T) -> T + Sync, gradients: impl Fn(T, T, T, T) -> [T; 2] + Sync) {
        let Backward { repeat, input, dy, a, b, y, dx } = self;
        let full = dx.par_chunks_mut(CHUNK).zip(dy.par_chunks(CHUNK)).zip(y.par_chunks(CHUNK));
        full.enumerate().for_each(|(chunk, ((dx, dy), y))| {
            let mut rooms = [Vec::new(), Vec::new()];
            let [room_a, room_b] = &mut rooms;
            let range = [chunk * CHUNK, dx.len()];
            let a = run(repeat, 0, a, range, room_a);
            let b = run(repeat, 1, b, range, room_b);
            vectorised(
                #[inline(always)]
                || {
                    for ((((dx, &dy), &a), &b), &y) in dx.iter_mut().zip(dy).zip(a).zip(b).zip(y) {
                        *dx = gradients(dy, a, b, y)[input];
                    }
                },
            );
        });
    }
}
