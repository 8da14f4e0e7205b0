//! `vista knn`.

use crate::cli::judged::{Judged, LabelledPhotos};
use crate::cli::paths::Files;
use crate::error::Result;
use crate::transfer::classify::{Features, Knn, Votes, colour_features};
use serde_json::{Value, json};

/// Judge a checkpoint by weighted kNN on labelled photos.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) judged: Judged,
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
    args.judged.files("knn", args.photos.labelled(), args)
}

pub(super) fn run(args: &Args) -> Result<()> {
    let (knn, protocol) = (Knn { k: args.k, tau: args.tau }, args.photos.knn_protocol());
    let judging = args.judged.begin("knn", || {
        let albums = args.photos.open()?;
        // Before the features, which may take long.
        knn.check(protocol.voters(albums.train.photos().len(), albums.test.photos().len()))?;
        Ok(albums)
    })?;
    let judging = judging.of_centres();
    let device = &judging.opened.device;
    let judge = |[train, test]: [Features; 2]| protocol.votes(&knn, device, &train, &test);
    let votes = judge(judging.features(&judging.opened.encoder.backbone)?)?;
    let mut floors = Vec::new();
    if args.floor {
        let [train, test] = judging.albums.both();
        floors.push(("untrained", judge(judging.features(&judging.untrained()?.backbone)?)?));
        floors.push(("colour", judge([colour_features(train)?, colour_features(test)?])?));
    }
    let figures = |v: &Votes| format!("top-1 {:.4} ± {:.4}, balanced {:.4}", v.top1, v.error, v.balanced);
    let mut lines = vec![format!("kNN k {} tau {}: {}", args.k, args.tau, figures(&votes))];
    lines.extend(floors.iter().map(|(name, floor)| format!("{name}: {}", figures(floor))));
    lines.push(format!("{}: {}", judging.counts(), protocol.told(votes.predicted.len())));
    let results = |v: &Votes| {
        let Votes { predicted, top1, balanced, error, .. } = v;
        json!({ "top1": top1, "top1_error": error, "balanced": balanced, "photos": predicted.len() })
    };
    let floors: Value = floors.iter().map(|(name, floor)| (name.to_string(), results(floor))).collect();
    judging.finish(
        &lines,
        json!({
            "protocol": { "k": knn.k, "tau": knn.tau, "judged": protocol },
            "results": results(&votes),
            "floors": floors,
        }),
    )
}
