//! Wide vector instructions in a binary that runs everywhere.

/// Runs `f` compiled for the widest vector unit of the processor at hand.
///
/// Rust compiles for the oldest processor of a family (on x86-64 four floats wide and without fused multiply-add).
/// Everything that is inlined into `f` is compiled again for AVX2 and for AVX-512 and picked at run time, so plain loops over
/// slices run two to four times faster. What is not inlined stays as it is: mark helpers and `f` itself
/// `#[inline(always)]` (the compiler leaves a long closure out of line), avoid library functions that take closures
/// (such as `array::from_fn`), and put the call inside the parallel loop, not around it.
///
/// Results do not depend on the choice: no operation is contracted or reordered.
#[inline(always)]
pub fn vectorised<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}
