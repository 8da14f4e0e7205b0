//! Configurations of earlier versions: what became of their keys. In 0.1 all methods shared one table.

use super::methods;
use toml::{Table, Value};

/// Keys of 0.1 that have another place, or none: of `[objective]` the rest are in `[method]` under their own names.
const RENAMED: [(&str, &str); 10] = [
    ("objective.bn_splits", "train.groups"),
    ("train.views", "method.views"),
    ("model.projection", "method.projection"),
    ("model.hidden", "method.hidden"),
    ("model.projector_norm", "method.projector_norm"),
    ("model.prototypes", "method.prototypes"),
    ("model.dense_grid", "method.grid"),
    ("small_views.count", "method.small_views"),
    ("small_views.crop_scale", "method.small_crop_scale"),
    ("small_views.size", "method.small_side"),
];

/// What a key of 0.1 is called now.
pub(super) fn renamed(key: &str) -> Option<String> {
    if let Some((_, new)) = RENAMED.iter().find(|(old, _)| *old == key) {
        return Some((*new).into());
    }
    let moved = [("objective.", "method."), ("second_view.", "method.second_view.")];
    moved.iter().find_map(|(old, new)| Some(format!("{new}{}", key.strip_prefix(old)?)))
}

/// A configuration with the keys that came later, as it was without them: before `data.scaled_decode`, photos were decoded whole.
pub(super) fn completed(mut table: Table) -> Table {
    if let Some(Value::Table(data)) = table.get_mut("data") {
        data.entry("scaled_decode").or_insert(Value::Boolean(false));
    }
    table
}

/// A configuration that 0.1 kept with a run, in today's keys; one of today as it is. Keys that the run's method does not read
/// are left out: 0.1 kept those of all methods.
pub(super) fn translated(mut table: Table) -> Table {
    let Some(Value::Table(objective)) = table.get("objective") else { return table };
    let name = objective.get("name").and_then(Value::as_str).unwrap_or_default();
    let own = methods::find(name).and_then(|entry| (entry.parse)(Table::new()).ok());
    let own = own.map(|method| method.table().clone()).unwrap_or_default();
    let mut method = Table::from_iter([("name".to_string(), Value::from(name))]);
    let side = |table: &Table, section: &str| table.get(section)?.get("size")?.as_integer();
    if let (Some(small), Some(full)) = (side(&table, "small_views"), side(&table, "views")) {
        method.insert("small_side".into(), Value::Float(small as f64 / full.max(1) as f64));
    }
    let mut groups = None;
    for section in ["objective", "second_view", "small_views", "model", "train"] {
        let Some(Value::Table(old)) = table.get_mut(section) else { continue };
        for (key, value) in old.clone() {
            let Some(new) = renamed(&format!("{section}.{key}")) else { continue };
            old.remove(&key);
            match new.strip_prefix("method.").map(|new| new.split('.').collect::<Vec<_>>()).as_deref() {
                None => groups = Some(value),
                Some(["small_side"]) => {}
                Some([new]) if own.contains_key(*new) => drop(method.insert((*new).into(), value)),
                Some([outer, new]) if own.get(*outer).is_some_and(|inner| inner.get(new).is_some()) => {
                    let inner = method.entry(*outer).or_insert_with(|| Value::Table(Table::new()));
                    inner.as_table_mut().expect("a table").insert((*new).into(), value);
                }
                _ => {}
            }
        }
    }
    if !own.contains_key("small_side") {
        method.remove("small_side");
    }
    if let (Some(groups), Some(Value::Table(train))) = (groups, table.get_mut("train")) {
        train.insert("groups".into(), groups);
    }
    for section in ["objective", "second_view", "small_views"] {
        table.remove(section);
    }
    table.insert("method".into(), Value::Table(method));
    table
}
