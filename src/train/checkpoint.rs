//! Model checkpoints: safetensors under torchvision's names and in its layout (convolution weights OIHW), with the
//! configuration in the metadata. Written beside, flushed, then renamed, so that a reader never sees half a file.

use crate::device::Device;
use crate::encoder::ResNetEncoder;
use crate::error::{Error, Result};
use crate::nn::{Module, Param};
use crate::tensor::Tensor;
use crate::train::Config;
use rand::{SeedableRng, rngs::StdRng};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// Where in a run a checkpoint was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Whole epochs done.
    pub epoch: u64,
    /// Steps done.
    pub step: u64,
}

/// Writes the encoder's parameters and statistics.
///
/// # Errors
/// [`Error::Io`] if the file can't be written; the device's errors.
pub fn save(path: &Path, encoder: &ResNetEncoder, config: &Config, progress: Progress) -> Result<()> {
    let mut arrays = Vec::new();
    for param in encoder.state() {
        let tensor = param.get();
        let values = permuted(&tensor.to_vec()?, tensor.shape(), [0, 3, 1, 2]);
        let shape = match tensor.shape()[..] {
            [o, h, w, i] => vec![o, i, h, w],
            ref other => other.to_vec(),
        };
        arrays.push((param.name().to_string(), shape, values));
    }
    let views = arrays.iter().map(|(name, shape, values)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values));
        Ok((name.as_str(), view.map_err(|e| corrupt(path, &e))?))
    });
    let views = views.collect::<Result<Vec<_>>>()?;
    let metadata = HashMap::from([
        ("config".to_string(), config.to_toml()),
        ("epoch".to_string(), progress.epoch.to_string()),
        ("step".to_string(), progress.step.to_string()),
        ("vista".to_string(), env!("CARGO_PKG_VERSION").to_string()),
    ]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| corrupt(path, &e))?;
    let io = |e| Error::io(path, e);
    let beside = path.with_extension("tmp");
    let mut file = File::create(&beside).map_err(io)?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(io)?;
    fs::rename(&beside, path).map_err(io)?;
    // The rename itself is only durable once the folder is flushed; Windows can't open folders and needs no such.
    if cfg!(unix)
        && let Some(folder) = path.parent()
    {
        File::open(folder).and_then(|f| f.sync_all()).map_err(io)?;
    }
    Ok(())
}

/// Reads an encoder and the configuration it was trained with.
///
/// # Errors
/// [`Error::Io`] or [`Error::Input`] if the file can't be read or is not a checkpoint of this program, naming the
/// tensor that is missing or misshapen.
pub fn load(path: &Path, device: &Device) -> Result<(ResNetEncoder, Config)> {
    let bytes = fs::read(path).map_err(|e| Error::io(path, e))?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| corrupt(path, &e))?;
    let metadata = header.metadata().as_ref().and_then(|m| m.get("config"));
    let Some(config) = metadata else {
        return Err(corrupt(path, &"it has no configuration in its metadata"));
    };
    let config = Config::preset("demo")?.merged(config, &path.display().to_string())?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| corrupt(path, &e))?;
    let mut rng = StdRng::seed_from_u64(0);
    let encoder = ResNetEncoder::new(device, &mut rng, &config.resnet(), &config.heads())?;
    for param in encoder.state() {
        param.set(read(&file, &param, device).map_err(|e| corrupt(path, &e))?)?;
    }
    Ok((encoder, config))
}

fn read(file: &SafeTensors, param: &Param, device: &Device) -> std::result::Result<Tensor, String> {
    let view = file.tensor(param.name()).map_err(|_| format!("{} is missing", param.name()))?;
    let ours = param.shape();
    let stored: Vec<usize> = match ours[..] {
        [o, h, w, i] => vec![o, i, h, w],
        ref other => other.to_vec(),
    };
    if view.dtype() != Dtype::F32 || view.shape() != stored {
        return Err(format!("{} is {:?} {:?}, not F32 {stored:?}", param.name(), view.dtype(), view.shape()));
    }
    let values: Vec<f32> = bytemuck::pod_collect_to_vec(view.data());
    let values = permuted(&values, &stored, [0, 2, 3, 1]);
    Tensor::new(device, ours, &values).map_err(|e| e.to_string())
}

/// A four-dimensional array with its dimensions in another order; others stay.
fn permuted(values: &[f32], shape: &[usize], order: [usize; 4]) -> Vec<f32> {
    let &[a, b, c, d] = shape else { return values.to_vec() };
    let strides = [b * c * d, c * d, d, 1];
    let sizes = [a, b, c, d];
    let [i, j, k, l] = order;
    let mut out = Vec::with_capacity(values.len());
    for p in 0..sizes[i] {
        for q in 0..sizes[j] {
            for r in 0..sizes[k] {
                let base = p * strides[i] + q * strides[j] + r * strides[k];
                out.extend((0..sizes[l]).map(|s| values[base + s * strides[l]]));
            }
        }
    }
    out
}

fn corrupt(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::input(
        "not a sound checkpoint",
        path.display().to_string(),
        format!("{why}: use one that `vista pretrain` wrote"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_encoder_comes_back_to_the_bit_in_torchvisions_layout() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("model.safetensors");
        let config = Config::preset("demo").expect("preset").with("model.width=8").expect("width");
        let device = Device::cpu();
        let mut rng = StdRng::seed_from_u64(5);
        let encoder =
            ResNetEncoder::new(&device, &mut rng, &config.resnet(), &config.heads()).expect("encoder");
        save(&path, &encoder, &config, Progress { epoch: 1, step: 2 }).expect("saved");
        let (again, same) = load(&path, &device).expect("loaded");
        assert_eq!(config, same);
        for (a, b) in encoder.state().iter().zip(again.state()) {
            assert_eq!(a.get().to_vec().expect("values"), b.get().to_vec().expect("values"), "{}", a.name());
        }
        let bytes = fs::read(&path).expect("bytes");
        let file = SafeTensors::deserialize(&bytes).expect("file");
        assert_eq!(file.tensor("layer2.0.conv1.weight").expect("there").shape(), [16, 8, 3, 3]);
    }

    #[test]
    fn a_file_that_is_no_checkpoint_is_named() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("x.safetensors");
        fs::write(&path, b"not a checkpoint at all").expect("written");
        let message = load(&path, &Device::cpu()).unwrap_err().to_string();
        assert!(message.contains("x.safetensors"), "{message}");
    }
}
