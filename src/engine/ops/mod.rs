//! The ops. Each is one file here and one of the same name in `shaders/`; [`all_cases`] is the list of them: parity tests, gradient checks, shader checks and `vista doctor` iterate over it.
//!
//! NaN and infinity come out of an op where PyTorch lets them out, on every device (`tests/engine/nonfinite.rs`); a shader looks for
//! NaN by its bits, because a compiler may assume that there is none. What leaves f32's range is infinite on an f32 device,
//! though the f64 definition holds it: a variance of 1e39, say, normalises to beta. A convolution by Winograd's algorithm
//! spreads a NaN or an infinity over its tile.
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{Matmul, run}};
//! let [f32, f64] = [Device::cpu(), Device::reference()].map(|device| -> vista::Result<f64> {
//!     let row = Tensor::from_f64(&device, [1, 3], &[0.1, 0.2, 0.3])?;
//!     Ok(run(&Matmul::NT, &[&row, &row])?[0].to_f64()?[0]) // [0]: an op's value, before its by-products
//! });
//! assert!((f32? - f64?).abs() < 1e-7); // one op, two devices
//! # Ok::<(), vista::Error>(())
//! ```

pub mod adaptive_avg_pool;
mod any_case;
pub mod batch_norm;
pub mod bilinear_resize;
pub(crate) mod case;
pub mod concat;
pub mod conv2d;
pub mod conv_norm;
pub mod conv_transpose2d;
pub mod dropout;
pub mod fused;
pub mod gather_rows;
pub mod half;
pub mod kernel;
pub mod l2_normalize;
pub mod map;
pub mod match_cells;
pub mod matmul;
pub mod max_pool;
pub mod nearest;
mod op;
mod packed_product;
pub mod psa_mask;
pub mod reduce;
mod reshape;
pub mod roi_align;
mod rows;
pub mod softmax;
pub(crate) mod sum_parts;
pub mod top_k;
pub(crate) mod tune;
pub mod update;
pub(crate) mod winograd;

pub use self::half::{Half, Packed};
pub use adaptive_avg_pool::AdaptiveAvgPool;
pub use any_case::{AnyCase, relative_l2};
pub use batch_norm::{BatchNorm, Coefficients, Normalize, Norms, Ranks, over_ranks};
pub use bilinear_resize::{BilinearResize, Coordinates};
pub use case::{Case, Draw, Input};
pub use concat::Concat;
pub use conv_norm::{ConvStatistics, NormConv2d};
pub use conv_transpose2d::ConvTranspose2d;
pub use conv2d::Conv2d;
pub use dropout::Dropout;
pub use fused::cross_entropy::CrossEntropy;
pub use fused::smooth_ap::SmoothAp;
pub use gather_rows::GatherRows;
pub use kernel::{Differentiable, Keep, Kernel, run};
pub use l2_normalize::L2Normalize;
pub use map::Map;
pub use match_cells::MatchCells;
pub use matmul::Matmul;
pub use max_pool::MaxPool;
pub use nearest::Nearest;
pub(crate) use op::{Kept, added};
pub use op::{Op, Saved};
pub use packed_product::PackedProduct;
pub use psa_mask::PsaMask;
pub use reduce::{Over, Reduce};
pub use reshape::Reshape;
pub use roi_align::RoiAlign;
pub use softmax::Softmax;
pub use sum_parts::SumParts;
pub use top_k::TopK;
pub use update::Update;

/// The cases of every op.
pub fn all_cases() -> Vec<AnyCase> {
    let differentiable = [
        AnyCase::differentiable::<CrossEntropy>(),
        AnyCase::differentiable::<Map>(),
        AnyCase::differentiable::<Reduce>(),
        AnyCase::differentiable::<Matmul>(),
        AnyCase::differentiable::<Conv2d>(),
        AnyCase::differentiable::<SmoothAp>(),
        AnyCase::differentiable::<BatchNorm>(),
        AnyCase::differentiable::<NormConv2d>(),
        AnyCase::differentiable::<MaxPool>(),
        AnyCase::differentiable::<L2Normalize>(),
        AnyCase::differentiable::<GatherRows>(),
        AnyCase::differentiable::<Concat>(),
        AnyCase::differentiable::<BilinearResize>(),
        AnyCase::differentiable::<RoiAlign>(),
        AnyCase::differentiable::<ConvTranspose2d>(),
        AnyCase::differentiable::<Nearest>(),
        AnyCase::differentiable::<AdaptiveAvgPool>(),
        AnyCase::differentiable::<Dropout>(),
        AnyCase::differentiable::<PsaMask>(),
        AnyCase::differentiable::<Softmax>(),
    ];
    let others = [
        AnyCase::of::<Coefficients>(),
        AnyCase::of::<ConvStatistics>(),
        AnyCase::of::<Normalize>(),
        AnyCase::of::<SumParts>(),
        AnyCase::of::<TopK>(),
        AnyCase::of::<MatchCells>(),
        AnyCase::of::<Update>(),
        AnyCase::of::<Half>(),
    ];
    differentiable.into_iter().chain(others).flatten().collect()
}
