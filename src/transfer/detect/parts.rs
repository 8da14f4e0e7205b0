//! The trained parts of a detector, each with detectron2's parameter names behind a prefix.

use crate::engine::autograd::Var;
use crate::engine::device::Device;
use crate::engine::nn::{Conv2d, ConvNorm, Linear, Mode, Module, Param};
use crate::engine::ops::{ConvTranspose2d, Nearest};
use crate::engine::tensor::{Tensor, init};
use crate::error::Result;
use rand::Rng;

/// A convolution of stride 1, with a batch norm or with a bias behind it.
#[derive(Debug)]
pub enum Layer {
    /// With a batch norm, `NAME.norm`.
    Norm(ConvNorm),
    /// With a bias.
    Bias(Conv2d),
}

impl Layer {
    /// A layer with He's initialisation.
    ///
    /// # Errors
    /// The device's.
    pub fn new(
        device: &Device,
        rng: &mut impl Rng,
        name: &str,
        channels: [usize; 2],
        kernel: usize,
        norm: bool,
    ) -> Result<Layer> {
        Ok(match norm {
            true => {
                let names = [name, &format!("{name}.norm")];
                Layer::Norm(ConvNorm::new(device, rng, names, channels, [kernel, 1], 1.0)?)
            }
            false => Layer::Bias(Conv2d::new(device, rng, name, channels, kernel, 1)?.with_bias()?),
        })
    }

    /// `[N, H, W, C] -> [N, H, W, O]`
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the channels differ.
    pub fn forward<'t>(&self, x: &Var<'t>, mode: Mode) -> Result<Var<'t>> {
        match self {
            Layer::Norm(layer) => layer.forward(x, mode),
            Layer::Bias(layer) => layer.forward(x),
        }
    }

    fn normed(&self) -> Option<&ConvNorm> {
        match self {
            Layer::Norm(layer) => Some(layer),
            Layer::Bias(_) => None,
        }
    }

    /// Layers one behind the other, a relu behind each: with norms, by [`ConvNorm::chain`], which keeps one map of each.
    ///
    /// # Errors
    /// As [`Layer::forward`].
    pub fn chain<'t>(layers: &[Layer], x: &Var<'t>, mode: Mode) -> Result<Var<'t>> {
        match layers.iter().map(Layer::normed).collect::<Option<Vec<_>>>() {
            Some(layers) => ConvNorm::chain(&layers, x, mode, true, None),
            None => layers.iter().try_fold(x.clone(), |x, layer| layer.forward(&x, mode)?.relu()),
        }
    }
}

impl Module for Layer {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        match self {
            Layer::Norm(layer) => layer.visit(f),
            Layer::Bias(layer) => layer.visit(f),
        }
    }
}

/// A feature pyramid: of maps C2 to C5 of a backbone, maps P2 to P6 of the same channels, each with what the coarser ones know.
///
/// ```text
/// M5 = lateral5(C5)      M_k = lateral_k(C_k) + M_k+1, twice as large      P_k = output_k(M_k)      P6 = every other cell of P5
/// ```
///
/// Laterals are 1x1, outputs 3x3; there is no relu.
///
/// # Source
/// FPN (Lin et al. 2017), Sec. 3.
#[derive(Debug)]
pub struct Fpn {
    /// Of C2 to C5.
    pub laterals: Vec<Layer>,
    /// To P2 to P5.
    pub outputs: Vec<Layer>,
}

impl Fpn {
    /// A pyramid over maps with these channels.
    ///
    /// # Errors
    /// The device's.
    pub fn new(
        device: &Device,
        rng: &mut impl Rng,
        prefix: &str,
        channels: [usize; 4],
        width: usize,
        norm: bool,
    ) -> Result<Fpn> {
        let (mut laterals, mut outputs) = (Vec::new(), Vec::new());
        for (i, channels) in channels.into_iter().enumerate() {
            let name = |what: &str| format!("{prefix}fpn_{what}{}", i + 2);
            laterals.push(Layer::new(device, rng, &name("lateral"), [channels, width], 1, norm)?);
            outputs.push(Layer::new(device, rng, &name("output"), [width, width], 3, norm)?);
        }
        Ok(Fpn { laterals, outputs })
    }

    /// P2 to P6 of C2 to C5.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if a map is not half as large as the one before it.
    pub fn forward<'t>(&self, maps: &[Var<'t>], mode: Mode) -> Result<Vec<Var<'t>>> {
        let mut pyramid = Vec::new();
        let mut above: Option<Var<'t>> = None;
        for ((lateral, output), map) in self.laterals.iter().zip(&self.outputs).zip(maps).rev() {
            let own = lateral.forward(map, mode)?;
            let merged = match &above {
                None => own,
                Some(above) => own.add(&above.tape().apply(Nearest { factor: 2 }, &[above])?.0)?,
            };
            pyramid.push(output.forward(&merged, mode)?);
            above = Some(merged);
        }
        pyramid.reverse();
        if let Some(last) = pyramid.last() {
            pyramid.push(last.max_pool(1, 2, 0)?);
        }
        Ok(pyramid)
    }
}

impl Module for Fpn {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.laterals.iter().chain(&self.outputs).for_each(|layer| layer.visit(f));
    }
}

/// The region proposal network's head: of each anchor at each cell whether it stands for an object, and how it differs from it.
///
/// # Source
/// Faster R-CNN, Sec. 3.1.
#[derive(Debug)]
pub struct RpnHead {
    conv: Conv2d,
    objectness: Conv2d,
    deltas: Conv2d,
}

impl RpnHead {
    /// A head for so many anchors at a cell.
    ///
    /// # Errors
    /// The device's.
    pub fn new(
        device: &Device,
        rng: &mut impl Rng,
        prefix: &str,
        channels: usize,
        anchors: usize,
    ) -> Result<RpnHead> {
        let mut layer = |name: &str, outputs: usize, kernel: usize| {
            let name = format!("{prefix}{name}");
            Conv2d::new(device, rng, &name, [channels, outputs], kernel, 1)?.drawn(rng, 0.01)?.with_bias()
        };
        Ok(RpnHead {
            conv: layer("conv", channels, 3)?,
            objectness: layer("objectness_logits", anchors, 1)?,
            deltas: layer("anchor_deltas", 4 * anchors, 1)?,
        })
    }

    /// Logits `[N, anchors]` and differences `[N, 4 anchors]` of all anchors of a map, in the order row, column, anchor.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the channels differ.
    pub fn forward<'t>(&self, map: &Var<'t>) -> Result<[Var<'t>; 2]> {
        let x = self.conv.forward(map)?.relu()?;
        let images = map.shape()[0];
        let flat = |y: Var<'t>| {
            let each = y.value().elements() / images.max(1);
            y.reshape([images, each])
        };
        Ok([flat(self.objectness.forward(&x)?)?, flat(self.deltas.forward(&x)?)?])
    }
}

impl Module for RpnHead {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        [&self.conv, &self.objectness, &self.deltas].into_iter().for_each(|layer| layer.visit(f));
    }
}

/// The box head on a pyramid: convolutions of 3x3, then a fully connected layer over all cells.
///
/// # Source
/// He et al. 2018, "Rethinking ImageNet pre-training", Sec. 3: four convolutions and one layer of 1,024.
#[derive(Debug)]
pub struct BoxHead {
    convs: Vec<Layer>,
    /// `[outputs, rows, columns, channels]`: as a convolution over the whole region, so that it is laid out as one.
    fc: Conv2d,
}

impl BoxHead {
    /// A head on regions of `bins` x `bins` cells.
    ///
    /// # Errors
    /// The device's.
    pub fn new(
        device: &Device,
        rng: &mut impl Rng,
        prefix: &str,
        [channels, width, outputs]: [usize; 3],
        bins: usize,
        norm: bool,
    ) -> Result<BoxHead> {
        let conv = |i: usize, rng: &mut _| {
            let inputs = if i == 0 { channels } else { width };
            Layer::new(device, rng, &format!("{prefix}conv{}", i + 1), [inputs, width], 3, norm)
        };
        let convs = (0..4).map(|i| conv(i, &mut *rng)).collect::<Result<_>>()?;
        let fc = Conv2d::new(device, rng, &format!("{prefix}fc1"), [width, outputs], bins, 1)?;
        Ok(BoxHead { convs, fc: fc.with_bias()? })
    }

    /// `[R, bins, bins, C] -> [R, outputs]`
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the regions have other sizes.
    pub fn forward<'t>(&self, regions: &Var<'t>, mode: Mode) -> Result<Var<'t>> {
        let x = Layer::chain(&self.convs, regions, mode)?;
        let tape = x.tape();
        let (weight, bias) = (tape.param(&self.fc.weight), self.fc.bias.as_ref().expect("a bias"));
        let (outputs, inputs) = (weight.shape()[0], weight.shape().row());
        let rows = x.shape()[0];
        x.reshape([rows, inputs])?.linear(&weight.reshape([outputs, inputs])?, &tape.param(bias))?.relu()
    }
}

impl Module for BoxHead {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.convs.iter().for_each(|layer| layer.visit(f));
        self.fc.visit(f);
    }
}

/// Classes and boxes of regions: logits `[R, classes + 1]`, the background last, and differences `[R, 4 classes]`.
///
/// # Source
/// Fast R-CNN, Sec. 2.1.
#[derive(Debug)]
pub struct BoxPredictor {
    class: Linear,
    rect: Linear,
}

impl BoxPredictor {
    /// Weights normal with deviations of 0.01 and 0.001, biases 0.
    ///
    /// # Errors
    /// The device's.
    pub fn new(
        device: &Device,
        rng: &mut impl Rng,
        prefix: &str,
        features: usize,
        classes: usize,
    ) -> Result<BoxPredictor> {
        let mut layer = |name: &str, outputs: usize, std: f64| {
            let layer = Linear::new(device, rng, &format!("{prefix}{name}"), [features, outputs])?;
            let drawn = init::drawn(device, [outputs, features], |count| init::normal(rng, count, std))?;
            layer.weight.set(drawn)?;
            layer.bias.iter().try_for_each(|bias| bias.set(Tensor::full(device, [outputs], 0.0)?))?;
            Ok::<_, crate::Error>(layer)
        };
        Ok(BoxPredictor {
            class: layer("cls_score", classes + 1, 0.01)?,
            rect: layer("bbox_pred", 4 * classes, 0.001)?,
        })
    }

    /// Logits and differences.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the features have another width.
    pub fn forward<'t>(&self, features: &Var<'t>) -> Result<[Var<'t>; 2]> {
        Ok([self.class.forward(features)?, self.rect.forward(features)?])
    }
}

impl Module for BoxPredictor {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.class.visit(f);
        self.rect.visit(f);
    }
}

/// Masks of regions, one for each class: convolutions of 3x3, a transposed one to twice the side, a 1x1.
///
/// # Source
/// Mask R-CNN, Sec. 3 and Fig. 4.
#[derive(Debug)]
pub struct MaskHead {
    convs: Vec<Layer>,
    /// `[channels, 2, 2, outputs]`.
    up: Param,
    up_bias: Param,
    predictor: Conv2d,
}

impl MaskHead {
    /// A head with so many convolutions (four on a pyramid, none behind res5) before the transposed one.
    ///
    /// # Errors
    /// The device's.
    pub fn new(
        device: &Device,
        rng: &mut impl Rng,
        prefix: &str,
        [channels, width, classes]: [usize; 3],
        convs: usize,
        norm: bool,
    ) -> Result<MaskHead> {
        let conv = |i: usize, rng: &mut _| {
            let inputs = if i == 0 { channels } else { width };
            Layer::new(device, rng, &format!("{prefix}mask_fcn{}", i + 1), [inputs, width], 3, norm)
        };
        let layers = (0..convs).map(|i| conv(i, &mut *rng)).collect::<Result<_>>()?;
        let inputs = if convs == 0 { channels } else { width };
        // He's for what each output reads: one tap of each input.
        let std = (2.0 / inputs as f64).sqrt();
        let up = init::drawn(device, [inputs, 2, 2, width], |count| init::normal(rng, count, std))?;
        let predictor = Conv2d::new(device, rng, &format!("{prefix}predictor"), [width, classes], 1, 1)?;
        Ok(MaskHead {
            convs: layers,
            up: Param::new(format!("{prefix}deconv.weight"), up),
            up_bias: Param::new(format!("{prefix}deconv.bias"), Tensor::full(device, [width], 0.0)?),
            predictor: predictor.drawn(rng, 0.001)?.with_bias()?,
        })
    }

    /// Logits of `[R, h, w, C]`: a row `[2h 2w]` for each pair of a class and a region, row `class R + region`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the channels differ.
    pub fn forward<'t>(&self, regions: &Var<'t>, mode: Mode) -> Result<Var<'t>> {
        let tape = regions.tape();
        let x = Layer::chain(&self.convs, regions, mode)?;
        let up = ConvTranspose2d { stride: 2, padding: 0 };
        let x = tape.apply(up, &[&x, &tape.param(&self.up)])?.0.add(&tape.param(&self.up_bias))?.relu()?;
        let (count, cells, channels) = (x.shape()[0], x.shape()[1] * x.shape()[2], x.shape()[3]);
        // Classes first: of each region the row of its own class can be taken.
        let weight = tape.param(&self.predictor.weight);
        let classes = weight.shape()[0];
        let bias = tape.param(self.predictor.bias.as_ref().expect("a bias")).reshape([classes, 1])?;
        let logits =
            weight.reshape([classes, channels])?.matmul_nt(&x.reshape([count * cells, channels])?)?;
        logits.add(&bias)?.reshape([classes * count, cells])
    }
}

impl Module for MaskHead {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.convs.iter().for_each(|layer| layer.visit(f));
        f(&self.up);
        f(&self.up_bias);
        self.predictor.visit(f);
    }
}
