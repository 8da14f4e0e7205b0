//! The photos that are built into the program: what `vista pretrain` uses when it is given none.

use include_dir::{Dir, File, include_dir};

use crate::photos::read::part::Split;
use crate::photos::read::photos::Photos;
use crate::photos::read::photos::{Item, Origin};

/// `examples/photos`: free photos with their licences (`LICENCES.md`, `ATTRIBUTION.csv`).
static BUNDLED: Dir = include_dir!("$CARGO_MANIFEST_DIR/examples/photos");

impl Photos {
    /// The 573 bundled photos for training without labels.
    pub fn bundled_pretrain() -> Photos {
        let files = files_below("photos");
        let items = files.into_iter().map(|(name, file)| item(name, file, Vec::new())).collect();
        Photos::from_items("the bundled photos".into(), items, Vec::new())
    }

    /// The 215 bundled photos of six classes: bird, fish, landmark, mammal, tool, windmill.
    ///
    /// The train photos are also among [`Photos::bundled_pretrain`], the 66 test photos are not.
    pub fn bundled_labelled(split: Split) -> Photos {
        let files = files_below("labelled"); // CLASS/PART/NAME.jpg
        let classes = |(name, _): &(String, &File)| name.split('/').next().unwrap_or("").to_string();
        let mut names: Vec<String> = files.iter().map(classes).collect();
        names.dedup();
        let items = files
            .iter()
            .filter(|(name, _)| name.split('/').nth(1) == Some(split.name()))
            .map(|file| {
                let label = names.binary_search(&classes(file)).ok();
                item(file.0.clone(), file.1, label.into_iter().collect())
            })
            .collect();
        Photos::from_items(format!("the bundled labelled photos ({})", split.name()), items, names)
    }
}

fn item(name: String, file: &'static File<'static>, labels: Vec<usize>) -> Item {
    Item::new(name, Origin::Bytes(file.contents().into()), labels)
}

/// All files below a bundled folder as (name relative to it, file), sorted by name.
fn files_below(folder: &str) -> Vec<(String, &'static File<'static>)> {
    let mut open: Vec<&Dir> = BUNDLED.get_dir(folder).into_iter().collect();
    let mut files = Vec::new();
    while let Some(dir) = open.pop() {
        open.extend(dir.dirs());
        files.extend(dir.files().filter_map(|file| {
            let path = file.path().strip_prefix(folder).ok()?;
            Some((path.to_string_lossy().replace('\\', "/"), file))
        }));
    }
    files.sort_by(|a, b| a.0.cmp(&b.0));
    files
}
