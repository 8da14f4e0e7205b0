//! Something to measure.

use crate::error::Result;

/// Something that can be run over and over, ready on a device.
pub struct Workload {
    /// Multiply-adds that its rate counts; 0 if it has none.
    pub work: u64,
    /// Views that one run makes; 0 if it makes none.
    pub views: u64,
    run: Box<dyn FnMut() -> Result<()>>,
}

impl Workload {
    pub(super) fn new(work: u64, run: impl FnMut() -> Result<()> + 'static) -> Workload {
        Workload { work, views: 0, run: Box::new(run) }
    }

    /// Runs it once, to the end.
    ///
    /// # Errors
    /// Those of its ops.
    pub fn run(&mut self) -> Result<()> {
        (self.run)()
    }
}
