//! Wide vector instructions in a binary that runs everywhere.

/// Runs `f` compiled for the widest vector unit of the processor at hand.
///
/// Rust compiles for the oldest processor of a family (on x86-64 four floats wide and without fused multiply-add).
/// Everything that is inlined into `f` is compiled a second time for AVX2 and picked at run time, so plain loops over
/// slices run two to four times faster. Loops in functions that are not inlined stay as they are: mark helpers
/// `#[inline(always)]`, and put the call inside the parallel loop, not around it.
///
/// Results do not depend on the choice: no operation is contracted or reordered.
#[inline(always)]
pub fn vectorised<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}
