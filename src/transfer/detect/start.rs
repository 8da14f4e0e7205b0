//! What a detector's training starts with.

use super::config::DetectConfig;
use super::data::Classes;
use super::model::Detector;
use crate::engine::device::Device;
use crate::engine::nn::ResNet;
use crate::error::Result;
use crate::run::archive::{Archive, corrupt, read_parameters};
use crate::run::untrusted;
use crate::transfer::train::{encoder_kind, take_encoder};
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
        take_encoder(init, config.init_prefix.as_deref(), &net.backbone)?;
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
            let found = encoder_kind(init, self.init_prefix.as_deref())?;
            self.model.backbone = found.architecture;
            (self.model.width, self.model.stem) = (found.width, found.stem);
        }
        Ok(self)
    }
}
