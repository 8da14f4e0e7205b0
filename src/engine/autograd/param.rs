//! Parameters: the leaves that outlive a tape; running statistics and what moves them.

use crate::engine::ops::{Update, run};
use crate::engine::tensor::{Shape, Tensor};
use crate::error::{Error, Result};
use std::cell::RefCell;
use std::collections::HashSet;
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

/// Batch statistics that a batch norm has seen; the training step moves the running ones by them.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The running statistics to move.
    pub running: RunningStatistics,
    /// Means and biased variances of each group, `[2, groups, C]`.
    pub statistics: Tensor,
    /// Values per group and channel, of all ranks.
    pub count: usize,
    /// Weight of the batch: `running = (1 - momentum) running + momentum batch`.
    pub momentum: f32,
}

impl Observation {
    /// Moves the running statistics of many batch norms: the mean towards the mean over groups, the variance towards
    /// the mean over groups of the unbiased variance (times `count / (count - 1)`). A batch norm that was seen several
    /// times moves once for each, in order.
    ///
    /// # Errors
    /// The device's.
    pub fn apply(observations: &[Observation]) -> Result<()> {
        let mut rest = observations;
        while let Some(first) = rest.first() {
            let mut seen = HashSet::new();
            let fits = |o: &&Observation| {
                seen.insert(o.running.mean.id())
                    && o.momentum == first.momentum
                    && o.statistics.shape()[1] == first.statistics.shape()[1]
            };
            let (now, later) = rest.split_at(rest.iter().take_while(fits).count());
            rest = later;
            Observation::apply_once(now)?;
        }
        Ok(())
    }

    /// Moves the statistics of batch norms that are all different.
    fn apply_once(all: &[Observation]) -> Result<()> {
        let params: Vec<&Param> = all.iter().flat_map(|o| [&o.running.mean, &o.running.var]).collect();
        let values: Vec<Tensor> = params.iter().map(|p| p.get()).collect();
        let running = Tensor::pack(&values.iter().collect::<Vec<_>>())?;
        let op = Update::Running { momentum: all[0].momentum, counts: all.iter().map(|o| o.count).collect() };
        let statistics = all.iter().map(|o| &o.statistics);
        let moved = run(&op, &[&running].into_iter().chain(statistics).collect::<Vec<_>>())?.swap_remove(0);
        let shapes: Vec<_> = values.iter().map(|value| value.shape().clone()).collect();
        params.iter().zip(moved.unpack(&shapes)?).try_for_each(|(param, value)| param.set(value))
    }
}
