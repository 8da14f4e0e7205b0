//! A run's log, read back.

use crate::error::{Error, Result};
use crate::files;
use serde_json::Value;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// LIMIT: bytes of a log; a million steps have 500 MiB.
const MAX_LOG: u64 = 1 << 30;
/// Bytes at the end of a log that hold its last records.
const TAIL: u64 = 1 << 16;

/// The records of a `log.jsonl`, in order.
#[derive(Clone, Debug, Default)]
pub struct History {
    records: Vec<Value>,
}

impl History {
    /// Reads a log. A last line that was cut off, as by a lost power supply, is left out.
    ///
    /// # Errors
    /// [`Error::Input`] if the file can't be read, or naming the first other line that is no record.
    pub fn read(path: &(impl AsRef<Path> + ?Sized)) -> Result<History> {
        let path = path.as_ref();
        let text = files::read_text(path, MAX_LOG)?;
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let mut records = Vec::with_capacity(lines.len());
        for (i, line) in lines.iter().enumerate() {
            match serde_json::from_str::<Value>(line) {
                Ok(record) if record.is_object() => records.push(record),
                _ if i + 1 == lines.len() && i > 0 => {}
                _ => {
                    let place = format!("{}, line {}", path.display(), i + 1);
                    return Err(Error::input("not a run's log", place, "give the log.jsonl of a run"));
                }
            }
        }
        Ok(History { records })
    }

    /// The last records of a log, of which only the end is read; none of what is no log.
    pub fn tail(path: &Path) -> History {
        let read = || {
            let mut file = files::open(path).ok()?;
            let length = file.metadata().ok()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
            let mut bytes = Vec::new();
            file.take(TAIL).read_to_end(&mut bytes).ok()?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        // The first line may lack its beginning, the last its end.
        let text = read().unwrap_or_default();
        let records = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        History { records: records.filter(Value::is_object).collect() }
    }

    /// A field over the views seen, of every record that has both; dotted as in `terms.info_nce`.
    pub fn series(&self, field: &str) -> Vec<(f64, f64)> {
        self.pairs("views", field)
    }

    /// Two fields of every record that has both.
    pub fn pairs(&self, x: &str, y: &str) -> Vec<(f64, f64)> {
        let value = |record: &Value, field: &str| {
            field.split('.').try_fold(record, |at, part| at.get(part)).and_then(Value::as_f64)
        };
        let point = |record| Some((value(record, x)?, value(record, y)?));
        self.records.iter().filter_map(point).collect()
    }

    /// The records of one kind, such as `warning`, in order.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.records.iter().filter(move |record| record["kind"] == kind)
    }

    /// Names of the loss's terms, in the order in which they first occur.
    pub fn terms(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for terms in self.records.iter().filter_map(|r| r.get("terms")?.as_object()) {
            let new: Vec<&String> = terms.keys().filter(|name| !names.contains(name)).collect();
            names.extend(new.into_iter().cloned().collect::<Vec<_>>());
        }
        names
    }

    /// Mean of a field over the last tenth of its records, at least one; `None` without any.
    pub fn last(&self, field: &str) -> Option<f64> {
        let all = self.series(field);
        let tail = &all[all.len() - all.len().div_ceil(10)..];
        (!tail.is_empty()).then(|| tail.iter().map(|p| p.1).sum::<f64>() / tail.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<History> {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("log.jsonl");
        std::fs::write(&path, text).expect("written");
        History::read(&path)
    }

    #[test]
    fn fields_are_read_over_views_and_a_cut_last_line_is_left_out() {
        let history = read(concat!(
            "{\"kind\":\"knn\",\"views\":0,\"top1\":0.25}\n",
            "{\"kind\":\"step\",\"views\":8,\"loss\":2.0,\"terms\":{\"a\":1.5,\"b\":null}}\n",
            "{\"kind\":\"step\",\"views\":16,\"loss\":1.0,\"terms\":{\"a\":0.5,\"b\":3}}\n",
            "{\"kind\":\"step\",\"vie"
        ))
        .expect("history");
        assert_eq!(history.series("loss"), [(8.0, 2.0), (16.0, 1.0)]);
        assert_eq!(history.series("terms.b"), [(16.0, 3.0)]);
        assert_eq!(history.series("top1"), [(0.0, 0.25)]);
        assert_eq!(history.terms(), ["a", "b"]);
        assert_eq!((history.last("loss"), history.last("purity")), (Some(1.0), None));
    }

    #[test]
    fn the_end_of_a_log_is_read_alone_and_whole_records_of_it_count() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("log.jsonl");
        let lines = (0..9000).map(|i| format!("{{\"kind\":\"step\",\"step\":{i},\"views\":{i}}}\n"));
        std::fs::write(&path, lines.collect::<String>() + "{\"kind\":\"en").expect("written");
        let steps = History::tail(&path).series("step");
        assert!(steps.len() > 1000 && steps.len() < 3000, "{}", steps.len());
        assert_eq!(steps.last(), Some(&(8999.0, 8999.0)));
        assert!(History::tail(&folder.path().join("none")).series("step").is_empty());
    }

    #[test]
    fn what_is_no_log_is_named_with_its_line() {
        let message = read("{\"views\":1}\nnonsense\n{\"views\":2}\n").unwrap_err().to_string();
        assert!(message.contains("log.jsonl, line 2"), "{message}");
        assert!(read("a photo").is_err() && read("").expect("empty").series("loss").is_empty());
    }
}
