//! One golden file: its tensors, hyper-parameters and tolerances.
//!
//! A JSON file is one large set of attributes; what is no input in it is expected, each number and each text under the names that
//! lead to it, as `expected/AP` or `items/0/string`.

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use vista::engine::autograd::{Tape, Var};
use vista::{Device, Result, Tensor};

/// Values by name (`out.y`, `grad_in.x`, ..), in the file's layout.
pub type Outputs = BTreeMap<String, Vec<f64>>;

/// What a JSON case is given, by its names in the file, at any depth; all else must be computed.
const GIVEN: [&str; 10] =
    ["op", "doc", "atol", "images", "categories", "annotations", "detections", "metric", "size", "polygons"];

/// The numbers and the texts (as their characters) in a JSON value that are not given, by the names that lead to them.
pub fn named(value: &Value) -> Outputs {
    fn walk(value: &Value, name: String, into: &mut Outputs) {
        let below = |key: &str| if name.is_empty() { key.to_string() } else { format!("{name}/{key}") };
        match value {
            Value::Object(map) => {
                for (key, value) in map.iter().filter(|(key, _)| !GIVEN.contains(&key.as_str())) {
                    walk(value, below(key), into);
                }
            }
            Value::Array(list) => {
                list.iter().enumerate().for_each(|(i, value)| walk(value, below(&i.to_string()), into));
            }
            Value::Number(number) => {
                into.insert(name, vec![number.as_f64().expect("a number")]);
            }
            Value::String(text) => {
                into.insert(name, text.chars().map(|c| f64::from(u32::from(c))).collect());
            }
            Value::Bool(_) | Value::Null => {}
        }
    }
    let mut all = Outputs::new();
    walk(value, String::new(), &mut all);
    all
}

/// An array of a golden file.
#[derive(Clone, Debug)]
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

impl Array {
    /// Last dimension first among the inner ones: NCHW to NHWC, OIHW to OHWI. Other ranks stay.
    pub fn channels_last(&self) -> Array {
        let &[n, c, h, w] = &self.shape[..] else { return self.clone() };
        let mut values = Vec::with_capacity(self.values.len());
        for i in 0..n {
            for p in 0..h * w {
                values.extend((0..c).map(|k| self.values[(i * c + k) * h * w + p]));
            }
        }
        Array { shape: vec![n, h, w, c], values }
    }

    pub fn tensor(&self, device: &Device) -> Tensor {
        Tensor::from_f64(device, self.shape.clone(), &self.values).expect("a tensor")
    }
}

/// The way back: NHWC to NCHW; other ranks stay.
pub fn channels_first(tensor: &Tensor) -> Result<Vec<f64>> {
    let values = tensor.to_f64()?;
    let &[n, h, w, c] = &tensor.shape()[..] else { return Ok(values) };
    let mut back = Vec::with_capacity(values.len());
    for i in 0..n {
        for k in 0..c {
            back.extend((0..h * w).map(|p| values[(i * h * w + p) * c + k]));
        }
    }
    Ok(back)
}

/// A golden file.
pub struct GoldenCase {
    pub op: String,
    pub attrs: Value,
    tolerances: BTreeMap<String, (f64, f64)>,
    arrays: BTreeMap<String, Array>,
}

impl GoldenCase {
    pub fn read(path: &Path) -> GoldenCase {
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        if path.extension().is_some_and(|extension| extension == "json") {
            let attrs: Value = serde_json::from_slice(&bytes).expect("JSON");
            // Where no tolerance is given all must be equal.
            let atol = attrs["atol"].as_f64().unwrap_or_default();
            let expected = named(&attrs);
            assert!(!expected.is_empty(), "{}: nothing is expected", path.display());
            return GoldenCase {
                op: attrs["op"].as_str().expect("an op").into(),
                tolerances: expected.keys().map(|name| (name.clone(), (0.0, atol))).collect(),
                arrays: expected
                    .into_iter()
                    .map(|(name, values)| (name, Array { shape: vec![values.len()], values }))
                    .collect(),
                attrs,
            };
        }
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("a safetensors header");
        let metadata = header.metadata().as_ref().expect("metadata");
        let json = |key: &str| -> Value { serde_json::from_str(&metadata[key]).expect("JSON metadata") };
        let tolerances = serde_json::from_value(json("tol")).expect("tolerances");
        let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let mut arrays = BTreeMap::new();
        for (name, view) in file.tensors() {
            let data = view.data();
            let values = match view.dtype() {
                Dtype::F32 => data
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes(b.try_into().expect("4")).into())
                    .collect(),
                Dtype::I64 => data
                    .chunks_exact(8)
                    .map(|b| i64::from_le_bytes(b.try_into().expect("8")) as f64)
                    .collect(),
                Dtype::U8 => data.iter().map(|&b| f64::from(b)).collect(),
                other => panic!("{name}: unknown type {other:?}"),
            };
            arrays.insert(name, Array { shape: view.shape().to_vec(), values });
        }
        GoldenCase { op: metadata["op"].clone(), attrs: json("attrs"), tolerances, arrays }
    }

    pub fn number(&self, key: &str) -> f64 {
        self.attrs[key].as_f64().unwrap_or_else(|| panic!("attribute {key}"))
    }

    pub fn whole(&self, key: &str) -> usize {
        self.attrs[key].as_u64().unwrap_or_else(|| panic!("attribute {key}")) as usize
    }

    pub fn flag(&self, key: &str) -> bool {
        self.attrs[key].as_bool().unwrap_or_else(|| panic!("attribute {key}"))
    }

    /// A pair of numbers, as `stride`.
    pub fn pair(&self, key: &str) -> [usize; 2] {
        [0, 1].map(|i| self.attrs[key][i].as_u64().unwrap_or_else(|| panic!("attribute {key}")) as usize)
    }

    /// Names of all arrays.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.arrays.keys().map(String::as_str)
    }

    pub fn find(&self, name: &str) -> Option<&Array> {
        self.arrays.get(name)
    }

    pub fn array(&self, name: &str) -> &Array {
        self.arrays.get(name).unwrap_or_else(|| panic!("tensor {name}"))
    }

    /// `in.NAME` on a device, channels last.
    pub fn input(&self, name: &str, device: &Device) -> Tensor {
        self.array(&format!("in.{name}")).channels_last().tensor(device)
    }

    /// Runs `f` on the named inputs as leaves; returns its values, and the gradients of `sum(grad_out * y)` or of
    /// the first output, which must then be a scalar.
    pub fn differentiate(
        &self,
        device: &Device,
        inputs: &[&str],
        f: impl for<'t> Fn(&'t Tape, &[Var<'t>]) -> Result<Vec<(&'static str, Var<'t>)>>,
    ) -> Result<Outputs> {
        let tape = Tape::new(device);
        let leaves: Vec<Var> = inputs.iter().map(|name| tape.leaf(self.input(name, device))).collect();
        let outputs = f(&tape, &leaves)?;
        let (name, y) = &outputs[0];
        let dy = match self.find(&format!("grad_out.{name}")) {
            Some(dy) => dy.channels_last().tensor(device).reshape(y.shape())?,
            None => Tensor::full(device, [], 1.0)?,
        };
        let mut all = Outputs::new();
        for (name, y) in &outputs {
            all.insert(format!("out.{name}"), channels_first(y.value())?);
        }
        let grads = tape.backward(&[(y, dy)])?;
        for (name, leaf) in inputs.iter().zip(&leaves) {
            let values = match grads.of(leaf) {
                Some(dx) => channels_first(dx)?,
                None => vec![0.0; leaf.value().elements()],
            };
            all.insert(format!("grad_in.{name}"), values);
        }
        Ok(all)
    }

    /// The largest error as a share of its tolerance, over all expected tensors; inputs that must get no gradient
    /// are checked to have none.
    pub fn compare(&self, got: &Outputs) -> std::result::Result<f64, String> {
        let mut worst: f64 = 0.0;
        for (name, &(rtol, atol)) in &self.tolerances {
            let expected = &self.array(name).values;
            let Some(got) = got.get(name) else {
                // An engine gives either of the two results of a resize.
                if name == "out.float" || name == "out.image" {
                    continue;
                }
                return Err(format!("{name} was not computed"));
            };
            if got.len() != expected.len() {
                return Err(format!("{name} has {} elements, not {}", got.len(), expected.len()));
            }
            for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
                let (error, allowed) = ((got - expected).abs(), atol + rtol * expected.abs());
                if error.is_nan() || error > allowed {
                    return Err(format!(
                        "{name}[{i}] is {got}, not {expected}: off by {error:.3e}, allowed {allowed:.3e}"
                    ));
                }
                if error > 0.0 {
                    worst = worst.max(error / allowed);
                }
            }
        }
        for name in self.attrs["no_grad"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if got.get(&format!("grad_in.{name}")).is_some_and(|d| d.iter().any(|&d| d != 0.0)) {
                return Err(format!("{name} got a gradient and must have none"));
            }
        }
        Ok(worst)
    }
}
