//! Tensors: immutable values on a device. f32 (f64 on the reference device), contiguous, row-major.
//!
//! Images are NHWC, convolution weights OHWI, linear weights `[out, in]`. Whole numbers (labels, indices)
//! are stored as floats: exact up to 2^24.
//!
//! ```
//! # use vista::{Device, Tensor};
//! let x = Tensor::from_fn(&Device::cpu(), [2, 3], |at| (10 * at[0] + at[1]) as f32)?;
//! assert_eq!(x.rows(1..2)?.to_vec()?, [10.0, 11.0, 12.0]);
//! assert_eq!(x.reshape([3, 2])?.shape().to_string(), "[3,2]");
//! # Ok::<(), vista::Error>(())
//! ```

pub mod init;
mod pack;
mod shape;

pub use pack::packed;
pub use shape::Shape;

use crate::engine::device::cpu::CpuBuffer;
use crate::engine::device::gpu::GpuBuffer;
use crate::engine::device::real::Real;
use crate::engine::device::{Cpu, Device, Precision};
use crate::error::{Error, Result};
use std::ops::Range;
use std::sync::Arc;

/// Where a tensor's elements are.
#[derive(Clone, Debug)]
enum Storage {
    Cpu(Arc<CpuBuffer>),
    Gpu(Arc<GpuBuffer>),
}

/// An immutable value of some shape on a device; cloning shares the elements.
#[derive(Clone, Debug)]
pub struct Tensor {
    shape: Shape,
    device: Device,
    storage: Storage,
    /// Where in the storage its elements begin: 0, unless it is one of several packed together.
    start: usize,
}

/// A twin's input.
#[derive(Clone, Copy, Debug)]
pub struct View<'a, T> {
    /// The shape.
    pub shape: &'a Shape,
    /// The elements.
    pub data: &'a [T],
}

/// A twin's output.
#[derive(Debug)]
pub struct ViewMut<'a, T> {
    /// The shape.
    pub shape: &'a Shape,
    /// The elements: arbitrary before the twin has written them all.
    pub data: &'a mut [T],
}

impl Tensor {
    /// A tensor from f32 values in row-major order.
    ///
    /// # Errors
    /// [`Error::Shape`] if the count does not fit the shape; [`Error::Device`] if the device has failed.
    pub fn new(device: &Device, shape: impl Into<Shape>, values: &[f32]) -> Result<Tensor> {
        let shape = shape.into();
        check_count(&shape, values.len())?;
        let storage = match device {
            Device::Cpu(cpu) => match cpu.precision {
                Precision::F32 => fill(cpu, values.len(), |i| values[i]),
                Precision::F64 => fill(cpu, values.len(), |i| f64::from(values[i])),
            },
            Device::Gpu(gpu) => Storage::Gpu(Arc::new(gpu.upload(values)?)),
        };
        Ok(Tensor { shape, device: device.clone(), storage, start: 0 })
    }

    /// A tensor from f64 values; rounded to f32 except on the reference device.
    ///
    /// # Errors
    /// As [`Tensor::new`].
    pub fn from_f64(device: &Device, shape: impl Into<Shape>, values: &[f64]) -> Result<Tensor> {
        let shape = shape.into();
        if let Device::Cpu(cpu) = device
            && cpu.precision == Precision::F64
        {
            check_count(&shape, values.len())?;
            let storage = fill(cpu, values.len(), |i| values[i]);
            return Ok(Tensor { shape, device: device.clone(), storage, start: 0 });
        }
        let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
        Tensor::new(device, shape, &values)
    }

    /// A tensor with every element equal to `value`.
    ///
    /// # Errors
    /// As [`Tensor::new`].
    pub fn full(device: &Device, shape: impl Into<Shape>, value: f32) -> Result<Tensor> {
        let shape = shape.into();
        let values = vec![value; shape.elements()];
        Tensor::new(device, shape, &values)
    }

    /// A tensor whose element at each index is `f` of that index: masks and labels of a loss.
    ///
    /// # Errors
    /// As [`Tensor::new`].
    pub fn from_fn(device: &Device, shape: impl Into<Shape>, f: impl Fn(&[usize]) -> f32) -> Result<Tensor> {
        let shape = shape.into();
        let mut index = vec![0; shape.len()];
        let value = |at: usize| {
            let mut rest = at;
            for (i, &size) in index.iter_mut().zip(&shape[..]).rev() {
                (*i, rest) = (rest % size, rest / size);
            }
            f(&index)
        };
        let values: Vec<f32> = (0..shape.elements()).map(value).collect();
        Tensor::new(device, shape, &values)
    }

    /// A tensor with arbitrary contents, to be written by a kernel.
    pub(crate) fn uninit(device: &Device, shape: Shape) -> Result<Tensor> {
        let count = shape.elements();
        let storage = match device {
            Device::Cpu(cpu) => Storage::Cpu(Arc::new(cpu.take(count))),
            Device::Gpu(gpu) => Storage::Gpu(Arc::new(gpu.take(count)?)),
        };
        Ok(Tensor { shape, device: device.clone(), storage, start: 0 })
    }

    /// The shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.elements()
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// [`Error::Shape`] if the counts differ.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        let shape = shape.into();
        check_count(&shape, self.elements())?;
        Ok(Tensor { shape, ..self.clone() })
    }

    /// The elements as f32, row-major. On the GPU this submits what is recorded and waits for it.
    ///
    /// # Errors
    /// [`Error::Device`] if the device has failed.
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        self.device.trace().read(self.elements());
        match &self.device {
            Device::Cpu(cpu) => match cpu.precision {
                Precision::F32 => Ok(self.view::<f32>().data.to_vec()),
                Precision::F64 => Ok(self.view::<f64>().data.iter().map(|&v| v as f32).collect()),
            },
            Device::Gpu(gpu) => gpu.download(self.gpu_buffer(), self.start, self.elements()),
        }
    }

    /// The elements as f64 (widened, except on the reference device).
    ///
    /// # Errors
    /// [`Error::Device`] if the device has failed.
    pub fn to_f64(&self) -> Result<Vec<f64>> {
        match &self.device {
            Device::Cpu(cpu) if cpu.precision == Precision::F64 => {
                self.device.trace().read(self.elements());
                Ok(self.view::<f64>().data.to_vec())
            }
            _ => Ok(self.to_vec()?.into_iter().map(f64::from).collect()),
        }
    }

    /// The one element of a scalar.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is not exactly one; [`Error::Device`] if the device has failed.
    pub fn item(&self) -> Result<f32> {
        check_count(&Shape::from([]), self.elements())?;
        Ok(self.to_vec()?[0])
    }

    /// The same values on another device.
    ///
    /// # Errors
    /// As [`Tensor::new`].
    pub fn to_device(&self, device: &Device) -> Result<Tensor> {
        if self.device.same(device) {
            Ok(self.clone())
        } else {
            Tensor::from_f64(device, &self.shape, &self.to_f64()?)
        }
    }

    /// A copy of some rows (of the first dimension).
    ///
    /// # Errors
    /// [`Error::Shape`] if they are out of range; the device's errors.
    pub fn rows(&self, range: Range<usize>) -> Result<Tensor> {
        let row = self.shape.row();
        if self.shape.is_empty() || range.end > self.shape[0] || range.start > range.end {
            return Err(Error::shape("rows", format!("rows {range:?} are not all in {}", self.shape)));
        }
        let mut copy = Tensor::uninit(&self.device, self.shape.with_rows(range.len()))?;
        let part =
            Tensor { shape: copy.shape.clone(), start: self.start + range.start * row, ..self.clone() };
        copy.write(0, &part)?;
        Ok(copy)
    }

    /// The first rows (of the first dimension), not copied.
    pub(crate) fn head(&self, rows: usize) -> Tensor {
        Tensor { shape: self.shape.with_rows(rows.min(self.shape[0])), ..self.clone() }
    }

    /// Tensors below each other: `[n_i, ..] -> [sum n_i, ..]`; a single one is shared, not copied.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is none or their rows differ in shape or device.
    pub fn stack_rows(parts: &[&Tensor]) -> Result<Tensor> {
        let Some(first) = parts.first() else {
            return Err(Error::shape("stack_rows", "no tensor was given"));
        };
        if parts.len() == 1 {
            return Ok((*first).clone());
        }
        if let Some(other) = parts.iter().find(|p| p.shape.is_empty() || p.shape[1..] != first.shape[1..]) {
            let detail = format!("rows of {} and {} differ in shape", first.shape, other.shape);
            return Err(Error::shape("stack_rows", detail));
        }
        let rows = parts.iter().map(|p| p.shape[0]).sum();
        let mut all = Tensor::uninit(&first.device, first.shape.with_rows(rows))?;
        let mut start = 0;
        for part in parts {
            all.write_rows(start, part)?;
            start += part.shape[0];
        }
        Ok(all)
    }

    /// Overwrites rows `start..start + rows.shape()[0]`, in place where no other tensor shares the elements.
    ///
    /// # Errors
    /// [`Error::Shape`] if the rows do not fit; [`Error::Device`] if the device has failed.
    pub fn write_rows(&mut self, start: usize, rows: &Tensor) -> Result<()> {
        let row = self.shape.row();
        if rows.shape.row() != row || start + rows.shape[0] > self.shape[0] {
            let detail = format!("rows {} at {start} do not fit into {}", rows.shape, self.shape);
            return Err(Error::shape("write_rows", detail));
        }
        self.own()?;
        self.write(start * row, rows)
    }

    /// Takes elements of its own, if others share them.
    fn own(&mut self) -> Result<()> {
        if !self.is_sole() {
            let mut copy = Tensor::uninit(&self.device, self.shape.clone())?;
            copy.write(0, self)?;
            *self = copy;
        }
        Ok(())
    }

    /// Zeroes elements; no other tensor may share them.
    fn zero(&mut self, elements: Range<usize>) {
        match self.device.clone() {
            Device::Cpu(cpu) => match cpu.precision {
                Precision::F32 => self.view_mut::<f32>().data[elements].fill(0.0),
                Precision::F64 => self.view_mut::<f64>().data[elements].fill(0.0),
            },
            Device::Gpu(gpu) => gpu.clear(self, elements),
        }
    }

    /// Overwrites elements from `at` on; no other tensor may share them.
    fn write(&mut self, at: usize, values: &Tensor) -> Result<()> {
        let into = at..at + values.elements();
        match (self.device.clone(), &values.device) {
            (Device::Cpu(cpu), Device::Cpu(other)) if cpu.precision == other.precision => {
                match cpu.precision {
                    Precision::F32 => self.view_mut::<f32>().data[into].copy_from_slice(values.view().data),
                    Precision::F64 => self.view_mut::<f64>().data[into].copy_from_slice(values.view().data),
                }
                Ok(())
            }
            (Device::Gpu(gpu), Device::Gpu(_)) => gpu.copy(values, self, at),
            _ => Err(Error::shape("tensor", "tensors are on different devices")),
        }
    }

    /// Whether both have the same elements in memory.
    pub(crate) fn shares(&self, other: &Tensor) -> bool {
        self.shares_memory(other) && self.start == other.start
    }

    /// Whether both have their elements in the same buffer.
    fn shares_memory(&self, other: &Tensor) -> bool {
        match (&self.storage, &other.storage) {
            (Storage::Cpu(a), Storage::Cpu(b)) => Arc::ptr_eq(a, b),
            (Storage::Gpu(a), Storage::Gpu(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    pub(crate) fn view<T: Real>(&self) -> View<'_, T> {
        self.check::<T>();
        let Storage::Cpu(buffer) = &self.storage else { unreachable!("checked") };
        let data = &bytemuck::cast_slice(buffer)[self.start..self.start + self.elements()];
        View { shape: &self.shape, data }
    }

    /// The elements for a twin to change; no other tensor may share them.
    pub(crate) fn view_mut<T: Real>(&mut self) -> ViewMut<'_, T> {
        self.check::<T>();
        let elements = self.start..self.start + self.elements();
        let Storage::Cpu(buffer) = &mut self.storage else { unreachable!("checked") };
        let buffer = Arc::get_mut(buffer).expect("elements that are written have one owner");
        ViewMut { shape: &self.shape, data: &mut bytemuck::cast_slice_mut(buffer)[elements] }
    }

    /// That the elements are of this type.
    fn check<T: Real>(&self) {
        let precision = if size_of::<T>() == 4 { Precision::F32 } else { Precision::F64 };
        let fits = matches!(&self.device, Device::Cpu(cpu) if cpu.precision == precision);
        assert!(fits, "a tensor of {precision:?} on the CPU was expected");
    }

    /// Whether no other tensor shares the elements.
    pub(crate) fn is_sole(&self) -> bool {
        match &self.storage {
            Storage::Cpu(buffer) => Arc::strong_count(buffer) == 1,
            Storage::Gpu(buffer) => Arc::strong_count(buffer) == 1,
        }
    }

    /// The GPU buffer behind a tensor of a GPU device.
    pub(crate) fn gpu_buffer(&self) -> &Arc<GpuBuffer> {
        match &self.storage {
            Storage::Gpu(buffer) => buffer,
            _ => panic!("a GPU tensor was expected"),
        }
    }

    /// Where in its buffer the elements begin.
    pub(crate) fn start(&self) -> usize {
        self.start
    }
}

fn fill<T: Real>(cpu: &Cpu, count: usize, value: impl Fn(usize) -> T) -> Storage {
    let mut buffer = cpu.take(count);
    for (i, slot) in bytemuck::cast_slice_mut(&mut buffer)[..count].iter_mut().enumerate() {
        *slot = value(i);
    }
    Storage::Cpu(Arc::new(buffer))
}

fn check_count(shape: &Shape, count: usize) -> Result<()> {
    if shape.elements() == count {
        return Ok(());
    }
    let detail = format!("shape {shape} holds {} elements, {count} were given", shape.elements());
    Err(Error::shape("tensor", detail))
}
