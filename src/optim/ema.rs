//! The momentum encoder's parameters as a moving average of the encoder's.

use crate::error::{Error, Result};
use crate::nn::Module;
use crate::ops::{Ema, run};

/// Moves every trained parameter of `key` towards its twin in `query`: `key = m key + (1 - m) query`.
///
/// Running statistics are not averaged: each encoder keeps its own. Parameters are paired in order.
///
/// # Errors
/// [`Error::Shape`] if the two differ in number, names or shapes of their trained parameters.
/// # Source
/// MoCo, Eq. 2.
pub fn ema_update(key: &dyn Module, query: &dyn Module, m: f64) -> Result<()> {
    let (keys, queries) = (key.trained(), query.trained());
    if keys.len() != queries.len() {
        let detail = format!("{} key parameters, {} query parameters", keys.len(), queries.len());
        return Err(Error::shape("ema_update", detail));
    }
    for (key, query) in keys.iter().zip(&queries) {
        if key.name() != query.name() {
            let detail = format!("key parameter {} meets query parameter {}", key.name(), query.name());
            return Err(Error::shape("ema_update", detail));
        }
        key.set(run(&Ema { momentum: m }, &[&key.get(), &query.get()])?.swap_remove(0))?;
    }
    Ok(())
}
