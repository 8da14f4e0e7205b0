//! An objective of one's own: the spectral contrastive loss (HaoChen et al., 2021, Eq. 6), trained for a moment.
//!
//! `loss = -2 mean_i (z_i . z_i') + mean_{i != j} (z_i . z_j)^2` over the unit-length projections of two views.

use std::sync::Arc;
use vista::prelude::*;

/// The spectral contrastive loss.
#[derive(Debug)]
struct Spectral;

impl Objective for Spectral {
    fn needs(&self) -> Needs {
        Needs { keys: KeyViews::None, rings: Rings::default() } // neither a key encoder nor a queue
    }

    fn loss<'t>(&self, e: &Embeddings<'_, 't>) -> Result<Loss<'t>> {
        let z = e.query.z.l2_normalize()?; // [2 B, d], all first views, then all second ones
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
        let helps = "raise the batch";
        let term = |name, value, collapsed| Term { name, weight: 1.0, value, collapsed, helps };
        Ok(Loss { terms: vec![term("attract", attract, -2.0), term("repel", repel, 1.0)], positives: None })
    }
}

fn main() -> Result<()> {
    // A configuration without keys and queue gives the rest of a learner: encoder, optimiser, batch norm.
    let config = ["model.width=16", "optimizer.warmup_steps=0"]
        .iter()
        .try_fold(Config::preset("demo")?.with_method("simclr")?, |config, setting| config.with(setting))?;
    let device = Device::open("auto")?;
    let mut learner = Learner { objective: Box::new(Spectral), ..learner(&config, &device)? };
    let album = Arc::new(Album::new(Photos::bundled_pretrain(), AlbumOptions::default()));
    let (batch, size) = (32, config.views.size);
    let mut loader = Loader::new(album, LoaderOptions::new(batch, vec![config.views.clone(); 2], 0))?;
    let mut losses = Vec::new();
    for step in 0..60 {
        let Some(views) = loader.next().transpose()? else { break };
        let query = vec![Tensor::new(&device, [2 * batch, size, size, 3], &views.images)?];
        let batch = Batch { query, key: None, views: 2, ids: views.ids.clone(), shuffle: Vec::new() };
        let report = learner.step(&batch, 1e-3)?;
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
