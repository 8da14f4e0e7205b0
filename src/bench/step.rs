//! One training step of a ResNet: what its speed is measured by.

use crate::engine::autograd::{Observation, Tape, Var};
use crate::engine::device::Device;
use crate::engine::exchange::Alone;
use crate::engine::nn::{Architecture, Mode, Module, Param, ResNet, ResNetConfig, Stem};
use crate::engine::ops::{Input, Over};
use crate::engine::optim::{OptimConfig, Optimizer, SgdConfig};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use rand::{SeedableRng, rngs::StdRng};
use serde::Serialize;
use std::fmt;

/// `resnet18`, `resnet34` or `resnet50`.
///
/// # Errors
/// [`Error::Input`] naming these for any other word.
pub fn parse_architecture(name: &str) -> Result<Architecture> {
    let known = [Architecture::Resnet18, Architecture::Resnet34, Architecture::Resnet50];
    let unknown = || Error::input("unknown network", name, "use resnet18, resnet34 or resnet50");
    known.into_iter().find(|one| one.to_string() == name).ok_or_else(unknown)
}

/// What a training step is of: a ResNet with torchvision's stem, and square images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StepConfig {
    /// The network.
    #[serde(rename = "model")]
    pub architecture: Architecture,
    /// Channels of its first stage; 64 is usual.
    #[serde(skip)]
    pub width: usize,
    /// Images in the step.
    pub batch: usize,
    /// Their side, pixels.
    pub image_size: usize,
    /// Whether activations are kept as f16.
    pub half: bool,
}

impl StepConfig {
    /// A step of a network of the usual width, in f32.
    pub fn new(architecture: Architecture, [batch, image_size]: [usize; 2]) -> StepConfig {
        StepConfig { architecture, width: 64, batch, image_size, half: false }
    }
}

/// `resnet18 with activations in f16, 16 x 3 x 96 x 96`
impl fmt::Display for StepConfig {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let StepConfig { architecture, batch, image_size: size, .. } = self;
        let half = if self.half { " with activations in f16" } else { "" };
        write!(f, "{architecture}{half}, {batch} x 3 x {size} x {size}")
    }
}

/// Forward, mean of squares of the pooled features, backward, running statistics, SGD with momentum; random images.
#[derive(Debug)]
pub struct TrainingStep {
    /// The network.
    pub net: ResNet,
    optimizer: Optimizer,
    images: Tensor,
    half: bool,
}

impl TrainingStep {
    /// The network and the images.
    ///
    /// # Errors
    /// [`Error::Shape`] if that is more than 2^31 values; the device's.
    pub fn new(device: &Device, config: StepConfig) -> Result<TrainingStep> {
        let StepConfig { architecture, width, batch, image_size: size, half } = config;
        let images = super::ops::tensors(device, &[Input::normal([batch, size, size, 3])])?.swap_remove(0);
        Ok(TrainingStep {
            net: network(device, architecture, width, 0)?,
            optimizer: OptimConfig::Sgd(SgdConfig::default()).build(),
            images,
            half,
        })
    }

    /// Runs one step; calls `after` with the name of each phase that has been recorded: `forward`, `backward`,
    /// `statistics`, `sgd`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the images are too small for batch statistics; the device's errors; those of `after`.
    pub fn run(&mut self, mut after: impl FnMut(&'static str) -> Result<()>) -> Result<()> {
        let device = self.images.device();
        let tape = if self.half { Tape::half(device) } else { Tape::new(device) };
        let loss = self.loss(&tape)?;
        after("forward")?;
        learn(&loss, &self.net.trained(), &mut self.optimizer, after)
    }

    fn loss<'t>(&self, tape: &'t Tape) -> Result<Var<'t>> {
        let y = self.net.forward(&tape.constant(self.images.clone()), Mode::Train { groups: 1 })?;
        y.mul(&y)?.mean(Over::All)
    }
}

/// What follows a loss in a step of any network; calls `after` as [`TrainingStep::run`] does.
pub(super) fn learn(
    loss: &Var,
    params: &[Param],
    optimizer: &mut Optimizer,
    mut after: impl FnMut(&'static str) -> Result<()>,
) -> Result<()> {
    let mut grads = loss.backward()?;
    after("backward")?;
    Observation::apply(&loss.tape().take_observations())?;
    after("statistics")?;
    grads.sum(params, &Alone)?;
    optimizer.step(params, &grads, 1e-3)?;
    after("sgd")
}

/// A ResNet with torchvision's stem and so many dilated stages.
pub(super) fn network(
    device: &Device,
    architecture: Architecture,
    width: usize,
    dilated: usize,
) -> Result<ResNet> {
    let config = ResNetConfig { architecture, width, stem: Stem::Imagenet, zero_init: false, dilated };
    ResNet::new(device, &mut StdRng::seed_from_u64(0), &config)
}

/// Multiply-adds of a forward pass, by planning one.
///
/// # Errors
/// [`Error::Shape`] if the images are too small for batch statistics.
pub(super) fn forward_work(architecture: Architecture, sizes: [usize; 2]) -> Result<u64> {
    let device = Device::plan();
    let step = TrainingStep::new(&device, StepConfig::new(architecture, sizes))?;
    device.start_trace();
    step.loss(&Tape::inert(&device))?;
    Ok(device.take_trace()?.ops.iter().map(|op| op.work).sum())
}
