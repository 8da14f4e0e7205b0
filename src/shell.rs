//! Commands that a person can paste: words quoted for a shell, and this program named as it was called.

use std::ffi::OsStr;
use std::path::Path;

/// A word of a command line as a POSIX shell reads it back.
///
/// `a b` -> `'a b'`; what is no text or no printable one -> `$'..'`.
pub(crate) fn word(word: impl AsRef<OsStr>) -> String {
    let word = word.as_ref();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/=:,+@%".contains(c);
    match word.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(plain) && !text.starts_with('=') => text.into(),
        Some(text) if !text.contains(char::is_control) => format!("'{}'", text.replace('\'', "'\\''")),
        _ => {
            let escaped = |byte: &u8| match byte {
                b'\'' | b'\\' => format!("\\{}", *byte as char),
                b' '..=b'~' => (*byte as char).to_string(),
                other => format!("\\x{other:02x}"),
            };
            format!("$'{}'", word.as_encoded_bytes().iter().map(escaped).collect::<String>())
        }
    }
}

/// A path as a word that no command takes for an option.
pub(crate) fn path(path: impl AsRef<OsStr>) -> String {
    let path = path.as_ref();
    match path.as_encoded_bytes().first() {
        Some(b'-') => word(Path::new(".").join(path)),
        _ => word(path),
    }
}

/// This program as it was called: `vista`, `target/release/vista`.
pub(crate) fn program() -> String {
    std::env::args_os().next().filter(|name| !name.is_empty()).map_or("vista".into(), path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_with_spaces_and_quotes_are_one_word_of_a_shell() {
        assert_eq!(word("runs/a-1=2"), "runs/a-1=2");
        assert_eq!(word("it's mine"), "'it'\\''s mine'");
        assert_eq!((word(""), word("=ls"), word("~")), ("''".into(), "'=ls'".into(), "'~'".into()));
        assert_eq!(path("-rf"), "./-rf");
    }

    #[cfg(unix)]
    #[test]
    fn a_shell_reads_every_word_back_to_the_byte() {
        use std::os::unix::ffi::OsStrExt;
        let mut rng = crate::rng::KeyedRng::new("words", 0, [0; 3]);
        for round in 0..60 {
            let odd = b"a' \"\\$`!*~=-\n";
            let bytes: Vec<u8> = (0..rng.below(9))
                .map(|_| match round % 3 {
                    0 => 1 + rng.below(255) as u8,
                    1 => odd[rng.below(odd.len() as u64) as usize],
                    _ => odd[rng.below(odd.len() as u64 - 1) as usize], // no control among them
                })
                .collect();
            let command = format!("printf %s {}", word(OsStr::from_bytes(&bytes)));
            let output = std::process::Command::new("bash").args(["-c", &command]).output();
            let Ok(output) = output else { return println!("not tested: bash is not here") };
            assert_eq!(output.stdout, bytes, "{command}");
        }
    }
}
