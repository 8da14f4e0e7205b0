//! Tells the crate which commit it is built of, in `VISTA_COMMIT`.

use std::path::Path;
use std::process::Command;

/// What the crate is made of. Only a change of these builds it again, so a commit alone does not; the commit is that of the
/// last build, whose sources these are.
const SOURCES: [&str; 6] = ["build.rs", "Cargo.toml", "Cargo.lock", "src", "shaders", "examples/photos"];

fn main() {
    for source in SOURCES.iter().filter(|source| Path::new(source).exists()) {
        println!("cargo:rerun-if-changed={source}");
    }
    let commit = of_git().or_else(of_archive).unwrap_or("unknown".into());
    println!("cargo:rustc-env=VISTA_COMMIT={commit}");
}

/// HEAD of this folder's own repository, and whether a source differs from it.
fn of_git() -> Option<String> {
    // An archive that lies in a repository of something else is not of its commit.
    Path::new(".git").exists().then_some(())?;
    let head = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&[["status", "--porcelain", "--"].as_slice(), &SOURCES].concat())?;
    Some(if changed.is_empty() { head } else { format!("{head}+changes") })
}

fn git(arguments: &[&str]) -> Option<String> {
    let mut git = Command::new("git");
    // Inside a hook these name another repository.
    git.env_remove("GIT_DIR").env_remove("GIT_WORK_TREE").env_remove("GIT_INDEX_FILE");
    let output = git.arg("--no-optional-locks").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_string())
}

/// What `cargo package` notes in a crate's archive.
fn of_archive() -> Option<String> {
    let noted = std::fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, after) = noted.split_once("\"sha1\"")?;
    let commit: String = after.chars().skip_while(|c| !c.is_ascii_hexdigit()).take(12).collect();
    Some(if noted.contains("\"dirty\": true") { format!("{commit}+changes") } else { commit })
}
