//! ResNet-18, -34 and -50 as in torchvision (v1.5: a bottleneck's stride is in its 3x3), up to the pooled features.

use super::{ConvNorm, Mode, Module, Param};
use crate::engine::autograd::Var;
use crate::engine::device::Device;
use crate::error::Result;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// Which ResNet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Basic blocks, 2-2-2-2.
    Resnet18,
    /// Basic blocks, 3-4-6-3.
    Resnet34,
    /// Bottlenecks, 3-4-6-3.
    Resnet50,
}

impl std::fmt::Display for Architecture {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        self.serialize(f)
    }
}

impl Architecture {
    pub(crate) fn depths(self) -> [usize; 4] {
        match self {
            Architecture::Resnet18 => [2, 2, 2, 2],
            Architecture::Resnet34 | Architecture::Resnet50 => [3, 4, 6, 3],
        }
    }

    /// Output channels of a block over its width.
    pub(crate) fn expansion(self) -> usize {
        if self == Architecture::Resnet50 { 4 } else { 1 }
    }
}

/// The layers before the first block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stem {
    /// 7x7 stride 2, batch norm, relu, 3x3 stride 2 max pool: for photos of about 96 pixels and more.
    Imagenet,
    /// 3x3 stride 1, batch norm, relu: for about 32 pixels.
    Cifar,
    /// 3x3 stride 1, batch norm, relu, 3x3 stride 2 max pool: a quarter of the work of `cifar`.
    Small,
}

impl Stem {
    /// Pixels from one cell of the first stage's map, C2, to the next.
    pub fn stride(self) -> usize {
        match self {
            Stem::Imagenet => 4,
            Stem::Small => 2,
            Stem::Cifar => 1,
        }
    }
}

/// What a ResNet is built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResNetConfig {
    /// Which ResNet.
    pub architecture: Architecture,
    /// Channels of the first stage; 64 is usual.
    pub width: usize,
    /// The layers before the first block.
    pub stem: Stem,
    /// gamma = 0 in the last batch norm of each block, so that blocks start as the identity.
    pub zero_init: bool,
    /// How many of the last stages, up to 3, have dilated convolutions in place of their stride: 2 for maps of an eighth of the photo.
    ///
    /// Each of them doubles the dilation of all its 3x3 convolutions, so that these see what they would see with the stride: 2 in layer3, 4
    /// in layer4. The parameters are the same. Source: Yu and Koltun 2016; PSPNet (Zhao et al. 2017), Sec. 3.2.
    pub dilated: usize,
}

impl ResNetConfig {
    /// Width of the pooled features: 512 or 2048 at width 64.
    pub fn features(&self) -> usize {
        8 * self.width * self.architecture.expansion()
    }

    /// Pixels from one cell of the last map to the next: 32 with ImageNet's stem.
    pub fn stride(&self) -> usize {
        (0..STAGES).map(|stage| self.steps(stage)[0]).product::<usize>() * self.stem.stride()
    }

    /// Stride and dilation of a stage, from 0 to 3.
    pub(crate) fn steps(&self, stage: usize) -> [usize; 2] {
        let dilated = (stage + 1 + self.dilated).saturating_sub(STAGES).min(stage);
        [if stage > 0 && dilated == 0 { 2 } else { 1 }, 1 << dilated]
    }

    /// Side and channels of the output of each convolution for a square image, and of the pooling, and how many tensors
    /// of that size a forward pass keeps: two where batch norm's output is kept as well, or the pooling's indices; one
    /// where the next convolution normalises what it reads, and in a shortcut, which has no relu.
    pub fn outputs(&self, size: usize) -> Vec<[usize; 3]> {
        let halved = |side: usize| side.div_ceil(2);
        let mut side = if self.stem == Stem::Imagenet { halved(size) } else { size };
        let mut outputs = vec![[side, self.width, 2]];
        if self.stem != Stem::Cifar {
            side = halved(side);
            outputs.push([side, self.width, 2]);
        }
        let mut channels = self.width;
        for (stage, depth) in self.architecture.depths().into_iter().enumerate() {
            for index in 0..depth {
                let before = side;
                if index == 0 && self.steps(stage)[0] == 2 {
                    side = halved(side);
                }
                let width = self.width << stage;
                let last = width * self.architecture.expansion();
                if self.architecture == Architecture::Resnet50 {
                    outputs.push([before, width, 1]);
                }
                outputs.extend([[side, width, 1], [side, last, 2]]);
                if channels != last || before != side {
                    outputs.push([side, last, 1]);
                }
                channels = last;
            }
        }
        outputs
    }
}

/// Stages of a ResNet.
pub const STAGES: usize = 4;

/// A ResNet up to its global average pool: `[N, H, W, 3] -> [N, features]`.
#[derive(Debug)]
pub struct ResNet {
    config: ResNetConfig,
    stem: ConvNorm,
    pooled: bool,
    blocks: Vec<Block>,
}

/// One residual block: convolutions each followed by batch norm, the last of them with the shortcut added.
#[derive(Debug)]
struct Block {
    layers: Vec<ConvNorm>,
    downsample: Option<ConvNorm>,
}

impl ResNet {
    /// A network with torchvision's names and initialisation.
    ///
    /// # Errors
    /// The device's.
    pub fn new(device: &Device, rng: &mut impl Rng, config: &ResNetConfig) -> Result<ResNet> {
        let (kernel, stride) = if config.stem == Stem::Imagenet { (7, 2) } else { (3, 1) };
        let stem = ConvNorm::new(device, rng, ["conv1", "bn1"], [3, config.width], [kernel, stride], 1.0)?;
        let mut blocks = Vec::new();
        let mut channels = config.width;
        for (stage, depth) in config.architecture.depths().into_iter().enumerate() {
            for index in 0..depth {
                let name = format!("layer{}.{index}", stage + 1);
                let [stride, dilation] = config.steps(stage);
                let stride = if index == 0 { stride } else { 1 };
                let width = config.width << stage;
                blocks.push(Block::new(device, rng, &name, config, [channels, width], [stride, dilation])?);
                channels = width * config.architecture.expansion();
            }
        }
        Ok(ResNet { config: *config, stem, pooled: config.stem != Stem::Cifar, blocks })
    }

    /// What it was made by.
    pub fn config(&self) -> &ResNetConfig {
        &self.config
    }

    /// The pooled features of a batch of images `[N, H, W, 3]`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the images are too small or not RGB.
    pub fn forward<'t>(&self, x: &Var<'t>, mode: Mode) -> Result<Var<'t>> {
        self.map(x, mode)?.global_avg_pool()
    }

    /// The last feature map of a batch of images, `[N, H, W, 3] -> [N, h, w, features]`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the images are too small or not RGB.
    pub fn map<'t>(&self, x: &Var<'t>, mode: Mode) -> Result<Var<'t>> {
        (0..STAGES).try_fold(self.stem(x, mode)?, |x, stage| self.stage(stage, &x, mode))
    }

    /// What the first stage reads of a batch of images: `[N, H, W, 3] -> [N, H / 4, W / 4, width]` with ImageNet's stem.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the images are too small or not RGB.
    pub fn stem<'t>(&self, x: &Var<'t>, mode: Mode) -> Result<Var<'t>> {
        let x = self.stem.forward_relu(x, mode)?;
        if self.pooled { x.max_pool(3, 2, 1) } else { Ok(x) }
    }

    /// A stage, from 0 (`layer1`, whose map is C2) to 3 (`layer4`, C5), of the map before it.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if that has other channels.
    pub fn stage<'t>(&self, stage: usize, x: &Var<'t>, mode: Mode) -> Result<Var<'t>> {
        let depths = self.config.architecture.depths();
        let first: usize = depths[..stage].iter().sum();
        let blocks = &self.blocks[first..first + depths[stage]];
        blocks.iter().try_fold(x.clone(), |x, block| block.forward(&x, mode))
    }
}

impl Block {
    fn new(
        device: &Device,
        rng: &mut impl Rng,
        name: &str,
        config: &ResNetConfig,
        [inputs, width]: [usize; 2],
        [stride, dilation]: [usize; 2],
    ) -> Result<Block> {
        let outputs = width * config.architecture.expansion();
        // [channels in, channels out], kernel, stride
        let plan: &[([usize; 2], usize, usize)] = match config.architecture {
            Architecture::Resnet50 => {
                &[([inputs, width], 1, 1), ([width, width], 3, stride), ([width, outputs], 1, 1)]
            }
            _ => &[([inputs, width], 3, stride), ([width, width], 3, 1)],
        };
        let mut layers = Vec::new();
        for (i, &(channels, kernel, stride)) in plan.iter().enumerate() {
            let names = [&*format!("{name}.conv{}", i + 1), &*format!("{name}.bn{}", i + 1)];
            let gamma = if config.zero_init && i + 1 == plan.len() { 0.0 } else { 1.0 };
            let layer = ConvNorm::new(device, rng, names, channels, [kernel, stride], gamma)?;
            layers.push(layer.dilated(dilation));
        }
        let downsample = if inputs == outputs && stride == 1 {
            None
        } else {
            let names = [&*format!("{name}.downsample.0"), &*format!("{name}.downsample.1")];
            Some(ConvNorm::new(device, rng, names, [inputs, outputs], [1, stride], 1.0)?)
        };
        Ok(Block { layers, downsample })
    }

    fn forward<'t>(&self, x: &Var<'t>, mode: Mode) -> Result<Var<'t>> {
        let shortcut = match &self.downsample {
            Some(layer) => layer.forward(x, mode)?,
            None => x.clone(),
        };
        ConvNorm::chain(&self.layers, x, mode, true, Some(&shortcut))
    }
}

impl Module for ResNet {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.stem.visit(f);
        for layer in self.blocks.iter().flat_map(|block| block.layers.iter().chain(&block.downsample)) {
            layer.visit(f);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::autograd::Tape;
    use crate::engine::tensor::Tensor;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn a_dilated_network_has_larger_maps_and_the_same_parameters() {
        let device = &Device::cpu();
        for architecture in [Architecture::Resnet18, Architecture::Resnet50] {
            let nets = [0, 1, 2].map(|dilated| {
                let config =
                    ResNetConfig { architecture, width: 4, stem: Stem::Imagenet, zero_init: false, dilated };
                ResNet::new(device, &mut StdRng::seed_from_u64(5), &config).unwrap()
            });
            let state = |net: &ResNet| -> Vec<(String, Vec<f32>)> {
                net.state().iter().map(|p| (p.name().into(), p.get().to_vec().unwrap())).collect()
            };
            for (net, side) in nets.iter().zip([3, 5, 9]) {
                assert!(state(net) == state(&nets[0]));
                let tape = Tape::inert(device);
                let x = tape.constant(Tensor::full(device, [1, 65, 65, 3], 0.5).unwrap());
                assert_eq!(net.map(&x, Mode::Eval).unwrap().shape()[1..3], [side, side]);
                assert_eq!(net.config().outputs(65).last().unwrap()[0], side);
            }
        }
    }
}
