//! Checkpoints: everything that a run has, in one safetensors file.
//!
//! | arrays | what |
//! |---|---|
//! | `conv1.weight`, .. | the encoder, under torchvision's names and in its layout (convolution weights OIHW) |
//! | `key.*` | the key encoder, by the same names |
//! | `optimizer.*` | what the optimiser remembers of each parameter |
//! | `queue.g`, `queue.z`, `queue.dense`, `queue.ids` | the rings of keys and the image of each slot, -1 for none |
//!
//! The metadata hold the configuration as TOML (`config`), the course of the run as JSON (`run`), where it started and went on last
//! (`provenance`, a list of [`StartRecord`](crate::run::StartRecord)s; of an encoder alone what wrote it), `epoch` and `step`,
//! and a checksum of the file. With `half.checkpoint` weights are f16 (what has one dimension stays f32): such a file is as
//! good to judge by, but a run that goes on from it does so from rounded weights.
//!
//! ```
//! # use vista::{Device, pretrain::{Config, checkpoint::{self, Progress}}};
//! let config = Config::preset("demo")?.with("model.width=4")?;
//! let encoder = config.encoder(&Device::cpu())?;
//! let file = std::env::temp_dir().join(format!("vista-doc-{}.safetensors", std::process::id()));
//! checkpoint::save(&file, &encoder, &config, Progress { epoch: 0, step: 0 })?;
//! assert_eq!(checkpoint::load(&file, &Device::cpu())?.1, config);
//! # std::fs::remove_file(&file).map_err(|e| vista::Error::io(&file, e))?;
//! # Ok::<(), vista::Error>(())
//! ```

use super::config::Config;
use super::queue::{Queue, Ring};
use super::start::ResNetEncoder;
use super::step::Learner;
use crate::engine::device::Device;
use crate::engine::nn::Module;
use crate::engine::ops::Packed;
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::run::archive::{
    self, Archive, Content, Contents, Entry, corrupt, entry, parameters, read_parameters,
};
use crate::run::{PROVENANCE, Provenance, untrusted};
use half::f16;
use safetensors::tensor::{Dtype, SafeTensors};
use std::collections::HashMap;
use std::path::Path;

/// Where in a run a checkpoint was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Whole epochs done.
    pub epoch: u64,
    /// Steps done.
    pub step: u64,
}

const KEY: &str = "key.";
const OPTIMIZER: &str = "optimizer.";
const RING: &str = "queue.";
const IDS: &str = "queue.ids";
const POINTER: &str = "queue.ptr";

/// What stands in the header of an encoder alone, beside [`save`]'s other texts.
pub(crate) const ENCODER: &str = "\"holds\":\"encoder\"";

/// Writes an encoder alone: enough to judge it and to start from it, not to go on with a run.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) if the file can't be written; the device's errors.
pub fn save(
    path: &(impl AsRef<Path> + ?Sized),
    encoder: &dyn Module,
    config: &Config,
    progress: Progress,
) -> Result<()> {
    let path = path.as_ref();
    let entries = parameters("", encoder, config.half.checkpoint)?;
    let mut texts = texts(config, progress);
    texts.insert("holds".into(), "encoder".into());
    if let Some(param) = encoder.state().first() {
        let now = serde_json::json!([Provenance::now(Some(param.get().device()))]);
        texts.insert(PROVENANCE.into(), now.to_string());
    }
    archive::write(path, &entries, texts)
}

/// The arrays of a learner, and the pointer of its queue. See [`save`] for the errors.
pub(super) fn arrays(learner: &Learner, half: bool) -> Result<Contents> {
    let mut entries = parameters("", learner, half)?;
    if let Some(target) = &learner.method.target {
        entries.extend(parameters(KEY, target, half)?);
    }
    for (name, tensor) in learner.optimizer.state()? {
        entries.push(entry(format!("{OPTIMIZER}{name}"), tensor, half)?);
    }
    let mut texts = HashMap::new();
    let Some(queue) = &learner.method.queue else { return Ok(Contents { entries, texts }) };
    for (name, ring) in queue.keys.iter() {
        let content = match ring {
            Ring::Full(keys) => Content::Full(keys.clone()),
            Ring::Half(keys) => Content::Packed(keys.clone()),
        };
        entries.push(Entry { name: format!("{RING}{name}"), content });
    }
    let ids = queue.ids.iter().map(|id| id.map_or(-1, |id| id as i64)).collect();
    entries.push(Entry { name: IDS.into(), content: Content::Integers(ids) });
    texts.insert(POINTER.into(), queue.ptr.to_string());
    Ok(Contents { entries, texts })
}

fn texts(config: &Config, progress: Progress) -> HashMap<String, String> {
    HashMap::from([
        ("config".to_string(), config.to_toml()),
        ("epoch".to_string(), progress.epoch.to_string()),
        ("step".to_string(), progress.step.to_string()),
    ])
}

/// Reads an encoder and the configuration it was trained with.
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) if the file can't be read or is not a checkpoint of this program, naming the
/// tensor that is missing or misshapen.
pub fn load(path: &(impl AsRef<Path> + ?Sized), device: &Device) -> Result<(ResNetEncoder, Config)> {
    let path = path.as_ref();
    let (config, bytes) = untrusted::read::<Config>(path)?;
    let file = Archive::of(bytes, path)?;
    let encoder = config.encoder(device)?;
    let arrays = file.arrays().map_err(|e| corrupt(path, &e))?;
    read_parameters(&arrays, "", &encoder, device).map_err(|e| corrupt(path, &e))?;
    Ok((encoder, config))
}

/// Gives a fresh learner of the same configuration what [`arrays`] told of another.
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) naming what is missing or misshapen; the device's errors.
pub(super) fn restore(file: &Archive, path: &Path, learner: &mut Learner, device: &Device) -> Result<()> {
    let bad = |e: String| corrupt(path, &e);
    let arrays = file.arrays().map_err(bad)?;
    read_parameters(&arrays, "", learner, device).map_err(bad)?;
    if let Some(target) = &learner.method.target {
        read_parameters(&arrays, KEY, target, device).map_err(bad)?;
    }
    let remembered = archive::remembered(&arrays, OPTIMIZER, device).map_err(bad)?;
    let params = learner.trained();
    learner.optimizer.load(&params, &remembered)?;
    match &mut learner.method.queue {
        Some(queue) => read_queue(&arrays, file.text(POINTER), queue, device).map_err(bad),
        None => Ok(()),
    }
}

fn read_queue(
    arrays: &SafeTensors,
    ptr: Option<&str>,
    queue: &mut Queue,
    device: &Device,
) -> std::result::Result<(), String> {
    let slots = queue.slots();
    for (name, ring) in queue.keys.iter_mut() {
        let name = &format!("{RING}{name}");
        let view = arrays.tensor(name).map_err(|_| format!("{name} is missing"))?;
        let shape = ring.shape().clone();
        *ring = match ring {
            Ring::Full(_) => {
                let values = archive::values(&view, &shape).map_err(|e| format!("{name} {e}"))?;
                Tensor::new(device, shape, &values).map(Ring::Full)
            }
            Ring::Half(_) if view.dtype() != Dtype::F16 || view.shape() != &shape[..] => {
                return Err(format!(
                    "{name} is {:?} of {:?}, not F16 of {shape}",
                    view.shape(),
                    view.dtype()
                ));
            }
            Ring::Half(_) => {
                let half = |b: &[u8]| f16::from_le_bytes([b[0], b[1]]);
                let halves: Vec<f16> = view.data().chunks_exact(2).map(half).collect();
                Packed::from_halves(device, shape, &halves).map(Ring::Half)
            }
        }
        .map_err(|e| e.to_string())?;
    }
    let view = arrays.tensor(IDS).map_err(|_| format!("{IDS} is missing"))?;
    if view.dtype() != Dtype::I64 || view.shape() != [slots] {
        return Err(format!("{IDS} is {:?} of {:?}, not {slots} of I64", view.shape(), view.dtype()));
    }
    let ids = view.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().expect("eight bytes")));
    queue.ids = ids.map(|id| u64::try_from(id).ok()).collect();
    queue.ptr = ptr
        .and_then(|ptr| ptr.parse().ok())
        .filter(|&ptr: &usize| ptr < slots)
        .ok_or_else(|| format!("{POINTER} is missing"))?;
    Ok(())
}

#[cfg(test)]
#[path = "../../tests/unit/pretrain/checkpoint.rs"]
mod tests;
