//! The debug ladder, `VISTA_DEBUG`: 1 adapter, limits, configuration; 2 milliseconds per kernel and bytes in use
//! per submission; 3 every new pipeline's WGSL and constants; 4 kernels with all of wgpu's checks. Levels 1 to 3 never change a result.

use std::collections::BTreeMap;
use std::sync::OnceLock;

/// The level asked for in `VISTA_DEBUG`, 0 if none.
pub fn level() -> u32 {
    static LEVEL: OnceLock<u32> = OnceLock::new();
    *LEVEL.get_or_init(|| std::env::var("VISTA_DEBUG").ok().and_then(|v| v.parse().ok()).unwrap_or(0))
}

/// GPU timestamps of every kernel of a submission, at level 2 and where the adapter has them.
#[derive(Default)]
pub(super) struct Trace {
    queries: Option<Queries>,
    labels: Vec<String>,
}

struct Queries {
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    readable: wgpu::Buffer,
    nanoseconds: f32,
}

const MOST_KERNELS: u32 = 2048;

impl Trace {
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Trace {
        if level() < 2 || !device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return Trace::default();
        }
        let buffer = |usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("timestamps"),
                size: 16 * u64::from(MOST_KERNELS),
                usage,
                mapped_at_creation: false,
            })
        };
        let queries = Queries {
            set: device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("timestamps"),
                ty: wgpu::QueryType::Timestamp,
                count: 2 * MOST_KERNELS,
            }),
            resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            readable: buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
            nanoseconds: queue.get_timestamp_period(),
        };
        Trace { queries: Some(queries), labels: Vec::new() }
    }

    pub fn is_on(&self) -> bool {
        self.queries.is_some()
    }

    /// Where the next pass writes its two timestamps.
    pub fn writes(&mut self, label: &str) -> Option<wgpu::ComputePassTimestampWrites<'_>> {
        let queries = self.queries.as_ref()?;
        let at = 2 * self.labels.len() as u32;
        if at >= 2 * MOST_KERNELS {
            return None;
        }
        self.labels.push(label.to_string());
        Some(wgpu::ComputePassTimestampWrites {
            query_set: &queries.set,
            beginning_of_pass_write_index: Some(at),
            end_of_pass_write_index: Some(at + 1),
        })
    }

    pub fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        let count = 2 * self.labels.len() as u32;
        if let Some(q) = self.queries.as_ref().filter(|_| count > 0) {
            encoder.resolve_query_set(&q.set, 0..count, &q.resolved, 0);
            encoder.copy_buffer_to_buffer(&q.resolved, 0, &q.readable, 0, Some(8 * u64::from(count)));
        }
    }

    /// Prints the time of each kernel of the submission that has just ended, longest first. The caller has waited.
    pub fn report(&mut self, device: &wgpu::Device, (bytes, peak): (u64, u64)) {
        let labels = std::mem::take(&mut self.labels);
        let Some(queries) = self.queries.as_ref().filter(|_| !labels.is_empty()) else { return };
        let mut sums: BTreeMap<&str, (u32, f64)> = BTreeMap::new();
        for (label, milliseconds) in labels.iter().zip(queries.read(device, labels.len())) {
            let sum = sums.entry(label).or_default();
            *sum = (sum.0 + 1, sum.1 + milliseconds);
        }
        let mut rows: Vec<_> = sums.into_iter().collect();
        rows.sort_by(|a, b| b.1.1.total_cmp(&a.1.1));
        let in_use = crate::error::readable_bytes(bytes);
        eprintln!(
            "submission of {} kernels, {in_use} in use, {} at most",
            labels.len(),
            crate::error::readable_bytes(peak)
        );
        for (label, (count, milliseconds)) in rows {
            eprintln!("  {milliseconds:9.3} ms  {count:4} x {label}");
        }
    }
}

impl Queries {
    fn read(&self, device: &wgpu::Device, kernels: usize) -> Vec<f64> {
        let bytes = 16 * kernels as u64;
        self.readable.map_async(wgpu::MapMode::Read, ..bytes, |_| {});
        if device.poll(wgpu::PollType::wait_indefinitely()).is_err() {
            return Vec::new();
        }
        let Ok(range) = self.readable.get_mapped_range(..bytes) else { return Vec::new() };
        let stamps: Vec<u64> = bytemuck::pod_collect_to_vec(&range);
        drop(range);
        self.readable.unmap();
        let nanoseconds = f64::from(self.nanoseconds);
        stamps.chunks_exact(2).map(|p| p[1].saturating_sub(p[0]) as f64 * nanoseconds / 1e6).collect()
    }
}
