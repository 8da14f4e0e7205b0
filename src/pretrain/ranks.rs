//! How a batch is spread over ranks: each has some images next to each other, with all of their views.
//!
//! | | one rank of several |
//! |---|---|
//! | query views | of its images; groups of batch norm are its own or reach over ranks, as those of the whole batch lie |
//! | key views | are dealt over all ranks by one permutation, so that a query and its key are not normalised together |
//! | loss | the mean over its images; where it compares images, that of the whole batch, whose gradient it takes for its rows |
//! | gradient | summed over ranks |
//! | keys | of all ranks enter the queue, in the images' order |
//!
//! **Why so.** The ranks together do what one rank with the whole batch does: for every method, with the same numbers up to rounding.
//!
//! **The test.** `ranks_with_a_share_of_the_batch_are_one_rank_with_the_whole` in `tests/pretrain/ranks.rs`.
//!
//! ```
//! # use vista::pretrain::ranks::{Groups, view_major};
//! // Two views each of 8 images in 8 groups: four ranks have two groups each. In one group: it reaches over all four.
//! assert_eq!(Groups::of([2], 8, 4)?, Groups { own: 2, reach: 1 });
//! assert_eq!(Groups::of([2], 1, 4)?, Groups { own: 1, reach: 4 });
//! assert_eq!(view_major(2, 1, 2), [0, 2, 1, 3]); // first views of both ranks, then second ones
//! # Ok::<(), vista::Error>(())
//! ```

use super::config::Config;
use super::method::KeyViews;
use super::named::Named;
use crate::engine::autograd::Observation;
use crate::engine::exchange::Exchange;
use crate::engine::ops::{GatherRows, run};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::topic::Topic;
use std::ops::Range;

/// Where the groups of batch norm lie that a tensor of views has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups {
    /// Those that a rank's rows of a tensor of views are in.
    pub own: usize,
    /// Ranks over which each of them reaches.
    pub reach: usize,
}

impl Groups {
    /// Of `groups` groups in each tensor of views, which has so many views of each image.
    ///
    /// # Errors
    /// [`Error::Input`] if a group would reach over a part of a rank's images.
    pub fn of(views: impl IntoIterator<Item = usize>, groups: usize, ranks: usize) -> Result<Groups> {
        if ranks == 1 {
            return Ok(Groups { own: groups, reach: 1 });
        }
        let mut of_all = views.into_iter().map(|views| match (views % groups, groups % views) {
            // A group is one view or more, of all images.
            (0, _) => Some(Groups { own: groups, reach: ranks }),
            // A view has several groups of images.
            (_, 0) if (groups / views).is_multiple_of(ranks) => {
                Some(Groups { own: groups / ranks, reach: 1 })
            }
            (_, 0) if ranks.is_multiple_of(groups / views) => {
                Some(Groups { own: views, reach: ranks * views / groups })
            }
            _ => None,
        });
        let first = of_all.next().flatten();
        match first.filter(|first| of_all.all(|other| other == Some(*first))) {
            Some(groups) => Ok(groups),
            None => {
                let what = format!("{groups} groups of batch norm can't be laid over {ranks} ranks");
                let advice = "choose 1, a multiple of the ranks, or a divisor of the views of an image";
                Err(Error::input(what, "train.groups", advice).see(Topic::Ranks))
            }
        }
    }
}

impl Config {
    /// The part of one of several ranks in its steps: its own images and groups of batch norm; and how those lie over ranks.
    ///
    /// # Errors
    /// [`Error::Input`] if the batch can't be dealt in equal parts; as [`Groups::of`].
    pub(super) fn of_rank(&self, ranks: usize) -> Result<(Config, Groups)> {
        let batch = self.train.batch;
        if !batch.is_multiple_of(ranks) || batch < ranks {
            let what = format!("a batch of {batch} images can't be dealt to {ranks} ranks");
            return Err(Error::input(what, "train.batch", "choose a multiple of the ranks").see(Topic::Ranks));
        }
        let views = self.image_views();
        let of_a_size = views.chunk_by(|a, b| a.size == b.size).map(<[_]>::len);
        let groups = match self.method.key_views() {
            KeyViews::Second => Groups::of([1], self.train.groups, ranks)?,
            _ => Groups::of(of_a_size, self.train.groups, ranks)?,
        };
        let mut own = self.clone();
        (own.train.batch, own.train.groups) = (batch / ranks, groups.own);
        Ok((own, groups))
    }
}

/// Where the rows of all ranks, gathered in rank order, go so that they lie view by view: first views of all images, and so on.
pub fn view_major(views: usize, images: usize, ranks: usize) -> Vec<usize> {
    let row = |view: usize, rank: usize, image: usize| (rank * views + view) * images + image;
    (0..views).flat_map(|view| (0..ranks * images).map(move |i| row(view, i / images, i % images))).collect()
}

/// A rank's own rows among those that lie view by view.
fn own_rows(views: usize, images: usize, exchange: &dyn Exchange) -> Vec<usize> {
    let (rank, ranks) = (exchange.rank(), exchange.ranks());
    (0..views).flat_map(|view| (0..images).map(move |image| (view * ranks + rank) * images + image)).collect()
}

/// Rows by their numbers.
pub(super) fn rows(x: &Tensor, order: &[usize]) -> Result<Tensor> {
    let order: Vec<f32> = order.iter().map(|&row| row as f32).collect();
    Ok(run(&GatherRows, &[x, &Tensor::new(x.device(), [order.len()], &order)?])?.swap_remove(0))
}

/// This rank's part of the rows of all ranks in some order.
pub(super) fn dealt(x: &Tensor, order: &[usize], exchange: &dyn Exchange) -> Result<Tensor> {
    if exchange.ranks() == 1 { rows(x, order) } else { exchange.deal(x, order) }
}

/// The embeddings of all ranks, view by view, from those of each with so many images.
pub(super) fn of_all(own: &Named<Tensor>, images: usize, exchange: &dyn Exchange) -> Result<Named<Tensor>> {
    own.try_map(|x| match exchange.ranks() {
        1 => Ok(x.clone()),
        ranks => rows(&exchange.gather(x)?, &view_major(x.shape()[0] / images, images, ranks)),
    })
}

/// This rank's part of what [`of_all`] gives.
pub(super) fn own(all: &Tensor, images: usize, exchange: &dyn Exchange) -> Result<Tensor> {
    match exchange.ranks() {
        1 => Ok(all.clone()),
        ranks => rows(all, &own_rows(all.shape()[0] / (images * ranks), images, exchange)),
    }
}

/// What the batch norms of all ranks have seen, from what those of this one have, whose groups reach over `reach` ranks.
pub(super) fn seen_by_all(
    mut seen: Vec<Observation>,
    reach: usize,
    exchange: &dyn Exchange,
) -> Result<Vec<Observation>> {
    if reach == exchange.ranks() {
        return Ok(seen);
    }
    let own = Tensor::read(&seen.iter().map(|one| &one.statistics).collect::<Vec<_>>())?.concat();
    let all = exchange.tell(bytemuck::cast_slice(&own))?;
    let all: Vec<Vec<f64>> = all.iter().map(|of| bytemuck::pod_collect_to_vec(of)).collect();
    let mut start = 0;
    for one in &mut seen {
        let [two, groups, c] = one.statistics.shape()[..] else { unreachable!("[2, groups, C]") };
        let list = |i: usize| -> Range<usize> { start + i * groups * c..start + (i + 1) * groups * c };
        // Ranks over which a group reaches have seen the same.
        let of_blocks =
            |list: Range<usize>| all.iter().step_by(reach).flat_map(move |of| of[list.clone()].iter());
        let values: Vec<f64> =
            (0..two).flat_map(|i| of_blocks(list(i)).copied().collect::<Vec<_>>()).collect();
        let groups_of_all = groups * exchange.ranks() / reach;
        one.statistics = Tensor::from_f64(one.statistics.device(), [two, groups_of_all, c], &values)?;
        start += two * groups * c;
    }
    Ok(seen)
}
