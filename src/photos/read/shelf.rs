//! Finding the photos that a list names: as written, or as other systems and programs write the same.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::photos::read::endings::{bare, is_photo};
use crate::photos::read::photos::{Item, Origin};
use crate::photos::read::records::stays_inside;
use crate::photos::read::source::Fence;

/// How many names tell in which folder the photos lie.
const FIRST: usize = 100;

/// A folder of photos, looked through once.
pub(super) struct Shelf {
    root: PathBuf,
    /// Whether a name may also be any path, which the fence then judges.
    any_path: bool,
    folders: HashMap<PathBuf, Folder>,
}

/// The files of one folder.
#[derive(Default)]
struct Folder {
    names: HashSet<String>,
    /// Photos by their names without endings, in lower case.
    stems: HashMap<String, Vec<String>>,
}

impl Shelf {
    pub(super) fn new(root: PathBuf, any_path: bool) -> Shelf {
        Shelf { root, any_path, folders: HashMap::new() }
    }

    /// That of the candidates which holds most of the first photos, or else any.
    ///
    /// # Errors
    /// [`Error::Input`] if none holds any, or if a link leads out to it.
    pub(super) fn choose(
        fence: &Fence,
        list: &Path,
        candidates: &[PathBuf],
        names: &[&str],
        any_path: bool,
    ) -> Result<Shelf> {
        let mut shelves: Vec<Shelf> =
            candidates.iter().map(|root| Shelf::new(root.clone(), any_path)).collect();
        let best = [&names[..names.len().min(FIRST)], names].into_iter().find_map(|names| {
            let found_on = |shelf: &mut Shelf| names.iter().filter_map(|name| shelf.find(name)).collect();
            let found = shelves.iter_mut().map(found_on).enumerate();
            let found = found.filter(|(_, found): &(usize, Vec<String>)| !found.is_empty());
            found.max_by_key(|(number, found)| (found.len(), Reverse(*number)))
        });
        if let Some((number, found)) = best {
            let shelf = shelves.swap_remove(number);
            fence.check(&shelf.root.join(&found[0]))?;
            return Ok(shelf);
        }
        let folder =
            |c: &PathBuf| if c.as_os_str().is_empty() { ".".into() } else { c.display().to_string() };
        let looked = candidates.iter().map(folder).collect::<Vec<_>>().join(", ");
        let what = match names {
            [] => "no photo is named".to_string(),
            [first, ..] => format!("its photos are not there, such as {first:?}"),
        };
        let advice = format!("put the photos in one of the folders {looked}");
        Err(Error::input(what, list.display().to_string(), advice))
    }

    /// A photo by its name, which is then that on the shelf, with `/`: the name as written, with `\` read as `/`,
    /// with the percent signs of an address decoded, or, if it leads out of any folder, as much of its end as there
    /// is; with another ending, or in another case, if only that is there. A photo that is not there keeps its name.
    /// `None` if the name leads out and nothing of it is here.
    pub(super) fn place(&mut self, name: &str) -> Option<Item> {
        let written = name.replace('\\', "/");
        let kept = (self.any_path || stays_inside(&written)).then_some(written);
        let name = self.find(name).or(kept)?;
        let path = self.root.join(&name);
        Some(Item::new(name, Origin::File(path), Vec::new()))
    }

    /// [`Shelf::place`], of a photo that is there.
    fn find(&mut self, name: &str) -> Option<String> {
        if self.any_path && !stays_inside(name) && self.root.join(name).is_file() {
            return Some(name.to_string());
        }
        forms(name).iter().find_map(|form| self.look_up(form))
    }

    fn look_up(&mut self, name: &str) -> Option<String> {
        let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
        let path = self.root.join(folder);
        let listed = self.folders.entry(path.clone()).or_insert_with(|| Folder::list(&path));
        let file = listed.file(file)?;
        Some(if folder.is_empty() { file.to_string() } else { format!("{folder}/{file}") })
    }
}

impl Folder {
    fn list(path: &Path) -> Folder {
        let mut folder = Folder::default();
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_photo(Path::new(&name)) {
                folder.stems.entry(bare(&name).to_lowercase()).or_default().push(name.clone());
            }
            folder.names.insert(name);
        }
        folder.stems.values_mut().for_each(|names| names.sort());
        folder
    }

    /// The file of a name: itself, the same with another ending of a photo, or the only one that differs in case.
    fn file(&self, name: &str) -> Option<&str> {
        if let Some(name) = self.names.get(name) {
            return Some(name);
        }
        let near = self.stems.get(&bare(name).to_lowercase())?;
        let same = near.iter().find(|other| bare(other) == bare(name));
        same.or(near.first().filter(|_| near.len() == 1)).map(String::as_str)
    }
}

/// What a written name may mean, inside a folder, the likeliest first.
fn forms(name: &str) -> Vec<String> {
    let plain = name.strip_prefix("./").unwrap_or(name);
    let mut forms = vec![plain.to_string()];
    let address =
        plain.split_once("://").filter(|(scheme, _)| scheme.bytes().all(|b| b.is_ascii_alphanumeric()));
    if plain.contains('\\') {
        forms.push(plain.replace('\\', "/"));
    }
    if let Some((_, rest)) = address {
        forms = vec![rest.split(['?', '#']).next().unwrap_or(rest).to_string(), rest.to_string()];
    }
    if plain.contains('%') {
        let decoded: Vec<String> = forms.iter().filter_map(|form| percent_decoded(form)).collect();
        forms.extend(decoded);
    }
    let ends: Vec<String> = match stays_inside(plain) && address.is_none() {
        true => Vec::new(),
        false => forms.iter().flat_map(|form| ends(&form.replace('\\', "/"))).collect(),
    };
    forms.extend(ends);
    forms.retain(|form| stays_inside(form));
    forms
}

/// `/a/../b/c.jpg` -> `b/c.jpg`, `c.jpg`: the ends of a path that hold no way up, the longest first.
fn ends(path: &str) -> Vec<String> {
    let behind = path.rsplit("../").next().unwrap_or(path);
    let parts: Vec<&str> =
        behind.split('/').filter(|part| !part.is_empty() && !part.ends_with(':')).collect();
    (0..parts.len()).map(|from| parts[from..].join("/")).collect()
}

/// `a%20b` -> `a b`; `None` if it is no text then.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let code = behind.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match code.and_then(|two| u8::from_str_radix(two, 16).ok()).filter(|_| byte == b'%') {
            Some(decoded) => (bytes.push(decoded), rest = &behind[2..]),
            None => (bytes.push(byte), rest = behind),
        };
    }
    String::from_utf8(bytes).ok()
}
