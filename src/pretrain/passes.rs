//! Passes of an encoder over the views of a step, in one piece or in chunks (gradient caching).
//!
//! A batch whose activations do not fit in memory is embedded in chunks without a tape; the loss of all embeddings
//! gives a gradient for each; then each chunk is embedded again with a tape, and its part of that gradient walks back.
//! Gradients of parameters add up over the chunks. This is the one-pass gradient exactly, because no row's embedding
//! depends on another's but through batch norm, whose groups never reach over a chunk.
//!
//! Source: Gao et al. 2021, "Scaling deep contrastive learning batch size under memory limited setup" (GradCache).
//!
//! ```
//! # use vista::{engine::nn::Mode, pretrain::passes::Passes};
//! let chunks = Passes { groups: 4, chunk: 32, over_ranks: false }.chunks(64); // 64 views, at most 32 at a time
//! assert_eq!((chunks.rows.len(), chunks.mode), (2, Mode::Train { groups: 2 })); // no group is cut
//! ```

use super::encoder::{Embedding, Encoder};
use super::named::Named;
use crate::engine::autograd::{Grads, Observation, Tape, Var};
use crate::engine::exchange::Exchange;
use crate::engine::nn::Mode;
use crate::engine::ops::{Concat, run};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use std::ops::Range;
use std::rc::Rc;

/// The views of one step.
#[derive(Debug)]
pub struct Batch {
    /// Query views, one tensor `[N_i, S_i, S_i, 3]` for each size of view. Rows are view-major: the first views of all B
    /// images, then their second views, and so on.
    pub query: Vec<Tensor>,
    /// Key views `[M, S, S, 3]`, for methods with a key encoder.
    pub key: Option<Tensor>,
    /// The images' numbers, `[B]`.
    pub ids: Vec<u64>,
    /// Shuffle of the key batches of all ranks: row r of their passes is view `shuffle[r]`. Empty where they stay as they are.
    pub shuffle: Vec<usize>,
}

/// How views pass through an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passes {
    /// Groups of batch norm in each tensor of views.
    pub groups: usize,
    /// The most rows at a time; 0 for all.
    pub chunk: usize,
    /// Whether a group of batch norm reaches over several ranks: each passes by itself.
    pub over_ranks: bool,
}

impl Passes {
    /// The fewest equal chunks of `rows` views that hold at most `chunk` each and that no group of batch norm reaches over: a chunk
    /// holds some of the groups or is one itself.
    pub fn chunks(self, rows: usize) -> Chunks {
        let Passes { groups, chunk, over_ranks } = self;
        let most = if chunk == 0 { rows } else { chunk.min(rows) };
        let fits = |&count: &usize| {
            let cuts_no_group = match over_ranks {
                true => count.is_multiple_of(groups),
                false => groups.is_multiple_of(count) || count > groups,
            };
            cuts_no_group && rows.is_multiple_of(count) && rows / count <= most
        };
        let count = (1..=rows).find(fits).unwrap_or(1);
        let size = rows / count;
        Chunks {
            rows: (0..count).map(|i| i * size..(i + 1) * size).collect(),
            mode: Mode::Train { groups: (groups / count).max(1) },
            is_whole: most == rows,
        }
    }

    /// Tapes that [`QueryPass::run`] needs for these views.
    pub fn tapes(self, views: &[Tensor]) -> usize {
        views.iter().map(|views| self.chunks(views.shape()[0]).rows.len()).sum()
    }
}

/// How the rows of one tensor of views pass through an encoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunks {
    /// Rows of each chunk: all of one size.
    pub rows: Vec<Range<usize>>,
    /// Batch norm within a chunk: its groups.
    pub mode: Mode,
    /// Whether what all of them keep for their backward fits at once.
    pub is_whole: bool,
}

/// The query encoder's pass over all views of a step: outputs now, gradients later.
pub struct QueryPass<'a> {
    encoder: &'a dyn Encoder,
    /// Chunks of each tensor of views.
    parts: Vec<(Tensor, Chunks)>,
    /// One for each chunk.
    tapes: &'a [Tape],
    /// Embeddings on those tapes, if all of them fit at once; otherwise the chunks are embedded again.
    kept: Vec<Embedding<'a>>,
    /// Outputs of all rows, those of the first tensor of views first.
    pub outputs: Named<Tensor>,
}

impl<'a> QueryPass<'a> {
    /// Embeds every tensor of `views`. `tapes` are fresh ones, as many as [`Passes::tapes`] says; where not all fits at once,
    /// chunks are embedded on others of their kind.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the views do not fit; the device's errors.
    pub fn run(
        encoder: &'a dyn Encoder,
        views: &[Tensor],
        tapes: &'a [Tape],
        passes: Passes,
    ) -> Result<QueryPass<'a>> {
        let plan = |views: &Tensor| (views.clone(), passes.chunks(views.shape()[0]));
        let parts: Vec<_> = views.iter().map(plan).collect();
        let mut outputs = Vec::new();
        let mut kept = Vec::new();
        let is_whole = parts.iter().all(|(_, chunks)| chunks.is_whole);
        for (views, chunks) in &parts {
            if !is_whole {
                outputs.push(embed_chunks(encoder, views, chunks, tapes[0].exchange())?.0);
                continue;
            }
            for rows in &chunks.rows {
                let views = chunks.views(views, rows)?;
                let embedding = encoder.embed(&tapes[kept.len()].constant(views), chunks.mode)?;
                outputs.push(values(&embedding)?);
                kept.push(embedding);
            }
        }
        let outputs = Named::stack(&outputs)?;
        Ok(QueryPass { encoder, parts, tapes, kept, outputs })
    }

    /// Gradients of the parameters from those of the outputs (`None` where the loss does not depend on one), and what
    /// the batch norms have seen.
    ///
    /// # Errors
    /// The device's.
    pub fn backward(self, dy: &Named<Option<Tensor>>) -> Result<(Option<Grads>, Vec<Observation>)> {
        let (mut sum, mut observations) = (None::<Grads>, Vec::new());
        let mut start = 0;
        let mut kept = self.kept.iter().zip(self.tapes);
        for (views, chunks) in &self.parts {
            let mut seen = Vec::new();
            for rows in &chunks.rows {
                let dy = dy.try_map(|d| {
                    d.as_ref().map(|d| d.rows(start + rows.start..start + rows.end)).transpose()
                })?;
                let again = self.tapes[0].fresh();
                let (tape, embedding) = match kept.next() {
                    Some((embedding, tape)) => (tape, embedding.clone()),
                    None => {
                        let views = again.constant(views.rows(rows.clone())?);
                        (&again, self.encoder.embed(&views, chunks.mode)?)
                    }
                };
                seen.push(tape.take_observations());
                let grads = walk_back(tape, &embedding, &dy)?;
                match &mut sum {
                    Some(sum) => sum.add(grads)?,
                    None => sum = Some(grads),
                }
            }
            start += views.shape()[0];
            observations.extend(merged(seen)?);
        }
        Ok((sum, observations))
    }
}

impl Chunks {
    /// The views of a chunk.
    fn views(&self, views: &Tensor, rows: &Range<usize>) -> Result<Tensor> {
        if self.rows.len() == 1 { Ok(views.clone()) } else { views.rows(rows.clone()) }
    }
}

/// Embeds views in chunks without a tape: outputs of all rows, and what the batch norms, whose groups may reach over ranks, have seen.
///
/// # Errors
/// [`crate::Error::Shape`] if the views do not fit; the device's errors.
pub fn embed_chunks(
    encoder: &dyn Encoder,
    views: &Tensor,
    chunks: &Chunks,
    ranks: Option<&Rc<dyn Exchange>>,
) -> Result<(Named<Tensor>, Vec<Observation>)> {
    let (mut outputs, mut seen) = (Vec::new(), Vec::new());
    for rows in &chunks.rows {
        let tape = ranks.cloned().into_iter().fold(Tape::inert(views.device()), Tape::across);
        let views = chunks.views(views, rows)?;
        outputs.push(values(&encoder.embed(&tape.constant(views), chunks.mode)?)?);
        seen.push(tape.take_observations());
    }
    Ok((Named::stack(&outputs)?, merged(seen)?))
}

fn values(embedding: &Embedding) -> Result<Named<Tensor>> {
    embedding.try_map(|v| Ok(v.value().clone()))
}

fn walk_back(tape: &Tape, embedding: &Embedding, dy: &Named<Option<Tensor>>) -> Result<Grads> {
    let pairs = embedding.iter().zip(dy.iter());
    let outputs: Vec<(&Var, Tensor)> = pairs.filter_map(|((_, y), (_, dy))| Some((y, dy.clone()?))).collect();
    tape.backward(&outputs)
}

/// What each batch norm has seen over all chunks: the groups of its chunks behind each other.
fn merged(mut chunks: Vec<Vec<Observation>>) -> Result<Vec<Observation>> {
    let rest = chunks.split_off(1.min(chunks.len()));
    let Some(mut all) = chunks.pop() else { return Ok(Vec::new()) };
    for chunk in rest {
        for (sum, more) in all.iter_mut().zip(chunk) {
            let [two, before, c] = sum.statistics.shape()[..] else { unreachable!("[2, groups, C]") };
            let groups = before + more.statistics.shape()[1];
            let [a, b] = [&sum.statistics, &more.statistics].map(|s| s.reshape([two, s.elements() / two]));
            sum.statistics = run(&Concat, &[&a?, &b?])?.swap_remove(0).reshape([two, groups, c])?;
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_equal_and_cut_no_group_of_batch_norm() {
        let sizes = |rows, groups, most| {
            let chunks = Passes { groups, chunk: most, over_ranks: false }.chunks(rows);
            let Mode::Train { groups } = chunks.mode else { panic!("not in training") };
            (chunks.rows.len(), chunks.rows[0].len(), groups)
        };
        assert_eq!(sizes(1280, 1, 0), (1, 1280, 1));
        assert_eq!(sizes(1280, 1, 64), (20, 64, 1));
        assert_eq!(sizes(1280, 20, 64), (20, 64, 1));
        assert_eq!(sizes(256, 8, 100), (4, 64, 2));
        assert_eq!(sizes(256, 8, 16), (16, 16, 1));
        assert_eq!(sizes(12, 1, 5), (3, 4, 1));
        let chunks = Passes { groups: 1, chunk: 5, over_ranks: false }.chunks(12);
        assert_eq!(chunks.rows, [0..4, 4..8, 8..12]);
        // Groups that reach over ranks pass one by one, and in chunks of their own where they don't fit.
        let chunks = |chunk| Passes { groups: 2, chunk, over_ranks: true }.chunks(12);
        assert_eq!((chunks(0).rows, chunks(0).is_whole), (vec![0..6, 6..12], true));
        assert_eq!((chunks(4).rows.len(), chunks(4).is_whole, chunks(6).is_whole), (4, false, false));
    }
}
