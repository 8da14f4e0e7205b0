//! What a reader leaves out of a set: counted by reason with an example each, refused past the share that may be broken.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::error::{Error, Result};
use crate::topic::Topic;

/// How many of `n` entries may be broken: a share of them, and always one unless the share is 0.
pub(crate) fn allowed(n: usize, share: f64) -> usize {
    if share > 0.0 { ((n as f64 * share) as usize).max(1) } else { 0 }
}

/// Entries of one kind that are left out, or of which a part is.
#[derive(Debug)]
pub(super) struct Tally {
    /// What the entries are: `images`.
    noun: &'static str,
    /// What is done with them: `left out`.
    outcome: &'static str,
    /// How many there are of each reason, with the first.
    reasons: BTreeMap<&'static str, (usize, String)>,
}

impl Tally {
    pub(super) fn new(noun: &'static str, outcome: &'static str) -> Tally {
        Tally { noun, outcome, reasons: BTreeMap::new() }
    }

    /// Counts an entry; `why` goes on after "3 of 7 images ..".
    pub(super) fn note(&mut self, why: &'static str, example: impl Display) {
        self.reasons.entry(why).or_insert_with(|| (0, example.to_string())).0 += 1;
    }

    pub(super) fn count(&self) -> usize {
        self.reasons.values().map(|(count, _)| count).sum()
    }

    /// A sentence for each reason, of entries at a place; `most`: the share of all that may be left out, if not any.
    ///
    /// # Errors
    /// [`Error::Input`] if more of them are, or all.
    pub(super) fn told(&self, place: &str, of: usize, most: Option<f64>) -> Result<Vec<String>> {
        let count = self.count();
        let allowed = most.map_or(usize::MAX, |share| allowed(of, share).min(of.saturating_sub(1)));
        let most = self.reasons.iter().max_by_key(|(_, (count, _))| *count);
        if let Some((why, (_, example))) = most.filter(|_| count > allowed) {
            let what = format!("{count} of {of} {} can't be used, {allowed} may be", self.noun);
            let advice = format!("remove or repair those that {why}, such as {example}");
            return Err(Error::input(what, place, advice).see(Topic::Data));
        }
        let line = |(why, (count, example)): (&&str, &(usize, String))| {
            format!("{place}: {count} of {of} {} {why}: {}, such as {example}", self.noun, self.outcome)
        };
        Ok(self.reasons.iter().map(line).collect())
    }
}
