//! Timestamps that an adapter writes before and after a compute pass.

use super::poll;

/// Room for the two timestamps of each pass of one submission.
pub(super) struct Stamps {
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    readable: wgpu::Buffer,
    nanoseconds: f64,
    /// Which kernel of the trace each timed pass is.
    kernels: Vec<usize>,
}

const MOST_PASSES: u32 = 2048;

impl Stamps {
    /// `None` where the adapter has no timestamps.
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Option<Stamps> {
        if !device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return None;
        }
        let buffer = |usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("timestamps"),
                size: 16 * u64::from(MOST_PASSES),
                usage,
                mapped_at_creation: false,
            })
        };
        Some(Stamps {
            set: device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("timestamps"),
                ty: wgpu::QueryType::Timestamp,
                count: 2 * MOST_PASSES,
            }),
            resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            readable: buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
            nanoseconds: f64::from(queue.get_timestamp_period()),
            kernels: Vec::new(),
        })
    }

    /// Where the pass of a kernel writes its two timestamps; `None` when there is no room left.
    pub fn writes(&mut self, kernel: usize) -> Option<wgpu::ComputePassTimestampWrites<'_>> {
        let at = 2 * self.kernels.len() as u32;
        if at >= 2 * MOST_PASSES {
            return None;
        }
        self.kernels.push(kernel);
        Some(wgpu::ComputePassTimestampWrites {
            query_set: &self.set,
            beginning_of_pass_write_index: Some(at),
            end_of_pass_write_index: Some(at + 1),
        })
    }

    /// Records that the timestamps are copied to where they can be read.
    pub fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        let count = 2 * self.kernels.len() as u32;
        if count > 0 {
            encoder.resolve_query_set(&self.set, 0..count, &self.resolved, 0);
            encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.readable, 0, Some(8 * u64::from(count)));
        }
    }

    /// Each timed kernel and its milliseconds, once the submission has ended.
    pub fn read(&mut self, device: &wgpu::Device) -> Vec<(usize, f64)> {
        let kernels = std::mem::take(&mut self.kernels);
        let bytes = 16 * kernels.len() as u64;
        if bytes == 0 {
            return Vec::new();
        }
        self.readable.map_async(wgpu::MapMode::Read, ..bytes, |_| {});
        if poll::wait(device).is_err() {
            return Vec::new();
        }
        let Ok(range) = self.readable.get_mapped_range(..bytes) else { return Vec::new() };
        let stamps: Vec<u64> = bytemuck::pod_collect_to_vec(&range);
        drop(range);
        self.readable.unmap();
        let milliseconds = |p: &[u64]| p[1].saturating_sub(p[0]) as f64 * self.nanoseconds / 1e6;
        kernels.into_iter().zip(stamps.chunks_exact(2).map(milliseconds)).collect()
    }
}
