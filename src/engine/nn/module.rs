//! Parameters, and the one traversal that optimiser, EMA, checkpoint, export and count share.

use crate::engine::device::Device;
use crate::engine::tensor::{Shape, Tensor};
use crate::error::{Error, Result};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A named tensor of a module: trained, or a running statistic. Clones are the same parameter.
#[derive(Clone, Debug)]
pub struct Param(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    id: u64,
    name: String,
    trained: bool,
    value: RefCell<Tensor>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl Param {
    /// A trained parameter under torchvision's name.
    pub fn new(name: impl Into<String>, value: Tensor) -> Param {
        Param::with(name.into(), value, true)
    }

    /// A running statistic: saved and exported, not trained, not averaged into the key encoder.
    pub fn statistic(name: impl Into<String>, value: Tensor) -> Param {
        Param::with(name.into(), value, false)
    }

    fn with(name: String, value: Tensor, trained: bool) -> Param {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Param(Rc::new(Inner { id, name, trained, value: RefCell::new(value) }))
    }

    /// A number of its own.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// torchvision's name, such as `layer1.0.bn2.running_var`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether the optimiser moves it.
    pub fn is_trained(&self) -> bool {
        self.0.trained
    }

    /// The shape.
    pub fn shape(&self) -> Shape {
        self.0.value.borrow().shape().clone()
    }

    /// The value now.
    pub fn get(&self) -> Tensor {
        self.0.value.borrow().clone()
    }

    /// Gives it a new value of the same shape.
    ///
    /// # Errors
    /// [`Error::Shape`] naming the parameter if the shapes differ.
    pub fn set(&self, value: Tensor) -> Result<()> {
        if *value.shape() != self.shape() {
            return Err(Error::shape(
                "param",
                format!("{} is {}, not {}", self.name(), self.shape(), value.shape()),
            ));
        }
        self.0.value.replace(value);
        Ok(())
    }
}

/// What tells a module's parameters and statistics from others: the CRC-32 of their names, shapes and values, in
/// hexadecimal; the same on every device.
///
/// # Errors
/// The device's.
pub fn fingerprint(module: &dyn Module) -> Result<String> {
    let mut sum = crc32fast::Hasher::new();
    for param in module.state() {
        sum.update(format!("{} {}\n", param.name(), param.shape()).as_bytes());
        param.get().to_vec()?.iter().for_each(|value| sum.update(&value.to_le_bytes()));
    }
    Ok(format!("{:08x}", sum.finalize()))
}

/// How batch norm treats a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Statistics of the batch, in this many groups of consecutive samples each with its own.
    Train {
        /// Number of groups; 1 is plain batch norm.
        groups: usize,
    },
    /// Running statistics.
    Eval,
}

/// Something with parameters.
pub trait Module {
    /// Visits every parameter and statistic, in torchvision's order.
    fn visit(&self, f: &mut dyn FnMut(&Param));

    /// The trained parameters, in order.
    fn trained(&self) -> Vec<Param> {
        let mut all = Vec::new();
        self.visit(&mut |p| all.extend(p.is_trained().then(|| p.clone())));
        all
    }

    /// All parameters and statistics, in order.
    fn state(&self) -> Vec<Param> {
        let mut all = Vec::new();
        self.visit(&mut |p| all.push(p.clone()));
        all
    }

    /// Number of trained elements.
    fn count(&self) -> usize {
        self.trained().iter().map(|p| p.shape().elements()).sum()
    }

    /// Moves all parameters to a device.
    ///
    /// # Errors
    /// The device's.
    fn to_device(&self, device: &Device) -> Result<()> {
        self.state().iter().try_for_each(|p| p.set(p.get().to_device(device)?))
    }
}
