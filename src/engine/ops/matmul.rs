//! Matrix product `y = op(a) op(b) + bias`, where `op` transposes or not; of one pair of matrices or of several.
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{Matmul, run}};
//! # let device = &Device::cpu();
//! let a = Tensor::new(device, [1, 2], &[1.0, 2.0])?;
//! let b = Tensor::new(device, [3, 2], &[1.0, 0.0, 0.0, 1.0, 1.0, 1.0])?;
//! assert_eq!(run(&Matmul::NT, &[&a, &b])?[0].to_vec()?, [1.0, 2.0, 3.0]); // a b^T
//! # Ok::<(), vista::Error>(())
//! ```

mod blocks;
pub(super) mod micro;
pub(crate) mod tiling;
pub(crate) mod twin;

use super::kernel::{Differentiable, Keep, Kernel};
use super::reduce::{sum_axis, sum_axis_twin};
use super::{Case, Input};
use crate::engine::device::kernel::Dispatch;
use crate::engine::device::params::Param;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use blocks::{Blocks, Window};
use std::ops::Range;
use tiling::Tiling;

/// `y_ij = sum_l a_il b_lj (+ bias_j)`
///
/// | value | shape |
/// |---|---|
/// | `a` | `[m, k]`, or `[k, m]` with `trans_a` |
/// | `b` | `[k, n]`, or `[n, k]` with `trans_b` |
/// | `bias` (optional third input) | `[n]` |
/// | returns | `[m, n]` |
///
/// With one more dimension in front of `a`, `b` and `y`, the same in all, it is a product of each pair of matrices.
///
/// Gradients: `da = dy b^T`, `db = a^T dy` (transposed as their operands), `dbias_j = sum_i dy_ij`.
///
/// # Errors
/// [`Error::Shape`] if the ranks are not both 2 or both 3, the inner sizes or the numbers of matrices differ, or the bias has another
/// length than `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matmul {
    /// `a` is given as `[k, m]`.
    pub trans_a: bool,
    /// `b` is given as `[n, k]`.
    pub trans_b: bool,
}

impl Matmul {
    /// `a b`
    pub const NN: Matmul = Matmul { trans_a: false, trans_b: false };
    /// `a b^T`: with a bias, a linear layer of weight `b`.
    pub const NT: Matmul = Matmul { trans_a: false, trans_b: true };
    /// `a^T b`
    pub const TN: Matmul = Matmul { trans_a: true, trans_b: false };

    /// Rows, columns and steps.
    fn sizes(self, a: &Shape, b: &Shape) -> [usize; 3] {
        let ([a0, a1], [b0, b1]) = (sides(a), sides(b));
        let (m, k) = if self.trans_a { (a1, a0) } else { (a0, a1) };
        [m, if self.trans_b { b0 } else { b1 }, k]
    }

    /// The product and its operands (true: `dy`, false: the other input) that is the gradient of `a` or of `b`.
    fn gradient(self, of_b: bool) -> (Matmul, [bool; 2]) {
        let Matmul { trans_a, trans_b } = self;
        let (trans_a, trans_b, operands) = match (of_b, trans_a, trans_b) {
            (false, false, _) => (false, !trans_b, [true, false]), // dy op(b)^T
            (false, true, _) => (trans_b, true, [false, true]),    // op(b) dy^T
            (true, _, false) => (!trans_a, false, [false, true]),  // op(a)^T dy
            (true, _, true) => (true, trans_a, [true, false]),     // dy^T op(a)
        };
        (Matmul { trans_a, trans_b }, operands)
    }

    /// The products on the CPU, one after the other, each divided among the threads.
    fn products<T: Real>(self, a: View<T>, b: View<T>, bias: Option<&[T]>, y: &mut [T]) {
        let [m, n, k] = self.sizes(a.shape, b.shape);
        for matrix in 0..count(a.shape) {
            let of = |size: usize| matrix * size..(matrix + 1) * size;
            let (a, b, y) = (&a.data[of(m * k)], &b.data[of(k * n)], &mut y[of(m * n)]);
            twin::matmul(self.trans_a, self.trans_b, m, n, k, a, b, bias, y);
        }
    }

    /// Records the product; where an operand is over the binding limit, block by block.
    fn dispatch(self, gpu: &Gpu, a: &Tensor, b: &Tensor, bias: Option<&Tensor>, y: &Tensor) -> Result<()> {
        let [m, n, k] = self.sizes(a.shape(), b.shape());
        let blocks = Blocks::choose(gpu.max_binding as usize / 4, [m, n, k], self.trans_a, self.trans_b);
        for matrix in 0..count(a.shape()) {
            for rows in blocks.along(0, m) {
                for columns in blocks.along(1, n) {
                    // ORDER: the first block of steps writes y with the bias, the others add to it.
                    for steps in blocks.along(2, k) {
                        self.block(gpu, matrix, a, b, bias, y, [&rows, &columns, &steps])?;
                    }
                }
            }
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    fn block(
        self,
        gpu: &Gpu,
        matrix: usize,
        a: &Tensor,
        b: &Tensor,
        bias: Option<&Tensor>,
        y: &Tensor,
        [rows, columns, steps]: [&Range<usize>; 3],
    ) -> Result<()> {
        let [m, n, k] = [rows, columns, steps].map(|range| range.len());
        let in_a = if self.trans_a { [steps, rows] } else { [rows, steps] };
        let in_b = if self.trans_b { [columns, steps] } else { [steps, columns] };
        // A matrix among several begins behind the lines of those before it.
        let window = |x: &Tensor, [lines, columns]: [&Range<usize>; 2]| {
            let [each, row] = sides(x.shape());
            let before = matrix * each;
            Window::new(row, &(before + lines.start..before + lines.end), columns)
        };
        let (in_a, in_b, in_y) = (window(a, in_a), window(b, in_b), window(y, [rows, columns]));
        let tiling = Tiling::choose(gpu, m, n, k);
        let params = |bias: bool, y: &Window| {
            params(
                [m, n, k],
                &tiling,
                bias.then_some(columns.start),
                [&in_a, &in_b, y].map(|w| [w.row, w.at]),
            )
        };
        let with_bias = bias.is_some() && steps.start == 0;
        let flag = |on: bool| f64::from(u8::from(on));
        let add = ("ADD", flag(steps.start > 0));
        let mut constants = vec![
            ("A_BY_K", flag(self.trans_a)),
            ("B_BY_N", flag(self.trans_b)),
            ("A_VEC", flag(in_a.by_four)),
            ("B_VEC", flag(in_b.by_four)),
        ];
        constants.extend(tiling.constants());
        let product = |with_bias, more, into, window: &Window| {
            constants.extend(more);
            let odd = tiling.entry == "tiled" && !window.by_four;
            let entry = if odd { "tiled_odd" } else { tiling.entry };
            let third = bias.map_or((b, Some(in_b.range.clone())), |bias| (bias, None));
            gpu.run(Dispatch {
                constants,
                tensors: vec![
                    (a, Some(in_a.range.clone())),
                    (b, Some(in_b.range.clone())),
                    third,
                    (into, Some(window.range.clone())),
                ],
                work: (m * n * k) as u64,
                ..Dispatch::new(Self::NAME, entry, params(with_bias, window), &[], tiling.groups(m, n))
            })
        };
        if tiling.parts == 1 {
            return product(with_bias, Some(add), y, &in_y);
        }
        let parts = Tensor::uninit(y.device(), Shape::from([tiling.parts, m, n]))?;
        let whole = Window::new(n, &(0..tiling.parts * m), &(0..n));
        product(false, None, &parts, &whole)?;
        gpu.run(Dispatch {
            constants: vec![add],
            tensors: vec![(&parts, None), (bias.unwrap_or(&parts), None), (y, Some(in_y.range.clone()))],
            ..Dispatch::new(Self::NAME, "sum_parts", params(with_bias, &in_y), &[], (m * n).div_ceil(256))
        })
    }
}

/// Lines and columns of a matrix, or of each of several.
fn sides(x: &Shape) -> [usize; 2] {
    [x[x.len() - 2], x[x.len() - 1]]
}

/// How many matrices there are.
fn count(x: &Shape) -> usize {
    if x.len() > 2 { x[0] } else { 1 }
}

/// The shader's params: where a bias begins if there is one, and of a, b and y the elements of a row and where the block begins.
fn params(
    [m, n, k]: [usize; 3],
    tiling: &Tiling,
    bias_at: Option<usize>,
    [a, b, y]: [[usize; 2]; 3],
) -> [Param; 13] {
    [
        ("m", m.into()),
        ("n", n.into()),
        ("k", k.into()),
        ("part", tiling.part.into()),
        ("parts", tiling.parts.into()),
        ("bias", u32::from(bias_at.is_some()).into()),
        ("bias_at", bias_at.unwrap_or(0).into()),
        ("a_row", a[0].into()),
        ("a_at", a[1].into()),
        ("b_row", b[0].into()),
        ("b_at", b[1].into()),
        ("y_row", y[0].into()),
        ("y_at", y[1].into()),
    ]
}

/// `count` products `y[t] = a[:, t, :] b[t]` on a GPU in one dispatch: the parts of one product of `count k` steps, not
/// summed. `a` is `[m, a_row]`, a row beginning with `[count, k]`; `b` is `[count, k, n]`; `y` is `[count, m, n]`. k
/// divides by [`tiling::STEP`], n by 4.
pub(crate) fn part_products(
    gpu: &Gpu,
    count: usize,
    [m, n, k]: [usize; 3],
    (a, a_row): (&Tensor, usize),
    b: &Tensor,
    y: &Tensor,
) -> Result<()> {
    let tiling = Tiling { part: k, parts: count, ..Tiling::choose(gpu, m, n, count * k) };
    let params = params([m, n, count * k], &tiling, None, [[a_row, 0], [n, 0], [n, 0]]);
    gpu.run(Dispatch {
        constants: tiling.constants().to_vec(),
        work: (count * m * n * k) as u64,
        ..Dispatch::new(Matmul::NAME, tiling.entry, params, &[a, b, b, y], tiling.groups(m, n))
    })
}

impl Kernel for Matmul {
    const NAME: &'static str = "matmul";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        let ([a, b] | [a, b, _]) = inputs else {
            return Err(Error::shape(Self::NAME, format!("needs a, b and perhaps a bias, got {inputs:?}")));
        };
        if ![2, 3].contains(&a.len()) || a.len() != b.len() || count(a) != count(b) {
            let detail = format!(
                "a {a} and b {b} must have two dimensions, or three of which the first is alike: reshape them"
            );
            return Err(Error::shape(Self::NAME, detail));
        }
        let [m, n, k] = self.sizes(a, b);
        let rows = sides(b)[usize::from(self.trans_b)];
        if rows != k {
            let detail = format!(
                "a has {k} columns, b has {rows} rows (a {a}, b {b}, {self:?}): check the layer's width"
            );
            return Err(Error::shape(Self::NAME, detail));
        }
        match inputs.get(2) {
            Some(bias) if bias.elements() != n => Err(Error::shape(
                Self::NAME,
                format!("the bias {bias} must hold one value for each of {n} columns"),
            )),
            _ if a.len() == 3 => Ok(vec![Shape::from([a[0], m, n])]),
            _ => Ok(vec![Shape::from([m, n])]),
        }
    }

    fn work(&self, inputs: &[&Shape]) -> u64 {
        (count(inputs[0]) * self.sizes(inputs[0], inputs[1]).iter().product::<usize>()) as u64
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        self.products(x[0], x[1], x.get(2).map(|bias| bias.data), y[0].data);
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        self.dispatch(gpu, x[0], x[1], x.get(2).copied(), &y[0])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |name, op: Matmul, m, n, k, bias: bool| {
            let a = Input::normal(if op.trans_a { [k, m] } else { [m, k] });
            let b = Input::normal(if op.trans_b { [n, k] } else { [k, n] });
            Case::new(name, op, [a, b].into_iter().chain(bias.then(|| Input::normal([n]))).collect())
        };
        let tt = Matmul { trans_a: true, trans_b: true };
        let several = |mut case: Case<Self>| {
            case.inputs[..2]
                .iter_mut()
                .for_each(|input| input.shape = [&[3], &input.shape[..]].concat().into());
            case
        };
        vec![
            case("one element", Matmul::NN, 1, 1, 1, false),
            case("nn odd", Matmul::NN, 65, 131, 33, false),
            case("nt odd", Matmul::NT, 19, 101, 37, false),
            case("tn odd", Matmul::TN, 35, 67, 41, false),
            case("tt odd", tt, 37, 18, 21, false),
            case("nn, vec4", Matmul::NN, 68, 100, 36, false),
            case("nt, vec4, bias", Matmul::NT, 36, 132, 48, true),
            case("tn, vec4", Matmul::TN, 132, 36, 52, false),
            case("linear", Matmul::NT, 5, 10, 33, true),
            case("long k", Matmul::NT, 9, 12, 1100, true),
            case("long k, odd", Matmul::TN, 10, 7, 1027, false),
            several(case("three, nn", Matmul::NN, 20, 12, 36, false)),
            several(case("three, nt odd, bias", Matmul::NT, 5, 7, 9, true)),
            several(case("three, tn", Matmul::TN, 36, 68, 20, false)),
        ]
    }
}

impl Differentiable for Matmul {
    fn save(&self, x: &[&Tensor], _y: &[Tensor]) -> Vec<Keep> {
        vec![x[0].into(), x[1].into()]
    }

    fn twin_backward<T: Real>(&self, saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        for (input, dx) in dx.iter_mut().enumerate() {
            let Some(dx) = dx else { continue };
            if input == 2 {
                let columns = sides(dy.shape)[1];
                dx.data
                    .copy_from_slice(&sum_axis_twin(dy.data, [1, dy.data.len() / columns.max(1), columns]));
                continue;
            }
            let (op, operands) = self.gradient(input == 1);
            let [a, b] = operands.map(|is_dy| if is_dy { dy } else { saved[1 - input] });
            op.products(a, b, None, dx.data);
        }
    }

    fn gpu_backward(&self, gpu: &Gpu, saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        for (input, dx) in dx.iter().enumerate() {
            let Some(dx) = dx else { continue };
            if input == 2 {
                let columns = sides(dy.shape())[1];
                sum_axis(gpu, dy, [1, dy.elements() / columns.max(1), columns], 1.0, 0.0, dx)?;
                continue;
            }
            let (op, operands) = self.gradient(input == 1);
            let [a, b] = operands.map(|is_dy| if is_dy { dy } else { saved[1 - input] });
            op.dispatch(gpu, a, b, None, dx)?;
        }
        Ok(())
    }
}
