//! JSON as people and programs write it: `NaN`, ids as text, one odd entry in a list. The text itself must be sound.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::de::{DeserializeOwned, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::files::{self, at_byte};
use crate::photos::read::records::AGAIN;
use crate::photos::read::tally::Tally;

/// Reads a JSON file as a stream; a byte order mark is skipped.
///
/// # Errors
/// [`Error::Input`] with the byte if the text is no JSON, or not `T`; `what` names the format.
pub(super) fn read<T: DeserializeOwned>(path: &Path, what: &str) -> Result<T> {
    let file = files::open(path)?;
    let length = file.metadata().map(|m| m.len()).unwrap_or(0);
    let mut inner = BufReader::with_capacity(1 << 16, file);
    let start = inner.fill_buf().unwrap_or_default(); // what can't be read is told by the parser
    let mark = if start.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    if start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") {
        return Err(Error::input("text in UTF-16", path.display().to_string(), "save it as UTF-8"));
    }
    if start[mark..].trim_ascii_start().starts_with(b"[") {
        let advice = "put that list into an object: {\"images\": [..]}";
        return Err(Error::input(format!("a list, no object in {what}"), path.display().to_string(), advice));
    }
    inner.consume(mark);
    let mut input = Input { inner, at: mark as u64, place: Place::Outside, path, length };
    let mut json = serde_json::Deserializer::from_reader(&mut input);
    let value = T::deserialize(&mut json).and_then(|value| json.end().map(|()| value));
    files::reading(path, length, length);
    value.map_err(|e| {
        Error::input(format!("no annotations in {what} ({e})"), at_byte(path, input.at, length), AGAIN)
    })
}

/// A reader that knows how far it is, and reads `NaN` and `Infinity`, which Python puts into JSON, as values of the same
/// length that JSON has and that are no finite numbers.
struct Input<'a> {
    inner: BufReader<std::fs::File>,
    at: u64,
    place: Place,
    path: &'a Path,
    length: u64,
}

/// Bytes after which it is told how far the reading is.
const TOLD: u64 = 1 << 20;

/// Where in a JSON text a byte stands.
#[derive(Clone, Copy)]
enum Place {
    Outside,
    Text,
    /// Behind a backslash.
    Escape,
    /// In a word that is read as another, with what is left of both.
    Word(&'static [u8], &'static [u8]),
}

impl Place {
    /// The byte to be read in the place of one.
    fn next(&mut self, byte: u8) -> u8 {
        let (place, read) = match (*self, byte) {
            (Place::Outside, b'"') => (Place::Text, byte),
            (Place::Outside, b'N') => (Place::Word(b"aN", b" ]"), b'['),
            (Place::Outside, b'I') => (Place::Word(b"nfinity", b"e999999"), b'1'),
            (Place::Text, b'"') => (Place::Outside, byte),
            (Place::Text, b'\\') => (Place::Escape, byte),
            (Place::Escape, _) => (Place::Text, byte),
            (Place::Word([last], [new]), _) if *last == byte => (Place::Outside, *new),
            (Place::Word([next, word @ ..], [new, anew @ ..]), _) if *next == byte => {
                (Place::Word(word, anew), *new)
            }
            (Place::Word(..), _) => (Place::Outside, b'?'), // no such word: the text is refused here
            (place, _) => (place, byte),
        };
        *self = place;
        read
    }
}

impl Read for Input<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(bytes)?;
        bytes[..read].iter_mut().for_each(|byte| *byte = self.place.next(*byte));
        let before = self.at;
        self.at += read as u64;
        if before / TOLD != self.at / TOLD {
            files::reading(self.path, self.at, self.length);
        }
        Ok(read)
    }
}

/// An entry of a list, which may be unusable without the others.
pub(super) trait Entry: Sized {
    /// What the entries are: `images`.
    const NOUN: &'static str;
    /// The entry; why it can't be used otherwise, to go on after "3 of 7 images ..".
    fn of(json: &str) -> Result<Self, &'static str>;
}

/// The usable entries of a list, read one by one.
#[derive(Debug)]
pub(super) struct Entries<T> {
    pub(super) sound: Vec<T>,
    /// How many there are, usable or not.
    pub(super) all: usize,
    pub(super) left_out: Tally,
}

impl<T: Entry> Default for Entries<T> {
    fn default() -> Entries<T> {
        Entries { sound: Vec::new(), all: 0, left_out: Tally::new(T::NOUN, "left out") }
    }
}

impl<'de, T: Entry> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Entries<T>, D::Error> {
        struct List<T>(Entries<T>);
        impl<'de, T: Entry> Visitor<'de> for List<T> {
            type Value = Entries<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                write!(f, "a list of {}", T::NOUN)
            }

            /// `null` is what exports write for none.
            fn visit_unit<E: de::Error>(self) -> Result<Entries<T>, E> {
                Ok(self.0)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Entries<T>, A::Error> {
                let mut entries = self.0;
                while let Some(json) = list.next_element::<Box<RawValue>>()? {
                    match T::of(json.get()) {
                        Ok(entry) => entries.sound.push(entry),
                        Err(why) => entries.left_out.note(why, format_args!("number {}", entries.all)),
                    }
                    entries.all += 1;
                }
                Ok(entries)
            }
        }
        json.deserialize_any(List(Entries::default()))
    }
}

/// An id by its value: 1, 1.0 and "1" are the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Id {
    Number(i64),
    Text(Box<str>),
}

impl Id {
    /// `None` if the value is neither a number nor a text.
    pub(super) fn of(json: &RawValue) -> Option<Id> {
        let text = text(json)?;
        if let Ok(number) = text.parse() {
            return Some(Id::Number(number));
        }
        let is_long = text.trim_start_matches('-').bytes().all(|b| b.is_ascii_digit());
        let float = text.parse::<f64>().ok().filter(|f| f.is_finite() && !is_long);
        Some(match float {
            Some(f) if f.fract() == 0.0 && f.abs() < 2f64.powi(63) => Id::Number(f as i64),
            Some(f) => Id::Text(f.to_string().into()),
            None => Id::Text(text.into()),
        })
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Id::Number(number) => write!(f, "{number}"),
            Id::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// A text, or a number as text; `None` for anything else and for an empty text.
pub(super) fn text(json: &RawValue) -> Option<String> {
    let json = json.get();
    let text = match json.as_bytes().first()? {
        b'"' => serde_json::from_str::<String>(json).ok()?,
        b'-' | b'0'..=b'9' => json.to_string(),
        _ => return None,
    };
    Some(text.trim().to_string()).filter(|text| !text.is_empty())
}

/// A finite number, perhaps written as text.
pub(super) fn number(json: &RawValue) -> Option<f64> {
    text(json)?.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Yes or no as people write it; `None` for another word.
pub(super) fn truth(word: &str) -> Option<bool> {
    match word.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "y" | "t" => Some(true),
        "false" | "no" | "n" | "f" => Some(false),
        number => match number.parse::<f64>() {
            Ok(0.0) => Some(false),
            Ok(1.0) => Some(true),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// How often more, and how often an end, was told.
    static TOLD_OF: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

    #[test]
    fn a_large_file_tells_how_far_it_is_read_and_when_it_ends_even_if_it_is_damaged() {
        files::while_reading(|path, done, all| {
            if path.ends_with("large-and-odd.json") {
                TOLD_OF[usize::from(done == all)].fetch_add(1, Ordering::Relaxed);
            }
        });
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("large-and-odd.json");
        for (text, is_sound) in [("{}", true), ("{", false)] {
            std::fs::write(&path, format!("{}{text}", " ".repeat(5 << 20))).expect("written");
            let read = read::<serde_json::Map<String, serde_json::Value>>(&path, "a format");
            assert_eq!(read.is_ok(), is_sound);
        }
        assert_eq!(TOLD_OF.each_ref().map(|count| count.load(Ordering::Relaxed)), [10, 2]);
    }
}
