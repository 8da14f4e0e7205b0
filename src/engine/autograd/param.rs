//! Parameters: the leaves that outlive a tape.

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

/// The running statistics of one batch norm.
#[derive(Clone, Debug)]
pub struct RunningStatistics {
    /// `[C]`, 0 at first.
    pub mean: Param,
    /// `[C]`, 1 at first; moves towards the *unbiased* batch variance.
    pub var: Param,
}
