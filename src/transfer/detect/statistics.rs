//! Batch norm's statistics before a detector is judged.

use super::config::{DetectConfig, NormKind};
use super::judge::Heard;
use super::learn::{Said, padded, training_mode};
use super::model::Detector;
use super::targets::{Sampling, region_targets};
use crate::engine::autograd::{Observation, Tape};
use crate::engine::nn::Module;
use crate::error::{Error, Result};
use crate::photos::{Album, Loader, LoaderOptions};
use std::collections::HashMap;
use std::sync::Arc;

/// Gives batch norm the statistics of some batches in training mode, averaged, instead of those that ran along with the training; weights
/// stay. Where norms are frozen nothing happens.
///
/// # Errors
/// The loader's and the device's.
/// # Source
/// Wu and Johnson 2021, *Rethinking "Batch" in BatchNorm*, Sec. 3; detectron2's `PreciseBN`, 200 batches.
pub(super) fn precise_statistics(
    net: &Detector,
    config: &DetectConfig,
    album: &Arc<Album>,
    step: u64,
    heard: &mut Heard,
) -> Result<()> {
    let batches = config.eval.statistics;
    let Some(device) = net.state().first().map(|param| param.get().device().clone()) else { return Ok(()) };
    if batches == 0 || config.model.norm == NormKind::Frozen {
        return Ok(());
    }
    let batch = config.train.batch.min(album.photos().len());
    let mut options = LoaderOptions::new(batch, config.scenes.clone(), config.seed ^ STATISTICS);
    (options.threads, options.max_broken) = (config.data.threads, config.data.max_broken);
    let mut seen = HashMap::new();
    for (i, scenes) in Loader::new(album.clone(), options)?.take(batches).enumerate() {
        let (scenes, tape) = (scenes?.data.all, Tape::inert(&device));
        let mode = training_mode(config);
        let maps = net.maps(&tape.constant(padded(&device, &scenes, config.stride())?), mode)?;
        let proposed = Said::read(net, &maps, &net.anchors(&maps)?)?.proposals(config, &scenes, true);
        let sampling = Sampling { seed: config.seed ^ STATISTICS, step: step + i as u64 };
        let regions = region_targets(&device, config, net.config.classes, &proposed, &scenes, sampling)?;
        net.heads(&maps, &regions, mode)?;
        // A norm that a batch passes by, as that of masks where there is none, counts its own.
        let mut observations = tape.take_observations();
        for observation in &mut observations {
            let count = seen.entry(observation.running.mean.id()).or_insert(0);
            *count += 1;
            observation.momentum = 1.0 / *count as f32;
        }
        Observation::apply(&observations)?;
        if !heard(i + 1, batches) {
            return Err(Error::Interrupted("interrupted while batch norm's statistics were taken".into()));
        }
    }
    Ok(())
}

/// Tells these batches from those that are learned from.
const STATISTICS: u64 = 0x5354_4154;
