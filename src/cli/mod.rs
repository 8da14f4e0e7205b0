//! The `vista` command, one file per subcommand. Exit codes: 0 done, 1 failed run, 2 usage or bad input,
//! 130 interrupted.

/// Prints a line for a person: on standard output, or on standard error where standard output is for JSON.
macro_rules! say {
    () => { say!("") };
    ($($text:tt)*) => {
        if $crate::cli::PRINTS_JSON.load(std::sync::atomic::Ordering::Relaxed) {
            eprintln!($($text)*)
        } else {
            println!($($text)*)
        }
    };
}

mod bench;
mod devices;
mod doctor;
mod embed;
mod explain;
mod export;
mod figures;
mod finetune;
mod import;
mod judged;
mod knn;
mod man;
mod paths;
mod presets;
mod pretrain;
mod probe;
mod report;
mod search;
mod signals;
mod sweep;
mod tune;
mod voc;
mod watch;
mod worth;

use crate::error::{Error, Result, no_thread};
use crate::{print, shell};
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
pub use pretrain::judge_of;

use paths::{Files, Output};
use std::sync::atomic::{AtomicBool, Ordering};

/// Self-supervised pretraining of image encoders on photos of whole scenes.
#[derive(Debug, Parser)]
#[command(name = "vista", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Pretrain an encoder on photos without labels.
    Pretrain(Box<pretrain::Args>),
    /// Judge a checkpoint by weighted kNN on labelled photos.
    Knn(knn::Args),
    /// Judge a checkpoint by a linear classifier on its frozen features.
    Probe(probe::Args),
    // What the next two say of themselves is longer and stands in their files.
    Figures(figures::Args),
    Sweep(Box<sweep::Args>),
    /// Judge a checkpoint by multi-label classification of its frozen features.
    Voc(voc::Args),
    /// Fine-tune the whole network of a checkpoint on labelled photos.
    Finetune(finetune::Args),
    Worth(Box<worth::Args>),
    // So is what these say.
    Export(export::Args),
    Import(import::Args),
    Embed(embed::Args),
    Search(search::Args),
    Report(report::Args),
    Watch(watch::Args),
    Bench(bench::Args),
    /// List the devices of this machine and which one `auto` takes.
    Devices,
    /// Find the fastest kernels for this machine's GPU, once for each GPU and driver.
    Tune(tune::Args),
    /// Check every op of a device against its f64 definition.
    Doctor(doctor::Args),
    // These three say it themselves.
    Explain(explain::Args),
    Man(man::ManArgs),
    Completions(man::CompletionArgs),
}

/// Whether standard output is for JSON: `--json -`.
static PRINTS_JSON: AtomicBool = AtomicBool::new(false);

/// Parses the arguments and runs the command; returns the exit code.
pub fn run() -> i32 {
    let matches = Cli::command().get_matches();
    signals::survive_long_files();
    // A run's product is in its folder; elsewhere it may be what is printed.
    let printed = !matches!(matches.subcommand_name(), Some("pretrain" | "sweep" | "finetune"));
    // The threads that all work shares, where the system may refuse them: without them the first work would panic.
    let threads = rayon::ThreadPoolBuilder::new().build_global().map_err(no_thread);
    let code = match threads.and_then(|()| execute(&matches)) {
        Ok(()) => 0,
        Err(Error::Interrupted(what)) => {
            eprintln!("{}", as_called(&what));
            130
        }
        Err(error) => {
            eprintln!("error: {}", as_called(&error.to_string()));
            error.exit_code()
        }
    };
    match print::lost() {
        Some(why) => {
            eprintln!(
                "warning: standard output could not be written ({why}): what was printed there is lost"
            );
            if code == 0 { i32::from(printed) } else { code }
        }
        None => code,
    }
}

/// A text whose commands, in backticks or as a page to read, name the program as it was called.
fn as_called(text: &str) -> String {
    let program = shell::program();
    text.replace("`vista ", &format!("`{program} ")).replace("(vista explain", &format!("({program} explain"))
}

/// Runs a command, if its outputs spare its inputs and whatever else is there.
fn execute(matches: &ArgMatches) -> Result<()> {
    let command = Cli::from_arg_matches(matches).unwrap_or_else(|e| e.exit()).command;
    let (files, work) = prepared(&command)?;
    let definition = Cli::command();
    if let Some((name, matches)) = matches.subcommand()
        && let Some(definition) = definition.find_subcommand(name)
    {
        let json = matches.try_get_one::<Output>("json").ok().flatten();
        PRINTS_JSON.store(json.is_some_and(|json| json.file().is_none()), Ordering::Relaxed);
        files.with_inputs(definition, matches).check()?;
    }
    work()
}

/// The files that a command writes, and its work.
type Prepared<'a> = (Files, Box<dyn FnOnce() -> Result<()> + 'a>);

fn prepared(command: &Command) -> Result<Prepared<'_>> {
    let none = Files::default();
    let prepared: Prepared = match command {
        Command::Pretrain(args) => (pretrain::files(args)?, Box::new(|| pretrain::run(args))),
        Command::Knn(args) => (knn::files(args)?, Box::new(|| knn::run(args))),
        Command::Probe(args) => (probe::files(args)?, Box::new(|| probe::run(args))),
        Command::Figures(args) => (figures::files(args), Box::new(|| figures::run(args))),
        Command::Sweep(args) => (sweep::files(args)?, Box::new(|| sweep::run(args))),
        Command::Voc(args) => (voc::files(args)?, Box::new(|| voc::run(args))),
        Command::Finetune(args) => (finetune::files(args)?, Box::new(|| finetune::run(args))),
        Command::Worth(args) => (worth::files(args)?, Box::new(|| worth::run(args))),
        Command::Export(args) => (export::files(args), Box::new(|| export::run(args))),
        Command::Import(args) => (import::files(args), Box::new(|| import::run(args))),
        Command::Embed(args) => (embed::files(args)?, Box::new(|| embed::run(args))),
        Command::Search(args) => (search::files(args)?, Box::new(|| search::run(args))),
        Command::Report(args) => (report::files(args), Box::new(|| report::run(args))),
        Command::Watch(args) => (none, Box::new(|| watch::run(args))),
        Command::Bench(args) => (bench::files(args), Box::new(|| bench::run(args))),
        Command::Devices => (none, Box::new(devices::run)),
        Command::Tune(args) => (none, Box::new(|| tune::run(args))),
        Command::Doctor(args) => (none, Box::new(|| doctor::run(args))),
        Command::Explain(args) => (none, Box::new(|| explain::run(args))),
        Command::Man(args) => {
            (man::files(args, &Cli::command()), Box::new(|| man::man(args, Cli::command())))
        }
        Command::Completions(args) => (none, Box::new(|| man::completions(args, Cli::command()))),
    };
    Ok(prepared)
}
