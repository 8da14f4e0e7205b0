//! `vista man` and `vista completions`: what a package installs beside the command.

use super::paths::{Files, Mark, Output};
use crate::error::{Error, Result};
use clap::Command;

/// Write man pages, one for each subcommand.
#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// Folder for the pages.
    #[arg(long, value_name = "DIR", default_value = "man")]
    out: Output,
}

/// Print completions for a shell, as for `source <(vista completions bash)`.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionArgs {
    /// The shell.
    shell: clap_complete::Shell,
}

/// The names of the pages, as the man pages themselves have them.
pub(super) fn files(args: &ManArgs, command: &Command) -> Files {
    let inner = command.get_subcommands().map(|sub| format!("vista-{}.1", sub.get_name()));
    let pages = inner.chain(["vista.1".to_string(), "vista-help.1".into()]);
    Files::default().folder("--out", &args.out, pages.map(|page| (page, Mark::Words(".TH vista"))))
}

pub(super) fn man(args: &ManArgs, command: Command) -> Result<()> {
    std::fs::create_dir_all(&args.out).map_err(|e| Error::io(&args.out, e))?;
    clap_mangen::generate_to(command, &args.out).map_err(|e| Error::io(&args.out, e))?;
    println!("{}", args.out.join("vista.1").display());
    Ok(())
}

pub(super) fn completions(args: &CompletionArgs, mut command: Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "vista", &mut script);
    print!("{}", String::from_utf8_lossy(&script));
    Ok(())
}
