//! The program as a person calls it, in a working folder of its own: whatever it writes where it stands, it neither finds
//! what others have left there nor leaves anything.
#![allow(dead_code)] // each file of tests needs a part

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Calls the program in a fresh folder that is removed afterwards.
pub fn vista(args: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("folder");
    command(folder.path()).args(args).output().expect("the program runs")
}

/// The program, to be called in this folder.
pub fn command(folder: &Path) -> Command {
    quiet(Command::new(env!("CARGO_BIN_EXE_vista")), folder)
}

/// The program behind a line of `sh`, in which `vista` stands for it.
pub fn shell(folder: &Path, line: &str) -> Command {
    let mut command = Command::new("sh");
    let program = Path::new(env!("CARGO_BIN_EXE_vista")).parent().expect("a folder").to_path_buf();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(program).chain(std::env::split_paths(&path));
    command.args(["-c", line]).env("PATH", std::env::join_paths(path).expect("a path"));
    quiet(command, folder)
}

/// The figures that a judging command has written into this folder by itself: COMMAND-PHOTOS-DIGEST.json.
pub fn figures(folder: &Path, command: &str) -> PathBuf {
    let entries = std::fs::read_dir(folder).expect("folder");
    let mut paths = entries.map(|entry| entry.expect("an entry").path());
    let is = |path: &PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        name.starts_with(&format!("{command}-")) && name.ends_with(".json")
    };
    paths.find(is).unwrap_or_else(|| panic!("no figures of {command} in {}", folder.display()))
}

/// A folder `photos` of a few small ones in this folder.
pub fn photos(folder: &Path) {
    let photos = folder.join("photos");
    std::fs::create_dir_all(&photos).expect("folder");
    for i in 0..8 {
        let pixel = |x, y| image::Rgb([i * 30, (x * 8) as u8, (x * y) as u8]);
        image::RgbImage::from_fn(30, 20, pixel).save(photos.join(format!("{i}.png"))).expect("a photo");
    }
}

fn quiet(mut command: Command, folder: &Path) -> Command {
    // Outside a desktop session a Vulkan driver complains on stderr about this variable, in lines that are not ours.
    command.env("XDG_RUNTIME_DIR", std::env::temp_dir()).current_dir(folder);
    command
}
