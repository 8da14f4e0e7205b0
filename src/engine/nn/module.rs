//! The one traversal of parameters that optimiser, EMA, checkpoint, export and count share.

use crate::engine::autograd::Param;
use crate::engine::device::Device;
use crate::error::Result;

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
