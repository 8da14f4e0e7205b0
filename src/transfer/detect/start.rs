//! What a detector's training starts with.

use super::config::DetectConfig;
use super::data::Classes;
use super::model::Detector;
use crate::engine::device::Device;
use crate::engine::nn::{Module, ResNet};
use crate::error::Result;
use crate::interop::{Source, Weights};
use crate::run::archive::{Archive, corrupt, read_parameters};
use crate::run::untrusted;
use rand::{SeedableRng, rngs::StdRng};
use std::path::Path;

/// The key of the classes' names in a checkpoint.
pub(super) const CLASSES: &str = "classes";

/// A detector of a configuration, all of it drawn by the seed.
///
/// # Errors
/// The device's.
pub(super) fn blank(config: &DetectConfig, classes: usize, device: &Device) -> Result<Detector> {
    let rng = &mut StdRng::seed_from_u64(config.seed);
    let backbone = ResNet::new(device, rng, &config.resnet())?;
    Detector::new(device, rng, config.detector(classes), backbone)
}

/// A detector of a configuration with the encoder of the file `init`, if there is one, as its backbone; the rest is drawn by the
/// seed, and is the same for all backbones of one size.
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) if the file holds no encoder, or one of another kind; the device's.
pub fn starting_detector(config: &DetectConfig, classes: usize, device: &Device) -> Result<Detector> {
    let net = blank(config, classes, device)?;
    if let Some(init) = &config.init {
        let place = init.display().to_string();
        let weights = Weights::read(init)?;
        let source = Source::find(&weights, config.init_prefix.as_deref(), None, &place)?;
        source.expect(&config.resnet(), &place)?;
        source.load(&weights, [&net.backbone, &Nothing], &place)?;
    }
    Ok(net)
}

/// A detector that was trained, what it was trained by, and its classes.
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) if the file can't be read or is no checkpoint of a detector, naming the tensor that is missing
/// or misshapen.
pub fn load(
    path: &(impl AsRef<Path> + ?Sized),
    device: &Device,
) -> Result<(Detector, DetectConfig, Classes)> {
    let path = path.as_ref();
    let (config, bytes) = untrusted::read::<DetectConfig>(path)?;
    let file = Archive::of(bytes, path)?;
    let classes: Option<Classes> = file.text(CLASSES).and_then(|text| serde_json::from_str(text).ok());
    let classes =
        classes.ok_or_else(|| corrupt(path, &"it does not name the classes that it tells apart"))?;
    let net = blank(&config, classes.names.len(), device)?;
    let arrays = file.arrays().map_err(|e| corrupt(path, &e))?;
    read_parameters(&arrays, "", &net, device).map_err(|e| corrupt(path, &e))?;
    Ok((net, config, classes))
}

impl DetectConfig {
    /// The same with a backbone of the kind that the file `init` holds.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if the file holds no encoder.
    pub fn like_init(mut self) -> Result<DetectConfig> {
        if let Some(init) = &self.init {
            let weights = Weights::read(init)?;
            let found =
                Source::find(&weights, self.init_prefix.as_deref(), None, &init.display().to_string())?;
            self.model.backbone = found.backbone.architecture;
            (self.model.width, self.model.stem) = (found.backbone.width, found.backbone.stem);
        }
        Ok(self)
    }
}

/// No heads: what a file has beside its backbone is not looked for.
struct Nothing;

impl Module for Nothing {
    fn visit(&self, _: &mut dyn FnMut(&crate::engine::nn::Param)) {}
}
