//! Many tensors behind each other in one: what moves all parameters of a network is then one kernel.

use super::{Shape, Tensor};
use crate::error::{Error, Result};

/// Packed tensors begin at multiples of this many elements, as a GPU's bindings must.
const ALIGN: usize = 64;

/// Where tensors of these numbers of elements begin when [packed](Tensor::pack), and the elements of all.
pub fn packed(elements: impl Iterator<Item = usize>) -> (Vec<usize>, usize) {
    let mut end = 0;
    let next = |elements: usize| {
        let start = usize::next_multiple_of(end, ALIGN);
        end = start + elements;
        start
    };
    (elements.map(next).collect(), end)
}

impl Tensor {
    /// All elements behind each other, `[total]`; each tensor begins at a multiple of 64, gaps hold zeros. One tensor alone,
    /// and those that [`Tensor::unpack`] gave in this order, are not copied.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is none or they are on different devices; the device's errors.
    pub fn pack(tensors: &[&Tensor]) -> Result<Tensor> {
        let Some(first) = tensors.first() else {
            return Err(Error::shape("pack", "no tensor was given"));
        };
        let (starts, total) = packed(tensors.iter().map(|t| t.elements()));
        let follows =
            |(t, start): (&&Tensor, &usize)| t.shares_memory(first) && t.start == first.start + start;
        if tensors.iter().zip(&starts).all(follows) {
            return Ok(Tensor { shape: Shape::from([total]), ..(*first).clone() });
        }
        let mut all = Tensor::uninit(&first.device, Shape::from([total]))?;
        for (tensor, start) in tensors.iter().zip(starts) {
            let end = start + tensor.elements();
            all.zero(end..end.next_multiple_of(ALIGN).min(total));
            all.write(start, tensor)?;
        }
        Ok(all)
    }

    /// The elements of several tensors of one device as f64, in one read-back; none of none.
    ///
    /// # Errors
    /// As [`Tensor::pack`] and [`Tensor::to_f64`].
    pub fn read(tensors: &[&Tensor]) -> Result<Vec<Vec<f64>>> {
        if tensors.is_empty() {
            return Ok(Vec::new());
        }
        let all = Tensor::pack(tensors)?.to_f64()?;
        let (starts, _) = packed(tensors.iter().map(|t| t.elements()));
        Ok(tensors.iter().zip(starts).map(|(t, start)| all[start..start + t.elements()].to_vec()).collect())
    }

    /// The tensors of these shapes that were packed: they share its elements.
    ///
    /// # Errors
    /// [`Error::Shape`] if they have another number of elements.
    pub fn unpack(&self, shapes: &[Shape]) -> Result<Vec<Tensor>> {
        let (starts, total) = packed(shapes.iter().map(|s| s.elements()));
        if total != self.elements() {
            let detail = format!("{} elements were packed, the shapes have {total}", self.elements());
            return Err(Error::shape("unpack", detail));
        }
        let part = |(shape, start): (&Shape, usize)| Tensor {
            shape: shape.clone(),
            start: self.start + start,
            ..self.clone()
        };
        Ok(shapes.iter().zip(starts).map(part).collect())
    }
}

#[cfg(test)]
#[path = "../../../tests/unit/engine/tensor/pack.rs"]
mod tests;
