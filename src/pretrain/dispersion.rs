//! How far the embeddings of a step are spread.

use crate::engine::autograd::Tape;
use crate::engine::ops::Over;
use crate::engine::tensor::Tensor;
use crate::error::Result;

/// What the embeddings of one step look like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dispersion {
    /// Mean cosine of two different rows; 1 if all point the same way.
    pub cosine: f64,
    /// Effective rank of the normalised, centred rows: `(sum l)^2 / sum l^2` over the eigenvalues l of their covariance;
    /// from 1 (a line) to the width.
    pub rank: f64,
}

/// Rows that are looked at: enough for an estimate, few enough to cost nothing.
const ROWS: usize = 256;

/// Sums over embeddings on their device, of which their [`Dispersion`] follows.
#[derive(Clone, Debug)]
pub struct Sums {
    rows: usize,
    width: usize,
    /// `|m|^2` of the mean m of the unit rows, `sum l` and `sum l^2`; scalars.
    pub values: [Tensor; 3],
}

impl Sums {
    /// Of the first 256 rows of z `[N, d]`, normalised here.
    ///
    /// With c the centred unit rows, `sum l = sum c^2`; the products `c c^T` have the eigenvalues of the covariance `c^T c`, so
    /// `sum l^2` is the sum of their squares, and no eigenvalue is computed.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if z is no matrix or has no rows; the device's.
    /// # Source
    /// The participation ratio of the covariance's spectrum.
    pub fn of(z: &Tensor) -> Result<Sums> {
        let tape = Tape::inert(z.device());
        let z = if z.shape()[0] > ROWS { z.rows(0..ROWS)? } else { z.clone() };
        let (rows, width) = (z.shape()[0], z.shape().row());
        let unit = tape.constant(z).l2_normalize()?; // [N, d]
        // PRECISION: sums of equal rows drift in f32; what is left of the mean is taken off once more.
        let first = unit.mean(Over::Channel)?; // [d]
        let nearly = unit.sub(&first)?;
        let rest = nearly.mean(Over::Channel)?;
        let centred = nearly.sub(&rest)?; // [N, d]
        let products = centred.matmul_nt(&centred)?; // [N, N]
        let of_squares = [first.add(&rest)?, centred, products].map(|x| x.square()?.sum(Over::All));
        let [mean, trace, squares] = of_squares;
        let values = [mean?, trace?, squares?].map(|sum| sum.value().clone());
        Ok(Sums { rows, width, values })
    }
}

impl Dispersion {
    /// Of sums whose values were read. Fewer than two rows, or rows that are not finite, count as spread out.
    pub fn new(sums: &Sums, [mean, trace, squares]: [f64; 3]) -> Dispersion {
        let n = sums.rows as f64;
        if sums.rows < 2 || ![mean, trace, squares].iter().all(|sum| sum.is_finite()) {
            return Dispersion { cosine: 0.0, rank: sums.width as f64 };
        }
        // |sum of unit rows|^2 = n + sum over pairs
        let cosine = (mean * n * n - n) / (n * (n - 1.0));
        // Rows that are equal to the last digits of f32 have no spread to speak of.
        let rank = if trace > 1e-10 * n { trace * trace / squares } else { 1.0 };
        Dispersion { cosine, rank }
    }

    /// Of the first 256 rows of z `[N, d]`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if z is no matrix or has no rows; the device's.
    pub fn of(z: &Tensor) -> Result<Dispersion> {
        let sums = Sums::of(z)?;
        let read = Tensor::read(&sums.values.each_ref())?;
        Ok(Dispersion::new(&sums, [read[0][0], read[1][0], read[2][0]]))
    }
}

#[cfg(test)]
#[path = "../../tests/unit/pretrain/dispersion.rs"]
mod tests;
