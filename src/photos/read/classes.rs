//! Classes of pixels: their names, colours, and the numbers that label maps have for them.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files;

/// The label of pixels whose class is not known: they are in no loss and in no figure.
pub const IGNORED: u8 = 255;
/// LIMIT: bytes of a list of classes.
const MAX_LIST: u64 = 1 << 20;
/// LIMIT: classes; their numbers are bytes, of which one is [`IGNORED`].
pub(super) const MOST: usize = 254;
/// What people call pixels that are to be ignored, in lower case.
const VOID: [&str; 7] = ["void", "ignore", "ignored", "unlabeled", "unlabelled", "unknown", "dontcare"];

/// A class of pixels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PixelClass {
    /// Its name.
    pub name: String,
    /// Red, green and blue, as pictures show it.
    pub color: [u8; 3],
    /// Its number in the set's own label maps.
    pub id: u8,
}

/// The classes that label maps tell apart, in the order of their numbers, and what else the maps may hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PixelClasses {
    /// The classes.
    pub all: Vec<PixelClass>,
    /// Numbers of pixels that are to be ignored, beside [`IGNORED`].
    pub ignored: Vec<u8>,
}

impl PixelClasses {
    /// Classes of these names, numbered from 0.
    pub(super) fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> PixelClasses {
        let class = |(id, name): (usize, &str)| PixelClass::voc(id as u8, name);
        PixelClasses { all: names.into_iter().enumerate().map(class).collect(), ignored: Vec::new() }
    }

    /// Reads a list of classes, one a line: `[NUMBER] NAME [COLOUR]`, with a colour as `#rrggbb` or three numbers, or a number alone. Without
    /// numbers, lines are numbered from 0. Classes named void, ignore, unlabelled or the like are ignored. Commas and tabs stand for spaces; lines that begin
    /// with `#` are passed over.
    ///
    /// # Errors
    /// [`Error::Input`] if it can't be read, names the line where a number is missing, no byte, or there twice, and for fewer than two classes.
    pub fn read(path: &Path) -> Result<PixelClasses> {
        let text = files::read_text(path, MAX_LIST)?;
        let mut lines = Vec::new();
        for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.replace([',', ';', '\t'], " ");
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                lines.push((at + 1, Line::of(line)));
            }
        }
        let refused = |at: usize, what: String, advice: &str| {
            Error::input(what, format!("{} at line {at}", path.display()), advice)
        };
        let numbered = lines.iter().any(|(_, line)| line.number.is_some());
        let mut found = PixelClasses::default();
        let mut seen = [false; 256];
        for (order, (at, line)) in lines.iter().enumerate() {
            let number = match line.number {
                None if numbered => {
                    let advice = "number all classes or none";
                    return Err(refused(*at, format!("class {:?} has no number", line.name), advice));
                }
                None => order as u64,
                Some(number) => number,
            };
            let Some(id) = u8::try_from(number).ok() else {
                return Err(refused(*at, format!("class number {number}"), "number classes from 0 to 254"));
            };
            if std::mem::replace(&mut seen[usize::from(id)], true) {
                let advice = "give each class a number of its own";
                return Err(refused(*at, format!("class number {id} again"), advice));
            }
            let is_taken = |other: &&PixelClass| other.name == line.name;
            if let Some(other) = found.all.iter().find(is_taken) {
                let what = format!("class {:?} again, with the numbers {} and {id}", other.name, other.id);
                return Err(refused(*at, what, "give each class a name of its own"));
            }
            if line.number.is_none() && id == IGNORED {
                return Err(refused(*at, "a class too many".into(), "list at most 255"));
            }
            if id == IGNORED || VOID.contains(&line.name.to_lowercase().as_str()) {
                found.ignored.push(id);
            } else {
                let class = PixelClass::numbered(id, &line.name);
                found.all.push(PixelClass { color: line.color.unwrap_or(class.color), ..class });
            }
        }
        found.all.sort_by_key(|class| class.id);
        if found.all.len() < 2 {
            let advice = "list the classes, one a line: a number, a name, perhaps a colour";
            let what = "fewer than two classes of pixels";
            return Err(Error::input(what, path.display().to_string(), advice));
        }
        Ok(found)
    }

    /// The list in a folder, if there is one: `classes.txt`.
    ///
    /// # Errors
    /// As [`PixelClasses::read`].
    pub fn listed_in(folder: &Path) -> Result<Option<PixelClasses>> {
        let path = folder.join("classes.txt");
        path.is_file().then(|| PixelClasses::read(&path)).transpose()
    }

    /// What each number of a label map stands for: a class, [`IGNORED`], or nothing.
    pub(super) fn table(&self) -> [Option<u8>; 256] {
        let mut table = [None; 256];
        self.ignored.iter().for_each(|&id| table[usize::from(id)] = Some(IGNORED));
        for (class, PixelClass { id, .. }) in self.all.iter().enumerate() {
            table[usize::from(*id)] = Some(class as u8);
        }
        table[usize::from(IGNORED)] = Some(IGNORED);
        table
    }
}

impl PixelClass {
    /// A class of a set whose number 0 is the background: in the colour that VOC has for its number, black for 0.
    pub(super) fn voc(id: u8, name: &str) -> PixelClass {
        PixelClass { name: name.into(), color: voc_color(id), id }
    }

    /// A class of any other set, none of them black.
    fn numbered(id: u8, name: &str) -> PixelClass {
        PixelClass { color: voc_color(id + 1), ..PixelClass::voc(id, name) }
    }

    /// A class that is known by its number alone.
    pub(super) fn nameless(id: u8) -> PixelClass {
        PixelClass::numbered(id, &format!("class {id}"))
    }
}

/// The colour of a number: its bits, the lowest first, to the highest of red, green and blue in turn.
///
/// # Source
/// Pascal VOC's development kit, `VOClabelcolormap`.
fn voc_color(id: u8) -> [u8; 3] {
    let mut color = [0; 3];
    for bit in 0..8 {
        color[bit % 3] |= (id >> bit & 1) << (7 - bit / 3);
    }
    color
}

/// A line of a list.
struct Line {
    number: Option<u64>,
    name: String,
    color: Option<[u8; 3]>,
}

impl Line {
    fn of(line: &str) -> Line {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        // `7 sky`, `7: sky`, `7 = sky`; a number alone names its class too.
        let number = words[0].trim_end_matches([':', '=']).parse().ok();
        if number.is_some() && words.len() > 1 {
            words.remove(0);
            words.drain(..usize::from(words.len() > 1 && matches!(words[0], ":" | "=")));
        }
        let color = match words[..] {
            [_, .., last] if last.starts_with('#') => hexadecimal(last).map(|color| (color, 1)),
            [_, .., r, g, b] => [r, g, b]
                .map(|word| word.parse().ok())
                .into_iter()
                .collect::<Option<Vec<u8>>>()
                .map(|rgb| ([rgb[0], rgb[1], rgb[2]], 3)),
            _ => None,
        };
        words.truncate(words.len() - color.map_or(0, |(_, words)| words));
        Line { number, name: words.join(" "), color: color.map(|(color, _)| color) }
    }
}

/// `#rrggbb`
fn hexadecimal(word: &str) -> Option<[u8; 3]> {
    let digits = word.strip_prefix('#').filter(|digits| digits.len() == 6)?;
    let [_, r, g, b] = u32::from_str_radix(digits, 16).ok()?.to_be_bytes();
    Some([r, g, b])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<PixelClasses> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        PixelClasses::read(file.path())
    }

    #[test]
    fn a_list_of_classes_is_read_as_people_write_it() {
        let found = read("\u{feff}# ours\n0 sky\n7,traffic light,250,170,30\n\n2\troad\t#804080\n11 Void\n")
            .expect("a list");
        let names: Vec<_> =
            found.all.iter().map(|class| (class.id, class.name.as_str(), class.color)).collect();
        let expected =
            [(0, "sky", [128, 0, 0]), (2, "road", [128, 64, 128]), (7, "traffic light", [250, 170, 30])];
        assert_eq!((names, found.ignored.clone()), (expected.to_vec(), vec![11]));
        let table = found.table();
        assert_eq!(
            [table[0], table[1], table[2], table[7], table[11], table[255]],
            [Some(0), None, Some(1), Some(2), Some(IGNORED), Some(IGNORED)]
        );
        let plain = read("sky\ntraffic light\n").expect("names alone");
        assert_eq!(plain.all.iter().map(|class| class.id).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn a_list_that_says_two_things_is_refused_with_its_line() {
        for (text, line, what) in [
            ("0 sky\nroad", "line 2", "no number"),
            ("0 sky\n0 road", "line 2", "again"),
            ("0 sky\n\n300 road", "line 3", "300"),
        ] {
            let error = read(text).expect_err("refused").to_string();
            assert!(error.contains(line) && error.contains(what) && !error.contains('\n'), "{error}");
        }
        assert!(read("0 sky\n1 void").expect_err("refused").to_string().contains("fewer than two"));
    }

    #[test]
    fn colours_are_those_of_pascal_voc() {
        let known = [
            (0, [0, 0, 0]),
            (1, [128, 0, 0]),
            (15, [192, 128, 128]),
            (20, [0, 64, 128]),
            (255, [224, 224, 192]),
        ];
        known.iter().for_each(|(id, color)| assert_eq!(voc_color(*id), *color, "{id}"));
    }
}
