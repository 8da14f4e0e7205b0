//! Is pretraining worth it here? The same labelled photos by encoders that start from random parameters and from pretrained ones.
//!
//! For each share of the labels and each seed a stratified part of the training photos is drawn, the same for every start. On
//! it a linear probe of the frozen encoder and the whole network are trained, and judged on all test photos. What one start,
//! set, share, seed and protocol came to is a [`Cell`]; the [`Table`] is made of them.
//!
//! ```
//! # use vista::transfer::classify::worth::Worth;
//! let worth = Worth { shares: vec![0.1], seeds: 5, ..Worth::default() };
//! worth.check()?; // `worth.run` trains, `worth.table` tells
//! # Ok::<(), vista::Error>(())
//! ```

mod kept;
mod part;
mod table;

use super::features::{Embedded, Features, embed, precise_statistics};
use super::finetune::{Finetune, FinetuneProgress};
use super::probe::Probe;
use super::supervised::LabelledAlbums;
use crate::engine::device::Device;
use crate::engine::nn::{ResNet, ResNetConfig, fingerprint};
use crate::error::{Error, Result};
use crate::photos::views::ViewConfig;
use crate::photos::{Album, Photos};
use crate::pretrain::momentum::copy_state;
pub use kept::Kept;
use part::{digest, of_share, part};
use rand::{SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, hash_map::Entry};
use std::time::Instant;
pub use table::{Estimate, Row, Table};

/// What is compared: shares of the labels, seeds, and how an encoder is trained on them.
///
/// The seed draws the part of the photos, the random parameters, the head, the order of photos and the crops, and is the same
/// for every start: differences between starts are paired by it.
#[derive(Clone, Debug, PartialEq)]
pub struct Worth {
    /// Shares of the training photos, each above 0 and at most 1; at least one photo of each class is taken.
    pub shares: Vec<f64>,
    /// How many seeds: 0, 1, ..
    pub seeds: u64,
    /// Fine-tuning; its seed is replaced.
    pub finetune: Finetune,
    /// The linear probe; its seed is replaced.
    pub probe: Probe,
}

impl Default for Worth {
    /// 1, 10 and 100 % of the labels, 3 seeds.
    fn default() -> Worth {
        let finetune = Finetune::default();
        let finetune = Finetune { judge_every: finetune.epochs, ..finetune };
        Worth { shares: vec![0.01, 0.1, 1.0], seeds: 3, finetune, probe: Probe::default() }
    }
}

/// An encoder to start from.
#[derive(Debug)]
pub struct Start {
    /// What it is called in the table.
    pub name: String,
    /// The network.
    pub net: ResNetConfig,
    /// Size, mean and deviation of its views.
    pub views: ViewConfig,
    /// Its parameters; `None` for random ones, drawn by the seed, with batch norm's statistics of the training photos.
    pub backbone: Option<ResNet>,
}

/// How an encoder is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// A linear probe of its frozen features: [`Probe`].
    Probe,
    /// The whole network is trained: [`Finetune`].
    Finetune,
}

/// All that a figure follows from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// Digest of the encoder at the start and of its views; of the network alone where its parameters are random.
    pub start: String,
    /// Digest of the labelled photos: names, classes, and the contents of some.
    pub set: String,
    /// How the encoder is used.
    pub by: By,
    /// Digest of that protocol's constants.
    pub protocol: String,
    /// Share of the training photos.
    pub share: f64,
    /// The seed.
    pub seed: u64,
}

/// What one training came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// What of.
    #[serde(flatten)]
    pub key: Key,
    /// What the start was called.
    pub name: String,
    /// Training photos.
    pub photos: usize,
    /// Fraction of the test photos predicted right after the last epoch.
    pub top1: f64,
    /// Mean over classes of the same.
    pub balanced: f64,
    /// How long it took.
    pub seconds: f64,
}

/// What is heard of a comparison at work.
pub enum Heard<'a> {
    /// A training is over.
    Cell(&'a Cell),
    /// So much of all work is done, in views that passed through a network, one that is learned from counted three times; and
    /// what is at work.
    Work {
        /// Views so far.
        done: u64,
        /// Views in all.
        total: u64,
        /// Such as `fine-tuning from random, 10 %, seed 0`.
        what: &'a str,
    },
}

/// A view that is learned from costs about as much as three that are only looked at.
const LEARNED: u64 = 3;

impl Worth {
    /// Trains and judges what is not among the cells that are `done`; all cells of this comparison, share by share.
    ///
    /// # Errors
    /// [`Error::Input`] if a constant or the photos can't be used; [`Error::Run`] if a training diverges; those of `heard`; the
    /// device's.
    pub fn run(
        &self,
        starts: &[Start],
        albums: &LabelledAlbums,
        device: &Device,
        done: &[Cell],
        heard: &mut dyn FnMut(Heard) -> Result<()>,
    ) -> Result<Vec<Cell>> {
        albums.check()?;
        self.check()?;
        let keys = self.keys(starts, albums)?;
        let found = |(s, key): &(usize, Key)| {
            let cell = done.iter().find(|cell| cell.key == *key)?;
            Some(Cell { name: starts[*s].name.clone(), ..cell.clone() })
        };
        let mut cells: Vec<Option<Cell>> = keys.iter().map(found).collect();
        let missing = || keys.iter().zip(&cells).filter(|(_, cell)| cell.is_none()).map(|(key, _)| key);
        let mut work = Work { done: 0, total: 0, heard };
        work.total = missing().map(|(_, key)| self.work(albums, key)).sum();
        let mut features = HashMap::new();
        // Of one share and seed all photos are decoded once.
        let mut drawn = None;
        for ((s, key), cell) in keys.iter().zip(&mut cells).filter(|(_, cell)| cell.is_none()) {
            let start = &starts[*s];
            let at = (key.share, key.seed);
            let (_, ids, photos) = match drawn.take().filter(|(of, _, _)| *of == at) {
                Some(same) => drawn.insert(same),
                None => {
                    let (ids, photos) = part(albums, key.share, key.seed);
                    drawn.insert((at, ids, photos))
                }
            };
            let began = Instant::now();
            let [top1, balanced] = match key.by {
                By::Finetune => self.finetuned(start, key, photos, device, &mut work)?,
                By::Probe => {
                    let of = (*s, if start.backbone.is_some() { 0 } else { key.seed });
                    let features = match features.entry(of) {
                        Entry::Occupied(there) => there.into_mut(),
                        Entry::Vacant(none) => none.insert(start.features(key.seed, albums, device)?),
                    };
                    self.probed(key, features, ids, albums, device)?
                }
            };
            work.end(self.work(albums, key), &told(start, key))?;
            let (name, photos) = (start.name.clone(), ids.len());
            let seconds = began.elapsed().as_secs_f64();
            let told = cell.insert(Cell { key: key.clone(), name, photos, top1, balanced, seconds });
            (work.heard)(Heard::Cell(told))?;
        }
        Ok(cells.into_iter().flatten().collect())
    }

    /// The cells of a comparison, each with the number of its start.
    fn keys(&self, starts: &[Start], albums: &LabelledAlbums) -> Result<Vec<(usize, Key)>> {
        let set = digest(albums);
        let names = starts.iter().map(Start::digest).collect::<Result<Vec<String>>>()?;
        let finetune = hash(&format!("{:?}", Finetune { seed: 0, ..self.finetune }));
        let probe = hash(&format!("{:?}", Probe { seed: 0, ..self.probe }));
        let mut keys = Vec::new();
        for &share in &self.shares {
            for seed in 0..self.seeds {
                for (s, start) in names.iter().enumerate() {
                    for (by, protocol) in [(By::Probe, &probe), (By::Finetune, &finetune)] {
                        let (start, set, protocol) = (start.clone(), set.clone(), protocol.clone());
                        keys.push((s, Key { start, set, by, protocol, share, seed }));
                    }
                }
            }
        }
        Ok(keys)
    }

    fn work(&self, albums: &LabelledAlbums, key: &Key) -> u64 {
        let [train, test] = albums.both().map(|album| album.photos().len() as u64);
        match key.by {
            By::Probe => train + test,
            By::Finetune => {
                let part: usize = of_share(albums, key.share).iter().sum();
                LEARNED * self.finetune.epochs * part as u64 + test
            }
        }
    }

    fn finetuned(
        &self,
        start: &Start,
        key: &Key,
        photos: &LabelledAlbums,
        device: &Device,
        work: &mut Work,
    ) -> Result<[f64; 2]> {
        let backbone = start.backbone(key.seed, device)?;
        let finetune = Finetune { seed: key.seed, judge_every: self.finetune.epochs, ..self.finetune };
        let (whole, what) = (self.work(photos, &Key { share: 1.0, ..key.clone() }), told(start, key));
        let mut stopped = Ok(());
        let watch = &mut |p: FinetuneProgress| {
            let told = work.at(whole * p.step / p.total.max(1), &what);
            if stopped.is_ok() {
                stopped = told;
            }
        };
        let result = finetune.fit(&backbone, start.net.features(), photos, &start.views, device, watch)?;
        stopped.map(|()| [result.top1, result.balanced])
    }

    fn probed(
        &self,
        key: &Key,
        [train, test]: &[Embedded; 2],
        ids: &[usize],
        albums: &LabelledAlbums,
        device: &Device,
    ) -> Result<[f64; 2]> {
        let train = labelled(train, albums.train.photos(), Some(ids));
        let test = labelled(test, albums.test.photos(), None);
        let probe = Probe { seed: key.seed, ..self.probe };
        let result = probe.fit(device, &train, &test, &mut |_| ())?;
        Ok([result.top1, result.balanced])
    }

    /// Refuses what can't be compared.
    ///
    /// # Errors
    /// [`Error::Input`] naming it.
    pub fn check(&self) -> Result<()> {
        let refuse = |what: String, place: &str, advice: &str| Err(Error::input(what, place, advice));
        if let Some(share) = self.shares.iter().find(|share| !(**share > 0.0 && **share <= 1.0)) {
            return refuse(format!("a share of {share}"), "--shares", "choose shares above 0, at most 1");
        }
        if self.shares.is_empty() || self.seeds == 0 {
            return refuse("nothing to compare".into(), "--shares, --seeds", "choose at least 1 of each");
        }
        Ok(())
    }
}

/// How much is done.
struct Work<'a> {
    done: u64,
    total: u64,
    heard: &'a mut dyn FnMut(Heard) -> Result<()>,
}

impl Work<'_> {
    /// So much of what is at work is done.
    fn at(&mut self, part: u64, what: &str) -> Result<()> {
        (self.heard)(Heard::Work { done: self.done + part, total: self.total, what })
    }

    /// What was at work is over.
    fn end(&mut self, whole: u64, what: &str) -> Result<()> {
        self.done += whole;
        self.at(0, what)
    }
}

/// What a cell is called while it is at work.
fn told(start: &Start, key: &Key) -> String {
    let by = match key.by {
        By::Probe => "linear probe",
        By::Finetune => "fine-tuning",
    };
    format!("{by} from {}, {}, seed {}", start.name, table::percent(key.share), key.seed)
}

impl Start {
    /// What tells it from other starts.
    fn digest(&self) -> Result<String> {
        let ViewConfig { size, mean, std, .. } = &self.views;
        let parameters = self.backbone.as_ref().map(|backbone| fingerprint(backbone)).transpose()?;
        Ok(hash(&format!("{:?} {parameters:?} {size} {mean:?} {std:?}", self.net)))
    }

    /// A copy to be trained.
    fn backbone(&self, seed: u64, device: &Device) -> Result<ResNet> {
        let copy = ResNet::new(device, &mut StdRng::seed_from_u64(seed), &self.net)?;
        self.backbone.iter().try_for_each(|backbone| copy_state(&copy, backbone))?;
        Ok(copy)
    }

    /// Frozen features of all photos.
    fn features(&self, seed: u64, albums: &LabelledAlbums, device: &Device) -> Result<[Embedded; 2]> {
        let backbone = self.backbone(seed, device)?;
        if self.backbone.is_none() {
            precise_statistics(&backbone, &albums.train, &self.views, device)?;
        }
        let of = |album: &Album| {
            let ids: Vec<usize> = (0..album.photos().len()).collect();
            embed(&backbone, album, &ids, &self.views, device, &mut |_| ())
        };
        Ok([of(&albums.train)?, of(&albums.test)?])
    }
}

/// Features with their classes: of all photos, or of some.
fn labelled(of: &Embedded, photos: &Photos, only: Option<&[usize]>) -> Features {
    let width = of.values.len() / of.kept.len().max(1);
    let mut some = Features::default();
    for (row, &id) in of.kept.iter().enumerate() {
        if only.is_none_or(|only| only.binary_search(&id).is_ok())
            && let Some(label) = photos.label(id)
        {
            some.values.extend(&of.values[row * width..][..width]);
            some.labels.push(label);
        }
    }
    some
}

/// CRC-32 of a text, in hexadecimal.
fn hash(text: &str) -> String {
    format!("{:08x}", crc32fast::hash(text.as_bytes()))
}

#[cfg(test)]
#[path = "../../../../tests/unit/transfer/classify/worth/mod.rs"]
mod tests;
