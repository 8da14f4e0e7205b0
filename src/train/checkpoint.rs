//! Model checkpoints: safetensors under torchvision's names and in its layout (convolution weights OIHW), with the
//! configuration in the metadata. With `half.checkpoint` weights are f16, all that has one dimension stays f32. Written
//! beside, flushed, then renamed, so that a reader never sees part of a file.

use crate::device::Device;
use crate::encoder::ResNetEncoder;
use crate::error::{Error, Result};
use crate::nn::{Module, Param};
use crate::ops::{Half, run};
use crate::tensor::Tensor;
use crate::train::Config;
use half::f16;
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

/// A tensor as it is in the file.
struct Array {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Array {
    fn of(param: &Param, half: bool) -> Result<Array> {
        let tensor = param.get();
        let half = half && tensor.shape().len() > 1;
        let tensor = if half { run(&Half::Round, &[&tensor])?.swap_remove(0) } else { tensor };
        let values = permuted(&tensor.to_vec()?, tensor.shape(), [0, 3, 1, 2]);
        let shape = match tensor.shape()[..] {
            [o, h, w, i] => vec![o, i, h, w],
            ref other => other.to_vec(),
        };
        let (dtype, bytes) = match half {
            true => (Dtype::F16, values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect()),
            false => (Dtype::F32, bytemuck::cast_slice(&values).to_vec()),
        };
        Ok(Array { name: param.name().to_string(), dtype, shape, bytes })
    }
}

/// Writes the encoder's parameters and statistics.
///
/// # Errors
/// [`Error::Io`] if the file can't be written; the device's errors.
pub fn save(path: &Path, encoder: &ResNetEncoder, config: &Config, progress: Progress) -> Result<()> {
    let arrays = encoder
        .state()
        .iter()
        .map(|param| Array::of(param, config.half.checkpoint))
        .collect::<Result<Vec<_>>>()?;
    let views = arrays.iter().map(|array| {
        let view = TensorView::new(array.dtype, array.shape.clone(), &array.bytes);
        Ok((array.name.as_str(), view.map_err(|e| corrupt(path, &e))?))
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
    if view.shape() != stored {
        return Err(format!("{} is {:?}, not {stored:?}", param.name(), view.shape()));
    }
    let values: Vec<f32> = match view.dtype() {
        Dtype::F32 => bytemuck::pod_collect_to_vec(view.data()),
        Dtype::F16 => {
            view.data().chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        }
        other => return Err(format!("{} is {other:?}, neither F32 nor F16", param.name())),
    };
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
    fn a_checkpoint_in_half_has_half_the_bytes_and_rounds_weights_alone() {
        let folder = tempfile::tempdir().expect("folder");
        let device = Device::cpu();
        let size = |setting: &str| {
            let path = folder.path().join(format!("{setting}.safetensors"));
            let config = Config::preset("demo").expect("preset").with(setting).expect("setting");
            let encoder = config.encoder(&device).expect("encoder");
            save(&path, &encoder, &config, Progress { epoch: 1, step: 2 }).expect("saved");
            let (again, same) = load(&path, &device).expect("loaded");
            assert_eq!(config, same);
            for (param, read) in encoder.state().iter().zip(again.state()) {
                let [whole, read] = [param, &read].map(|p| p.get().to_vec().expect("values"));
                let rounded = config.half.checkpoint && param.shape().len() > 1;
                // Nothing but zero becomes zero, which the crate's rounding does not know.
                let expected = |v: f32| if rounded { f16::from_f32(v).to_f32() } else { v };
                let equal = whole.iter().zip(&read).all(|(&a, &b)| expected(a) == b || a.abs() < 1e-7);
                assert!(equal, "{}", param.name());
            }
            fs::metadata(&path).expect("a file").len() as f64
        };
        assert!(size("half.checkpoint=true") < 0.51 * size("half.checkpoint=false"));
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
