//! The op list. Each op is one file here and one of the same name in `shaders/`; naming it in the list below is
//! its only registration: parity tests, gradient checks, shader checks and `vista doctor` iterate over it.
//!
//! NaN and infinity come out of an op where PyTorch lets them out, on every device (`tests/nonfinite.rs`); a shader looks for
//! NaN by its bits, because a compiler may assume that there is none. What leaves f32's range is infinite on an f32 device,
//! though the f64 definition holds it: a variance of 1e39, say, normalises to beta. A convolution by Winograd's algorithm
//! spreads a NaN or an infinity over its tile.

pub mod case;
pub mod kernel;
mod packed_product;
mod reshape;
mod rows;
pub mod tune;

pub use self::half::Packed;
pub use case::{AnyCase, Case, Draw, Input, relative_l2};
pub use kernel::{Differentiable, Kernel, Op, Saved, run};
pub use packed_product::PackedProduct;
pub use reduce::Over;
pub use reshape::Reshape;

macro_rules! op_list {
    (
        differentiable: $($module:ident :: $op:ident $(and $more:ident)*),* ;
        others: $($other_module:ident :: $other:ident),* $(;)?
    ) => {
        $(pub mod $module; pub use self::$module::{$op $(, $more)*};)*
        $(pub mod $other_module; pub use self::$other_module::$other;)*

        /// The cases of every op.
        pub fn all_cases() -> Vec<AnyCase> {
            let mut cases = Vec::new();
            $(cases.extend(AnyCase::differentiable::<$op>()); $(cases.extend(AnyCase::differentiable::<$more>());)*)*
            $(cases.extend(AnyCase::of::<$other>());)*
            cases
        }
    };
}

op_list! {
    differentiable:
        bce_with_logits::BceWithLogits,
        cross_entropy::CrossEntropy,
        knn_softmax::KnnSoftmax,
        elementwise::Elementwise,
        reduce::Reduce,
        matmul::Matmul,
        conv2d::Conv2d,
        winograd::WinogradConv2d,
        smooth_ap::SmoothAp,
        batch_norm::BatchNorm and BatchNormEval,
        norm_conv2d::NormConv2d,
        max_pool::MaxPool,
        avg_pool::AvgPool,
        l2_normalize::L2Normalize,
        gather_rows::GatherRows,
        concat::Concat,
        log_softmax::LogSoftmax,
        bilinear_resize::BilinearResize;
    others:
        conv_statistics::ConvStatistics,
        normalize::Normalize,
        running_stats::RunningStats,
        sum_parts::SumParts,
        top_k::TopK,
        match_cells::MatchCells,
        sgd::SgdUpdate,
        adam::AdamUpdate,
        lars::LarsUpdate,
        ema::Ema,
        half::Half;
}
