//! What the system tells a process: to stop, once or twice, and that a file has grown too long.
//!
//! | signal | while a run trains | before its first step, and when all is saved |
//! |---|---|---|
//! | `INT` (Ctrl-C), `TERM`, `HUP`, `USR1` | stops after the step that is at work; a second one ends at once | ends at once |
//! | one of these that was ignored when the process began, as by `nohup` or `&` in a script | ignored | ignored |
//! | `XFSZ` | ignored: the write itself fails, as on a full disk | ignored |

use crate::print;
use libc::c_int;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

#[cfg(unix)]
const STOPS: [c_int; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1];
/// Windows' third is SIGBREAK: Ctrl-Break, a closed window, the end of the session.
#[cfg(not(unix))]
const STOPS: [c_int; 3] = [libc::SIGINT, libc::SIGTERM, 21];

/// What a stop does: ends the process, ends the run after its step, or it has been asked to.
static STATE: AtomicU8 = AtomicU8::new(AT_ONCE);
const AT_ONCE: u8 = 0;
const AFTER_STEP: u8 = 1;
const ASKED: u8 = 2;

/// True once the run was asked to stop.
static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Lets a write beyond the limit of a file's size (`ulimit -f`) fail instead of ending the process.
pub(super) fn survive_long_files() {
    #[cfg(unix)]
    // SAFETY: no handler is installed.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}

/// From now on a stop ends the process with exit code 130, but those that are ignored stay so.
pub(super) fn listen() {
    STOPS.into_iter().filter(|&signal| !is_ignored(signal)).for_each(handle);
}

/// What is true once a run was asked to stop.
pub(super) fn asked() -> Arc<AtomicBool> {
    STOP.get_or_init(Arc::default).clone()
}

/// From now on a stop makes [`asked`] true; a second one ends the process.
pub(super) fn stop_after_step() {
    STATE.store(AFTER_STEP, Ordering::SeqCst);
}

/// From now on a stop ends the process again; whether one came before.
pub(super) fn stop_at_once() -> bool {
    STATE.swap(AT_ONCE, Ordering::SeqCst) == ASKED
}

#[cfg(unix)]
fn is_ignored(signal: c_int) -> bool {
    // SAFETY: all zeros are a valid `sigaction`, and without a new action the old one is only read.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}

#[cfg(not(unix))]
fn is_ignored(_: c_int) -> bool {
    false
}

fn handle(signal: c_int) {
    let handler: extern "C" fn(c_int) = on_stop;
    // SAFETY: the handler does only what a handler may do.
    unsafe {
        libc::signal(signal, handler as libc::sighandler_t);
    }
}

/// A handler may use atomics, `signal`, `write` and `_exit`, not memory or locks.
extern "C" fn on_stop(signal: c_int) {
    handle(signal); // some systems forget a handler once it was called
    match STATE.compare_exchange(AFTER_STEP, ASKED, Ordering::SeqCst, Ordering::SeqCst) {
        Ok(_) => {
            if let Some(stop) = STOP.get() {
                stop.store(true, Ordering::Relaxed);
            }
            tell(b"stopping after this step; once more stops at once\n");
        }
        Err(state) => {
            tell(if state == ASKED {
                b"stopped at once: what came after the last checkpoint is lost\n"
            } else {
                b"stopped at once\n"
            });
            // SAFETY: ends the process; files are closed and locks are given back by the system.
            unsafe { libc::_exit(130) }
        }
    }
}

fn tell(line: &[u8]) {
    if print::is_silent() {
        return;
    }
    // SAFETY: the bytes are there; a terminal that is gone is no matter.
    unsafe {
        libc::write(2, line.as_ptr().cast(), line.len() as _);
    }
}
