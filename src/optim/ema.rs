//! The momentum encoder's parameters as a moving average of the encoder's.

use crate::error::{Error, Result};
use crate::nn::{Module, Param};
use crate::ops::{Ema, run};
use crate::tensor::Tensor;
use std::collections::BTreeMap;

/// Moves every trained parameter of `key` towards its namesake in `query`: `key = m key + (1 - m) query`.
///
/// Running statistics are not averaged: each encoder keeps its own. `query` may have more parameters (a predictor).
///
/// # Errors
/// [`Error::Shape`] naming the first parameter of `key` that `query` does not have in the same shape.
/// # Source
/// MoCo, Eq. 2.
pub fn ema_update(key: &dyn Module, query: &dyn Module, m: f64) -> Result<()> {
    let queries: BTreeMap<String, Param> =
        query.trained().into_iter().map(|p| (p.name().to_string(), p)).collect();
    let keys = key.trained();
    let (mut from, mut towards) = (Vec::new(), Vec::new());
    for key in &keys {
        match queries.get(key.name()).map(Param::get) {
            Some(query) if *query.shape() == key.shape() => towards.push(query),
            _ => {
                let detail = format!("{} is not in the query encoder, or not as {}", key.name(), key.shape());
                return Err(Error::shape("ema_update", detail));
            }
        }
        from.push(key.get());
    }
    let pack = |tensors: &[Tensor]| Tensor::pack(&tensors.iter().collect::<Vec<_>>());
    let moved = run(&Ema { momentum: m }, &[&pack(&from)?, &pack(&towards)?])?.swap_remove(0);
    let shapes: Vec<_> = from.iter().map(|value| value.shape().clone()).collect();
    keys.iter().zip(moved.unpack(&shapes)?).try_for_each(|(key, value)| key.set(value))
}
