//! Keys of a configuration, dotted as in `method.tau`: which there are, which differ, which a mistyped one may mean.

use super::config::Config;
use super::old;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;
use toml::{Table, Value};

/// Keys and values of a table, dotted.
fn flatten(table: &Table) -> Vec<(String, Value)> {
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

/// All keys and values of a configuration, dotted.
pub(crate) fn settings(config: &Config) -> Vec<(String, Value)> {
    flatten(&config.table())
}

/// All keys that a configuration may have; those of `[method]` are its own method's.
fn known(config: &Config) -> Vec<String> {
    let mut full = config.clone();
    full.init = Some("encoder.safetensors".into());
    full.init_prefix = Some("backbone.".into());
    full.data.photos = Some("photos".into());
    full.data.labelled = Some("labelled".into());
    flatten(&full.table()).into_iter().map(|(key, _)| key).collect()
}

/// Refuses a key that no configuration of this method has.
///
/// # Errors
/// [`Error::Input`] naming the key that is most like it, if one is.
pub(super) fn check(config: &Config, changes: &Table, place: &str) -> Result<()> {
    let known = known(config);
    let section =
        |key: &str| known.iter().any(|k| k.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')));
    for (key, _) in flatten(changes) {
        if known.contains(&key) || section(&key) {
            continue;
        }
        let like = |other: &String| strsim::jaro_winkler(&key, other);
        let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_string();
        let nearest = known.iter().max_by(|a, b| like(a).total_cmp(&like(b)));
        let method = config.method.entry().name;
        // A key without its section is meant as often as one that is misspelt.
        let advice = match (old::renamed(&key), known.iter().find(|k| last(k) == last(&key)), nearest) {
            (Some(new), ..) => format!("since 0.2 it is `{new}`, for the methods that have it"),
            (None, Some(same), _) => format!("did you mean `{same}`?"),
            (None, None, Some(nearest)) if like(nearest) > 0.85 => format!("did you mean `{nearest}`?"),
            _ => "`vista pretrain --dry-run` prints all keys".to_string(),
        };
        let whose = if key.starts_with("method.") { format!(" of {method}") } else { String::new() };
        return Err(Error::input(format!("unknown key `{key}`{whose}"), place, advice));
    }
    Ok(())
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
pub(crate) fn differences(was: &Config, is: &Config) -> Vec<Difference> {
    let [mut left, right] =
        [was, is].map(|config| flatten(&config.table()).into_iter().collect::<BTreeMap<_, _>>());
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
        [&self.was, &self.is].map(|value| value.as_ref().map_or("absent".to_string(), Value::to_string))
    }
}

/// `train.batch was 16, is 32`
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let [was, is] = self.values();
        write!(f, "{} was {was}, is {is}", self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pretrain::MAY_CHANGE;

    #[test]
    fn a_mistyped_key_is_answered_with_the_one_that_was_meant() {
        let demo = Config::preset("demo").expect("preset");
        for (setting, meant) in [
            ("method.tua=1", "method.tau"),
            ("tau=1", "method.tau"),
            ("train.bacth=8", "train.batch"),
            ("optimiser.lr=1", "optimizer.lr"),
            ("views.sise=32", "views.size"),
        ] {
            let message = demo.with(setting).unwrap_err().to_string();
            assert!(message.contains(&format!("did you mean `{meant}`?")), "{message}");
        }
        assert!(demo.with("zzz=1").unwrap_err().to_string().contains("prints all keys"));
        demo.with("data.labelled=x").expect("an optional key");
        demo.with("init=x").expect("an optional key");
    }

    #[test]
    fn changes_are_told_key_by_key() {
        let demo = Config::preset("demo").expect("preset");
        let other = demo.with("train.batch=4").expect("set").with("data.photos=x").expect("set");
        let changed = differences(&demo, &other).iter().map(Difference::to_string).collect::<Vec<_>>();
        assert_eq!(changed, ["data.photos was absent, is \"x\"", "train.batch was 16, is 4"]);
        let known = known(&demo);
        assert!(MAY_CHANGE.iter().all(|key| known.iter().any(|k| k == key)));
    }
}
