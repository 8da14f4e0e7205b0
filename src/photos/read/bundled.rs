//! The photos that are built into the program: what `vista pretrain` uses when it is given none.

use include_dir::{Dir, File, include_dir};

use crate::photos::read::part::Split;
use crate::photos::read::photos::{Item, Origin, Photos};
use crate::photos::read::source::Fence;

/// `examples/photos`: free photos with their licences (`LICENCES.md`, `ATTRIBUTION.csv`).
static BUNDLED: Dir = include_dir!("$CARGO_MANIFEST_DIR/examples/photos");

impl Photos {
    /// The 573 bundled photos for training without labels.
    pub fn bundled_pretrain() -> Photos {
        let items =
            files_below("photos").into_iter().map(|(name, file)| item(name, file, Vec::new())).collect();
        Photos { items, ..Photos::at("the bundled photos", Fence::default()) }
    }

    /// The 215 bundled photos of six classes: bird, fish, landmark, mammal, tool, windmill.
    ///
    /// The train photos are also among [`Photos::bundled_pretrain`], the 66 test photos are not.
    pub fn bundled_labelled(split: Split) -> Photos {
        let files = files_below("labelled"); // CLASS/PART/NAME.jpg
        let class = |name: &str| name.split('/').next().unwrap_or("").to_string();
        let mut classes: Vec<String> = files.iter().map(|(name, _)| class(name)).collect();
        classes.dedup();
        let items = files.into_iter().filter(|(name, _)| name.split('/').nth(1) == Some(split.name()));
        let items = items.map(|(name, file)| {
            let label = classes.binary_search(&class(&name)).ok();
            item(name, file, label.into_iter().collect())
        });
        let place = format_args!("the bundled labelled photos ({})", split.name());
        Photos { items: items.collect(), classes, ..Photos::at(place, Fence::default()) }
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
