//! What each key of a configuration means. It is written once, as the documentation of the structs, and read from there.

use super::settings::written;
use toml::Table;

/// Columns of a text.
pub(crate) const WIDTH: usize = 100;

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
pub(crate) fn tables(sources: &[&str], kind: &str, path: &str) -> Vec<Section> {
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

impl Section {
    /// Its values in a configuration, if that has it.
    fn of<'a>(&self, table: &'a Table) -> Option<&'a Table> {
        let mut names = self.path.split('.').filter(|name| !name.is_empty());
        names.try_fold(table, |table, name| table.get(name)?.as_table())
    }

    /// Each key as TOML with what is said above it; a key that is absent is a comment.
    pub(crate) fn commented(&self, table: &Table) -> String {
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

    /// Each key with its value in a configuration, and in another of a name where that differs, and what is said of it.
    pub(crate) fn described(&self, title: &str, [base, other]: [&Table; 2], name: &str) -> String {
        let told = |about: &About, indent: &str| {
            let source = if about.source.is_empty() { "" } else { "Source: " };
            wrapped(&about.text, indent) + &wrapped(&format!("{source}{}", about.source), indent)
        };
        let value = |table: &Table, key: &str| {
            self.of(table).and_then(|table| table.get(key)).map_or("absent".to_string(), written)
        };
        let line = |(key, about): &(String, About)| {
            let [base, other] = [value(base, key), value(other, key)];
            let other = if other == base { String::new() } else { format!(" ({name}: {other})") };
            format!("  {key} = {base}{other}\n{}", told(about, "      "))
        };
        let lines: String = self.keys.iter().map(line).collect();
        format!("\n{title}{}{lines}", told(&self.about, ""))
    }
}

/// A text in lines of at most [`WIDTH`] columns where words are no longer, each behind `indent`.
pub(crate) fn wrapped(text: &str, indent: &str) -> String {
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

/// A configuration as TOML with the meaning of each of its tables and keys above it.
pub(crate) fn commented(sections: &[Section], values: &Table) -> String {
    sections.iter().map(|section| section.commented(values)).collect::<Vec<_>>().join("\n")
}
