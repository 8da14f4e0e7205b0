//! A method of one's own, the spectral contrastive loss (HaoChen et al., 2021, Eq. 6), as a run like any other: configuration,
//! log, checkpoints, resuming, report.
//!
//! `loss = -2 mean_i (z_i . z_i') + mean_{i != j} (z_i . z_j)^2` over the unit-length projections of two views.

use serde::{Deserialize, Serialize};
use vista::pretrain::methods::{Entry, register};
use vista::pretrain::{Found, Trainer};
use vista::{prelude::*, run::History, show::report};

/// The spectral contrastive loss with SimCLR's projector: no key encoder and no queue.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "name", rename = "spectral", default, deny_unknown_fields)]
pub struct Spectral {
    /// Width of the projections z.
    pub projection: usize,
}

impl Default for Spectral {
    fn default() -> Spectral {
        Spectral { projection: 128 }
    }
}

impl Method for Spectral {
    fn heads(&self, build: &mut Build) -> Result<Heads> {
        Ok([("z", build.mlp("projector", [build.features, 0, self.projection], true)?)].into())
    }

    fn loss<'t>(&self, e: &Embedded<'_, 't>) -> Result<Loss<'t>> {
        let z = e.query("z")?.l2_normalize()?; // [2 B, d], all first views, then all second ones
        let (n, tape) = (z.shape()[0], z.tape());
        let attract = z.rows(0..n / 2)?.cosine(&z.rows(n / 2..n)?)?.mean(Over::All)?.scale(-2.0)?;
        let others = Tensor::from_fn(tape.device(), [n, n], |at| if at[0] == at[1] { 0.0 } else { 1.0 })?;
        let repel = z.matmul_nt(&z)?.square()?.mul(&tape.constant(others))?.sum(Over::All)?;
        let repel = repel.scale(1.0 / (n * (n - 1)) as f32)?;
        let terms = vec![Term::new("attract", attract, -2.0), Term::new("repel", repel, 1.0)];
        Ok(Loss { terms, ..Loss::default() })
    }
}

fn main() -> Result<()> {
    // With `vista::cli::run()` behind this line it would be the whole `vista` command, with `--method spectral`.
    register(const { &Entry::of::<Spectral>("spectral", include_str!("custom_method.rs")) })?;
    let folder = std::env::temp_dir().join(format!("vista-custom-method-{}", std::process::id()));
    let config = Config::preset("demo")?.with_method("spectral")?.with("model.width=16")?;

    let summary = Trainer::new(config.with("train.steps=30")?, &folder, None)?.run()?;
    let found = Found::newest(&folder)?.expect("a checkpoint"); // goes on as if it had never stopped
    Trainer::resume(config.with("train.steps=60")?, &folder, None, found)?.run()?;
    println!("report {}", report::write(&folder, 24, &summary.device, &mut |_, _| {})?.display());

    let losses = History::read(&summary.log)?.series("loss");
    let mean = |part: &[(f64, f64)]| part.iter().map(|point| point.1).sum::<f64>() / part.len() as f64;
    let (first, last) = (mean(&losses[..10]), mean(&losses[50..]));
    println!("loss {first:.4} in the first ten steps, {last:.4} in the last (all embeddings equal: -1)");
    assert!(losses.len() == 60 && last < first - 0.1, "nothing was learned");
    std::fs::remove_dir_all(&folder).map_err(|e| Error::io(&folder, e))
}
