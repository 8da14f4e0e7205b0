//! What each key of a configuration means. It is written once, as the documentation of the structs, and read from there.

use super::config::Config;
use super::method::MethodConfig;
use super::methods;
use crate::run::settings::written;
use std::sync::LazyLock;
use toml::{Table, Value};

/// The files whose structs are tables of every configuration; a method's own is in its [`Entry`](methods::Entry).
const SOURCES: [&str; 3] =
    [include_str!("config.rs"), include_str!("method.rs"), include_str!("../photos/views/config.rs")];

/// Columns of a text.
const WIDTH: usize = 100;

/// What is said of a table or a key.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct About {
    /// What it is: the first paragraph.
    pub text: String,
    /// Where it or its default is published: what follows `# Source`, or `Source:` in that paragraph; empty where it is ours.
    pub source: String,
}

/// A table of a configuration.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    /// Its name, dotted; empty for the keys above all tables.
    pub path: String,
    /// What it is.
    pub about: About,
    /// Its keys in their order.
    pub keys: Vec<(String, About)>,
}

impl About {
    /// Of the lines of a documentation.
    fn of(lines: &[&str]) -> About {
        let paragraph = |lines: &mut dyn Iterator<Item = &&str>| {
            let words: Vec<String> =
                lines.map(|line| plain(line.trim())).take_while(|line| !line.is_empty()).collect();
            words.join(" ")
        };
        let text = paragraph(&mut lines.iter());
        let source = paragraph(&mut lines.iter().skip_while(|line| line.trim() != "# Source").skip(1));
        match text.split_once(" Source: ") {
            Some((text, source)) => About { text: text.into(), source: source.into() },
            None => About { text, source },
        }
    }
}

/// A struct of some sources as a table, and its tables below it.
fn tables(sources: &[&str], kind: &str, path: &str) -> Vec<Section> {
    let opening = format!("pub struct {kind} {{");
    let source = sources.iter().find(|source| source.lines().any(|line| line == opening));
    let (mut all, mut below, mut doc) = (Vec::new(), Vec::new(), Vec::new());
    for line in source.map_or("", |source| source).lines() {
        let words = line.trim_start();
        if let Some(text) = words.strip_prefix("///") {
            doc.push(text);
            continue;
        }
        let field = words.strip_prefix("pub ").and_then(|field| field.trim_end_matches(',').split_once(": "));
        match (all.first_mut(), field) {
            (None, _) if line == opening => {
                all.push(Section { path: path.into(), about: About::of(&doc), keys: Vec::new() });
            }
            (Some(_), _) if line == "}" => break,
            (Some(Section { keys, .. }), Some((key, kind))) => {
                let path = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
                let inner = match kind {
                    "MethodConfig" => vec![Section { path, about: About::of(&doc), keys: Vec::new() }],
                    kind => tables(sources, kind, &path),
                };
                if inner.is_empty() {
                    keys.push((key.to_string(), About::of(&doc)));
                }
                below.extend(inner);
            }
            _ => {}
        }
        if !words.starts_with("#[") {
            doc.clear();
        }
    }
    all.extend(below);
    all
}

/// The tables of every configuration, that of the method without its keys.
static TABLES: LazyLock<Vec<Section>> = LazyLock::new(|| tables(&SOURCES, "Config", ""));

/// The tables of a method; of one whose source says nothing of its keys the keys alone.
fn of_method(method: &MethodConfig) -> Vec<Section> {
    let source = methods::find(method.name()).map_or("", |entry| entry.source);
    let named = format!("rename = \"{}\"", method.name());
    let after = source.split_once(&named).and_then(|(_, after)| after.split_once("pub struct "));
    let kind = after.and_then(|(_, after)| after.split(' ').next()).unwrap_or_default();
    let mut all = tables(&[source], kind, "method");
    if all.is_empty() {
        let keys = method.table().keys().filter(|key| *key != "name");
        let keys = keys.map(|key| (key.clone(), About::default())).collect();
        all.push(Section { path: "method".into(), about: About::default(), keys });
    }
    all[0].keys.insert(0, ("name".into(), About::default()));
    all
}

/// All tables of a configuration.
pub(crate) fn sections(config: &Config) -> Vec<Section> {
    let own = |section: &Section| match section.path.as_str() {
        "method" => of_method(&config.method),
        _ => vec![section.clone()],
    };
    TABLES.iter().flat_map(own).collect()
}

impl Section {
    /// Its values in a configuration, if that has it.
    fn of<'a>(&self, table: &'a Table) -> Option<&'a Table> {
        let mut names = self.path.split('.').filter(|name| !name.is_empty());
        names.try_fold(table, |table, name| table.get(name)?.as_table())
    }

    /// Each key as TOML with what is said above it; a key that is absent is a comment.
    fn commented(&self, table: &Table) -> String {
        let Some(values) = self.of(table) else { return String::new() };
        let comment = |about: &About| wrapped(&about.text, "# ");
        let line = |(key, about): &(String, About)| match values.get(key) {
            Some(value) => format!("{}{key} = {}\n", comment(about), written(value)),
            None => format!("{}#{key} =\n", comment(about)),
        };
        let lines: String = self.keys.iter().map(line).collect();
        let title = if self.path.is_empty() { String::new() } else { format!("[{}]\n", self.path) };
        format!("{}{title}{lines}", comment(&self.about))
    }

    /// Each key with its values in some configurations and what is said of it.
    fn described(&self, title: &str, [base, demo]: [&Table; 2]) -> String {
        let told = |about: &About, indent: &str| {
            let source = if about.source.is_empty() { "" } else { "Source: " };
            wrapped(&about.text, indent) + &wrapped(&format!("{source}{}", about.source), indent)
        };
        let value = |table: &Table, key: &str| {
            self.of(table).and_then(|table| table.get(key)).map_or("absent".to_string(), written)
        };
        let line = |(key, about): &(String, About)| {
            let [base, demo] = [value(base, key), value(demo, key)];
            let demo = if demo == base { String::new() } else { format!(" (demo: {demo})") };
            format!("  {key} = {base}{demo}\n{}", told(about, "      "))
        };
        let lines: String = self.keys.iter().map(line).collect();
        format!("\n{title}{}{lines}", told(&self.about, ""))
    }
}

impl Config {
    /// The whole configuration as TOML with the meaning of each table and key above it.
    pub fn commented(&self) -> String {
        let values = self.values();
        let sections: Vec<String> = sections(self).iter().map(|section| section.commented(&values)).collect();
        sections.join("\n")
    }
}

/// Every key of every configuration: meaning, default, source.
pub(crate) fn page() -> String {
    let demo = Config::preset("demo").expect("a preset");
    let (base, demo) = (Config::base(demo.method.clone()).values(), demo.values());
    let mut text = wrapped(
        "Every key of a configuration: replace one by `--set train.batch=32`, or several in a TOML file by `--config FILE`. \
         Beside each stands the value that presets begin from, and the demo's where it is another; a preset, and a method's \
         own recipe, have others where their papers have.",
        "",
    );
    for section in TABLES.iter().filter(|section| section.path != "method") {
        let title = if section.path.is_empty() { String::new() } else { format!("[{}]\n", section.path) };
        text += &section.described(&title, [&base, &demo]);
    }
    for entry in methods::all() {
        let Ok(method) = (entry.parse)(Table::new()) else { continue };
        let defaults = Table::from_iter([("method".to_string(), Value::Table(method.table().clone()))]);
        for section in of_method(&method) {
            text += &section
                .described(&format!("[{}] of {}\n", section.path, entry.name), [&defaults, &defaults]);
        }
    }
    text
}

/// A text in lines of at most [`WIDTH`] columns where words are no longer, each behind `indent`.
fn wrapped(text: &str, indent: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("{indent}{word}")),
        }
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

/// A line of documentation without the marks that only a browser needs: links, and the bars that set words in bold.
pub(crate) fn plain(line: &str) -> String {
    let (mut text, mut rest) = (String::new(), line);
    // `[words](address)` and `[words]` become their words.
    while let Some((before, after)) = rest.split_once("[`") {
        let Some((words, after)) = after.split_once("`]") else { break };
        text += &format!("{before}`{words}`");
        let address = after.strip_prefix('(').and_then(|address| address.split_once(')'));
        rest = address.map_or(after, |(_, after)| after);
    }
    (text + rest).replace("**", "")
}

#[cfg(test)]
#[path = "../../tests/unit/pretrain/keys.rs"]
mod tests;
