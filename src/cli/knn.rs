//! `vista knn`.

use crate::cli::probe::Judged;
use crate::error::Result;
use crate::eval::Knn;

/// Judge a checkpoint by weighted kNN on labelled photos.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    judged: Judged,
    /// Neighbours.
    #[arg(long, default_value_t = 20)]
    k: usize,
    /// Temperature of the neighbours' weights exp(cosine / tau).
    #[arg(long, default_value_t = 0.07)]
    tau: f64,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let [train, test] = args.judged.features()?;
    let knn = Knn { k: args.k, tau: args.tau }.classify(&train.labelled(), &test.labelled())?;
    println!("kNN k {} tau {}: top-1 {:.4}, balanced {:.4}", args.k, args.tau, knn.top1, knn.balanced);
    println!("{} train and {} test photos", train.labels.len(), test.labels.len());
    Ok(())
}
