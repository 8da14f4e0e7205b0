//! `vista knn`.

use crate::cli::judged::{Judged, LabelledPhotos, dataset, warn_of_undecodable};
use crate::cli::paths::Files;
use crate::engine::nn::ResNet;
use crate::error::Result;
use crate::transfer::classify::{Knn, Votes, colour_features};
use serde_json::{Value, json};

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
    /// Also judge what needs no learning: the same encoder before training (batch norm with statistics of the train photos),
    /// and colours alone.
    #[arg(long)]
    floor: bool,
}

pub(super) fn files(args: &Args) -> Result<Files> {
    args.judged.files(NAME)
}

pub(super) fn run(args: &Args) -> Result<()> {
    let report = args.judged.report(NAME);
    let albums = args.photos.open()?;
    let (knn, protocol) = (Knn { k: args.k, tau: args.tau }, args.photos.knn_protocol());
    // Before the features, which may take long.
    knn.check(protocol.voters(albums.train.photos().len(), albums.test.photos().len()))?;
    let opened = args.judged.open()?;
    let judge = |backbone: &ResNet| {
        let [train, test] = opened.features(backbone, &albums)?;
        Ok((protocol.votes(&knn, &train, &test)?, train.labels.len(), test.labels.len()))
    };
    let (votes, train, test) = judge(&opened.encoder.backbone)?;
    warn_of_undecodable(albums.both());
    let mut floors = Vec::new();
    if args.floor {
        floors.push(("untrained", judge(&opened.untrained(&albums.train)?.backbone)?.0));
        let colour = [colour_features(&albums.train)?, colour_features(&albums.test)?];
        floors.push(("colour", protocol.votes(&knn, &colour[0], &colour[1])?));
    }
    let figures = |v: &Votes| format!("top-1 {:.4} ± {:.4}, balanced {:.4}", v.top1, v.error, v.balanced);
    say!("kNN k {} tau {}: {}", args.k, args.tau, figures(&votes));
    floors.iter().for_each(|(name, floor)| say!("{name}: {}", figures(floor)));
    say!("{train} train and {test} test photos: {}", protocol.told(votes.predicted.len()));
    let results = |v: &Votes| {
        let Votes { predicted, top1, balanced, error, .. } = v;
        json!({ "top1": top1, "top1_error": error, "balanced": balanced, "photos": predicted.len() })
    };
    let floors: Value = floors.iter().map(|(name, floor)| (name.to_string(), results(floor))).collect();
    report.write(json!({
        "encoder": opened.facts(),
        "dataset": dataset(albums.both()),
        "protocol": { "k": knn.k, "tau": knn.tau, "judged": protocol },
        "results": results(&votes),
        "floors": floors,
    }))
}
