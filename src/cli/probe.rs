//! `vista probe`.

use crate::cli::judged::{Chosen, Floors, LabelledPhotos, best_on_test, watched};
use crate::cli::paths::Files;
use crate::engine::nn::ResNet;
use crate::error::{Error, Result};
use crate::transfer::classify::{Embedded, Probe, ProbeResult, SgdProbe};
use crate::transfer::metrics::standard_error;
use serde_json::{Value, json};

/// How the classifier is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Protocol {
    /// Standardised features of centre views, Adam.
    Adam,
    /// Features of a new random crop of each photo in each epoch, SGD with momentum.
    Sgd,
}

/// Judge a checkpoint by a linear classifier on its frozen features.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) judged: Chosen,
    #[command(flatten)]
    photos: LabelledPhotos,
    /// How the classifier is trained.
    #[arg(long, value_enum, default_value_t = Protocol::Adam)]
    protocol: Protocol,
    /// Passes over the train photos.
    #[arg(long, default_value_t = 100)]
    epochs: u64,
    /// Photos in a step.
    #[arg(long, default_value_t = 256)]
    batch: usize,
    /// Learning rate at the start [default: adam 0.001, sgd 0.1 batch / 256].
    #[arg(long)]
    lr: Option<f64>,
    /// Seed of the order and the crops.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    floors: Floors,
}

pub(super) fn files(args: &Args) -> Result<Files> {
    args.judged.files("probe", args.photos.labelled(), args)
}

pub(super) fn run(args: &Args) -> Result<Value> {
    if args.lr.is_some_and(|lr| !(lr > 0.0 && lr.is_finite())) {
        return Err(Error::input("a learning rate that is not above 0", "--lr", "choose one such as 0.001"));
    }
    let judging = args.judged.begin(|| args.photos.open())?;
    let judging = match args.protocol {
        Protocol::Adam => judging.of_centres(),
        Protocol::Sgd => judging,
    };
    let (views, device) = (&judging.opened.views, &judging.opened.device);
    let Args { epochs, batch, seed, .. } = *args;
    let adam = Probe { epochs, batch, seed, ..Probe::default() };
    let adam = Probe { lr: args.lr.unwrap_or(adam.lr), ..adam };
    let sgd = SgdProbe::scaled(batch);
    let sgd = SgdProbe { epochs, seed, lr: args.lr.unwrap_or(sgd.lr), ..sgd };
    let of_features = |sets: [Embedded; 2]| {
        let [train, test] = judging.labelled(sets);
        watched(epochs as usize, "epochs", |heard| {
            adam.fit(device, &train, &test, &mut |done| heard(done as usize))
        })
    };
    let fit = |backbone: &ResNet| -> Result<ProbeResult> {
        match args.protocol {
            Protocol::Adam => of_features(judging.embed(backbone)?),
            Protocol::Sgd => watched(sgd.work(&judging.albums) as usize, "features", |heard| {
                sgd.fit(backbone, &judging.albums, views, device, &mut |done| heard(done as usize))
            }),
        }
    };
    let protocol = match args.protocol {
        Protocol::Adam => json!({ "name": "adam", "standardised": true, "constants": adam }),
        Protocol::Sgd => json!({ "name": "sgd", "standardised": true, "constants": sgd }),
    };
    let result = fit(&judging.opened.encoder.backbone)?;
    let floors = judging.floors(&args.floors, fit, of_features)?;
    let error = |r: &ProbeResult| standard_error(r.top1, judging.albums.test.used());
    let figures =
        |r: &ProbeResult| format!("top-1 {:.4} ± {:.4}, balanced {:.4}", r.top1, error(r), r.balanced);
    let mut lines = vec![
        format!("protocol {protocol}"),
        format!("linear probe after the last epoch: {}", figures(&result)),
    ];
    lines.extend(floors.iter().map(|(name, floor)| format!("{name}: {}", figures(floor))));
    if args.protocol == Protocol::Sgd && !floors.is_empty() {
        lines.push("colour and hand-made features have no crops: theirs are by the protocol adam".into());
    }
    lines.push(best_on_test(result.best_on_test));
    lines.push(judging.counts());
    let floors: Value = floors.iter().map(|(name, floor)| (name.to_string(), json!(floor))).collect();
    judging.finish(
        &lines,
        json!({
            "protocol": protocol,
            "results": result,
            "top1_error": error(&result),
            "floors": floors,
        }),
    )
}
