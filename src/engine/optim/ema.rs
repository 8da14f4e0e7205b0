//! The momentum encoder's parameters as a moving average of the encoder's.

use crate::engine::nn::{Module, Param};
use crate::engine::ops::{Update, run};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
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
    let mut pairs = Vec::new();
    for key in &keys {
        match queries.get(key.name()).map(Param::get) {
            Some(query) if *query.shape() == key.shape() => pairs.push((key, query)),
            _ => {
                let detail = format!("{} is not in the query encoder, or not as {}", key.name(), key.shape());
                return Err(Error::shape("ema_update", detail));
            }
        }
    }
    let bundle = keys.first().map_or(1, |key| key.get().device().bundle());
    let pack = |tensors: &[Tensor]| Tensor::pack(&tensors.iter().collect::<Vec<_>>());
    for pairs in pairs.chunks(bundle) {
        let (from, towards): (Vec<_>, Vec<_>) =
            pairs.iter().map(|(key, query)| (key.get(), query.clone())).unzip();
        let moved = run(&Update::Ema { momentum: m }, &[&pack(&from)?, &pack(&towards)?])?.swap_remove(0);
        let shapes: Vec<_> = from.iter().map(|value| value.shape().clone()).collect();
        pairs.iter().zip(moved.unpack(&shapes)?).try_for_each(|((key, _), value)| key.set(value))?;
    }
    Ok(())
}
