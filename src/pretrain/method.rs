//! Stage 5: methods. What a method is: its numbers, which can be sent to loader threads, and what they build on a device.
//!
//! ```text
//! [method] table  --Entry::parse-->  Recipe  --build-->  Method
//!                                    numbers, views      heads, momentum copy, queue; loss
//! ```
//!
//! A method's file tells all of it; [`methods`](super::methods) is their list, and nothing else names one.
//!
//! **Why each [`Term`] has a value of collapse.** A loss that stays at its value for equal embeddings has learned nothing,
//! however small the number is (for BYOL the lowest there is): the log's warnings compare with it.
//!
//! **The test.** `mls_bce`, `info_nce`, `smooth_ap`, .. in `tests/conformance.rs`; closed forms beside each method.

use super::encoder::Embedding;
use super::momentum::{Embed, Joined, Momentum, Target, copy_state};
use super::named::Named;
use super::passes::{Batch, Passes};
use super::queue::Queue;
use crate::engine::autograd::{Observation, Var};
use crate::engine::device::Device;
use crate::engine::nn::{After, Backbone, Mlp, Mode, Module, Param};
use crate::engine::optim::Rate;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::photos::views::ViewConfig;
pub use crate::run::Now;
use rand::{SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt::Debug;
use std::ops::Deref;
use std::sync::Arc;
use toml::{Table, Value};

/// Which views go through the key encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyViews {
    /// There is no key encoder.
    None,
    /// Of two views of each image the second; the query encoder sees the first.
    Second,
    /// Both views, as through the query encoder.
    Both,
}

/// What is kept as f16 ([`crate::engine::ops::half`]) instead of f32. Arithmetic is f32 in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HalfConfig {
    /// Activations that wait for their backward.
    pub activations: bool,
    /// Keys in the queue; `method.projection` must then be even.
    pub queue: bool,
    /// Weights in checkpoints; biases and batch norm stay f32.
    pub checkpoint: bool,
}

/// A method's numbers: the `[method]` table of a configuration, and what follows from it without a device.
pub trait Recipe: Debug + Send + Sync {
    /// The method's name.
    fn name(&self) -> &'static str;

    /// Refuses numbers that no run of so many images in a batch, and of keys kept so, can have.
    ///
    /// # Errors
    /// [`Error::Input`] naming the first key that does not fit and why.
    fn check(&self, _batch: usize, _half: &HalfConfig) -> Result<()> {
        Ok(())
    }

    /// How each view of an image is drawn, those of one size next to each other; `views` is the configuration's section.
    fn views(&self, views: &ViewConfig) -> Vec<ViewConfig> {
        vec![views.clone(); 2]
    }

    /// Which of them are keys.
    fn key_views(&self) -> KeyViews {
        KeyViews::None
    }

    /// Heads, momentum copy and queue, as a run starts with them.
    ///
    /// # Errors
    /// The device's.
    fn build(&self, build: &mut Build) -> Result<Box<dyn Method>>;
}

/// What a recipe builds upon.
pub struct Build<'a> {
    /// The backbone, freshly initialised or loaded.
    pub net: &'a dyn Backbone,
    /// Where it is.
    pub device: &'a Device,
    /// Goes on where the backbone's initialisation ended.
    pub rng: &'a mut StdRng,
    /// Of the key side: of the momentum copy, then of the queue.
    pub key_rng: StdRng,
    /// Whether keys are kept as f16.
    pub half_queue: bool,
}

/// Keeps what the key side draws apart from what the query encoder draws.
const KEY_SEED: u64 = 0x6B65_7973;

impl<'a> Build<'a> {
    /// Upon a network, with the seed of its run.
    pub fn new(
        net: &'a dyn Backbone,
        device: &'a Device,
        rng: &'a mut StdRng,
        seed: u64,
        half_queue: bool,
    ) -> Build<'a> {
        Build { net, device, rng, key_rng: StdRng::seed_from_u64(seed ^ KEY_SEED), half_queue }
    }

    /// A head of two linear layers behind `inputs` elements, with a relu between them and batch norm if `norm`: MoCo-v2, MLS and
    /// S2R2 have none, SimCLR, SwAV and BYOL have it. A hidden width of 0 stands for that of the features.
    ///
    /// # Errors
    /// The device's.
    pub fn mlp(&mut self, name: &str, [inputs, hidden, out]: [usize; 3], norm: bool) -> Result<Mlp> {
        let hidden = if hidden == 0 { self.net.features() } else { hidden };
        let after = if norm { After::NormRelu } else { After::Relu };
        Mlp::new(self.device, self.rng, name, inputs, &[(hidden, after), (out, After::Bias)])
    }

    /// A momentum copy of the network and of its `heads`, those that `make` makes.
    ///
    /// # Errors
    /// The device's.
    pub fn momentum<H: Module>(
        &mut self,
        heads: &H,
        make: impl FnOnce(&mut Self) -> Result<H>,
        embed: Embed<H>,
    ) -> Result<Momentum<H>> {
        let net = self.net.another(self.device, &mut self.key_rng)?;
        std::mem::swap(self.rng, &mut self.key_rng);
        let copy = make(self);
        std::mem::swap(self.rng, &mut self.key_rng);
        let key = Momentum::new(net, copy?, embed);
        copy_state(&key, &Joined([self.net, heads]))?;
        Ok(key)
    }

    /// A queue of random directions with these rings.
    ///
    /// # Errors
    /// The device's.
    pub fn queue(
        &mut self,
        slots: usize,
        rings: impl IntoIterator<Item = (&'static str, usize)>,
    ) -> Result<Queue> {
        Queue::random(self.device, &mut self.key_rng, slots, rings, self.half_queue)
    }
}

/// A method on a device: its heads ([`Module`]), what it keeps between steps, and its loss.
pub trait Method: Module + Debug {
    /// Embeds a chunk of views: at least `g` and `z`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the images do not fit; the device's errors.
    fn embed<'t>(&self, net: &dyn Backbone, images: &Var<'t>, mode: Mode) -> Result<Embedding<'t>>;

    /// The loss of a whole batch: a function of embeddings and of the queue as it was before the step.
    ///
    /// # Errors
    /// [`Error::Shape`] if the embeddings do not fit.
    fn loss<'t>(&self, e: &Embedded<'_, 't>) -> Result<Loss<'t>>;

    /// What happens before any pass of a step: the momentum copy follows, prototypes get unit length.
    ///
    /// # Errors
    /// The device's.
    fn before(&mut self, _net: &dyn Backbone, _now: &Now) -> Result<()> {
        Ok(())
    }

    /// The parameters that [`Method::before`] may change: they are put back where a step goes no further.
    fn kept(&self) -> Vec<Param> {
        self.target().map(|target| target.trained()).unwrap_or_default()
    }

    /// Embeddings of the key views in the order of the views, and what the key encoder's batch norms have seen.
    ///
    /// # Errors
    /// [`Error::Shape`] if the batch has no key views; the device's.
    fn keys(&self, batch: &Batch, passes: Passes) -> Result<Option<(Named<Tensor>, Vec<Observation>)>> {
        self.target().map(|target| target.keys(batch, passes)).transpose()
    }

    /// What happens after the optimiser's move: keys enter the queue. `new` are the step's keys, or the query's embeddings
    /// where there is no key encoder.
    ///
    /// # Errors
    /// The device's.
    fn after(&mut self, new: &Named<Tensor>, ids: &[u64]) -> Result<()> {
        self.queue_mut().map_or(Ok(()), |queue| queue.enqueue(new, ids))
    }

    /// Parameters that move at a rate of their own in this step, or not at all.
    fn rates(&self, _now: &Now) -> Vec<Rate> {
        Vec::new()
    }

    /// The momentum copy, if there is one: it makes the keys, and is saved with a run.
    fn target(&self) -> Option<&dyn Target> {
        None
    }

    /// The queue, if there is one: saved with a run.
    fn queue(&self) -> Option<&Queue> {
        None
    }

    /// The queue, to be restored.
    fn queue_mut(&mut self) -> Option<&mut Queue> {
        None
    }
}

/// What a loss sees: embeddings, never devices or optimisers. Nothing is normalised.
#[derive(Debug)]
pub struct Embedded<'a, 't> {
    /// The query encoder's embeddings, `[K B, ..]` each, view-major.
    pub query: Embedding<'t>,
    /// Images, B.
    pub images: usize,
    /// The key encoder's embeddings, in the images' order; no gradient flows to them.
    pub keys: Option<&'a Named<Tensor>>,
}

impl<'a, 't> Embedded<'a, 't> {
    /// A query embedding by name.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is none.
    pub fn query(&self, name: &str) -> Result<&Var<'t>> {
        self.query.get(name)
    }

    /// A key embedding by name.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is none.
    pub fn key(&self, name: &str) -> Result<&'a Tensor> {
        let keys = self.keys.ok_or_else(|| Error::shape("loss", "no keys were given"))?;
        keys.get(name)
    }

    /// Views of each image in the query.
    ///
    /// # Errors
    /// [`Error::Shape`] if the rows are not the same number of views, `least` or more, of each image.
    pub fn views(&self, method: &'static str, least: usize) -> Result<usize> {
        let rows = self.query("z")?.shape()[0];
        let views = rows / self.images.max(1);
        if views < least || rows != views * self.images {
            let detail =
                format!("{rows} rows are not {least} or more views of each of {} images", self.images);
            return Err(Error::shape(method, detail));
        }
        Ok(views)
    }
}

/// One term of a loss.
#[derive(Debug)]
pub struct Term<'t> {
    /// Its name in the log.
    pub name: &'static str,
    /// Its weight in the total; 0 for a term that is only logged.
    pub weight: f32,
    /// Its value, a scalar.
    pub value: Var<'t>,
    /// Its value if all embeddings were equal: where it stays when training has collapsed.
    pub collapsed: f32,
    /// What helps a run that is stuck there.
    pub helps: &'static str,
}

/// What helps most runs that are stuck at their value of collapse.
pub const HELPS: &str = "lower the learning rate or raise the batch";

impl<'t> Term<'t> {
    /// A term of weight 1.
    pub fn new(name: &'static str, value: Var<'t>, collapsed: f32) -> Term<'t> {
        Term { name, weight: 1.0, value, collapsed, helps: HELPS }
    }

    /// The same with another weight.
    pub fn weighted(self, weight: f32) -> Term<'t> {
        Term { weight, ..self }
    }
}

/// A loss: the weighted sum of its terms.
#[derive(Debug, Default)]
pub struct Loss<'t> {
    /// The terms.
    pub terms: Vec<Term<'t>>,
    /// Slots of the queue that were taken for positives, `[B, k]`, most similar first.
    pub positives: Option<Tensor>,
    /// More values for the log, by name.
    pub watch: Vec<(&'static str, f32)>,
}

impl<'t> From<Term<'t>> for Loss<'t> {
    fn from(term: Term<'t>) -> Loss<'t> {
        Loss { terms: vec![term], ..Loss::default() }
    }
}

/// A recipe as part of a [configuration](super::Config): in TOML a table with the method's `name` and its numbers.
#[derive(Clone, Debug)]
pub struct MethodConfig {
    recipe: Arc<dyn Recipe>,
    table: Table,
}

impl<R: Recipe + Serialize + 'static> From<R> for MethodConfig {
    fn from(recipe: R) -> MethodConfig {
        // By way of the text, in which an f32 has its own digits and no more.
        let text = toml::to_string(&recipe).expect("plain numbers");
        MethodConfig { recipe: Arc::new(recipe), table: toml::from_str(&text).expect("TOML") }
    }
}

impl MethodConfig {
    /// The numbers as TOML, without the method's name.
    pub fn table(&self) -> &Table {
        &self.table
    }
}

impl Deref for MethodConfig {
    type Target = dyn Recipe;

    fn deref(&self) -> &(dyn Recipe + 'static) {
        &*self.recipe
    }
}

impl PartialEq for MethodConfig {
    fn eq(&self, other: &MethodConfig) -> bool {
        self.name() == other.name() && self.table == other.table
    }
}

impl Serialize for MethodConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut table = Table::from_iter([("name".to_string(), Value::from(self.name()))]);
        table.extend(self.table.clone());
        table.serialize(serializer)
    }
}
