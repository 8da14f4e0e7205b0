//! The command's memory: where there is no more of it, one line and an exit code instead of an abort.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

#[global_allocator]
static MEMORY: Memory = Memory;

/// The system's allocator.
struct Memory;

// SAFETY: everything is passed on to the system's allocator; what it refuses does not come back.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        there(unsafe { System.alloc(layout) })
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        there(unsafe { System.alloc_zeroed(layout) })
    }
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        there(unsafe { System.realloc(memory, layout, bytes) })
    }
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) }
    }
}

unsafe extern "C" {
    /// Ends the process without what `exit` does first, which may ask for memory.
    fn _exit(code: i32) -> !;
}

fn there(memory: *mut u8) -> *mut u8 {
    static ENDING: AtomicBool = AtomicBool::new(false);
    if memory.is_null() {
        if !ENDING.swap(true, Ordering::Relaxed) {
            let line = b"error: the computer's memory is full: lower --batch or --image-size, set train.chunk, or use --half \
                         (vista explain memory)\n";
            let _ = std::io::stderr().write_all(line);
            // SAFETY: ends the process.
            unsafe { _exit(2) }
        }
        // Another thread is about to end the process.
        loop {
            std::hint::spin_loop();
        }
    }
    memory
}
