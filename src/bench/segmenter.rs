//! Segmenters as workloads: PSPNet and PSANet on a ResNet-50 of the usual width, 19 classes, from random parameters. Photos are square, of noise.

use super::ops;
use super::step::{self, network};
use super::workload::Workload;
use crate::engine::autograd::Tape;
use crate::engine::device::Device;
use crate::engine::nn::{Architecture, Mode, Module};
use crate::engine::ops::{Draw, Input};
use crate::engine::optim::{OptimConfig, SgdConfig};
use crate::error::Result;
use crate::transfer::segment::{Context, DropoutKey, Segmenter, SegmenterConfig};
use rand::{SeedableRng, rngs::StdRng};

const CLASSES: usize = 19;

/// PSPNet's pyramid.
pub(super) fn pyramid() -> Context {
    Context::Pyramid { bins: vec![1, 2, 3, 6] }
}

/// PSANet's attention from everywhere to everywhere, at half of the map's size.
pub(super) fn attention(side: usize) -> Context {
    let shrink = 2;
    let cells = (side.div_ceil(8) - 1) / shrink + 1;
    Context::Attention { mask: [2 * cells - 1; 2], shrink }
}

/// A training step: both losses, dropout, every gradient, SGD.
pub(super) fn step(device: &Device, context: Context, [batch, side]: [usize; 2]) -> Result<Workload> {
    let config = SegmenterConfig { context, classes: CLASSES, dropout: 0.1 };
    let backbone = network(device, Architecture::Resnet50, 64, 2)?;
    let net = Segmenter::new(device, &mut StdRng::seed_from_u64(1), config, backbone)?;
    let photos =
        [Input::normal([batch, side, side, 3]), Input::of([batch, side, side], Draw::Index(CLASSES))];
    let photos = ops::tensors(device, &photos)?;
    let mut optimizer = OptimConfig::Sgd(SgdConfig::default()).build();
    let (device, mut steps) = (device.clone(), 0);
    Ok(Workload::new(0, move || {
        let tape = Tape::new(&device);
        let images = tape.constant(photos[0].clone());
        let losses = net.losses(
            &images,
            &photos[1],
            Mode::Train { groups: 1 },
            Some(DropoutKey { step: steps, ..DropoutKey::default() }),
        )?;
        step::learn(&losses.total()?, &net.trained(), &mut optimizer, |_| Ok(()))?;
        steps += 1;
        device.wait()
    }))
}
