//! `vista probe`.

use crate::cli::judged::{Judged, LabelledPhotos, Watch, dataset};
use crate::cli::paths::Files;
use crate::error::{Error, Result};
use crate::eval::{Probe, ProbeResult, SgdProbe};
use serde_json::{Value, json};

/// How the classifier is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Protocol {
    /// Standardised features of centre views, Adam.
    Adam,
    /// Features of a new random crop of each photo in each epoch, SGD with momentum.
    Sgd,
}

/// Its name and the mark of its figures.
const NAME: [&str; 2] = ["probe", "\"command\": \"probe\""];

/// Judge a checkpoint by a linear classifier on its frozen features.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    judged: Judged,
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
}

pub(super) fn files(args: &Args) -> Result<Files> {
    args.judged.files(NAME)
}

pub(super) fn run(args: &Args) -> Result<()> {
    let report = args.judged.report(NAME);
    if args.lr.is_some_and(|lr| !(lr > 0.0 && lr.is_finite())) {
        return Err(Error::input("a learning rate that is not above 0", "--lr", "choose one such as 0.001"));
    }
    let albums = args.photos.open()?;
    let opened = args.judged.open()?;
    let Args { epochs, batch, seed, .. } = *args;
    let (protocol, result): (Value, ProbeResult) = match args.protocol {
        Protocol::Adam => {
            let usual = Probe::default();
            let probe = Probe { epochs, batch, seed, lr: args.lr.unwrap_or(usual.lr), ..usual };
            let [train, test] = opened.features(&albums)?;
            let mut watch = Watch::new(epochs);
            let heard = &mut |done| watch.at(done, || format!("epoch {done} of {epochs}"));
            let result = probe.fit_watched(&opened.device, &train.labelled(), &test.labelled(), heard)?;
            watch.end();
            (json!({ "name": "adam", "standardised": true, "constants": probe }), result)
        }
        Protocol::Sgd => {
            let usual = SgdProbe::scaled(batch);
            let probe = SgdProbe { epochs, seed, lr: args.lr.unwrap_or(usual.lr), ..usual };
            let work = probe.work(&albums);
            let mut watch = Watch::new(work);
            let heard = &mut |done| watch.at(done, || format!("{done} of {work} features"));
            let result =
                probe.fit(&opened.encoder.backbone, &albums, &opened.views, &opened.device, heard)?;
            watch.end();
            (json!({ "name": "sgd", "standardised": true, "constants": probe }), result)
        }
    };
    say!("protocol {protocol}");
    say!("linear probe after the last epoch: top-1 {:.4}, balanced {:.4}", result.top1, result.balanced);
    say!("best on test (chosen by looking at the test photos): top-1 {:.4}", result.best_on_test);
    say!("{} train and {} test photos", albums.train.photos().len(), albums.test.photos().len());
    report.write(json!({
        "encoder": opened.facts(),
        "dataset": dataset(&albums),
        "protocol": protocol,
        "results": result,
    }))
}
