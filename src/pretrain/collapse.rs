//! Collapse: the ways in which an encoder stops telling photos apart, seen and named while it happens.

use super::method::HELPS;
use super::step::{StepReport, TermReport};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::topic::Topic;
use serde::{Deserialize, Serialize};

/// What the embeddings of one step look like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dispersion {
    /// Mean cosine of two different rows; 1 if all point the same way.
    pub cosine: f64,
    /// Effective rank of the normalised, centred rows: `(sum l)^2 / sum l^2` over the eigenvalues l of their covariance;
    /// from 1 (a line) to the width.
    pub rank: f64,
}

impl Dispersion {
    /// Of rows `[N, d]`, normalised here. Fewer than two rows, or rows that are not finite, count as spread out.
    ///
    /// # Source
    /// The participation ratio of the covariance's spectrum; `sum l^2` is its squared Frobenius norm, so no
    /// eigenvalue is computed.
    pub fn of(values: &[f32], width: usize) -> Dispersion {
        let n = values.len() / width.max(1);
        let fine = Dispersion { cosine: 0.0, rank: width as f64 };
        if n < 2 || values.iter().any(|v| !v.is_finite()) {
            return fine;
        }
        let mut rows: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
        let mut mean = vec![0.0; width];
        for row in rows.chunks_mut(width) {
            let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt().max(1e-12);
            row.iter_mut().for_each(|v| *v /= norm);
            mean.iter_mut().zip(row.iter()).for_each(|(m, v)| *m += v / n as f64);
        }
        // |sum of unit rows|^2 = n + sum over pairs
        let square: f64 = mean.iter().map(|m| m * m).sum::<f64>() * (n * n) as f64;
        let cosine = (square - n as f64) / (n * (n - 1)) as f64;
        for row in rows.chunks_mut(width) {
            row.iter_mut().zip(&mean).for_each(|(v, m)| *v -= m);
        }
        let mut covariance = vec![0.0; width * width];
        for row in rows.chunks(width) {
            for (i, a) in row.iter().enumerate() {
                covariance[i * width..][..width].iter_mut().zip(row).for_each(|(c, b)| *c += a * b);
            }
        }
        let trace: f64 = (0..width).map(|i| covariance[i * (width + 1)]).sum();
        let squares: f64 = covariance.iter().map(|c| c * c).sum();
        // Rows that are equal to the last digits of f32 have no spread to speak of.
        let rank = if trace > 1e-10 * n as f64 { trace * trace / squares } else { 1.0 };
        Dispersion { cosine, rank }
    }
}

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
/// Rows whose spread is looked at: enough for an estimate, few enough to cost nothing.
const ROWS: usize = 256;

impl Watch {
    /// A watch that speaks after `patience` steps of one sign in a row.
    pub fn new(patience: u64) -> Watch {
        Watch { patience, best_rank: 0.0, signs: Vec::new() }
    }

    /// Looks at a step: its spread for the log, and a warning for each sign that has just lasted too long. Each is
    /// told once, and again only after it has gone and come back.
    ///
    /// # Errors
    /// The device's.
    pub fn look(&mut self, report: &StepReport) -> Result<(Dispersion, Vec<String>)> {
        let [n, width] = report.z.shape()[..] else { unreachable!("projections are [N, d]") };
        let z: Tensor = if n > ROWS { report.z.rows(0..ROWS)? } else { report.z.clone() };
        let spread = Dispersion::of(&z.to_vec()?, width);
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
        Ok((spread, warnings))
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
