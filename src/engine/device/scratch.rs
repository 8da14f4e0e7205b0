//! Working memory of the CPU twins, kept by each thread between calls.

use super::pages::Pages;
use super::real::Real;
use std::cell::RefCell;

thread_local! {
    // f64 elements: aligned for both number types.
    static FREE: RefCell<Vec<Pages>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with `count` elements of working memory of this thread; contents are arbitrary. Calls may be nested.
pub fn with_scratch<T: Real, R>(count: usize, f: impl FnOnce(&mut [T]) -> R) -> R {
    let mut buffer = FREE.with(|free| free.borrow_mut().pop()).unwrap_or_default();
    let needed = (count * size_of::<T>()).div_ceil(size_of::<f64>());
    if buffer.len() < needed {
        drop(buffer);
        buffer = Pages::zeros(needed);
    }
    let result = f(&mut bytemuck::cast_slice_mut(&mut buffer)[..count]);
    FREE.with(|free| free.borrow_mut().push(buffer));
    result
}
