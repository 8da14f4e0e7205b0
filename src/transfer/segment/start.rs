//! What a segmenter's training starts with.

use super::config::SegmentConfig;
use super::model::Segmenter;
use crate::engine::device::Device;
use crate::engine::nn::ResNet;
use crate::error::Result;
use crate::photos::PixelClasses;
use crate::run::archive::{Archive, corrupt, read_parameters};
use crate::run::untrusted;
use crate::transfer::train::take_encoder;
use rand::{SeedableRng, rngs::StdRng};
use std::path::Path;

/// The key of the classes in a checkpoint.
pub(super) const CLASSES: &str = "classes";

/// A segmenter of a configuration, all of it drawn by the seed.
///
/// # Errors
/// The device's.
pub(super) fn blank(config: &SegmentConfig, classes: usize, device: &Device) -> Result<Segmenter> {
    let rng = &mut StdRng::seed_from_u64(config.seed);
    let backbone = ResNet::new(device, rng, &config.resnet())?;
    Segmenter::new(device, rng, config.segmenter(classes), backbone)
}

/// A segmenter of a configuration with the encoder of the file `init`, if there is one, as its backbone; the rest is drawn by the
/// seed, and is the same for all backbones of one size.
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) if the file holds no encoder, or one of another kind; the device's.
pub fn starting_segmenter(config: &SegmentConfig, classes: usize, device: &Device) -> Result<Segmenter> {
    let net = blank(config, classes, device)?;
    if let Some(init) = &config.init {
        take_encoder(init, config.init_prefix.as_deref(), &net.backbone)?;
    }
    Ok(net)
}

/// A segmenter that was trained, what it was trained by, and its classes.
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) if the file can't be read or is no checkpoint of a segmenter, naming the tensor that is missing
/// or misshapen.
pub fn load(
    path: &(impl AsRef<Path> + ?Sized),
    device: &Device,
) -> Result<(Segmenter, SegmentConfig, PixelClasses)> {
    let path = path.as_ref();
    let (config, bytes) = untrusted::read::<SegmentConfig>(path)?;
    let file = Archive::of(bytes, path)?;
    let classes: Option<PixelClasses> = file.text(CLASSES).and_then(|text| serde_json::from_str(text).ok());
    let classes =
        classes.ok_or_else(|| corrupt(path, &"it does not name the classes that it tells apart"))?;
    let net = blank(&config, classes.all.len(), device)?;
    let arrays = file.arrays().map_err(|e| corrupt(path, &e))?;
    read_parameters(&arrays, "", &net, device).map_err(|e| corrupt(path, &e))?;
    Ok((net, config, classes))
}
