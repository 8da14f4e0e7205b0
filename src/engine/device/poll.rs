//! A wait for a device that ends in an error where wgpu panics.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static WAITING: Cell<bool> = const { Cell::new(false) };
}

/// Waits until the device is idle.
///
/// LIMIT: wgpu 30 panics in a poll that meets a lost device, after it has told the device's callback. The panic is caught
/// and not printed.
///
/// # Errors
/// What went wrong, in words.
pub(super) fn wait(device: &wgpu::Device) -> Result<(), String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = take_hook();
        set_hook(Box::new(move |panic| {
            if !WAITING.get() {
                print(panic);
            }
        }));
    });
    WAITING.set(true);
    let polled = catch_unwind(AssertUnwindSafe(|| device.poll(wgpu::PollType::wait_indefinitely())));
    WAITING.set(false);
    match polled {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(e)) => Err(format!("the device stopped answering ({e})")),
        Err(_) => Err("the device stopped answering".into()),
    }
}
