//! What a run starts with: an encoder of its configuration, freshly initialised or with the weights of a file.

use super::config::{Config, ModelConfig};
use super::encoder::{Embedding, Encoder};
use super::momentum::copy_state;
use super::training::Training;
use crate::engine::autograd::Var;
use crate::engine::device::Device;
use crate::engine::nn::{Mode, Module, Param, ResNet, ResNetConfig, Stem};
use crate::error::Result;
use crate::interop::{Head, Source, Weights};
use rand::{SeedableRng, rngs::StdRng};
use std::path::Path;
use std::sync::Arc;

/// A ResNet with the heads of its method.
#[derive(Debug)]
pub struct ResNetEncoder {
    /// The part that is kept after pretraining.
    pub backbone: ResNet,
    /// The method that it is or was pretrained by.
    pub method: Training,
}

impl Encoder for ResNetEncoder {
    fn embed<'t>(&self, images: &Var<'t>, mode: Mode) -> Result<Embedding<'t>> {
        self.method.embed(&self.backbone, images, mode)
    }
}

impl Module for ResNetEncoder {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.backbone.visit(f);
        self.method.visit(f);
    }
}

impl Config {
    /// A freshly initialised encoder of this configuration: its parameters are drawn by the seed.
    ///
    /// # Errors
    /// The device's.
    pub fn encoder(&self, device: &Device) -> Result<ResNetEncoder> {
        let rng = &mut StdRng::seed_from_u64(self.seed);
        let backbone = ResNet::new(device, rng, &self.resnet())?;
        let method = Arc::clone(&self.method);
        let method = Training::new(method, &backbone, device, rng, self.seed, self.half.queue)?;
        Ok(ResNetEncoder { backbone, method })
    }
}

/// The encoder with which a run starts: freshly initialised, or that of the file `init`.
///
/// # Errors
/// As [`start_from`]; the device's.
pub fn starting_encoder(config: &Config, device: &Device) -> Result<ResNetEncoder> {
    let encoder = config.encoder(device)?;
    if let Some(path) = &config.init {
        start_from(&encoder, config, path)?;
    }
    Ok(encoder)
}

/// An encoder made from another library's file.
pub struct Imported {
    /// The encoder; without a head in the file its projector is random.
    pub encoder: ResNetEncoder,
    /// A configuration that describes it: MoCo-v2's (SimCLR's for a head with batch norm), with this backbone and head, and
    /// `init` naming the file.
    pub config: Config,
    /// Where it was.
    pub source: Source,
    /// Arrays that were not used, none of the backbone's among them.
    pub left_out: Vec<String>,
}

impl Imported {
    /// Reads a file; see [`Source::find`]. Views have 224 pixels, or 32 with a 3x3 stem.
    ///
    /// # Errors
    /// As [`Weights::read`], [`Source::find`] and [`Source::load`].
    pub fn from_file(
        path: &(impl AsRef<Path> + ?Sized),
        prefix: Option<&str>,
        stem: Option<Stem>,
        device: &Device,
    ) -> Result<Imported> {
        let path = path.as_ref();
        let place = path.display().to_string();
        let mut weights = Weights::read(path)?;
        let mut source = Source::find(&weights, prefix, stem, &place)?;
        let mut config = Config::preset("moco-v2-coco-r50")?;
        let ResNetConfig { architecture: backbone, width, stem, .. } = source.backbone;
        config.views.size = if stem == Stem::Imagenet { 224 } else { 32 };
        config.model = ModelConfig { backbone, width, stem, ..config.model };
        if let Ok(Some(Head { widths: [hidden, projection], batch_norm, .. })) = source.head {
            // SimCLR's projector may have batch norm, MoCo's has none.
            let method = if batch_norm { "simclr" } else { "moco" };
            let head =
                format!("method = {{ name = \"{method}\", hidden = {hidden}, projection = {projection} }}");
            config = config.merged(&head, &place)?;
        }
        config.init = Some(path.to_path_buf());
        config.init_prefix = prefix.map(String::from);
        let encoder = config.encoder(device)?;
        let used = source.load(&weights, [&encoder.backbone, &encoder.method], &place)?;
        // What is told of must be what was loaded.
        if used.len() == encoder.backbone.state().len()
            && let Ok(Some(head)) = &source.head
        {
            source.head = Err(format!("`{}`: biases or norms of other sizes", head.prefix));
        }
        for name in used {
            weights.0.remove(&name);
        }
        Ok(Imported { encoder, config, source, left_out: weights.0.into_keys().collect() })
    }
}

/// Gives the freshly initialised encoder of a run the backbone of its file `init`, and the projector where one of the same
/// widths is there: a checkpoint of this program or another library's weights. Returns whether the projector was taken.
///
/// # Errors
/// As [`Imported::from_file`]; [`Error::Input`](crate::Error::Input) if the file's backbone is not of the run's kind.
pub fn start_from(
    encoder: &ResNetEncoder,
    config: &Config,
    init: &(impl AsRef<Path> + ?Sized),
) -> Result<bool> {
    let init = init.as_ref();
    let place = init.display().to_string();
    let weights = Weights::read(init)?;
    let source = Source::find(&weights, config.init_prefix.as_deref(), None, &place)?;
    source.expect(&config.resnet(), &place)?;
    let used = source.load(&weights, [&encoder.backbone, &encoder.method], &place)?;
    if let Some(target) = &encoder.method.target {
        copy_state(target, encoder)?;
    }
    Ok(used.len() > encoder.backbone.state().len())
}

#[cfg(test)]
#[path = "../../tests/unit/pretrain/start.rs"]
mod tests;
