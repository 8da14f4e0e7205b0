//! Whatever looks like a command, in the documentation and in what the program says of itself, is one.

use super::{Cli, definition, prepared};
use crate::topic::Topic;
use clap::{FromArgMatches, ValueEnum};

const PAGES: [(&str, &str); 9] = [
    ("README", include_str!("../../../README.md")),
    ("ARCHITECTURE", include_str!("../../../docs/ARCHITECTURE.md")),
    ("GUIDE", include_str!("../../../docs/GUIDE.md")),
    ("PAPERS", include_str!("../../../docs/PAPERS.md")),
    ("RESULTS", include_str!("../../../docs/RESULTS.md")),
    ("SPEED", include_str!("../../../docs/SPEED.md")),
    ("TESTING", include_str!("../../../docs/TESTING.md")),
    ("CONTRIBUTING", include_str!("../../../CONTRIBUTING.md")),
    ("LICENCES", include_str!("../../../examples/photos/LICENCES.md")),
];

/// The lines of a text that call the program, from its name on, and what stands in backticks.
fn commands(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ").replace("cargo run --release -- ", "vista ");
    let names = definition().get_subcommands().map(|c| c.get_name().to_string()).collect::<Vec<_>>();
    let begins = |text: &str| {
        let word = text.strip_prefix("vista ").and_then(|rest| rest.split_whitespace().next());
        word.is_some_and(|word| names.iter().any(|name| name == word))
    };
    let mut found = Vec::new();
    for line in joined.lines() {
        // In prose a command stands in backticks; a line of its own, or behind a title, may be one as a whole.
        let spans = line.split('`').skip(1).step_by(2).map(str::trim);
        found.extend(spans.filter(|span| begins(span)).map(String::from));
        let whole = line.trim_start_matches(['$', ' ']);
        let whole = match whole.split_once("    vista ") {
            Some((_, rest)) if whole.starts_with(|c: char| c.is_ascii_uppercase()) => format!("vista {rest}"),
            _ => whole.to_string(),
        };
        if begins(&whole) && !line.contains('`') || begins(&whole) && whole.contains(" #") {
            found.push(whole.split(" #").next().unwrap_or_default().trim().to_string());
        }
    }
    found
}

/// The words of a command; `..` stands for more of them, METHOD for any method.
fn words(command: &str) -> Vec<String> {
    let words = command.split(" > ").next().unwrap_or_default().replace("METHOD", "mls");
    let words = words.split_whitespace().filter(|word| *word != "..");
    words.map(|word| word.trim_matches(['\'', '"']).to_string()).collect()
}

#[test]
fn every_command_in_the_documentation_and_in_help_is_one_with_the_flags_that_there_are() {
    let mut texts: Vec<(String, String)> = PAGES.map(|(name, text)| (name.into(), text.into())).into();
    for command in definition().get_subcommands() {
        texts.push((
            format!("{} --help", command.get_name()),
            command.clone().term_width(0).render_long_help().to_string(),
        ));
    }
    texts.extend(
        Topic::value_variants().iter().map(|&topic| (topic.to_string(), super::explain::page(topic))),
    );
    let (mut seen, mut wrong) = (0, Vec::new());
    for (place, text) in &texts {
        for command in commands(text) {
            seen += 1;
            let words = words(&command);
            let is_mention = !words.iter().skip(2).any(|word| !word.starts_with('-'));
            let matches = match definition().try_get_matches_from(&words) {
                Ok(matches) => matches,
                // `vista figures` alone names a command, `vista bench --test` an option of it.
                Err(e) if is_mention && !e.to_string().contains("unexpected argument") => continue,
                Err(e) => {
                    wrong.push(format!(
                        "{place}: {command}: {}",
                        e.to_string().lines().next().unwrap_or_default()
                    ));
                    continue;
                }
            };
            // A configuration's keys and values too.
            let name = words[1].as_str();
            let is_run =
                ["pretrain", "sweep"].contains(&name) && !words.iter().any(|word| word == "--resume");
            let parsed = Cli::from_arg_matches(&matches).expect("parsed").command;
            if let (true, Err(e)) = (is_run, prepared(name, &parsed, None)) {
                wrong.push(format!("{place}: {command}: {e}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 80, "{seen}");
}

#[test]
fn commands_are_found_in_lines_behind_titles_and_in_backticks() {
    let text = "Text `vista knn --k 3` and `vista`, `cargo x`.\n$ vista embed a \\\n  --out b    # note\n  Table 8    vista sweep --key a\n\
                vista is a program\ncargo run --release -- pretrain   # note\nvista voc x  # as `y`\n";
    let found = commands(text);
    assert_eq!(
        found,
        [
            "vista knn --k 3",
            "vista embed a    --out b",
            "vista sweep --key a",
            "vista pretrain",
            "vista voc x"
        ]
    );
}
