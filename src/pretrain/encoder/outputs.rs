//! What an encoder puts out, head by head; generic over what stands for a value (a variable, a tensor, a gradient).

use crate::engine::tensor::Tensor;
use crate::error::Result;

/// One value for each head that an encoder has, all with the batch's N rows and none of them normalised.
#[derive(Clone, Debug)]
pub struct Outputs<T> {
    /// Pooled backbone features g, `[N, d_g]`.
    pub g: T,
    /// Projections z, `[N, d_z]`.
    pub z: T,
    /// Predictions p of another view's z, `[N, d_z]` (BYOL).
    pub p: Option<T>,
    /// Cosine of z with each prototype, `[N, prototypes]` (SwAV).
    pub scores: Option<T>,
    /// The backbone's last feature map f, `[N, S, S, d_g]` (DenseCL).
    pub map: Option<T>,
    /// Projections of the map's cells, `[N, S, S, d_z]` (DenseCL).
    pub dense: Option<T>,
}

impl<T> Outputs<T> {
    /// The outputs of an encoder that has a projector and no other head.
    pub fn plain(g: T, z: T) -> Outputs<T> {
        Outputs { g, z, p: None, scores: None, map: None, dense: None }
    }

    /// The values that are there, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        [
            Some(&self.g),
            Some(&self.z),
            self.p.as_ref(),
            self.scores.as_ref(),
            self.map.as_ref(),
            self.dense.as_ref(),
        ]
        .into_iter()
        .flatten()
    }

    /// The values that are there, to be changed, in the order of [`Outputs::iter`].
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let Outputs { g, z, p, scores, map, dense } = self;
        [Some(g), Some(z), p.as_mut(), scores.as_mut(), map.as_mut(), dense.as_mut()].into_iter().flatten()
    }

    /// The same heads with other values.
    ///
    /// # Errors
    /// The first that `f` gives.
    pub fn try_map<U>(&self, mut f: impl FnMut(&T) -> Result<U>) -> Result<Outputs<U>> {
        Ok(Outputs {
            g: f(&self.g)?,
            z: f(&self.z)?,
            p: self.p.as_ref().map(&mut f).transpose()?,
            scores: self.scores.as_ref().map(&mut f).transpose()?,
            map: self.map.as_ref().map(&mut f).transpose()?,
            dense: self.dense.as_ref().map(&mut f).transpose()?,
        })
    }
}

impl Outputs<Tensor> {
    /// The rows of several batches below each other.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if their rows differ in shape, as maps of views of different sizes do.
    pub fn stack(parts: &[Outputs<Tensor>]) -> Result<Outputs<Tensor>> {
        let mut position = 0;
        parts[0].try_map(|_| {
            let same: Vec<&Tensor> = parts.iter().filter_map(|part| part.iter().nth(position)).collect();
            position += 1;
            Tensor::stack_rows(&same)
        })
    }
}
