//! `print!`, `println!`, `eprint!` and `eprintln!` for the whole crate, in place of std's, which panic where they can't
//! write: a run outlives its terminal, the pipe it prints to and a full disk.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why something that was printed to standard output is lost.
static LOST: OnceLock<String> = OnceLock::new();

/// Whether standard output is for JSON alone, and what is for a person goes to standard error.
static FOR_JSON: AtomicBool = AtomicBool::new(false);

/// Whether standard output is for JSON, and nothing for a person is wanted.
static QUIET: AtomicBool = AtomicBool::new(false);

/// From now on nothing but [`json`] and errors is printed.
pub(crate) fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Whether another process speaks for this one too.
static SILENT: AtomicBool = AtomicBool::new(false);

/// From now on nothing is printed but what is [urgent].
pub(crate) fn be_silent() {
    SILENT.store(true, Ordering::Relaxed);
}

/// Whether another process speaks for this one. It takes no lock.
pub(crate) fn is_silent() -> bool {
    SILENT.load(Ordering::Relaxed)
}

/// From now on only [`json`] prints to standard output.
pub(crate) fn keep_for_json() {
    FOR_JSON.store(true, Ordering::Relaxed);
}

/// Prints for a person: to standard output, where that is not for JSON.
pub(crate) fn out(text: Arguments) {
    if QUIET.load(Ordering::Relaxed) {
        return;
    }
    match is_silent() || FOR_JSON.load(Ordering::Relaxed) {
        true => err(text),
        false => note(io::stdout().write_fmt(text)),
    }
}

/// Prints JSON to standard output.
pub(crate) fn json(text: &str) {
    note(io::stdout().write_all(text.as_bytes()));
}

/// Prints to standard error. What can't be said there can't be said at all.
pub(crate) fn err(text: Arguments) {
    if !is_silent() {
        urgent(text);
    }
}

/// Prints to standard error, whoever else speaks.
pub(crate) fn urgent(text: Arguments) {
    let _ = io::stderr().write_fmt(text);
}

/// Why something that was printed to standard output is lost, if it is. A reader who went away, as `head` does, has
/// what it wanted.
pub(crate) fn lost() -> Option<&'static str> {
    note(io::stdout().flush());
    LOST.get().map(String::as_str)
}

fn note(written: io::Result<()>) {
    match written {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => drop(LOST.set(e.to_string())),
        _ => {}
    }
}

// Named as std's, which they hide in every module that stands after this one in lib.rs.
macro_rules! print {
    ($($text:tt)*) => { $crate::print::out(format_args!($($text)*)) };
}
macro_rules! println {
    () => { $crate::print::out(format_args!("\n")) };
    ($($text:tt)*) => { $crate::print::out(format_args!("{}\n", format_args!($($text)*))) };
}
#[allow(unused_macros)] // none is in use, but std's would come back
macro_rules! eprint {
    ($($text:tt)*) => { $crate::print::err(format_args!($($text)*)) };
}
macro_rules! eprintln {
    () => { $crate::print::err(format_args!("\n")) };
    ($($text:tt)*) => { $crate::print::err(format_args!("{}\n", format_args!($($text)*))) };
}
