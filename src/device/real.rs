//! The two number types of the CPU twins.

use super::pool::{Buffer, CpuPools, Pool};
use crate::tensor::Storage;
use std::sync::Arc;

/// f32 (the CPU device) or f64 (the definition that gradient checks differentiate).
pub trait Real:
    num_traits::Float
    + num_traits::NumAssign
    + std::iter::Sum
    + bytemuck::Pod
    + std::fmt::Debug
    + Default
    + Send
    + Sync
    + 'static
{
    /// Rounds an f64 to this type.
    fn of(x: f64) -> Self;
    /// Widens to f64.
    fn f64(self) -> f64;
    #[doc(hidden)]
    fn pool(pools: &CpuPools) -> &Arc<Pool<Self>>;
    #[doc(hidden)]
    fn wrap(buffer: Arc<Buffer<Self>>) -> Storage;
    #[doc(hidden)]
    fn unwrap(storage: &Storage) -> &Buffer<Self>;
}

impl Real for f32 {
    fn of(x: f64) -> f32 {
        x as f32
    }
    fn f64(self) -> f64 {
        self as f64
    }
    fn pool(pools: &CpuPools) -> &Arc<Pool<f32>> {
        &pools.f32
    }
    fn wrap(buffer: Arc<Buffer<f32>>) -> Storage {
        Storage::F32(buffer)
    }
    fn unwrap(storage: &Storage) -> &Buffer<f32> {
        match storage {
            Storage::F32(buffer) => buffer,
            _ => panic!("an f32 tensor was expected"),
        }
    }
}

impl Real for f64 {
    fn of(x: f64) -> f64 {
        x
    }
    fn f64(self) -> f64 {
        self
    }
    fn pool(pools: &CpuPools) -> &Arc<Pool<f64>> {
        &pools.f64
    }
    fn wrap(buffer: Arc<Buffer<f64>>) -> Storage {
        Storage::F64(buffer)
    }
    fn unwrap(storage: &Storage) -> &Buffer<f64> {
        match storage {
            Storage::F64(buffer) => buffer,
            _ => panic!("an f64 tensor was expected"),
        }
    }
}
