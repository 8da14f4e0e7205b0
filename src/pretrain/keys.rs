//! Keys of a configuration, dotted as in `objective.tau`: which there are, which differ, which a mistyped one may mean.

use super::config::Config;
use crate::error::{Error, Result};
use toml::{Table, Value};

/// Keys and values of a table, dotted.
pub(super) fn flatten(table: &Table) -> Vec<(String, Value)> {
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

/// All keys that a configuration may have.
fn known() -> Result<Vec<String>> {
    let mut full = Config::preset("swav-stl10-r18")?; // the one with small views
    full.second_view = Some(full.views.clone());
    full.init = Some("encoder.safetensors".into());
    full.init_prefix = Some("backbone.".into());
    full.data.photos = Some("photos".into());
    full.data.labelled = Some("labelled".into());
    let table = toml::from_str(&full.to_toml()).map_err(|e| Error::Run(format!("configuration: {e}")))?;
    Ok(flatten(&table).into_iter().map(|(key, _)| key).collect())
}

/// Refuses a key that no configuration has.
///
/// # Errors
/// [`Error::Input`] naming the key that is most like it, if one is.
pub(super) fn check(changes: &Table, place: &str) -> Result<()> {
    let known = known()?;
    let section =
        |key: &str| known.iter().any(|k| k.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')));
    for (key, _) in flatten(changes) {
        if known.contains(&key) || section(&key) {
            continue;
        }
        let like = |other: &String| strsim::jaro_winkler(&key, other);
        let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_string();
        let nearest = known.iter().max_by(|a, b| like(a).total_cmp(&like(b)));
        // A key without its section is meant as often as one that is misspelt.
        let advice = match (known.iter().find(|k| last(k) == last(&key)), nearest) {
            (Some(same), _) => format!("did you mean `{same}`?"),
            (None, Some(nearest)) if like(nearest) > 0.85 => format!("did you mean `{nearest}`?"),
            _ => "`vista pretrain --dry-run` prints all keys".to_string(),
        };
        return Err(Error::input(format!("unknown key `{key}`"), place, advice));
    }
    Ok(())
}

/// The value of a key that a configuration does not have.
pub(super) const ABSENT: &str = "absent";

/// Keys in which two configurations differ, with both values.
pub(super) fn changes(a: &Config, b: &Config) -> Vec<(String, String, String)> {
    let all = |config: &Config| flatten(&toml::from_str(&config.to_toml()).unwrap_or_default());
    let (left, right) = (all(a), all(b));
    let value = |of: &[(String, Value)], key: &str| {
        of.iter().find(|(k, _)| k == key).map_or(ABSENT.to_string(), |(_, v)| v.to_string())
    };
    let mut keys: Vec<&String> = left.iter().chain(&right).map(|(key, _)| key).collect();
    keys.sort();
    keys.dedup();
    let pairs = keys.into_iter().map(|key| (key.clone(), value(&left, key), value(&right, key)));
    pairs.filter(|(_, was, is)| was != is).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pretrain::MAY_CHANGE;

    #[test]
    fn a_mistyped_key_is_answered_with_the_one_that_was_meant() {
        let demo = Config::preset("demo").expect("preset");
        for (setting, meant) in [
            ("objective.tua=1", "objective.tau"),
            ("tau=1", "objective.tau"),
            ("train.bacth=8", "train.batch"),
            ("optimiser.lr=1", "optimizer.lr"),
            ("views.sise=32", "views.size"),
        ] {
            let message = demo.with(setting).unwrap_err().to_string();
            assert!(message.contains(&format!("did you mean `{meant}`?")), "{message}");
        }
        assert!(demo.with("zzz=1").unwrap_err().to_string().contains("prints all keys"));
        demo.with("second_view.blur_p=0.5").expect("an optional section");
        demo.with("data.labelled=x").expect("an optional key");
        demo.with("init=x").expect("an optional key");
    }

    #[test]
    fn changes_are_told_key_by_key() {
        let demo = Config::preset("demo").expect("preset");
        let other = demo.with("train.batch=4").expect("set").with("data.photos=x").expect("set");
        let changed = changes(&demo, &other);
        let keys: Vec<&str> = changed.iter().map(|(key, ..)| key.as_str()).collect();
        assert_eq!(keys, ["data.photos", "train.batch"]);
        assert_eq!((changed[0].1.as_str(), changed[0].2.as_str()), ("absent", "\"x\""));
        let known = known().expect("keys");
        assert!(MAY_CHANGE.iter().all(|key| known.iter().any(|k| k == key)));
    }
}
