//! The momentum encoder's parameters as a moving average of the encoder's.

use crate::error::{Error, Result};
use crate::nn::{Module, Param};
use crate::ops::{Ema, run};
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
    for key in key.trained() {
        let Some(query) = queries.get(key.name()) else {
            return Err(Error::shape("ema_update", format!("{} is not in the query encoder", key.name())));
        };
        key.set(run(&Ema { momentum: m }, &[&key.get(), &query.get()])?.swap_remove(0))?;
    }
    Ok(())
}
