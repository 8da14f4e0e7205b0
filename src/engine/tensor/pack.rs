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
mod tests {
    use super::*;
    use crate::engine::device::Device;

    fn counting(shape: &[usize], first: f32) -> Tensor {
        let count = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..count).map(|i| first + i as f32).collect();
        Tensor::new(&Device::cpu(), shape, &values).expect("tensor")
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.to_vec().expect("values")
    }

    #[test]
    fn packed_tensors_come_back_and_are_not_copied_again() {
        let tensors = [counting(&[3, 5], 1.0), counting(&[64], 100.0), counting(&[], 7.0)];
        let shapes = tensors.each_ref().map(|t| t.shape().clone());
        let flat = Tensor::pack(&tensors.each_ref()).expect("pack");
        assert_eq!(flat.shape()[..], [129]);
        let sum: f32 = tensors.iter().flat_map(values).sum();
        assert_eq!(values(&flat).iter().sum::<f32>(), sum, "gaps hold zeros");
        let parts = flat.unpack(&shapes).expect("unpack");
        for (part, original) in parts.iter().zip(&tensors) {
            assert_eq!(values(part), values(original));
            assert!(part.shares_memory(&flat));
        }
        let again = Tensor::pack(&parts.iter().collect::<Vec<_>>()).expect("pack");
        assert!(again.shares_memory(&flat) && again.start == flat.start);
        let other_order = Tensor::pack(&[&parts[1], &parts[0]]).expect("pack");
        assert!(!other_order.shares_memory(&flat));
        assert!(flat.unpack(&shapes[..1]).is_err());
    }

    #[test]
    fn writing_to_one_packed_tensor_leaves_its_neighbours_alone() {
        let (a, b) = (counting(&[2, 2], 0.0), counting(&[2, 2], 10.0));
        let flat = Tensor::pack(&[&a, &b]).expect("pack");
        let mut parts = flat.unpack(&[a.shape().clone(), b.shape().clone()]).expect("unpack");
        parts[1].write_rows(1, &a.rows(0..1).expect("row")).expect("write");
        assert_eq!(values(&parts[1]), [10.0, 11.0, 0.0, 1.0]);
        assert_eq!(values(&parts[0]), values(&a));
        assert_eq!(values(&flat)[64..68], values(&b));
    }
}
