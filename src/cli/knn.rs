//! `vista knn`.

use crate::cli::judged::{Chosen, Floors, LabelledPhotos};
use crate::cli::paths::Files;
use crate::engine::nn::ResNet;
use crate::error::Result;
use crate::transfer::classify::{Embedded, Knn, Votes};
use serde_json::{Value, json};

/// Judge a checkpoint by weighted kNN on labelled photos.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) judged: Chosen,
    #[command(flatten)]
    photos: LabelledPhotos,
    /// Neighbours.
    #[arg(long, default_value_t = 20)]
    k: usize,
    /// Temperature of the neighbours' weights exp(cosine / tau).
    #[arg(long, default_value_t = 0.07)]
    tau: f64,
    #[command(flatten)]
    floors: Floors,
}

pub(super) fn files(args: &Args) -> Result<Files> {
    args.judged.files("knn", args.photos.labelled(), args)
}

pub(super) fn run(args: &Args) -> Result<Value> {
    let (knn, protocol) = (Knn { k: args.k, tau: args.tau }, args.photos.knn_protocol());
    let judging = args.judged.begin(|| {
        let albums = args.photos.open()?;
        // Before the features, which may take long.
        knn.check(protocol.voters(albums.train.photos().len(), albums.test.photos().len()))?;
        Ok(albums)
    })?;
    let judging = judging.of_centres();
    let device = &judging.opened.device;
    let judge = |sets: [Embedded; 2]| {
        let [train, test] = judging.labelled(sets);
        protocol.votes(&knn, device, &train, &test)
    };
    let of_encoder = |net: &ResNet| judge(judging.embed(net)?);
    let votes = of_encoder(&judging.opened.encoder.backbone)?;
    let floors = judging.floors(&args.floors, of_encoder, judge)?;
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
