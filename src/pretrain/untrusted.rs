//! Checkpoints that a stranger made: judged by their header before the rest is read, and before anything is built.
//!
//! A safetensors file holds numbers and text, no code, and names no other file that reading it would open. What is left
//! is memory: a header of any size, tensors of any size, and a configuration of any encoder. All three are bounded by
//! the file's own length here.

use super::config::{Config, Method};
use crate::error::{Error, Result};
use crate::files;
use safetensors::tensor::Metadata;
use std::io::{Read, Seek};
use std::path::Path;

/// LIMIT: bytes of a header; that of a ResNet-50 with its optimiser has 100 KiB.
const MAX_HEADER: u64 = 4 << 20;
/// LIMIT: bytes of a checkpoint; that of a ResNet-50 with everything has 600 MiB.
const MAX_FILE: u64 = 16 << 30;

/// Reads a checkpoint: the configuration in its metadata and all its bytes.
///
/// Nothing is allocated but 4 MiB for the header until lengths, offsets and configuration agree with the file's length.
///
/// # Errors
/// [`Error::Input`] if the file can't be read, is not safetensors, has another length than its header says, holds no
/// configuration that this program knows, or is too small for the encoder of that configuration.
pub fn read(path: &Path) -> Result<(Config, Vec<u8>)> {
    let place = path.display().to_string();
    let unsound = |why: String| {
        let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
        let advice = format!("{why}: use one that `vista pretrain` wrote");
        Error::input("not a sound checkpoint", place.as_str(), advice)
    };
    let unreadable = |e: std::io::Error| files::unusable(path, &e);
    let mut file = files::open(path)?;
    let length = file.metadata().map_err(unreadable)?.len();
    let mut start = [0; 8];
    if length < 8 {
        return Err(unsound(format!("{length} bytes are too few for a header")));
    }
    file.read_exact(&mut start).map_err(unreadable)?;
    let size = u64::from_le_bytes(start);
    if size > MAX_HEADER.min(length - 8) {
        return Err(unsound(format!("a header of {size} bytes in a file of {length}")));
    }
    let mut header = vec![0; size as usize];
    file.read_exact(&mut header).map_err(unreadable)?;
    let header: Metadata = serde_json::from_slice(&header).map_err(|e| unsound(e.to_string()))?;
    let end = (header.data_len() as u64).checked_add(8 + size);
    if end != Some(length) {
        return Err(unsound(format!(
            "its tensors end at byte {} of {length}",
            8 + size.saturating_add(header.data_len() as u64)
        )));
    }
    let text = header.metadata().as_ref().and_then(|metadata| metadata.get("config"));
    let text = text.ok_or_else(|| unsound("it has no configuration in its metadata".into()))?;
    let config = Config::preset("demo")?.merged(text, &place)?;
    config.check()?;
    let needed = 2.0 * least_values(&config);
    if needed > length as f64 {
        return Err(unsound(format!("its encoder has more than {needed:.0} bytes, the file {length}")));
    }
    file.rewind().map_err(unreadable)?;
    Ok((config, files::read(file, path, MAX_FILE)?))
}

/// Values in the largest weights of a configuration's encoder: all that grows with the square of a width, and no less
/// than half of the encoder. In f64, which no configuration overflows.
fn least_values(config: &Config) -> f64 {
    let (resnet, heads) = (config.resnet(), config.heads());
    let mut values = 0.0;
    for (stage, depth) in resnet.architecture.depths().into_iter().enumerate() {
        let width = resnet.width as f64 * f64::from(1 << stage);
        values += 14.0 * depth as f64 * width * width; // 14 to 23 in each block
    }
    let features = 8.0 * resnet.width as f64 * resnet.architecture.expansion() as f64;
    let hidden = if heads.hidden == 0 { features } else { heads.hidden as f64 };
    let projection = heads.projection as f64;
    values += hidden * (features + projection);
    if heads.predictor {
        values += 2.0 * hidden * projection;
    }
    if config.objective.name == Method::Densecl {
        values += features * (features + projection);
    }
    values + heads.prototypes as f64 * projection
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;
    use crate::engine::nn::Module;
    use crate::pretrain::PRESETS;

    #[test]
    fn an_encoder_is_estimated_from_below_and_by_no_less_than_half() {
        for setting in [
            "model.width=8",
            "model.hidden=700",
            "objective.name=byol",
            "objective.name=densecl",
            "objective.name=swav",
            "model.backbone=resnet50",
            "model.stem=imagenet",
        ] {
            let config = Config::preset("demo").expect("preset").with(setting).expect("setting");
            let encoder = config.encoder(&Device::cpu()).expect("encoder");
            let values: usize = encoder.state().iter().map(|p| p.shape().iter().product::<usize>()).sum();
            let (least, values) = (least_values(&config), values as f64);
            assert!(least <= values && 2.0 * least >= values, "{setting}: {least} of {values}");
        }
    }

    #[test]
    fn no_preset_is_too_large() {
        for (name, _) in PRESETS {
            let config = Config::preset(name).expect("preset");
            assert!(4.0 * least_values(&config) < MAX_FILE as f64, "{name}");
        }
    }
}
