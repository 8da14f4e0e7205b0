//! Collapse: the ways in which an encoder stops telling photos apart, seen and named while it happens.

use super::method::HELPS;
use super::step::{StepReport, TermReport};
use crate::topic::Topic;
use serde::{Deserialize, Serialize};

/// Watches steps for signs of collapse that last.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Watch {
    /// Steps in a row that a sign must last; 0 watches nothing.
    patience: u64,
    /// The highest effective rank so far.
    best_rank: f64,
    signs: Vec<Sign>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sign {
    name: String,
    lasted: u64,
    told: bool,
}

/// Mean cosine above which embeddings count as equal.
const EQUAL: f64 = 0.99;
/// Share of the highest effective rank below which it has fallen, where the loss is no better than at equal embeddings.
const FALLEN: f64 = 0.2;
/// Distance from a term's value at equal embeddings, as a share of it, within which it is stuck there.
const STUCK: f32 = 0.01;

impl Watch {
    /// A watch that speaks after `patience` steps of one sign in a row.
    pub fn new(patience: u64) -> Watch {
        Watch { patience, best_rank: 0.0, signs: Vec::new() }
    }

    /// Looks at a step: a warning for each sign that has just lasted too long. Each is told once, and again only after it
    /// has gone and come back.
    pub fn look(&mut self, report: &StepReport) -> Vec<String> {
        let spread = report.spread;
        self.best_rank = self.best_rank.max(spread.rank);
        // A network that has just been made spreads its embeddings wide: most of a run that learns is below a fifth of that.
        let margin = |term: &TermReport| STUCK * term.collapsed.abs().max(0.1);
        let learns = report.terms.iter().all(|term| term.value < term.collapsed - margin(term));
        let mut signs = vec![
            (
                "the embeddings are all the same".to_string(),
                spread.cosine > EQUAL,
                format!("two views of different photos have a cosine of {:.4}", spread.cosine),
                HELPS,
            ),
            (
                "the effective rank of the embeddings has fallen".to_string(),
                spread.rank < FALLEN * self.best_rank && !learns,
                format!("from {:.1} at best to {:.1}", self.best_rank, spread.rank),
                HELPS,
            ),
        ];
        for term in &report.terms {
            let near = (term.value - term.collapsed).abs() <= margin(term);
            let value = format!("{:.4}; all embeddings equal would give {:.4}", term.value, term.collapsed);
            signs.push((format!("{} is stuck at its value of collapse", term.name), near, value, term.helps));
        }
        let mut warnings = Vec::new();
        for (name, seen, detail, advice) in signs {
            if self.lasts(&name, seen) {
                let lasted = format!("{name} for {} steps ({detail})", self.patience);
                warnings.push(format!("collapse: {lasted}: {advice} ({})", Topic::Collapse));
            }
        }
        warnings
    }

    /// Counts a sign; whether it has just lasted long enough to be told.
    fn lasts(&mut self, name: &str, seen: bool) -> bool {
        let at = self.signs.iter().position(|sign| sign.name == name).unwrap_or_else(|| {
            self.signs.push(Sign { name: name.to_string(), lasted: 0, told: false });
            self.signs.len() - 1
        });
        let sign = &mut self.signs[at];
        sign.lasted = if seen { sign.lasted + 1 } else { 0 };
        let now = self.patience > 0 && sign.lasted >= self.patience && !sign.told;
        sign.told = seen && (sign.told || now);
        now
    }
}

#[cfg(test)]
#[path = "../../tests/unit/pretrain/collapse.rs"]
mod tests;
