//! The configuration of a job as keys, dotted as in `train.batch`, and what a run asks of it.

use super::kind::Kind;
pub(crate) use super::kind::MAX_TEXT;
use crate::error::{Error, Result};
use crate::files;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// What a job is configured by: written in full into its folder and into each of its checkpoints.
pub trait Settings: Clone + Serialize + DeserializeOwned {
    /// The kind of its runs.
    const KIND: &'static Kind;
    /// Keys that may differ when a run goes on, those of them that it has.
    const MAY_CHANGE: &'static [&'static str] = &[
        "device",
        "data.threads",
        "data.cache_dir",
        "data.cache_mib",
        "train.epochs",
        "train.steps",
        "train.minutes",
        "train.memory_limit_mib",
        "train.save_minutes",
        "train.save_steps",
        "train.on_nan",
    ];
    /// Keys that may name another place of the same photos when a run goes on.
    const MAY_MOVE: &'static [&'static str] = &[
        "data.photos",
        "data.labelled",
        "data.labels",
        "data.annotations",
        "data.test",
        "data.test_photos",
        "data.test_labels",
    ];

    /// Reads and checks what was kept with a run; `place` is where it lay.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) naming the key that can't be used.
    fn kept(text: &str, place: &str) -> Result<Self>;

    /// Reads and checks the configuration that lies in a run's folder.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if the file can't be read, and as [`Settings::kept`].
    fn read(path: &(impl AsRef<Path> + ?Sized)) -> Result<Self> {
        let path = path.as_ref();
        Self::kept(&files::read_text(path, MAX_TEXT as u64)?, &path.display().to_string())
    }

    /// All of it as TOML.
    fn to_toml(&self) -> String {
        toml::to_string(self).expect("a configuration of plain values")
    }

    /// The same with every key that may be absent.
    fn full(&self) -> Self;

    /// What some changes are made to: itself, unless they name something that has numbers of its own.
    ///
    /// # Errors
    /// What is wrong with them.
    fn base(&self, _changes: &Table) -> Result<Self, String> {
        Ok(self.clone())
    }

    /// What to say of a key that there is not: whose it would be, and its new name if it is an old one.
    fn unknown(&self, _key: &str) -> (String, Option<String>) {
        Default::default()
    }

    /// The same with the meaning of each key above it, for the run's folder.
    fn commented(&self) -> String {
        self.to_toml()
    }

    /// All of it as a table.
    fn table(&self) -> Table {
        // By way of the text, in which an f32 has its own digits and no more.
        toml::from_str(&self.to_toml()).expect("TOML")
    }

    /// The files and folders that it names.
    fn paths(&mut self) -> Vec<&mut PathBuf>;

    /// The same with absolute paths, so that it says the same in every working folder.
    fn absolute(mut self) -> Self {
        for path in self.paths() {
            // TOML is UTF-8: in a working folder whose name is not, a relative path is the one that can be written.
            if let Some(absolute) = std::path::absolute(&path).ok().filter(|path| path.to_str().is_some()) {
                *path = absolute;
            }
        }
        self
    }

    /// Elements of the arrays that a checkpoint holds at least, counted without making them.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for a network that is not possible.
    fn elements(&self) -> Result<u64>;

    /// Where its photos lie: to learn from, and to be judged on.
    fn photos(&self) -> [Option<&Path>; 2];
}

/// A configuration with the keys of a TOML text replaced.
///
/// # Errors
/// [`Error::Input`] naming the place (a file or an argument) if a key is unknown or a value does not fit.
pub(crate) fn merged<S: Settings>(settings: &S, text: &str, place: &str) -> Result<S> {
    let bad = |e: &dyn fmt::Display| {
        let message = e.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        Error::input("bad configuration", place, message)
    };
    if text.len() > MAX_TEXT {
        let what = format!("a configuration of {} bytes, more than {MAX_TEXT}", text.len());
        return Err(Error::input(what, place, "give a TOML file with keys to replace"));
    }
    let changes: Table = toml::from_str(text).map_err(|e: toml::de::Error| bad(&e.message()))?;
    let base = settings.base(&changes).map_err(|e| bad(&e))?;
    check(&base, &changes, place)?;
    let mut table = base.table();
    merge(&mut table, changes);
    table.try_into().map_err(|e: toml::de::Error| bad(&e.message()))
}

/// A configuration with one `key=value` replaced, the key dotted as in `train.batch=32`.
///
/// # Errors
/// As [`merged`].
pub(crate) fn with<S: Settings>(settings: &S, setting: &str) -> Result<S> {
    let place = format!("--set {setting}");
    let Some((key, value)) = setting.split_once('=') else {
        return Err(Error::input("no `=`", place, "write --set key=value"));
    };
    // A bare word is a string; `.5` and `5.` are numbers, which TOML does not say.
    let value = value.trim();
    let literal = match (toml::from_str::<Table>(&format!("x = {value}")), value.parse::<f64>()) {
        (Ok(_), _) => value.to_string(),
        (Err(_), Ok(number)) if number.is_finite() => format!("{number:?}"),
        _ => Value::String(value.into()).to_string(),
    };
    merged(settings, &format!("{} = {literal}", key.trim()), &place)
}

/// Replaces values of `into` by those of `from`, section by section.
fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// All keys that a configuration may have.
pub(crate) fn known<S: Settings>(settings: &S) -> Vec<String> {
    flatten(&settings.full().table()).into_iter().map(|(key, _)| key).collect()
}

/// Refuses a key that the configuration can't have.
///
/// # Errors
/// [`Error::Input`] naming the key that is most like it, if one is.
fn check<S: Settings>(settings: &S, changes: &Table, place: &str) -> Result<()> {
    let known = known(settings);
    let section =
        |key: &str| known.iter().any(|k| k.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')));
    for (key, _) in flatten(changes) {
        if known.contains(&key) || section(&key) {
            continue;
        }
        let like = |other: &String| strsim::jaro_winkler(&key, other);
        let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_string();
        let nearest = known.iter().max_by(|a, b| like(a).total_cmp(&like(b)));
        let (whose, new) = settings.unknown(&key);
        // A key without its section is meant as often as one that is misspelt.
        let advice = match (new, known.iter().find(|k| last(k) == last(&key)), nearest) {
            (Some(new), ..) => new,
            (None, Some(same), _) => format!("did you mean `{same}`?"),
            (None, None, Some(nearest)) if like(nearest) > 0.85 => format!("did you mean `{nearest}`?"),
            _ => format!("`{}` prints all keys", S::KIND.keys),
        };
        return Err(Error::input(format!("unknown key `{key}`{whose}"), place, advice));
    }
    Ok(())
}

/// A value as a person writes it in TOML: 1e-6 for 0.000001.
pub(crate) fn written(value: &Value) -> String {
    match value {
        Value::Float(number) if number.is_finite() => format!("{number:?}"),
        Value::Array(all) => format!("[{}]", all.iter().map(written).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// Keys and values of a table, dotted.
pub(crate) fn flatten(table: &Table) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) => {
                all.extend(flatten(inner).into_iter().map(|(k, v)| (format!("{key}.{k}"), v)))
            }
            value => all.push((key.clone(), value.clone())),
        }
    }
    all
}

/// A key in which two configurations differ.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Difference {
    /// The key, dotted.
    pub key: String,
    /// Its value in the one, if that has it.
    pub was: Option<Value>,
    /// Its value in the other.
    pub is: Option<Value>,
}

/// Keys in which two configurations differ, sorted.
pub(crate) fn differences(was: &impl Settings, is: &impl Settings) -> Vec<Difference> {
    let keys = |table: Table| flatten(&table).into_iter().collect::<BTreeMap<_, _>>();
    let (mut left, right) = (keys(was.table()), keys(is.table()));
    let mut all: Vec<Difference> = Vec::new();
    for (key, is) in right {
        let was = left.remove(&key);
        all.push(Difference { key, was, is: Some(is) });
    }
    all.extend(left.into_iter().map(|(key, was)| Difference { key, was: Some(was), is: None }));
    all.retain(|difference| difference.was != difference.is);
    all.sort_by(|a, b| a.key.cmp(&b.key));
    all
}

impl Difference {
    /// Both values, as they are written.
    pub fn values(&self) -> [String; 2] {
        [&self.was, &self.is].map(|value| value.as_ref().map_or("absent".to_string(), written))
    }
}

/// `train.batch was 16, is 32`
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let [was, is] = self.values();
        write!(f, "{} was {was}, is {is}", self.key)
    }
}
