//! What a loader makes of photos.

use crate::photos::photo::Photo;
use crate::photos::read::LabelledBox;
use crate::rng::KeyedRng;
use std::fmt::Debug;

/// What is to be made of each photo of a batch: views of it ([`Vec<ViewConfig>`](super::Views)), a scene with
/// its objects, or a crop with its label map.
pub trait Recipe: Clone + Debug + Send + Sync {
    /// Who makes it.
    type Maker: Maker;

    /// A maker, of which each thread has a copy.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) for a configuration of which nothing can be made.
    fn maker(&self) -> crate::error::Result<Self::Maker>;
}

/// Makes something of one photo after another and lays it into batches.
pub trait Maker: Clone + Send + 'static {
    /// What a batch is made of.
    type Made: Clone + Debug + Default + Send;

    /// Room for a batch of so many images, in the memory of a batch that was used, if there is one.
    fn room(&self, images: usize, used: Option<Self::Made>) -> Self::Made;

    /// Makes it of a photo, and keeps it.
    fn make(&mut self, shown: &Photo, draw: &Draw);

    /// Lays what was made last into its place: that of an image of so many.
    fn lay(&mut self, image: usize, images: usize, into: &mut Self::Made);
}

/// What is known of a photo when something is made of it.
#[derive(Clone, Debug)]
pub struct Draw<'a> {
    /// The run's.
    pub(super) seed: u64,
    pub(super) epoch: u64,
    /// The photo whose turn it was, though another may stand in for it.
    pub(super) turn: u64,
    /// The photo that is shown.
    pub photo: usize,
    /// The objects in the photo; the reason where they are annotated for a photo of another size.
    pub objects: Result<&'a [LabelledBox], String>,
}

impl Draw<'_> {
    /// Random numbers of a kind that depend on the seed, the epoch and the photo alone.
    pub fn rng(&self, kind: &'static str, number: u64) -> KeyedRng {
        KeyedRng::new(kind, self.seed, [self.epoch, self.turn, number])
    }
}
