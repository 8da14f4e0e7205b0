use super::*;

#[test]
fn every_topic_has_a_page_without_marks() {
    for &topic in Topic::value_variants() {
        let text = page(topic);
        assert!(text.lines().filter(|line| !line.trim().is_empty()).count() > 3, "{topic}: {text}");
        for mark in ["**", "[`", "](", "//!"] {
            assert!(!text.contains(mark), "{topic} has {mark}: {text}");
        }
    }
    assert!(page(Topic::Queue).starts_with("Stage 4: the dictionary of keys."));
    assert!(page(Topic::Collapse).starts_with("Collapse\n"));
    assert!(!page(Topic::Collapse).contains("Two devices"), "a section ends where the next begins");
}

/// `vista explain NAME`, wherever it is written, names a topic.
#[test]
fn every_page_that_a_text_names_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("folder").map(|entry| entry.expect("entry").path()) {
            if entry.is_dir() { folders.push(entry) } else { files.push(entry) }
        }
    }
    let mut named = 0;
    for file in files {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        for after in text.split("vista explain ").skip(1) {
            let name: String = after.chars().take_while(|c| c.is_ascii_lowercase()).collect();
            if !name.is_empty() {
                assert!(Topic::from_str(&name, false).is_ok(), "{}: {name}", file.display());
                named += 1;
            }
        }
    }
    assert!(named > 2, "{named} found");
}
