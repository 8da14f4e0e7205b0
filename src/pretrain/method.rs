//! Stage 5: methods. What a method is: its numbers, which can be sent to loader threads, and what follows from them.
//!
//! ```text
//! [method] table  --Entry::parse-->  Method          --Training::new-->  Training
//!                                    numbers, views,                     the same on a device: heads,
//!                                    heads, loss                         momentum copy, queue
//! ```
//!
//! A method's file tells all of it; [`methods`](super::methods) is their list, and nothing else names one.
//!
//! **Why each [`Term`] has a value of collapse.** A loss that stays at its value for equal embeddings has learned nothing,
//! however small the number is (for BYOL the lowest there is): the log's warnings compare with it.
//!
//! **The test.** `mls_bce`, `info_nce`, `smooth_ap`, .. in `tests/conformance.rs`; closed forms beside each method.
//!
//! ```
//! # use vista::pretrain::{Config, method::KeyViews};
//! let config = Config::preset("mls-coco-r50-400ep")?;
//! assert_eq!((config.method.name(), config.method.key_views()), ("mls", KeyViews::Second));
//! assert_eq!(config.method.views(&config.views).len(), 2);
//! # Ok::<(), vista::Error>(())
//! ```

use super::encoder::Embedding;
use super::named::Named;
use super::queue::Queue;
use crate::engine::autograd::Var;
use crate::engine::device::Device;
use crate::engine::nn::{After, Mlp, Mode};
use crate::engine::optim::Rate;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::photos::views::ViewConfig;
pub use crate::run::Now;
use rand::rngs::StdRng;
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

/// What is kept as f16 instead of f32; arithmetic is f32 in any case.
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

/// Trained heads by the name of what they make: `z` the projector, `p` the predictor.
pub type Heads = Named<Mlp>;

/// A method: its numbers, which are the `[method]` table of a configuration, and what follows from them. What it keeps on a device
/// is [`Training`](super::training::Training)'s.
pub trait Method: Debug + Send + Sync {
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

    /// Which of them are keys: embedded by a momentum copy of the backbone and of all heads but `p`, which predicts them.
    fn key_views(&self) -> KeyViews {
        KeyViews::None
    }

    /// The heads, as a run starts with them.
    ///
    /// # Errors
    /// The device's.
    fn heads(&self, build: &mut Build) -> Result<Heads>;

    /// Slots of the queue, 0 for none, and its rings: which embeddings it keeps, and their widths.
    fn queue(&self, _features: usize) -> (usize, Named<usize>) {
        (0, Named::default())
    }

    /// Embeds a chunk of views from the backbone's map of them: the pooled features `g`, and what the heads make, each of what the
    /// one before it has made.
    ///
    /// # Errors
    /// [`Error::Shape`] if the map does not fit; the device's errors.
    fn embed<'t>(&self, heads: &Heads, map: Var<'t>, mode: Mode) -> Result<Embedding<'t>> {
        let mut x = map.global_avg_pool()?;
        let mut made = vec![("g", x.clone())];
        for (name, head) in heads.iter() {
            x = head.forward(&x, mode)?;
            made.push((name, x.clone()));
        }
        Ok(made.into_iter().collect())
    }

    /// The loss of a whole batch: a function of embeddings and of the queue as it was before the step.
    ///
    /// # Errors
    /// [`Error::Shape`] if the embeddings do not fit.
    fn loss<'t>(&self, e: &Embedded<'_, 't>) -> Result<Loss<'t>>;

    /// The embeddings by which the loss compares images with each other: where a batch is spread over ranks, each has these of all. None
    /// where the loss is a mean over images, each by itself.
    fn across(&self) -> &'static [&'static str] {
        &[]
    }

    /// Share of the momentum copy that stays at a step.
    fn m(&self, _now: &Now) -> f64 {
        1.0
    }

    /// The parameter, by its name, whose rows get unit length before any pass of a step.
    fn unit_rows(&self) -> Option<&'static str> {
        None
    }

    /// Parameters that move at a rate of their own in this step, or not at all.
    fn rates(&self, _now: &Now) -> Vec<Rate> {
        Vec::new()
    }

    /// What enters the queue after the optimiser's move: `new` are the step's keys, or the query's embeddings where there is no key
    /// encoder.
    ///
    /// # Errors
    /// As [`Queue::enqueue`].
    fn enqueue(&self, queue: &mut Queue, new: &Named<Tensor>, ids: &[u64]) -> Result<()> {
        queue.enqueue(new, ids)
    }
}

/// What heads are built upon.
pub struct Build<'a> {
    /// Where they are.
    pub device: &'a Device,
    /// What their parameters are drawn with.
    pub rng: &'a mut StdRng,
    /// Channels of the backbone's map: the width of g.
    pub features: usize,
}

impl Build<'_> {
    /// A head of two linear layers behind `inputs` elements, with a relu between them and batch norm if `norm`: MoCo-v2, MLS and
    /// S2R2 have none, SimCLR, SwAV and BYOL have it. A hidden width of 0 stands for that of the features.
    ///
    /// # Errors
    /// The device's.
    pub fn mlp(&mut self, name: &str, [inputs, hidden, out]: [usize; 3], norm: bool) -> Result<Mlp> {
        let hidden = if hidden == 0 { self.features } else { hidden };
        let after = if norm { After::NormRelu } else { After::Relu };
        Mlp::new(self.device, self.rng, name, inputs, &[(hidden, after), (out, After::Bias)])
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
    /// The queue as it was before the step.
    pub queue: Option<&'a Queue>,
    /// The query encoder's heads.
    pub heads: &'a Heads,
    /// Epochs done.
    pub epoch: u64,
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

    /// The queue.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is none.
    pub fn queue(&self) -> Result<&'a Queue> {
        self.queue.ok_or_else(|| Error::shape("loss", "no queue was given"))
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
    /// More values for the log, by name: scalars on the device.
    pub watch: Vec<(&'static str, Tensor)>,
}

impl<'t> From<Term<'t>> for Loss<'t> {
    fn from(term: Term<'t>) -> Loss<'t> {
        Loss { terms: vec![term], ..Loss::default() }
    }
}

/// A method as part of a [configuration](super::Config): in TOML a table with its `name` and its numbers.
#[derive(Clone, Debug)]
pub struct MethodConfig {
    method: Arc<dyn Method>,
    table: Table,
}

impl<M: Method + Serialize + 'static> From<M> for MethodConfig {
    fn from(method: M) -> MethodConfig {
        // By way of the text, in which an f32 has its own digits and no more.
        let text = toml::to_string(&method).expect("plain numbers");
        MethodConfig { method: Arc::new(method), table: toml::from_str(&text).expect("TOML") }
    }
}

impl MethodConfig {
    /// The method's name.
    pub fn name(&self) -> &str {
        self.table.get("name").and_then(Value::as_str).unwrap_or_default()
    }

    /// The name and the numbers as TOML.
    pub fn table(&self) -> &Table {
        &self.table
    }
}

impl Deref for MethodConfig {
    type Target = Arc<dyn Method>;

    fn deref(&self) -> &Arc<dyn Method> {
        &self.method
    }
}

impl PartialEq for MethodConfig {
    fn eq(&self, other: &MethodConfig) -> bool {
        self.table == other.table
    }
}

impl Serialize for MethodConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.table.serialize(serializer)
    }
}
