//! Values by name: what an encoder puts out, the heads that make it, and the rings of a queue.
//!
//! ```
//! # use vista::pretrain::named::Named;
//! let widths = Named::from([("g", 512), ("z", 128)]);
//! assert_eq!(widths.get("z")?, &128);
//! assert!(widths.get("p").unwrap_err().to_string().contains("only [\"g\", \"z\"]"));
//! # Ok::<(), vista::Error>(())
//! ```

use crate::engine::nn::{Module, Param};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};

/// Values by name, in a fixed order: `g`, `z`, .. of an encoder, generic over what stands for a value (a variable, a
/// tensor, a gradient, a width).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named<T>(Vec<(&'static str, T)>);

impl<T, const N: usize> From<[(&'static str, T); N]> for Named<T> {
    fn from(values: [(&'static str, T); N]) -> Named<T> {
        Named(values.into())
    }
}

impl<T> FromIterator<(&'static str, T)> for Named<T> {
    fn from_iter<I: IntoIterator<Item = (&'static str, T)>>(values: I) -> Named<T> {
        Named(values.into_iter().collect())
    }
}

impl<T> Named<T> {
    /// A value by name.
    ///
    /// # Errors
    /// [`Error::Shape`] naming those that are there, if it is not.
    pub fn get(&self, name: &str) -> Result<&T> {
        self.iter().find_map(|(known, value)| (known == name).then_some(value)).ok_or_else(|| {
            let known: Vec<&str> = self.iter().map(|(name, _)| name).collect();
            Error::shape("embeddings", format!("there is no `{name}`, only {known:?}"))
        })
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &T)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    /// Names and values, the values to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut T)> {
        self.0.iter_mut().map(|(name, value)| (*name, value))
    }

    /// All but one.
    pub fn without(mut self, name: &str) -> Named<T> {
        self.0.retain(|(known, _)| *known != name);
        self
    }

    /// Those of some names.
    pub fn only(&self, names: &[&str]) -> Named<T>
    where
        T: Clone,
    {
        Named(self.0.iter().filter(|(name, _)| names.contains(name)).cloned().collect())
    }

    /// The same names with other values.
    ///
    /// # Errors
    /// The first that `f` gives.
    pub fn try_map<'a, U>(&'a self, mut f: impl FnMut(&'a T) -> Result<U>) -> Result<Named<U>> {
        self.0.iter().map(|(name, value)| Ok((*name, f(value)?))).collect::<Result<_>>().map(Named)
    }
}

impl<M: Module> Module for Named<M> {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.iter().for_each(|(_, module)| module.visit(f));
    }
}

impl Named<Tensor> {
    /// The rows of several batches below each other.
    ///
    /// # Errors
    /// [`Error::Shape`] if their rows differ in shape, as maps of views of different sizes do.
    pub fn stack(parts: &[Named<Tensor>]) -> Result<Named<Tensor>> {
        let Some(first) = parts.first() else { return Ok(Named(Vec::new())) };
        let of = |name| parts.iter().map(|part| part.get(name)).collect::<Result<Vec<_>>>();
        first.iter().map(|(name, _)| Ok((name, Tensor::stack_rows(&of(name)?)?))).collect()
    }
}
