//! Losses as compositions. What is one op for its memory's sake is in [`ops::fused`](crate::engine::ops::fused).

use crate::engine::autograd::Var;
use crate::engine::ops::{Over, Softmax, TopK, run};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};

impl<'t> Var<'t> {
    /// The logarithm of the softmax of each row, for cross-entropies against codes that are not one-hot: see [`Softmax`]
    ///
    /// # Errors
    /// [`Error::Shape`] of a scalar or where rows are empty.
    pub fn log_softmax(&self) -> Result<Var<'t>> {
        self.tape().apply(Softmax { log: true }, &[self]).map(|(y, _)| y)
    }

    /// The softmax of each row: `[.., C] -> [.., C]`, `y_c = exp(x_c) / sum_j exp(x_j)`
    ///
    /// # Errors
    /// As [`Var::log_softmax`].
    pub fn softmax(&self) -> Result<Var<'t>> {
        self.tape().apply(Softmax { log: false }, &[self]).map(|(y, _)| y)
    }

    /// The logarithm of each row's sum of exponentials: `[R, C] -> [R]`, `y = log sum_j exp(x_j)`, shifted by the maximum: see [`Softmax`]
    ///
    /// # Errors
    /// [`Error::Shape`] if this is no matrix, or one of empty rows.
    pub fn log_sum_exp(&self) -> Result<Var<'t>> {
        let &[rows, _] = &self.shape()[..] else {
            return Err(Error::shape("log_sum_exp", format!("needs [R, C], got {}", self.shape())));
        };
        let most = run(&TopK { k: 1, labels: false }, &[self.value()])?.swap_remove(0); // [R, 1]
        let most = self.tape().constant(most);
        self.sub(&most)?.exp()?.sum(Over::Row)?.log()?.add(&most.reshape([rows])?)
    }

    /// The cosine of each row with that of `other`: `[.., C] x [.., C] -> [..]`, from -1 to 1
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes do not fit.
    pub fn cosine(&self, other: &Var<'t>) -> Result<Var<'t>> {
        self.l2_normalize()?.mul(&other.l2_normalize()?)?.sum(Over::Row)
    }

    /// Binary cross-entropy of logits: `mean_ij [ y_ij softplus(-x_ij) + (1 - y_ij) softplus(x_ij) ]`
    ///
    /// | value | shape | range |
    /// |---|---|---|
    /// | `self` x | `[B, D]` | any finite |
    /// | `targets` y | `[B, D]` | 0 to 1, not differentiated |
    /// | returns | `[]` | nats per pair; ln 2 at x = 0 |
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes differ.
    /// # Source
    /// MLS, Eq. 9.
    pub fn bce_with_logits(&self, targets: &Tensor) -> Result<Var<'t>> {
        let negatives = self.softplus()?.mul(&self.others(targets)?)?;
        self.positives(targets)?.add(&negatives)?.mean(Over::All)
    }

    /// The term of the positives of [`Var::bce_with_logits`], divided by all pairs as well: `mean_ij y_ij softplus(-x_ij)`
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes differ.
    /// # Source
    /// MLS, Table 6, "+BCE-pos".
    pub fn bce_positives(&self, targets: &Tensor) -> Result<Var<'t>> {
        self.positives(targets)?.mean(Over::All)
    }

    /// Softmax cross-entropy with several positives: each against itself and all negatives, not the other positives.
    ///
    /// `mean_b 1/k_b sum_{i positive} softplus(L_b - x_bi)`, `L_b = log sum_{j negative} exp(x_bj)`, k_b positives in row b
    ///
    /// | value | shape | range |
    /// |---|---|---|
    /// | `self` x | `[B, D]` | any finite |
    /// | `labels` | `[B, D]` | 1 for positives, 0 for negatives; not differentiated |
    /// | returns | `[]` | nats per positive; `ln(D - k + 1)` at equal logits; 0 for a row without positives or negatives |
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes differ.
    /// # Source
    /// MLS, Eq. 2, and Table 6 ("+kNN"); Van Gansbeke et al. 2021 (kNN-MoCo).
    pub fn knn_softmax(&self, labels: &Tensor) -> Result<Var<'t>> {
        let negative = self.others(labels)?; // [B, D]
        let positive = self.tape().constant(labels.clone());
        let [rows, _] = labels.shape()[..] else {
            return Err(Error::shape("knn_softmax", format!("needs [B, D], got {}", labels.shape())));
        };
        // Shifted by the largest negative, no exponential of one is above 1; those of positives, which do not count, are cut there.
        let of_negatives = self.add(&positive.scale(-f32::MAX)?)?;
        let most = run(&TopK { k: 1, labels: false }, &[of_negatives.value()])?.swap_remove(0); // [B, 1]
        let shifted = self.sub(&self.tape().constant(most))?; // [B, D]
        let sums = shifted.clamp(-f32::INFINITY, 0.0)?.exp()?.mul(&negative)?.sum(Over::Row)?; // [B]
        // A row without negatives has a sum of 0: its logarithm stays finite, for its gradient's sake.
        let log_sums = sums.clamp(f32::MIN_POSITIVE, f32::INFINITY)?.log()?.reshape([rows, 1])?; // L_b
        let terms = log_sums.sub(&shifted)?.softplus()?.mul(&positive)?; // [B, D]
        let counts = positive.sum(Over::Row)?.clamp(1.0, f32::INFINITY)?; // k_b
        terms.sum(Over::Row)?.div(&counts)?.mean(Over::All)
    }

    /// `y softplus(-x)` of targets y.
    fn positives(&self, targets: &Tensor) -> Result<Var<'t>> {
        self.neg()?.softplus()?.mul(&self.tape().constant(targets.clone()))
    }

    /// `1 - y` of targets y, of this shape.
    fn others(&self, targets: &Tensor) -> Result<Var<'t>> {
        if self.shape() != targets.shape() || self.value().elements() == 0 {
            let detail = format!(
                "logits {} and targets {} must be alike, and not empty",
                self.shape(),
                targets.shape()
            );
            return Err(Error::shape("loss", detail));
        }
        self.tape().constant(targets.clone()).neg()?.offset(1.0)
    }
}

#[cfg(test)]
#[path = "../../../tests/unit/engine/nn/loss.rs"]
mod tests;
