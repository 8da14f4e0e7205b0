//! The `vista` command, one file per subcommand. Exit codes: 0 done, 1 failed run, 2 usage or bad input,
//! 130 interrupted.
//!
//! ```
//! # use vista::{cli::judge_of, pretrain::Config};
//! let judge = judge_of(&Config::preset("demo")?)?.expect("the bundled photos have classes"); // kNN, for a `Trainer`
//! assert_eq!(judge.protocol(), "leave_one_out");
//! # Ok::<(), vista::Error>(())
//! ```

mod bench;
mod detect;
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
mod ranks;
mod report;
mod runs;
mod search;
mod segment;
mod signals;
mod sweep;
mod tune;
mod voc;
mod watch;
mod worth;

use crate::error::{Error, Result, no_thread};
use crate::run::Provenance;
use crate::{files, print, shell};
use clap::{Arg, ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand, value_parser};
pub use pretrain::judge_of;

use paths::{Files, Mark, Output};
use serde_json::{Value, json};
use std::path::Path;

/// Self-supervised pretraining of image encoders on photos of whole scenes.
#[derive(Debug, Parser)]
#[command(name = "vista", version = VERSION, about, arg_required_else_help = true)]
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
    Detect(Box<detect::Args>),
    Segment(Box<segment::Args>),
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

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("VISTA_COMMIT"), ")");

/// Commands that print a text or serve a page: they have no `--json`.
const TEXTS: [&str; 4] = ["watch", "explain", "man", "completions"];

/// The whole command line.
fn definition() -> clap::Command {
    let json = Arg::new("json").long("json").value_name("FILE").value_parser(value_parser!(Output)).help(
        "File for what the command came to, as JSON; `-` prints it to standard output, and all else to standard error",
    );
    Cli::command().mut_subcommands(|command| match TEXTS.contains(&command.get_name()) {
        true => command,
        false => command.arg(json.clone()),
    })
}

/// Parses the arguments and runs the command; returns the exit code.
pub fn run() -> i32 {
    // ORDER: before any thread, all of which keep to this process's share of the processors.
    let joined = ranks::join();
    let matches = match definition().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            if ranks::all().rank() == 0 {
                let _ = error.print();
            }
            let _ = ranks::all().close(None);
            return error.exit_code();
        }
    };
    signals::survive_long_files();
    let is_quiet = |args: &ArgMatches| matches!(args.try_get_one("quiet"), Ok(Some(true)));
    match matches.subcommand().is_some_and(|(_, args)| is_quiet(args)) {
        true => print::be_quiet(),
        false => files::while_reading(judged::reading),
    }
    // A run's product is in its folder; elsewhere it may be what is printed.
    let printed =
        !matches!(matches.subcommand_name(), Some("pretrain" | "sweep" | "finetune" | "detect" | "segment"));
    // The threads that all work shares, where the system may refuse them: without them the first work would panic.
    let threads = rayon::ThreadPoolBuilder::new().build_global().map_err(no_thread);
    let done = joined.and(threads).and_then(|()| execute(&matches));
    let code = match ranks::leave(done) {
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

/// Runs a command, if its outputs spare its inputs and whatever else is there, and writes its JSON.
fn execute(matches: &ArgMatches) -> Result<()> {
    let command = Cli::from_arg_matches(matches).unwrap_or_else(|e| e.exit()).command;
    let Some((name, matches)) = matches.subcommand() else { return Ok(()) };
    ranks::expect_shared(name)?;
    let asked = matches.try_get_one::<Output>("json").ok().flatten();
    if asked.is_some_and(|json| json.file().is_none()) {
        print::keep_for_json();
    }
    let (files, work) = prepared(name, &command, asked)?;
    let json = files.json.clone();
    if ranks::all().rank() > 0 {
        return work().map(drop);
    }
    match definition().find_subcommand(name) {
        Some(definition) => files.with_inputs(definition, matches).check()?,
        None => files.check()?,
    }
    let facts = work()?;
    if asked.is_none() && json.is_none() {
        return Ok(());
    }
    let provenance = Provenance::now(None);
    let mut all = json!({ "command": name, "vista": provenance.vista, "provenance": provenance });
    judged::extend(&mut all, facts);
    let text = format!("{all:#}\n");
    match json {
        None => print::json(&text),
        Some(path) => {
            files::replace(&path, text.as_bytes())?;
            if asked.is_none() {
                println!("figures  {}", path.display());
            }
        }
    }
    Ok(())
}

/// The files that a command writes, and its work, which ends with what it has to say in JSON.
type Prepared<'a> = (Files, Box<dyn FnOnce() -> Result<Value> + 'a>);

fn prepared<'a>(name: &str, command: &'a Command, json: Option<&Output>) -> Result<Prepared<'a>> {
    let none = Files::default();
    let (files, work): Prepared = match command {
        Command::Pretrain(args) => (pretrain::files(args)?, Box::new(|| pretrain::run(args))),
        Command::Knn(args) => (knn::files(args)?, Box::new(|| knn::run(args))),
        Command::Probe(args) => (probe::files(args)?, Box::new(|| probe::run(args))),
        Command::Figures(args) => (figures::files(args), Box::new(|| figures::run(args))),
        Command::Sweep(args) => (sweep::files(args)?, Box::new(|| sweep::run(args))),
        Command::Voc(args) => (voc::files(args)?, Box::new(|| voc::run(args))),
        Command::Finetune(args) => (finetune::files(args)?, Box::new(|| finetune::run(args))),
        Command::Worth(args) => (worth::files(args)?, Box::new(|| worth::run(args))),
        Command::Detect(args) => (detect::files(args)?, Box::new(|| detect::run(args))),
        Command::Segment(args) => (segment::files(args)?, Box::new(|| segment::run(args))),
        Command::Export(args) => (export::files(args), Box::new(|| export::run(args))),
        Command::Import(args) => (import::files(args), Box::new(|| import::run(args))),
        Command::Embed(args) => (embed::files(args)?, Box::new(|| embed::run(args))),
        Command::Search(args) => (search::files(args)?, Box::new(|| search::run(args))),
        Command::Report(args) => (report::files(args)?, Box::new(|| report::run(args))),
        Command::Watch(args) => (none, Box::new(|| watch::run(args).map(|()| Value::Null))),
        Command::Bench(args) => (none, Box::new(|| bench::run(args))),
        Command::Devices => (none, Box::new(devices::run)),
        Command::Tune(args) => (none, Box::new(|| tune::run(args))),
        Command::Doctor(args) => (none, Box::new(|| doctor::run(args))),
        Command::Explain(args) => (none, Box::new(|| explain::run(args).map(|()| Value::Null))),
        Command::Man(args) => {
            let work = Box::new(|| man::man(args, definition()).map(|()| Value::Null));
            (man::files(args, &definition()), work)
        }
        Command::Completions(args) => {
            (none, Box::new(|| man::completions(args, definition()).map(|()| Value::Null)))
        }
    };
    let path = json.map_or(files.json.clone(), |json| json.file().map(Path::to_path_buf));
    let mut files = files.file("--json", path.as_deref(), Mark::Command(name.into()));
    files.json = path;
    Ok((files, work))
}

#[cfg(test)]
#[path = "../../tests/unit/cli/documented.rs"]
mod tests;
