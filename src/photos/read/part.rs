//! Words for the parts of a set, as people write them: `train`, `Testing`, `val`.

use std::path::{Path, PathBuf};

/// Which half of a labelled set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// To be learned from, or to be the neighbours of a kNN classifier.
    Train,
    /// To be judged on.
    Test,
}

impl Split {
    /// `train` or `test`: the name of a folder, or of a csv list's split.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Test => "test",
        }
    }
}

/// What a part of a set is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// To learn from, with labels.
    Train,
    /// To be judged on where there is no test part.
    Val,
    /// To be judged on.
    Test,
    /// To learn from without labels.
    Extra,
}

impl Part {
    /// The part that a word means, in any case; `None` for a word that nobody uses for one.
    pub(super) fn of(word: &str) -> Option<Part> {
        Some(match word.trim().to_ascii_lowercase().as_str() {
            "train" | "training" | "trainval" => Part::Train,
            "val" | "valid" | "validation" | "dev" => Part::Val,
            "test" | "testing" | "eval" | "evaluation" => Part::Test,
            "" | "pretrain" | "unlabeled" | "unlabelled" | "extra" => Part::Extra,
            _ => return None,
        })
    }

    /// The part that serves a split, of those that there are: `val` is judged on where there is no `test`.
    pub(super) fn serving(split: Split, has_test: bool) -> Part {
        match split {
            Split::Train => Part::Train,
            Split::Test if has_test => Part::Test,
            Split::Test => Part::Val,
        }
    }
}

/// The folder for a part in another, however its name is written; of several the published spelling.
pub(super) fn folder(root: &Path, part: Part) -> Option<PathBuf> {
    let mut names = names_in(root);
    names.retain(|name| Part::of(name) == Some(part) && root.join(name).is_dir());
    names.sort_by_key(|name| !["train", "val", "test"].contains(&name.as_str()));
    names.first().map(|name| root.join(name))
}

/// The names in a folder, sorted; none if it can't be read.
pub(super) fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The folders to learn from and to be judged on, each if it is there.
pub(super) fn folders(root: &Path) -> [Option<PathBuf>; 2] {
    let judged = folder(root, Part::Test).or_else(|| folder(root, Part::Val));
    [folder(root, Part::Train), judged]
}
