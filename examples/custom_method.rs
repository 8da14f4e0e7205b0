//! A method of one's own: the spectral contrastive loss (HaoChen et al., 2021, Eq. 6), trained for a moment.
//!
//! `loss = -2 mean_i (z_i . z_i') + mean_{i != j} (z_i . z_j)^2` over the unit-length projections of two views.

use rand::{SeedableRng, rngs::StdRng};
use std::sync::Arc;
use vista::prelude::*;

/// The spectral contrastive loss, with SimCLR's projector: no key encoder and no queue.
#[derive(Debug)]
struct Spectral;

impl Method for Spectral {
    fn heads(&self, build: &mut Build) -> Result<Heads> {
        Ok([("z", build.mlp("projector", [build.features, 0, 128], true)?)].into())
    }

    fn loss<'t>(&self, e: &Embedded<'_, 't>) -> Result<Loss<'t>> {
        let z = e.query("z")?.l2_normalize()?; // [2 B, d], all first views, then all second ones
        let (n, tape) = (z.shape()[0], z.tape());
        let similar = z.matmul_nt(&z)?; // [2 B, 2 B]
        let of_pairs = |value: &dyn Fn(usize, usize) -> f32| {
            let values: Vec<f32> = (0..n * n).map(|at| value(at / n, at % n)).collect();
            Ok::<_, Error>(tape.constant(Tensor::new(tape.device(), [n, n], &values)?))
        };
        let partners = of_pairs(&|i, j| if j == (i + n / 2) % n { 1.0 } else { 0.0 })?;
        let others = of_pairs(&|i, j| if i == j { 0.0 } else { 1.0 })?;
        let attract = similar.mul(&partners)?.sum(Over::All)?.scale(-2.0 / n as f32)?;
        let repel = similar.mul(&similar)?.mul(&others)?.sum(Over::All)?.scale(1.0 / (n * (n - 1)) as f32)?;
        let terms = vec![Term::new("attract", attract, -2.0), Term::new("repel", repel, 1.0)];
        Ok(Loss { terms, ..Loss::default() })
    }
}

fn main() -> Result<()> {
    // The rest of a learner is SimCLR's: backbone, optimiser, groups of batch norm.
    let config = ["model.width=16", "optimizer.warmup_steps=0"]
        .iter()
        .try_fold(Config::preset("demo")?.with_method("simclr")?, |config, setting| config.with(setting))?;
    let device = Device::open("auto")?;
    let learner = learner(&config, &device)?;
    let rng = &mut StdRng::seed_from_u64(0);
    let method = Training::new(Arc::new(Spectral), &learner.net, &device, rng, 0, false)?;
    let mut learner = Learner { method, ..learner };
    let album = Arc::new(Album::new(Photos::bundled_pretrain(), AlbumOptions::default()));
    let (batch, size) = (32, config.views.size);
    let mut loader = Loader::new(album, LoaderOptions::new(batch, vec![config.views.clone(); 2], 0))?;
    let mut losses = Vec::new();
    for step in 0..60 {
        let Some(views) = loader.next().transpose()? else { break };
        let query = vec![Tensor::new(&device, [2 * batch, size, size, 3], &views.images)?];
        let batch = Batch { query, key: None, ids: views.ids.clone(), shuffle: Vec::new() };
        let report = learner.step(&batch, &Now { step, lr: 1e-3, ..Now::default() })?;
        losses.push(report.loss);
        if step % 10 == 0 {
            println!(
                "step {step:3}  loss {:7.4}  {:?}",
                report.loss,
                report.terms.iter().map(|t| t.value).collect::<Vec<_>>()
            );
        }
    }
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    assert!(mean(&losses[50..]) < mean(&losses[..10]) - 0.1, "nothing was learned");
    println!("(all embeddings equal: -1)");
    Ok(())
}
