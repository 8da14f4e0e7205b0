//! Cells as a table with spread, and what follows from it in a sentence.

use super::part::of_share;
use super::{By, Cell, LabelledAlbums, Start, Worth};
use crate::pretrain::Spread;
use crate::transfer::metrics::standard_error;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};

/// A mean over seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Its standard error: the standard deviation of the seeds over the root of their number. `None` of one seed.
    pub error: Option<f64>,
    /// How many seeds.
    pub seeds: usize,
}

impl Estimate {
    /// Of these values; `None` of none.
    pub fn of(values: &[f64]) -> Option<Estimate> {
        let Spread { count, mean, std } = Spread::of(values)?;
        Some(Estimate { mean, error: (count > 1).then(|| std / (count as f64).sqrt()), seeds: count })
    }

    /// Whether it is above (1) or below (-1) zero beyond what seeds explain, by Student's t at 95 %; 0 if neither.
    fn sign(&self) -> i32 {
        match self.error {
            Some(error) if self.mean.abs() > student(self.seeds - 1) * error => self.mean.signum() as i32,
            _ => 0,
        }
    }
}

/// The two-sided 95 % quantile of Student's t.
fn student(freedom: usize) -> f64 {
    const T: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];
    T.get(freedom - 1).copied().unwrap_or(1.96 + 2.5 / freedom as f64)
}

impl Display for Estimate {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let text = match self.error {
            Some(error) => format!("{:.3} ± {error:.3}", self.mean),
            None => format!("{:.3}", self.mean),
        };
        f.pad(&text)
    }
}

/// One start by one protocol on one share of the labels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The start's name.
    pub start: String,
    /// How the encoder is used.
    pub by: By,
    /// Share of the training photos.
    pub share: f64,
    /// How many that are.
    pub photos: usize,
    /// Fraction of the test photos predicted right.
    pub top1: Estimate,
    /// Mean over classes of the same.
    pub balanced: Estimate,
    /// By how much `top1` is above that of the first start: the mean of the differences seed by seed, with their standard error.
    /// `None` for the first start itself.
    pub gain: Option<Estimate>,
}

/// All of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    /// By share, protocol and start, in the order asked for.
    pub rows: Vec<Row>,
    /// Test photos.
    pub test_photos: usize,
    /// What follows: where a start is better than the first.
    pub verdict: String,
    /// What a person should know of the parts.
    pub notes: Vec<String>,
}

impl Worth {
    /// The table of the cells that [`Worth::run`] came to. The first start is what the others are compared with.
    pub fn table(&self, starts: &[Start], albums: &LabelledAlbums, cells: &[Cell]) -> Table {
        let of = |start: &str, by: By, share: f64| -> Vec<&Cell> {
            let mut of: Vec<&Cell> =
                cells.iter().filter(|c| c.name == start && c.key.by == by && c.key.share == share).collect();
            of.sort_by_key(|cell| cell.key.seed);
            of
        };
        let base = starts.first().map_or("", |start| &start.name);
        let mut rows = Vec::new();
        for &share in &self.shares {
            for by in [By::Probe, By::Finetune] {
                for Start { name, .. } in starts {
                    let (mine, bases) = (of(name, by, share), of(base, by, share));
                    let Some(top1) = Estimate::of(&figures(&mine, |c| c.top1)) else { continue };
                    let Some(balanced) = Estimate::of(&figures(&mine, |c| c.balanced)) else { continue };
                    let gain = if name == base { None } else { Estimate::of(&differences(&mine, &bases)) };
                    let (start, photos) = (name.clone(), mine[0].photos);
                    rows.push(Row { start, by, share, photos, top1, balanced, gain });
                }
            }
        }
        let best = |start: &str, share: f64| {
            let of = [By::Probe, By::Finetune].map(|by| of(start, by, share));
            let mean = |cells: &[&Cell]| Estimate::of(&figures(cells, |c| c.top1)).map_or(0.0, |e| e.mean);
            let [probe, finetune] = of;
            if mean(&probe) > mean(&finetune) { probe } else { finetune }
        };
        let said = starts.iter().skip(1).map(|Start { name, .. }| {
            let gains = self.shares.iter().filter_map(|&share| {
                Some((share, Estimate::of(&differences(&best(name, share), &best(base, share)))?))
            });
            sentence(name, base, &gains.collect::<Vec<_>>())
        });
        let verdict = said.collect::<Vec<_>>().join("; ");
        let test_photos = albums.test.photos().len();
        Table { rows, test_photos, verdict, notes: self.notes(albums) }
    }

    fn notes(&self, albums: &LabelledAlbums) -> Vec<String> {
        let whole = of_share(albums, 1.0);
        let raised = self.shares.iter().filter_map(|&share| {
            let lifted = whole.iter().filter(|&&count| count > 0 && share * (count as f64) < 0.5).count();
            let photos: usize = of_share(albums, share).iter().sum();
            (lifted > 0).then(|| {
                let share = percent(share);
                format!("{share} is {photos} photos: of {lifted} classes it would be less than one, and one is taken")
            })
        });
        raised.collect()
    }
}

fn figures(cells: &[&Cell], figure: fn(&Cell) -> f64) -> Vec<f64> {
    cells.iter().map(|cell| figure(cell)).collect()
}

/// Top-1 of cells minus that of others of the same seed.
fn differences(mine: &[&Cell], bases: &[&Cell]) -> Vec<f64> {
    let base = |cell: &Cell| bases.iter().find(|base| base.key.seed == cell.key.seed);
    mine.iter().filter_map(|cell| Some(cell.top1 - base(cell)?.top1)).collect()
}

/// Where a start is better than the first, where worse, where neither.
fn sentence(name: &str, base: &str, gains: &[(f64, Estimate)]) -> String {
    let of = |sign: i32| -> Option<String> {
        let told = |(share, gain): &(f64, Estimate)| format!("{} ({:+.3})", percent(*share), gain.mean);
        let all: Vec<String> = gains.iter().filter(|(_, gain)| gain.sign() == sign).map(told).collect();
        (!all.is_empty()).then(|| and(&all))
    };
    if gains.iter().any(|(_, gain)| gain.error.is_none()) {
        let told = gains.iter().map(|(share, gain)| format!("{:+.3} at {}", gain.mean, percent(*share)));
        return format!(
            "{name} against {base}: {}, of one seed each, which proves nothing",
            and(&told.collect::<Vec<_>>())
        );
    }
    let (better, worse, neither) = (of(1), of(-1), of(0));
    let mut parts = Vec::new();
    parts.extend(better.as_ref().map(|at| format!("better than {base} at {at} of the labels")));
    parts.extend(worse.map(|at| format!("worse than {base} at {at}")));
    parts.extend(neither.map(|at| format!("no clear difference at {at}")));
    let verdict = if better.is_some() { "is worth it here" } else { "is not seen to be worth it here" };
    format!("{name} {verdict}: {}", parts.join(", "))
}

/// `a`, `a and b`, `a, b and c`.
fn and(all: &[String]) -> String {
    match all {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => all.concat(),
    }
}

/// A share as people write it.
pub(super) fn percent(share: f64) -> String {
    let digits = (share * 1e6).round() / 1e4;
    format!("{digits} %")
}

impl Display for Table {
    /// A column for each share; below a start's figures what it gains.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let mut shares: Vec<(f64, usize)> = Vec::new();
        let mut names: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !shares.iter().any(|(share, _)| *share == row.share) {
                shares.push((row.share, row.photos));
            }
            if !names.contains(&row.start.as_str()) {
                names.push(&row.start);
            }
        }
        let base = names.first().copied().unwrap_or_default();
        let wide = names.iter().map(|name| name.chars().count() + 2).max().unwrap_or(0).max(26);
        let heading: Vec<String> = shares
            .iter()
            .map(|(share, photos)| format!("{:>17}", format!("{} ({photos})", percent(*share))))
            .collect();
        writeln!(f, "{:wide$}{}", "top-1 at share (photos)", heading.concat())?;
        for (by, what) in [(By::Finetune, "fine-tuned from"), (By::Probe, "linear probe of")] {
            writeln!(f, "{what}")?;
            for name in &names {
                let of = |share: f64| {
                    self.rows.iter().find(|r| r.start == *name && r.by == by && r.share == share)
                };
                let found: Vec<Option<&Row>> = shares.iter().map(|(share, _)| of(*share)).collect();
                let line = |figure: &dyn Fn(&Row) -> Option<String>| -> String {
                    found
                        .iter()
                        .map(|row| format!("{:>17}", row.and_then(figure).unwrap_or("-".into())))
                        .collect()
                };
                writeln!(f, "  {name:width$}{}", line(&|row| Some(row.top1.to_string())), width = wide - 2)?;
                if found.iter().flatten().any(|row| row.gain.is_some()) {
                    let gains = line(&|row| {
                        row.gain.map(|gain| format!("{}{gain}", if gain.mean < 0.0 { "" } else { "+" }))
                    });
                    writeln!(f, "    {:width$}{gains}", format!("more than {base}"), width = wide - 4)?;
                }
            }
        }
        let seeds = self.rows.iter().map(|row| row.top1.seeds).max().unwrap_or(0);
        let widest = standard_error(0.5, self.test_photos);
        if seeds > 1 {
            writeln!(f, "± is the standard error over {seeds} seeds")?;
        }
        let tested = self.test_photos;
        writeln!(
            f,
            "as figures for other photos than these {tested}, all are uncertain by up to ± {widest:.3} more"
        )?;
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}

#[cfg(test)]
#[path = "../../../../tests/unit/transfer/classify/worth/table.rs"]
mod tests;
