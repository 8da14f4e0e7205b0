//! The trained parts of a segmenter behind its backbone, with semseg's parameter names.

use crate::engine::autograd::Var;
use crate::engine::device::Device;
use crate::engine::nn::{Conv2d, ConvNorm, Mode, Module, Param};
use crate::engine::ops::{Coordinates, PsaMask};
use crate::error::Result;
use crate::rng::KeyedRng;
use rand::Rng;

/// Standard deviation of the weights of layers whose outputs are logits: near equal ones at first.
const LOGITS: f64 = 0.01;

/// A convolution and its norm, as two entries of a sequence.
fn layer(
    device: &Device,
    rng: &mut impl Rng,
    sequence: &str,
    first: usize,
    channels: [usize; 2],
    kernel: usize,
) -> Result<ConvNorm> {
    let names = [first, first + 1].map(|entry| format!("{sequence}.{entry}"));
    ConvNorm::new(device, rng, names.each_ref().map(String::as_str), channels, [kernel, 1], 1.0)
}

/// Pyramid pooling: the map beside means of it over coarser and coarser grids, each through a 1x1 layer and resized to the map.
///
/// # Source
/// PSPNet (Zhao et al. 2017), Sec. 3.2: bins 1, 2, 3, 6.
#[derive(Debug)]
pub struct PyramidPooling {
    /// Each side's number of bins, and the layer behind them.
    levels: Vec<(usize, ConvNorm)>,
}

impl PyramidPooling {
    /// A pyramid that adds as many channels as there are, divided among the levels.
    ///
    /// # Errors
    /// [`crate::Error::Input`] if there is no level, or they can't share the channels evenly; the device's.
    pub fn new(
        device: &Device,
        rng: &mut impl Rng,
        channels: usize,
        bins: &[usize],
    ) -> Result<PyramidPooling> {
        if bins.is_empty() || bins.contains(&0) || !channels.is_multiple_of(bins.len()) {
            let what = format!("{channels} channels can't be shared by levels of {bins:?} bins");
            return Err(crate::Error::input(what, "a pyramid", "use 1, 2, 3 and 6 bins"));
        }
        let width = channels / bins.len();
        let level = |(i, &bins): (usize, &usize)| {
            Ok((bins, layer(device, &mut *rng, &format!("ppm.features.{i}"), 1, [channels, width], 1)?))
        };
        Ok(PyramidPooling { levels: bins.iter().enumerate().map(level).collect::<Result<_>>()? })
    }

    /// `[N, H, W, C] -> [N, H, W, 2 C]`: the map itself comes first.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the channels differ.
    pub fn forward<'t>(&self, x: &Var<'t>, mode: Mode) -> Result<Var<'t>> {
        let size = [x.shape()[1], x.shape()[2]];
        let mut context: Option<Var<'t>> = None;
        for (bins, layer) in &self.levels {
            let level = layer.forward_relu(&x.adaptive_avg_pool([*bins; 2])?, mode)?;
            let level = level.bilinear_resize(size, Coordinates::AlignCorners)?;
            context = Some(context.map_or(Ok(level.clone()), |context| context.concat(&level))?);
        }
        context.map_or(Ok(x.clone()), |context| x.concat(&context))
    }
}

impl Module for PyramidPooling {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.levels.iter().for_each(|(_, layer)| layer.visit(f));
    }
}

/// One direction of [`PointwiseAttention`].
#[derive(Debug)]
struct Branch {
    reduce: ConvNorm,
    hidden: ConvNorm,
    offsets: Conv2d,
    mask: PsaMask,
}

impl Branch {
    fn new(
        device: &Device,
        rng: &mut impl Rng,
        suffix: &str,
        channels: [usize; 2],
        mask: PsaMask,
    ) -> Result<Branch> {
        let width = channels[1];
        let attention = format!("psa.attention{suffix}");
        let outputs = mask.mask[0] * mask.mask[1];
        Ok(Branch {
            reduce: layer(device, rng, &format!("psa.reduce{suffix}"), 0, channels, 1)?,
            hidden: layer(device, rng, &attention, 0, [width; 2], 1)?,
            offsets: Conv2d::new(device, rng, &format!("{attention}.3"), [width, outputs], 1, 1)?
                .drawn(rng, LOGITS)?,
            mask,
        })
    }

    /// What each position of the map, at a smaller size h x w, gets from all others: `[N, h w, C]`.
    fn forward<'t>(&self, x: &Var<'t>, size: [usize; 2], mode: Mode) -> Result<Var<'t>> {
        let y = self.reduce.forward_relu(x, mode)?.bilinear_resize(size, Coordinates::AlignCorners)?; // [N, h, w, C]
        let offsets = self.offsets.forward(&self.hidden.forward_relu(&y, mode)?)?; // [N, h, w, M]
        let weights = x.tape().apply(self.mask, &[&offsets])?.0.softmax()?; // [N, h w, h w]
        let (n, c) = (y.shape()[0], y.shape()[3]);
        weights.matmul(&y.reshape([n, size[0] * size[1], c])?)
    }
}

impl Module for Branch {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.reduce.visit(f);
        self.hidden.visit(f);
        self.offsets.visit(f);
    }
}

/// Point-wise spatial attention: the map beside what each position collects from all others and what all others distribute to it.
///
/// The weights between positions are predicted at every position for all offsets, made to sum to 1 over what comes in by a softmax (pairs out of
/// the mask take part with a logit of 0), and applied at a fraction of the map's size.
///
/// # Source
/// PSANet (Zhao et al. 2018), Sec. 3; the softmax and the smaller size are those of its code.
#[derive(Debug)]
pub struct PointwiseAttention {
    shrink: usize,
    branches: [Branch; 2],
    proj: ConvNorm,
}

impl PointwiseAttention {
    /// Attention over `mask[0] x mask[1]` offsets between the positions of a map `shrink` times as small.
    ///
    /// # Errors
    /// The device's.
    pub fn new(
        device: &Device,
        rng: &mut impl Rng,
        [channels, width]: [usize; 2],
        mask: [usize; 2],
        shrink: usize,
    ) -> Result<PointwiseAttention> {
        let mut branch = |suffix: &str, collect| {
            Branch::new(device, rng, suffix, [channels, width], PsaMask { mask, collect })
        };
        let branches = [branch("", true)?, branch("_p", false)?];
        let proj = layer(device, rng, "psa.proj", 0, [2 * width, channels], 1)?;
        Ok(PointwiseAttention { shrink, branches, proj })
    }

    /// `[N, H, W, C] -> [N, H, W, 2 C]`: the map itself comes first.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the channels differ.
    pub fn forward<'t>(&self, x: &Var<'t>, mode: Mode) -> Result<Var<'t>> {
        let &[n, height, width, _] = &x.shape()[..] else {
            return Err(crate::Error::shape("attention", format!("takes [N,H,W,C], got {}", x.shape())));
        };
        let size = [height, width].map(|side| side.saturating_sub(1) / self.shrink.max(1) + 1);
        let [collected, distributed] = &self.branches;
        let both = collected.forward(x, size, mode)?.concat(&distributed.forward(x, size, mode)?)?;
        let channels = both.shape()[2];
        let y = self.proj.forward_relu(&both.reshape([n, size[0], size[1], channels])?, mode)?;
        x.concat(&y.bilinear_resize([height, width], Coordinates::AlignCorners)?)
    }
}

impl Module for PointwiseAttention {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.branches.iter().for_each(|branch| branch.visit(f));
        self.proj.visit(f);
    }
}

/// Classes of the cells of a map: a 3x3 layer, dropout of whole channels, and a 1x1 convolution.
#[derive(Debug)]
pub struct Classifier {
    hidden: ConvNorm,
    out: Conv2d,
}

impl Classifier {
    /// A classifier of this name; its last weights are normal with a deviation of 0.01.
    ///
    /// # Errors
    /// The device's.
    pub fn new(
        device: &Device,
        rng: &mut impl Rng,
        name: &str,
        [channels, width, classes]: [usize; 3],
    ) -> Result<Classifier> {
        let hidden = layer(device, rng, name, 0, [channels, width], 3)?;
        let out = Conv2d::new(device, rng, &format!("{name}.4"), [width, classes], 1, 1)?;
        Ok(Classifier { hidden, out: out.drawn(rng, LOGITS)?.with_bias()? })
    }

    /// Logits `[N, H, W, classes]` of `[N, H, W, C]`; with a probability and a stream, channels of the hidden layer are dropped, by the draws
    /// that belong to images from a number on.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the channels differ.
    pub fn forward<'t>(
        &self,
        x: &Var<'t>,
        mode: Mode,
        drops: Option<(f64, KeyedRng, usize)>,
    ) -> Result<Var<'t>> {
        let hidden = self.hidden.forward_relu(x, mode)?;
        match drops {
            Some((p, draws, first)) => {
                let draws = draws.behind((first * hidden.shape()[3]) as u64);
                self.out.forward(&hidden.dropout(p, true, draws)?)
            }
            None => self.out.forward(&hidden),
        }
    }
}

impl Module for Classifier {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.hidden.visit(f);
        self.out.visit(f);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn a_pyramid_whose_levels_cannot_share_the_channels_is_refused() {
        let rng = &mut StdRng::seed_from_u64(0);
        for bins in [&[][..], &[1, 0], &[1, 2, 3]] {
            let error = PyramidPooling::new(&Device::cpu(), rng, 32, bins).expect_err("refused").to_string();
            assert!(error.contains("32 channels can't be shared") && !error.contains('\n'), "{error}");
        }
        assert!(PyramidPooling::new(&Device::cpu(), rng, 32, &[1, 2, 3, 6]).is_ok());
    }
}
