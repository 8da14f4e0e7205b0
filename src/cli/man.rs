//! `vista man` and `vista completions`: what a package installs beside the command.

use crate::error::{Error, Result};
use clap::CommandFactory;
use std::path::PathBuf;

/// Write man pages, one for each subcommand.
#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// Folder for the pages.
    #[arg(long, value_name = "DIR", default_value = "man")]
    out: PathBuf,
}

/// Print completions for a shell, as for `source <(vista completions bash)`.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionArgs {
    /// The shell.
    shell: clap_complete::Shell,
}

pub(super) fn man(args: &ManArgs) -> Result<()> {
    std::fs::create_dir_all(&args.out).map_err(|e| Error::io(&args.out, e))?;
    clap_mangen::generate_to(super::Cli::command(), &args.out).map_err(|e| Error::io(&args.out, e))?;
    println!("{}", args.out.join("vista.1").display());
    Ok(())
}

pub(super) fn completions(args: &CompletionArgs) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "vista", &mut script);
    print!("{}", String::from_utf8_lossy(&script));
    Ok(())
}
