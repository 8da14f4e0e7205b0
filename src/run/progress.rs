//! Progress of a long job, for a person.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Progress on the terminal; in a pipe, a line now and then instead of a bar.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    piped: bool,
    quiet: bool,
    said: Instant,
}

/// In a pipe, at most one line of progress in this time.
const QUIET: Duration = Duration::from_secs(20);

impl Progress {
    /// Progress over `total` units (steps, or seconds where time is what ends the run).
    pub fn new(total: u64) -> Progress {
        let piped = !std::io::stderr().is_terminal();
        let bar = if piped { ProgressBar::hidden() } else { ProgressBar::new(total) };
        // The message is cut off where the terminal ends; what stands before it must leave it room.
        let template = match console::Term::stderr().size().1 {
            0..100 => "{percent:>3}% {wide_msg}",
            100.. => "{bar:24} {percent:>3}% {elapsed} of about {duration}  {wide_msg}",
        };
        bar.set_style(ProgressStyle::with_template(template).expect("a valid template"));
        Progress { bar, piped, quiet: false, said: Instant::now() }
    }

    /// The same, saying nothing if `quiet`.
    pub fn quiet_if(self, quiet: bool) -> Progress {
        let bar = if quiet { ProgressBar::hidden() } else { self.bar };
        Progress { bar, quiet, ..self }
    }

    /// Shows where the run is.
    pub fn at(&mut self, done: u64, message: impl Fn() -> String) {
        if self.quiet {
            return;
        }
        if !self.piped {
            self.bar.set_position(done);
            self.bar.set_message(message());
        } else if self.said.elapsed() >= QUIET {
            self.said = Instant::now();
            eprintln!("{}", message());
        }
    }

    /// Prints a line that stays.
    pub fn say(&self, line: &str) {
        if self.quiet {
            return;
        }
        if self.piped { eprintln!("{line}") } else { self.bar.println(line) }
    }

    /// Ends the bar.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
