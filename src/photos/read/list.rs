//! Csv lists of photos.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use crate::error::{Error, Result};
use crate::files;
use crate::photos::read::endings::is_photo;
use crate::photos::read::part::{Part, Split};
use crate::photos::read::photos::{Item, Photos};
use crate::photos::read::shelf::Shelf;
use crate::photos::read::source::Source;
use crate::photos::read::tally::Tally;

/// LIMIT: bytes of a list.
const MAX_LIST: u64 = 1 << 30;
const ADVICE: &str = "give lines of file,labels or file,labels,split";

/// Columns of a list: where the file name, the labels and the split stand.
struct Columns {
    file: usize,
    labels: Option<usize>,
    split: Option<usize>,
}

/// Headings, of letters alone, the likeliest first.
const FILE: &str = "file path image filename filepath imagepath imagefile imagefilename imagename imageid img imgpath imgfile \
                    imgname photo photopath picture relativepath";
const LABELS: &str = "labels label class classes tags category categories";
const SPLIT: &str = "split set subset partition";

impl Columns {
    /// From the headings; `None` if the line names no file column.
    fn from_headings(line: &[String]) -> Option<Columns> {
        let letters =
            |cell: &String| cell.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
        let cells: Vec<String> = line.iter().map(letters).collect();
        let find = |names: &str| names.split(' ').find_map(|name| cells.iter().position(|cell| cell == name));
        Some(Columns { file: find(FILE)?, labels: find(LABELS), split: find(SPLIT) })
    }

    /// The labels of a line.
    fn labels<'a>(&self, line: &'a [String]) -> impl Iterator<Item = &'a str> + use<'a> {
        cell(line, self.labels).split(';').map(str::trim).filter(|label| !label.is_empty())
    }
}

/// What stands in a column; nothing where there is none.
fn cell(line: &[String], column: Option<usize>) -> &str {
    column.and_then(|column| line.get(column)).map_or("", String::as_str)
}

/// Which lines of a list.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lines<'a> {
    All,
    /// Those of a split of that name.
    Named(&'a str),
    /// Those to learn from or to be judged on.
    Split(Split),
    /// Those that nothing is judged on.
    Unjudged,
}

impl Lines<'_> {
    /// Whether lines of a split are taken; `has_test`: whether there is a test part.
    fn take(self, split: &str, has_test: bool) -> bool {
        let part = Part::of(split);
        match self {
            Lines::All => true,
            Lines::Named(wanted) => {
                wanted.eq_ignore_ascii_case(split) || (part.is_some() && part == Part::of(wanted))
            }
            Lines::Split(wanted) => part == Some(Part::serving(wanted, has_test)),
            // What an encoder is judged on it must not have seen.
            Lines::Unjudged => part.is_some_and(|part| part != Part::serving(Split::Test, has_test)),
        }
    }
}

impl Photos {
    /// Photos named by a csv list: a column of files, one of labels (several joined by `;`), perhaps one of splits.
    ///
    /// Columns are found by their headings (`file`, `path`, `image`, `filename` and the like; `labels`, `label`, `class`;
    /// `split`, `set`, in any case); without such headings they are taken in the order file, labels, split. They are
    /// separated by commas, or else by tabs or semicolons. Files are relative to `root`, or else to the list's folder, or
    /// else to the folder `images` beside the list: to that which holds most of the first ones. With `split`, only its
    /// lines are taken: `train`, `Train` and `training` are the same. Classes are the sorted labels of the *whole* list,
    /// so that a label has the same number in every split; so are a photo's labels sorted, each once. A photo on several
    /// lines has the labels of all of them.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if the list can't be read, has no line of that split or no column of files, if
    /// more lines name no file than [`Source::max_broken`] allows, or if none of its files is there.
    pub fn csv(list: impl Into<Source>, root: Option<&Path>, split: Option<&str>) -> Result<Photos> {
        csv(&list.into(), root, split.map_or(Lines::All, Lines::Named))
    }
}

/// The photos of the lines that are wanted.
pub(super) fn csv(source: &Source, root: Option<&Path>, wanted: Lines) -> Result<Photos> {
    let list = &source.path;
    let beside = list.parent().unwrap_or(Path::new(""));
    let mut photos = Photos::at(list.display(), source.fence(root.unwrap_or(beside))?);
    let candidates = match root {
        Some(root) => vec![root.to_path_buf()],
        None => vec![beside.to_path_buf(), beside.join("images")],
    };
    let (columns, lines) = table(&text_of(list)?, &photos)?;
    let split_of = |line| cell(line, columns.split);
    let mut splits: BTreeMap<&str, usize> = BTreeMap::new();
    lines.iter().for_each(|line| *splits.entry(split_of(line)).or_default() += 1);
    let has_test = splits.keys().any(|split| Part::of(split) == Some(Part::Test));
    let taken: Vec<&Vec<String>> =
        lines.iter().filter(|line| wanted.take(split_of(line), has_test)).collect();
    if taken.is_empty() {
        return Err(nothing(wanted, &splits, &photos));
    }
    let classes: BTreeSet<&str> = lines.iter().flat_map(|line| columns.labels(line)).collect();
    photos.classes = classes.into_iter().map(String::from).collect();
    let names: Vec<&str> = taken.iter().map(|line| cell(line, Some(columns.file))).collect();
    let named: Vec<&str> = names.iter().copied().filter(|name| !name.is_empty()).collect();
    let mut shelf = Shelf::choose(&photos.fence, list, &candidates, &named, true)?;
    let mut nameless = Tally::new("lines", "left out");
    let mut known: HashMap<String, usize> = HashMap::new();
    for (line, name) in taken.iter().zip(&names) {
        let Some(item) = shelf.place(name).filter(|_| !name.is_empty()) else {
            nameless.note("name no file", format_args!("{:?}", line.join(",")));
            continue;
        };
        let at = *known.entry(item.name.clone()).or_insert(photos.items.len());
        if at == photos.items.len() {
            photos.items.push(item);
        }
        let number = |label: &str| photos.classes.binary_search_by(|class| class.as_str().cmp(label)).ok();
        photos.items[at].labels.extend(columns.labels(line).filter_map(number));
    }
    photos.items.iter_mut().for_each(Item::tidy);
    photos.account(&nameless, taken.len(), Some(source.max_broken))?;
    let (all, again) = (taken.len(), taken.len() - nameless.count() - photos.len());
    if again > 0 {
        photos.warn(format_args!(
            "{again} of {all} lines name a photo again: it has the labels of all of them"
        ));
    }
    if let Lines::Split(_) | Lines::Unjudged = wanted {
        for (split, n) in splits.iter().filter(|(split, _)| Part::of(split).is_none()) {
            let what = format_args!("{n} lines of the unknown split {split:?} are left out");
            photos.warn(format_args!("{what}: use train, val or test"));
        }
    }
    if let Lines::Unjudged = wanted {
        let is_judged = |split: &str| Part::of(split).is_some() && !wanted.take(split, has_test);
        for (split, n) in splits.iter().filter(|(split, _)| is_judged(split)) {
            photos.warn(format_args!("{n} lines of split {split:?} are left out: they are to judge on"));
        }
    }
    let labels = lines.iter().map(|line| cell(line, columns.labels)).filter(|cell| !cell.is_empty());
    if let Some(what) = other_separator(&labels.collect::<Vec<_>>()) {
        photos.warn(what);
    }
    Ok(photos)
}

/// The error of a list that has no line that was wanted.
fn nothing(wanted: Lines, splits: &BTreeMap<&str, usize>, photos: &Photos) -> Error {
    let known: Vec<String> =
        splits.keys().filter(|s| !s.is_empty()).map(|s| s.escape_debug().to_string()).collect();
    let choose = match known[..] {
        [] => "it has no column of splits: call one split, and its lines train or test".to_string(),
        _ => format!("choose among its splits: {}", known.join(", ")),
    };
    match wanted {
        Lines::Named(split) => photos.refused(format!("no line of split {split:?}"), choose),
        Lines::Split(split) => photos.refused(format!("no line of split {:?}", split.name()), choose),
        Lines::Unjudged if !splits.is_empty() => {
            let known: Vec<String> = known.iter().map(|split| format!("\"{split}\"")).collect();
            let what = format!("every line is of split {}", known.join(" or "));
            photos.refused(what, "give photos of split train, or a list without splits")
        }
        _ => photos.refused("an empty list", ADVICE),
    }
}

/// What a list says of its labels, of those that are there, if it joins them by something else than `;`.
fn other_separator(labels: &[&str]) -> Option<String> {
    if labels.iter().any(|cell| cell.contains(';')) {
        return None;
    }
    let holds = |cell: &str| cell.contains([',', '|']) || (cell.starts_with('[') && cell.ends_with(']'));
    let many: Vec<_> = labels.iter().filter(|cell| holds(cell)).collect();
    let first = many.first().filter(|_| 4 * many.len() >= labels.len())?;
    Some(format!(
        "{} of {} labels are like {first:?}, each taken as one class: join several labels by ;",
        many.len(),
        labels.len()
    ))
}

/// The text of a list: UTF-8, or UTF-16 if it begins with that byte order mark.
fn text_of(list: &Path) -> Result<String> {
    let bytes = files::read(files::open(list)?, list, MAX_LIST)?;
    let wide = |unit: fn([u8; 2]) -> u16| {
        let units = bytes[2..].chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    };
    Ok(match bytes.get(..2) {
        Some(b"\xff\xfe") => wide(u16::from_le_bytes),
        Some(b"\xfe\xff") => wide(u16::from_be_bytes),
        _ => files::text(bytes, list)?,
    })
}

/// A list's columns, and its lines below the headings, every cell without the spaces and quotes around it.
fn table(text: &str, photos: &Photos) -> Result<(Columns, Vec<Vec<String>>)> {
    let mut text = text.trim_start_matches('\u{feff}');
    while let Some((_, rest)) = text.split_once('\n').filter(|(first, _)| is_remark(first)) {
        text = rest;
    }
    let read = |separator: u8| -> csv::Result<Vec<Vec<String>>> {
        let mut reader = csv::ReaderBuilder::new();
        let reader = reader.has_headers(false).flexible(true).delimiter(separator);
        let bare = |cell: &str| {
            let cell = cell.trim();
            let inner = cell.strip_prefix('"').and_then(|cell| cell.strip_suffix('"'));
            inner.unwrap_or(cell).trim().to_string()
        };
        let line = |line: csv::Result<csv::StringRecord>| Ok(line?.iter().map(bare).collect());
        reader.from_reader(text.as_bytes()).records().map(line).collect()
    };
    let mut lines = read(b',').map_err(|e| photos.refused(format!("not a csv list ({e})"), ADVICE))?;
    for separator in *b"\t;" {
        // A comma may stand in labels; where it parts headings or every line, it is the separator.
        let parts = |lines: &[Vec<String>]| lines.iter().filter(|line| line.len() > 1).count();
        let headed = |lines: &[Vec<String>]| {
            lines.first().is_some_and(|l| l.len() > 1 && Columns::from_headings(l).is_some())
        };
        if headed(&lines) {
            break;
        }
        if let Ok(others) = read(separator)
            && (headed(&others) || (parts(&lines) < lines.len() && parts(&others) == others.len()))
        {
            lines = others;
            break;
        }
    }
    let Some(first) = lines.first() else {
        return Err(photos.refused("an empty list", ADVICE));
    };
    if let Some(columns) = Columns::from_headings(first) {
        lines.remove(0);
        return Ok((columns, lines));
    }
    // Headings of other words: a line without a photo's name above lines that have one.
    let has_photo = |line: &Vec<String>| line.iter().any(|cell| is_photo(Path::new(cell)));
    if !has_photo(first) && lines.get(1).is_some_and(has_photo) {
        let what = format!("no column of files among {}", first.join(", "));
        return Err(photos.refused(what, "call the column with the photos file, path or image"));
    }
    Ok((Columns { file: 0, labels: Some(1), split: Some(2) }, lines))
}

/// Whether a line is a comment above the headings, or Excel's on its separator.
fn is_remark(line: &str) -> bool {
    let cells: Vec<String> = line.split([',', ';', '\t']).map(|cell| cell.trim().replace('"', "")).collect();
    let is_photo = cells.iter().any(|cell| is_photo(Path::new(cell)));
    let is_heading = Columns::from_headings(&cells).is_some();
    line.starts_with('#') && !is_photo && !is_heading || line.to_lowercase().starts_with("sep=")
}
