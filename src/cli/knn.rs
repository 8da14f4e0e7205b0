//! `vista knn`.

use crate::cli::judged::{Judged, LabelledPhotos, dataset};
use crate::cli::paths::Files;
use crate::error::Result;
use crate::eval::Knn;
use serde_json::json;

/// Its name and the mark of its figures.
const NAME: [&str; 2] = ["knn", "\"command\": \"knn\""];

/// Judge a checkpoint by weighted kNN on labelled photos.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    judged: Judged,
    #[command(flatten)]
    photos: LabelledPhotos,
    /// Neighbours.
    #[arg(long, default_value_t = 20)]
    k: usize,
    /// Temperature of the neighbours' weights exp(cosine / tau).
    #[arg(long, default_value_t = 0.07)]
    tau: f64,
}

pub(super) fn files(args: &Args) -> Result<Files> {
    args.judged.files(NAME)
}

pub(super) fn run(args: &Args) -> Result<()> {
    let report = args.judged.report(NAME);
    let albums = args.photos.open()?;
    let knn = Knn { k: args.k, tau: args.tau };
    // Before the features, which may take long.
    knn.check(albums.train.photos().len())?;
    let opened = args.judged.open()?;
    let [train, test] = opened.features(&albums)?;
    let votes = knn.classify(&train.labelled(), &test.labelled())?;
    say!("kNN k {} tau {}: top-1 {:.4}, balanced {:.4}", args.k, args.tau, votes.top1, votes.balanced);
    say!("{} train and {} test photos", train.labels.len(), test.labels.len());
    report.write(json!({
        "encoder": opened.facts(),
        "dataset": dataset(&albums),
        "protocol": knn,
        "results": { "top1": votes.top1, "balanced": votes.balanced },
    }))
}
