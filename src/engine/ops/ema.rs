//! One step of an exponential moving average. No gradient.

use super::kernel::Kernel;
use super::{Case, Input};
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};

/// `p = m p + (1 - m) q`
///
/// | value | shape |
/// |---|---|
/// | p, the average | any |
/// | q, the new value | the same |
/// | returns | the same |
///
/// # Errors
/// [`Error::Shape`] if the shapes differ.
/// # Source
/// MoCo, Eq. 2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ema {
    /// Share of the average that is kept, m.
    pub momentum: f64,
}

impl Kernel for Ema {
    const NAME: &'static str = "ema";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        match inputs {
            [p, q] if p == q => Ok(vec![Shape::clone(p)]),
            _ => Err(Error::shape(Self::NAME, format!("takes p and q of one shape, got {inputs:?}"))),
        }
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let (keep, take) = (T::of(self.momentum), T::of(1.0 - self.momentum));
        for ((y, &p), &q) in y[0].data.iter_mut().zip(x[0].data).zip(x[1].data) {
            *y = keep * p + take * q;
        }
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        gpu.run_flat(
            Self::NAME,
            "forward",
            &[],
            &[x[0], x[1], &y[0]],
            &[("keep", (self.momentum as f32).into()), ("take", ((1.0 - self.momentum) as f32).into())],
        )
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |name, momentum| {
            Case::new(name, Ema { momentum }, vec![Input::normal([7, 65]), Input::normal([7, 65])])
        };
        vec![case("slow", 0.999), case("fast", 0.5)]
    }
}
