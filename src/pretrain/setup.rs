//! From a configuration to what a run needs: photos, a learner, the size of its chunks.

use super::config::Config;
use super::method::KeyViews;
use super::passes::Passes;
use super::ranks::Groups;
use super::start::{ResNetEncoder, starting_encoder};
use super::step::Learner;
use crate::engine::device::Device;
use crate::engine::exchange::{Alone, Block, Exchange};
use crate::engine::nn::ResNetConfig;
use crate::error::Result;
use crate::interop::Library;
use crate::photos::{self, Album, AlbumOptions, Photos, Source, Split};
use crate::topic::Topic;
use std::path::Path;
use std::rc::Rc;

/// An album of some photos with the configuration's caches.
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) if the folder for decoded photos can't be one.
pub(crate) fn album(config: &Config, photos: Photos) -> Result<Album> {
    let shrink_to = (config.data.shrink_to > 0).then_some(config.data.shrink_to);
    let options =
        AlbumOptions { cache_bytes: config.data.cache_mib << 20, shrink_to, detail: config.detail() };
    let album = Album::new(photos, options);
    match &config.data.cache_dir {
        Some(folder) => album.cached_in(folder),
        None => Ok(album),
    }
}

/// A path of the configuration, with links and broken entries as it wants them.
fn source(config: &Config, path: &Path) -> Source {
    Source::from(path).follow_links(config.data.follow_links).max_broken(config.data.max_broken)
}

/// The photos to learn from.
pub(crate) fn pretraining_photos(config: &Config) -> Result<Photos> {
    match &config.data.photos {
        None => Ok(Photos::bundled_pretrain()),
        Some(path) if config.data.class_folders => Photos::labelled(source(config, path)),
        Some(path) => Photos::open(source(config, path), None),
    }
}

/// Labelled train and test photos, if there are any to judge by.
pub(crate) fn judge_photos(config: &Config) -> Result<Option<[Photos; 2]>> {
    match (&config.data.labelled, &config.data.photos) {
        (Some(path), _) => Ok(Some(photos::labelled_split(source(config, path))?)),
        (None, None) => Ok(Some([Split::Train, Split::Test].map(Photos::bundled_labelled))),
        (None, Some(_)) => Ok(None),
    }
}

/// A learner as its run starts: freshly initialised by the seed, or with the encoder of the file `init`; the key encoder is a
/// copy of the query encoder.
///
/// # Errors
/// As [`starting_encoder`].
pub fn learner(config: &Config, device: &Device) -> Result<Learner> {
    learner_of(config, device, Rc::new(Alone))
}

/// That of one of several ranks.
///
/// # Errors
/// As [`learner`]; [`Error::Input`](crate::Error::Input) if the batch can't be dealt to so many.
pub fn learner_of(config: &Config, device: &Device, exchange: Rc<dyn Exchange>) -> Result<Learner> {
    let (own, Groups { own: groups, reach }) = config.of_rank(exchange.ranks())?;
    let ResNetEncoder { backbone: net, method } = starting_encoder(config, device)?;
    let passes = Passes { groups, chunk: chunk(&own), over_ranks: reach > 1 };
    let (optimizer, half) = (config.optimizer(), config.half.activations);
    let norm: Rc<dyn Exchange> = if reach == 1 { Rc::new(Alone) } else { Block::of(exchange.clone(), reach) };
    Ok(Learner { net, method, optimizer, passes, half, exchange, norm })
}

/// A learner for a checkpoint to be restored into: the file `init`, whose place it takes, need not be there any more.
///
/// # Errors
/// The device's.
pub(super) fn blank_learner(config: &Config, device: &Device, exchange: Rc<dyn Exchange>) -> Result<Learner> {
    learner_of(&Config { init: None, ..config.clone() }, device, exchange)
}

/// Rows that pass through the encoder at a time: `train.chunk`, or what `train.memory_mib` holds, in whole groups of
/// batch norm if it holds one.
fn chunk(config: &Config) -> usize {
    if config.train.chunk > 0 {
        return config.train.chunk;
    }
    let bytes = activation_bytes(&config.resnet(), config.views.size, config.half.activations).max(1);
    let fit = ((config.train.memory_mib as u64) << 20) / bytes;
    let group = (config.query_rows() / config.train.groups).max(1);
    let fit = (fit as usize).max(2);
    if fit >= group { fit / group * group } else { fit }
}

/// Rows whose activations are held at a time.
pub(super) fn rows_at_once(config: &Config) -> usize {
    let second = config.method.key_views() == KeyViews::Second;
    let rows = config.train.batch * if second { 1 } else { config.image_views().len() };
    rows.min(chunk(config))
}

/// Bytes that a ResNet keeps of one image of side `size` for its backward pass ([`ResNetConfig::outputs`]), in f32 or with
/// `half` in f16.
pub fn activation_bytes(config: &ResNetConfig, size: usize, half: bool) -> u64 {
    let bytes = if half { 2 } else { 4 };
    config
        .outputs(size)
        .iter()
        .map(|[side, channels, kept]| bytes * (side * side * channels * kept) as u64)
        .sum()
}

/// A sentence where a chunk is smaller than a group of batch norm, so that it becomes one itself.
pub(super) fn chunk_warning(config: &Config) -> Option<String> {
    let (rows, chunk) = (config.query_rows(), chunk(config));
    let group = rows / config.train.groups;
    (chunk < group).then(|| {
        let key = if config.train.chunk > 0 { "train.chunk" } else { "train.memory_mib" };
        format!(
            "{rows} views pass through the encoder in chunks of at most {chunk}, which batch norm normalises each on its own \
             (groups of {group} were asked for): raise {key} or train.groups ({})",
            Topic::Memory
        )
    })
}

/// A sentence where torchvision's own ResNet can't hold the backbone as it is.
pub(super) fn foreign_warning(config: &Config) -> Option<String> {
    let what = match Library::Torchvision.fit(&config.resnet()) {
        Ok(None) => return None,
        Ok(Some(_)) => "torchvision can load this encoder only into a net whose first layers are changed (`vista export` prints how), \
                        and detectron2 can't: set model.stem=imagenet if they should"
            .to_string(),
        Err(why) => format!("{why}: it can't load this encoder, which leaves as ONNX; set model.width=64 if it should"),
    };
    Some(format!("{what} ({})", Topic::Interop))
}
