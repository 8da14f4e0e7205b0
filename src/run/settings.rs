//! The configuration of a job as keys, dotted as in `train.batch`, and what a run asks of it.

use crate::error::Result;
use crate::files;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use toml::{Table, Value};

/// LIMIT: bytes of a configuration; a whole one has 2 KiB. Reading TOML takes 100 bytes for each.
pub(crate) const MAX_TEXT: usize = 1 << 18;

/// What a job is configured by: written in full into its folder and into each of its checkpoints.
pub trait Settings: Clone {
    /// Keys that may differ when a run goes on.
    const MAY_CHANGE: &'static [&'static str];
    /// Keys that may name another place of the same photos when a run goes on.
    const MAY_MOVE: [&'static str; 2] = ["data.photos", "data.labelled"];

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
    fn to_toml(&self) -> String;

    /// The same with the meaning of each key above it, for the run's folder.
    fn commented(&self) -> String {
        self.to_toml()
    }

    /// All of it as a table.
    fn table(&self) -> Table {
        // By way of the text, in which an f32 has its own digits and no more.
        toml::from_str(&self.to_toml()).expect("TOML")
    }

    /// The same with absolute paths, so that it says the same in every working folder.
    fn absolute(self) -> Self;

    /// Elements of the arrays that a checkpoint holds at least, counted without making them.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for a network that is not possible.
    fn elements(&self) -> Result<u64>;

    /// Where its photos lie: to learn from, and to be judged on.
    fn photos(&self) -> [Option<&Path>; 2];
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
