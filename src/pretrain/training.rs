//! A method in training: what it keeps on a device between steps, and its part of each step.
//!
//! ```
//! # use rand::{SeedableRng, rngs::StdRng};
//! # use std::sync::Arc;
//! # use vista::{Device, engine::nn::ResNet, pretrain::{Config, methods::mls::Mls, training::Training}};
//! let (device, rng) = (Device::cpu(), &mut StdRng::seed_from_u64(0));
//! let net = ResNet::new(&device, rng, &Config::preset("demo")?.with("model.width=4")?.resnet())?;
//! let mls = Training::new(Arc::new(Mls { queue: 64, ..Mls::default() }), &net, &device, rng, 0, false)?;
//! assert!(mls.target.is_some()); // the momentum copy
//! assert_eq!(mls.queue.expect("a queue").slots(), 64);
//! # Ok::<(), vista::Error>(())
//! ```

use super::encoder::Embedding;
use super::method::{Build, Embedded, Heads, KeyViews, Loss, Method, Now};
use super::momentum::{Joined, Momentum, copy_state};
use super::named::Named;
use super::passes::{Batch, Passes, embed_chunks};
use super::queue::Queue;
use super::ranks;
use crate::engine::autograd::{Observation, Var};
use crate::engine::device::Device;
use crate::engine::exchange::Exchange;
use crate::engine::nn::{Backbone, Mode, Module, Param};
use crate::engine::ops::{L2Normalize, run};
use crate::engine::optim::{Rate, ema_update};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use rand::{SeedableRng, rngs::StdRng};
use std::rc::Rc;
use std::sync::Arc;

/// A method on a device.
#[derive(Debug)]
pub struct Training {
    method: Arc<dyn Method>,
    /// The trained heads.
    pub heads: Heads,
    /// The momentum copy of backbone and heads, if there is one: it makes the keys, and is saved with a run.
    pub target: Option<Momentum>,
    /// The queue, if there is one: saved with a run.
    pub queue: Option<Queue>,
}

/// Keeps what the key side draws apart from what the query encoder draws.
const KEY_SEED: u64 = 0x6B65_7973;

impl Training {
    /// A method as a run starts with it, upon a freshly initialised or loaded network: `rng` goes on where the network's
    /// initialisation ended, `seed` is the run's. With `half_queue` keys are kept as f16.
    ///
    /// # Errors
    /// The device's.
    pub fn new(
        method: Arc<dyn Method>,
        net: &dyn Backbone,
        device: &Device,
        rng: &mut StdRng,
        seed: u64,
        half_queue: bool,
    ) -> Result<Training> {
        let features = net.features();
        let heads = method.heads(&mut Build { device, rng, features })?;
        // ORDER: the momentum copy, then the queue; the copy's own draws are replaced.
        let rng = &mut StdRng::seed_from_u64(seed ^ KEY_SEED);
        let mut target = None;
        if method.key_views() != KeyViews::None {
            let net_copy = net.another(device, rng)?;
            // What predicts the keys is not part of the encoder that makes them.
            let heads_copy = method.heads(&mut Build { device, rng, features })?.without("p");
            let copy = Momentum { method: method.clone(), net: net_copy, heads: heads_copy };
            copy_state(&copy, &Joined([net, &heads]))?;
            target = Some(copy);
        }
        let (slots, rings) = method.queue(features);
        let queue = (slots > 0).then(|| Queue::random(device, rng, slots, rings, half_queue)).transpose()?;
        let training = Training { method, heads, target, queue };
        training.to_unit_length()?;
        Ok(training)
    }

    /// Embeds a chunk of views.
    ///
    /// # Errors
    /// As [`Backbone::map`] and [`Method::embed`].
    pub fn embed<'t>(&self, net: &dyn Backbone, images: &Var<'t>, mode: Mode) -> Result<Embedding<'t>> {
        self.method.embed(&self.heads, net.map(images, mode)?, mode)
    }

    /// What happens before any pass of a step: the momentum copy follows, `key = m key + (1 - m) query`, and prototypes get unit
    /// length.
    ///
    /// # Errors
    /// The device's.
    pub fn before(&self, net: &dyn Backbone, now: &Now) -> Result<()> {
        self.to_unit_length()?;
        let Some(target) = &self.target else { return Ok(()) };
        ema_update(target, &Joined([net, &self.heads]), self.method.m(now))
    }

    /// The parameters that [`Training::before`] may change: they are put back where a step goes no further.
    pub fn kept(&self) -> Vec<Param> {
        self.target.iter().flat_map(Module::trained).chain(self.unit_rows()).collect()
    }

    /// Embeddings of the key views of all ranks' batches, view by view in the order of the images, and what the key encoder's batch norms
    /// have seen: batch norm in training mode, in groups of shuffled views, which reach over the ranks of `norm`, so that a query and its
    /// key are not normalised together (MoCo's ShuffleBN); no gradient.
    ///
    /// # Errors
    /// [`Error::Shape`] if the batch has no key views; the device's and the exchange's.
    pub fn keys(
        &self,
        batch: &Batch,
        passes: Passes,
        exchange: &dyn Exchange,
        norm: &Rc<dyn Exchange>,
    ) -> Result<Option<(Named<Tensor>, Vec<Observation>)>> {
        let Some(target) = &self.target else { return Ok(None) };
        let Some(views) = &batch.key else {
            return Err(Error::shape("step", "this method needs key views"));
        };
        let chunks = passes.chunks(views.shape()[0]);
        if batch.shuffle.is_empty() {
            let (outputs, seen) = embed_chunks(target, views, &chunks, Some(norm))?;
            return Ok(Some((ranks::of_all(&outputs, batch.ids.len(), exchange)?, seen)));
        }
        let shuffled = ranks::dealt(views, &batch.shuffle, exchange)?;
        let (outputs, seen) = embed_chunks(target, &shuffled, &chunks, Some(norm))?;
        let mut back = vec![0; batch.shuffle.len()];
        for (row, &view) in batch.shuffle.iter().enumerate() {
            back[view] = row;
        }
        Ok(Some((outputs.try_map(|x| ranks::rows(&exchange.gather(x)?, &back))?, seen)))
    }

    /// The embeddings by which the loss compares images with each other; see [`Method::across`].
    pub fn across(&self) -> &'static [&'static str] {
        self.method.across()
    }

    /// The loss of the query's embeddings of so many images, and of their keys.
    ///
    /// # Errors
    /// As [`Method::loss`].
    pub fn loss<'t>(
        &self,
        query: Embedding<'t>,
        images: usize,
        keys: Option<&Named<Tensor>>,
        now: &Now,
    ) -> Result<Loss<'t>> {
        let (queue, heads) = (self.queue.as_ref(), &self.heads);
        self.method.loss(&Embedded { query, images, keys, queue, heads, epoch: now.epoch })
    }

    /// What happens after the optimiser's move: keys enter the queue.
    ///
    /// # Errors
    /// As [`Method::enqueue`].
    pub fn after(&mut self, new: &Named<Tensor>, ids: &[u64]) -> Result<()> {
        self.queue.as_mut().map_or(Ok(()), |queue| self.method.enqueue(queue, new, ids))
    }

    /// Parameters that move at a rate of their own in this step, or not at all.
    pub fn rates(&self, now: &Now) -> Vec<Rate> {
        self.method.rates(now)
    }

    fn unit_rows(&self) -> Option<Param> {
        let name = self.method.unit_rows()?;
        self.heads.trained().into_iter().find(|param| param.name() == name)
    }

    fn to_unit_length(&self) -> Result<()> {
        self.unit_rows().map_or(Ok(()), |rows| rows.set(run(&L2Normalize, &[&rows.get()])?.swap_remove(0)))
    }
}

impl Module for Training {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.heads.visit(f);
    }
}
