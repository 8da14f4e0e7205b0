//! Matrix product `y = op(a) op(b) + bias`, where `op` transposes or not.

pub mod tiling;
pub mod twin;

use super::kernel::{Differentiable, Kernel};
use super::{Case, Input};
use crate::device::kernel::Dispatch;
use crate::device::{Gpu, real::Real};
use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor, View, ViewMut};
use bytemuck::{Pod, Zeroable, bytes_of};
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
/// Gradients: `da = dy b^T`, `db = a^T dy` (transposed as their operands), `dbias_j = sum_i dy_ij`.
///
/// # Errors
/// [`Error::Shape`] if a rank is not 2, the inner sizes differ or the bias has another length than `n`.
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
        let (m, k) = if self.trans_a { (a[1], a[0]) } else { (a[0], a[1]) };
        [m, if self.trans_b { b[0] } else { b[1] }, k]
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

    /// Records the product; where `a` or `y` is over the binding limit, over blocks of rows.
    fn dispatch(self, gpu: &Gpu, a: &Tensor, b: &Tensor, bias: Option<&Tensor>, y: &Tensor) -> Result<()> {
        let [m, n, k] = self.sizes(a.shape(), b.shape());
        let fits = gpu.max_binding() as usize / 4 / n.max(k).max(1);
        if self.trans_a || m <= fits {
            return self.block(gpu, a, b, bias, y, 0..m);
        }
        // Blocks of 64 rows start where a binding may start.
        let rows = (fits / 64 * 64).max(64);
        (0..m).step_by(rows).try_for_each(|row| self.block(gpu, a, b, bias, y, row..m.min(row + rows)))
    }

    fn block(
        self,
        gpu: &Gpu,
        a: &Tensor,
        b: &Tensor,
        bias: Option<&Tensor>,
        y: &Tensor,
        rows: std::ops::Range<usize>,
    ) -> Result<()> {
        let [_, n, k] = self.sizes(a.shape(), b.shape());
        let m = rows.len();
        let tiling = Tiling::choose(gpu, m, n, k);
        let params = Params {
            m: m as u32,
            n: n as u32,
            k: k as u32,
            part: tiling.part as u32,
            parts: tiling.parts as u32,
            bias: u32::from(bias.is_some()),
            spare: [0; 2],
        };
        let part_sums = match tiling.parts {
            1 => None,
            parts => Some(Tensor::uninit(y.device(), Shape::from([parts, m, n]))?),
        };
        let a_range = (!self.trans_a).then_some(rows.start * k..rows.end * k);
        let y_range = Some(rows.start * n..rows.end * n);
        let flag = |on: bool| f64::from(u8::from(on));
        let mut constants = vec![
            ("A_BY_K", flag(self.trans_a)),
            ("B_BY_N", flag(self.trans_b)),
            ("A_VEC", flag(if self.trans_a { m } else { k }.is_multiple_of(4))),
            ("B_VEC", flag(if self.trans_b { k } else { n }.is_multiple_of(4))),
        ];
        constants.extend(tiling.constants());
        let into = part_sums.as_ref().map_or((y, y_range.clone()), |parts| (parts, None));
        gpu.run(Dispatch {
            shader: Self::NAME,
            entry: tiling.entry,
            constants,
            params: bytes_of(&params),
            tensors: vec![(a, a_range), (b, None), (bias.unwrap_or(b), None), into],
            groups: tiling.groups(m, n) as u64,
            work: (m * n * k) as u64,
        })?;
        let Some(part_sums) = part_sums else { return Ok(()) };
        gpu.run(Dispatch {
            shader: Self::NAME,
            entry: "sum_parts",
            constants: Vec::new(),
            params: bytes_of(&params),
            tensors: vec![(&part_sums, None), (bias.unwrap_or(&part_sums), None), (y, y_range)],
            groups: (m * n).div_ceil(256) as u64,
            work: 0,
        })
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    m: u32,
    n: u32,
    k: u32,
    part: u32,
    parts: u32,
    bias: u32,
    spare: [u32; 2],
}

/// `sums_j = sum_i x_ij` on a GPU: the gradient of a bias. Blocks of rows, then blocks of those sums, and so on.
pub(crate) fn sum_rows(gpu: &Gpu, x: &Tensor, sums: &Tensor) -> Result<()> {
    const BLOCK: usize = 64;
    let n = sums.elements();
    let mut from = x.clone();
    let mut m = x.elements() / n.max(1);
    loop {
        let blocks = m.div_ceil(BLOCK).max(1);
        let into = if blocks == 1 { sums.clone() } else { Tensor::uninit(x.device(), Shape::from([blocks, n]))? };
        let params = Params { m: m as u32, n: n as u32, part: BLOCK as u32, ..Params::zeroed() };
        let groups = (blocks * n).div_ceil(256);
        gpu.run(Dispatch::new(Matmul::NAME, "sum_rows", bytes_of(&params), &[&from, &into], groups))?;
        if blocks == 1 {
            return Ok(());
        }
        (from, m) = (into, blocks);
    }
}

/// The twin of [`sum_rows`].
pub(crate) fn sum_rows_twin<T: Real>(x: &[T], sums: &mut [T]) {
    sums.fill(T::zero());
    for row in x.chunks_exact(sums.len().max(1)) {
        for (sum, &x) in sums.iter_mut().zip(row) {
            *sum += x;
        }
    }
}

impl Kernel for Matmul {
    const NAME: &'static str = "matmul";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        let ([a, b] | [a, b, _]) = inputs else {
            return Err(Error::shape(Self::NAME, format!("needs a, b and perhaps a bias, got {inputs:?}")));
        };
        if a.len() != 2 || b.len() != 2 {
            let detail = format!("a {a} and b {b} must have two dimensions: reshape them");
            return Err(Error::shape(Self::NAME, detail));
        }
        let [m, n, k] = self.sizes(a, b);
        let rows = if self.trans_b { b[1] } else { b[0] };
        if rows != k {
            let detail = format!("a has {k} columns, b has {rows} rows (a {a}, b {b}, {self:?}): check the layer's width");
            return Err(Error::shape(Self::NAME, detail));
        }
        match inputs.get(2) {
            Some(bias) if bias.elements() != n => {
                Err(Error::shape(Self::NAME, format!("the bias {bias} must hold one value for each of {n} columns")))
            }
            _ => Ok(vec![Shape::from([m, n])]),
        }
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let [m, n, k] = self.sizes(x[0].shape, x[1].shape);
        let bias = x.get(2).map(|bias| bias.data);
        twin::matmul(self.trans_a, self.trans_b, m, n, k, x[0].data, x[1].data, bias, y[0].data);
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
        ]
    }
}

impl Differentiable for Matmul {
    fn save(&self, x: &[&Tensor], _y: &[Tensor]) -> Vec<Tensor> {
        vec![x[0].clone(), x[1].clone()]
    }

    fn twin_backward<T: Real>(&self, saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        for (input, dx) in dx.iter_mut().enumerate() {
            let Some(dx) = dx else { continue };
            if input == 2 {
                sum_rows_twin(dy.data, dx.data);
                continue;
            }
            let (op, operands) = self.gradient(input == 1);
            let [a, b] = operands.map(|is_dy| if is_dy { dy } else { saved[1 - input] });
            let [m, n, k] = op.sizes(a.shape, b.shape);
            twin::matmul(op.trans_a, op.trans_b, m, n, k, a.data, b.data, None, dx.data);
        }
    }

    fn gpu_backward(&self, gpu: &Gpu, saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        for (input, dx) in dx.iter().enumerate() {
            let Some(dx) = dx else { continue };
            if input == 2 {
                sum_rows(gpu, dy, dx)?;
                continue;
            }
            let (op, operands) = self.gradient(input == 1);
            let [a, b] = operands.map(|is_dy| if is_dy { dy } else { saved[1 - input] });
            op.dispatch(gpu, a, b, None, dx)?;
        }
        Ok(())
    }
}
