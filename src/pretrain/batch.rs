//! The views of a step as its method wants them.

use super::config::Config;
use super::method::KeyViews;
use super::passes::Batch;
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::rng::KeyedRng;
use std::ops::Range;

/// Lays the views of some images, those of this one of several ranks, out for a step: views of one size in one tensor. `tensor` makes one from its shape and
/// from where its values are among those of a loader's batch.
///
/// # Errors
/// Those of `tensor`.
pub(super) fn batch(
    config: &Config,
    ids: Vec<u64>,
    ranks: usize,
    step: u64,
    tensor: impl Fn([usize; 4], Range<usize>) -> Result<Tensor>,
) -> Result<Batch> {
    let images = ids.len();
    let (mut groups, mut end) = (Vec::new(), 0);
    for of_one_size in config.image_views().chunk_by(|a, b| a.size == b.size) {
        let (rows, size) = (images * of_one_size.len(), of_one_size[0].size);
        let start = end;
        end += rows * size * size * 3;
        groups.push(([rows, size, size, 3], start..end));
    }
    let keys = config.method.key_views();
    if keys == KeyViews::Second {
        let ([_, h, w, c], _) = groups[0];
        let values = images * h * w * c;
        let shuffle = KeyedRng::new("shuffle", config.seed, [step, 0, 0]).permutation(images * ranks);
        let query = vec![tensor([images, h, w, c], 0..values)?];
        let key = Some(tensor([images, h, w, c], values..2 * values)?);
        return Ok(Batch { query, key, ids, shuffle });
    }
    let query =
        groups.into_iter().map(|(shape, values)| tensor(shape, values)).collect::<Result<Vec<_>>>()?;
    // Both encoders see both views, each normalised on its own: nothing is to be shuffled.
    let key = (keys == KeyViews::Both).then(|| query[0].clone());
    Ok(Batch { query, key, ids, shuffle: Vec::new() })
}
