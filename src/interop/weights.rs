//! Named arrays as other libraries keep them: row-major, convolution weights `[O, I, H, W]`.

use crate::engine::nn::{Module, Param};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::files;
use crate::shell;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// LIMIT: bytes of a file; that of a ResNet-50 in f64 has 200 MiB.
const MAX_FILE: u64 = 16 << 30;

/// One array, f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Sizes, convolution weights as `[O, I, H, W]`.
    pub shape: Vec<usize>,
    /// Values in row-major order.
    pub values: Vec<f32>,
}

/// Arrays by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights(pub BTreeMap<String, Array>);

impl Weights {
    /// All parameters and statistics of a module, under torchvision's names.
    ///
    /// # Errors
    /// The device's.
    pub fn of(module: &dyn Module) -> Result<Weights> {
        let array = |param: &Param| {
            let (shape, values) = (param.shape(), param.get().to_vec()?);
            let array = match shape[..] {
                [o, h, w, i] => Array { shape: vec![o, i, h, w], values: transposed(&values, [o, h * w, i]) },
                ref other => Array { shape: other.to_vec(), values },
            };
            Ok((param.name().to_string(), array))
        };
        Ok(Weights(module.state().iter().map(array).collect::<Result<_>>()?))
    }

    /// Reads a safetensors file; f64, f16 and bf16 become f32, whole numbers (counters of batches) are left out. Values
    /// that are not finite come too: what uses them must [judge](Weights::check_finite).
    ///
    /// # Errors
    /// [`Error::Input`] if the file can't be read or is no safetensors file.
    pub fn read(path: &(impl AsRef<Path> + ?Sized)) -> Result<Weights> {
        let path = path.as_ref();
        let bytes = files::read(files::open(path)?, path, MAX_FILE)?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| {
            let (what, advice) = match &bytes[..] {
                // A zip or a bare pickle; the length at the start of a sound file may begin with the same bytes.
                [b'P', b'K', ..] | [0x80, ..] => {
                    ("a pickle of PyTorch, not safetensors".to_string(), unpickled(path))
                }
                pointer if pointer.starts_with(b"version https://git-lfs") => {
                    ("a pointer of Git LFS, not the file itself".into(), "get it by `git lfs pull`".into())
                }
                _ => ("not a safetensors file".into(), format!("{e}: give another file")),
            };
            Error::input(what, path.display().to_string(), advice)
        })?;
        let arrays = file.tensors().into_iter().filter_map(|(name, view)| {
            Some((name, Array { shape: view.shape().to_vec(), values: floats(&view)? }))
        });
        Ok(Weights(arrays.collect()))
    }

    /// Refuses an array that holds a NaN or an infinity.
    ///
    /// # Errors
    /// [`Error::Input`] naming it.
    pub fn check_finite(&self, name: &str, place: &str) -> Result<()> {
        match self.0.get(name) {
            Some(array) if !array.values.iter().all(|v| v.is_finite()) => {
                let advice = "give weights of a run that has not diverged";
                Err(Error::input(format!("{name} is not finite"), place, advice))
            }
            _ => Ok(()),
        }
    }

    /// Writes a safetensors file, beside what may be there and then in its place.
    ///
    /// # Errors
    /// [`Error::Io`] if it can't be written.
    pub fn write(&self, path: &(impl AsRef<Path> + ?Sized), metadata: HashMap<String, String>) -> Result<()> {
        let path = path.as_ref();
        let views = self.0.iter().map(|(name, array)| {
            let view = TensorView::new(Dtype::F32, array.shape.clone(), bytemuck::cast_slice(&array.values));
            (name.as_str(), view.expect("an array has as many values as its shape says"))
        });
        files::replace_by(path, |beside| {
            safetensors::serialize_to_file(views, Some(metadata), beside).map_err(std::io::Error::other)
        })
    }

    /// The array of a parameter, `[O, H, W, I]` as this crate keeps it, on the parameter's device.
    ///
    /// # Errors
    /// What is wrong, in words, if it is missing or has another shape.
    pub fn tensor(&self, name: &str, param: &Param) -> Result<Tensor, String> {
        let array = self.0.get(name).ok_or_else(|| format!("{name} is missing"))?;
        let ours = param.shape();
        let (wanted, values) = match ours[..] {
            [o, h, w, i] => (vec![o, i, h, w], transposed(&array.values, [o, i, h * w])),
            ref other => (other.to_vec(), array.values.clone()),
        };
        // A 1x1 convolution may stand for a linear layer and the other way round.
        let trimmed = |shape: &[usize]| shape.iter().copied().filter(|&n| n != 1).collect::<Vec<_>>();
        if array.shape != wanted && (trimmed(&array.shape) != trimmed(&wanted) || wanted.len() == 4) {
            return Err(format!("{name} is {:?}, not {wanted:?}", array.shape));
        }
        Tensor::new(param.get().device(), ours, &values).map_err(|e| e.to_string())
    }
}

/// The command that turns a pickle into safetensors: of a plain dictionary of tensors, of one that lies under a usual key,
/// and of tensors that share memory or are not contiguous, which safetensors refuses.
fn unpickled(path: &Path) -> String {
    let script = "import sys, torch, safetensors.torch as st; s = torch.load(sys.argv[1], map_location=\"cpu\"); \
                  s = next((s[k] for k in (\"state_dict\", \"model\", \"student\") if k in s), s); \
                  st.save_file({k: v.clone().contiguous() for k, v in s.items() if torch.is_tensor(v)}, sys.argv[2])";
    let (from, to) = (shell::path(path), shell::path(path.with_extension("new.safetensors")));
    format!("turn it into safetensors by `python3 -c '{script}' {from} {to}`")
}

/// `[a, b, c] -> [a, c, b]`; values of another count come back as they are.
fn transposed(values: &[f32], [a, b, c]: [usize; 3]) -> Vec<f32> {
    if values.len() != a * b * c {
        return values.to_vec();
    }
    let mut out = Vec::with_capacity(values.len());
    for plane in values.chunks_exact((b * c).max(1)) {
        (0..c).for_each(|k| out.extend((0..b).map(|j| plane[j * c + k])));
    }
    out
}

/// The values of an array of floats of any width.
fn floats(view: &TensorView) -> Option<Vec<f32>> {
    let bytes = view.data();
    let halves = |f: fn([u8; 2]) -> f32| bytes.as_chunks::<2>().0.iter().map(|&b| f(b)).collect();
    Some(match view.dtype() {
        Dtype::F64 => bytes.as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b) as f32).collect(),
        Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
        Dtype::F16 => halves(|b| f16::from_le_bytes(b).to_f32()),
        Dtype::BF16 => halves(|b| bf16::from_le_bytes(b).to_f32()),
        _ => return None,
    })
}

#[cfg(test)]
#[path = "../../tests/unit/interop/weights.rs"]
mod tests;
