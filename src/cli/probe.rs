//! `vista probe`.

use crate::cli::judged::{Judged, LabelledPhotos, Watch, dataset, warn_of_undecodable};
use crate::cli::paths::Files;
use crate::engine::nn::ResNet;
use crate::error::{Error, Result};
use crate::transfer::classify::{Probe, ProbeResult, SgdProbe, standard_error};
use serde_json::json;

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
    /// Also judge the same encoder before training, batch norm with statistics of the train photos.
    #[arg(long)]
    floor: bool,
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
    let adam = Probe { epochs, batch, seed, ..Probe::default() };
    let adam = Probe { lr: args.lr.unwrap_or(adam.lr), ..adam };
    let sgd = SgdProbe::scaled(batch);
    let sgd = SgdProbe { epochs, seed, lr: args.lr.unwrap_or(sgd.lr), ..sgd };
    let fit = |backbone: &ResNet| -> Result<ProbeResult> {
        let device = &opened.device;
        match args.protocol {
            Protocol::Adam => {
                let [train, test] = opened.features(backbone, &albums)?;
                let mut watch = Watch::new(epochs);
                let heard = &mut |done| watch.at(done, || format!("epoch {done} of {epochs}"));
                let result = adam.fit_watched(device, &train.labelled(), &test.labelled(), heard);
                watch.end();
                result
            }
            Protocol::Sgd => {
                let work = sgd.work(&albums);
                let mut watch = Watch::new(work);
                let heard = &mut |done| watch.at(done, || format!("{done} of {work} features"));
                let result = sgd.fit(backbone, &albums, &opened.views, device, heard);
                watch.end();
                result
            }
        }
    };
    let protocol = match args.protocol {
        Protocol::Adam => json!({ "name": "adam", "standardised": true, "constants": adam }),
        Protocol::Sgd => json!({ "name": "sgd", "standardised": true, "constants": sgd }),
    };
    let result = fit(&opened.encoder.backbone)?;
    let floor =
        args.floor.then(|| opened.untrained(&albums.train).and_then(|e| fit(&e.backbone))).transpose()?;
    warn_of_undecodable(albums.both());
    let test = albums.test.used();
    let figures = |r: &ProbeResult| {
        format!("top-1 {:.4} ± {:.4}, balanced {:.4}", r.top1, standard_error(r.top1, test), r.balanced)
    };
    say!("protocol {protocol}");
    say!("linear probe after the last epoch: {}", figures(&result));
    floor.iter().for_each(|floor| say!("untrained: {}", figures(floor)));
    say!("best on test (chosen by looking at the test photos): top-1 {:.4}", result.best_on_test);
    say!("{} train and {test} test photos", albums.train.used());
    report.write(json!({
        "encoder": opened.facts(),
        "dataset": dataset(albums.both()),
        "protocol": protocol,
        "results": result,
        "top1_error": standard_error(result.top1, test),
        "floors": { "untrained": floor },
    }))
}
