//! `vista probe`, and the arguments it shares with `vista knn`.

use crate::data::{Album, AlbumOptions, Photos, Split, labelled_split};
use crate::device::Device;
use crate::error::Result;
use crate::eval::{Features, Probe, features};
use crate::train::checkpoint;
use std::path::PathBuf;

/// Which encoder, on which photos.
#[derive(Debug, clap::Args)]
pub(super) struct Judged {
    /// A checkpoint of `vista pretrain`.
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// Folder with `train/CLASS/` and `test/CLASS/`, or of STL-10 or CIFAR-10; the built-in classes if absent.
    #[arg(long, value_name = "DIR")]
    labelled: Option<PathBuf>,
    /// `auto`, `cpu`, `gpu` or `gpu:NAME`.
    #[arg(long, default_value = "auto")]
    pub(super) device: String,
}

impl Judged {
    /// Frozen features of the train and the test photos.
    pub(super) fn features(&self) -> Result<[Features; 2]> {
        let device = Device::open(&self.device)?;
        let (encoder, config) = checkpoint::load(&self.checkpoint, &device)?;
        let [train, test] = match &self.labelled {
            Some(path) => labelled_split(path)?,
            None => [Split::Train, Split::Test].map(Photos::bundled_labelled),
        };
        let embed =
            |photos| features(&encoder, &Album::new(photos, AlbumOptions::default()), &config.views, &device);
        Ok([embed(train)?, embed(test)?])
    }
}

/// Judge a checkpoint by a linear classifier on its frozen features.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    judged: Judged,
    /// Passes over the features.
    #[arg(long, default_value_t = 100)]
    epochs: u64,
    /// Seed of the order.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let [train, test] = args.judged.features()?;
    let probe = Probe { epochs: args.epochs, seed: args.seed, ..Probe::default() };
    let score = probe.fit(&Device::open(&args.judged.device)?, &train.labelled(), &test.labelled())?;
    println!("{probe:?}");
    println!("linear probe after the last epoch: top-1 {:.4}, balanced {:.4}", score.top1, score.balanced);
    println!("best on test (chosen by looking at the test photos): top-1 {:.4}", score.best_on_test);
    println!("{} train and {} test photos", train.labels.len(), test.labels.len());
    Ok(())
}
