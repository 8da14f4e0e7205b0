//! Which kernel, tile and number of parts a product takes on a GPU: the one place that decides.

use crate::engine::device::Gpu;
use crate::engine::device::tuned::{Choice, Class};

/// Steps of k that a tile holds in workgroup memory (`BK` in the shaders).
pub const STEP: usize = 16;

/// How a product of `m` rows, `n` columns and `k` steps is cut into workgroups.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tiling {
    /// Entry point: `tiled`, `tiled_odd` or `direct`.
    pub entry: &'static str,
    /// Threads along the rows and columns (`TY`, `TX`) of a tiled kernel.
    pub threads: [usize; 2],
    /// Rows and columns of a workgroup's tile.
    pub tile: [usize; 2],
    /// Steps of k in one part, a multiple of 16.
    pub part: usize,
    /// Parts of k, each of another workgroup, summed afterwards.
    pub parts: usize,
}

impl Tiling {
    /// The tiling for a shape on an adapter: the tuned one if there is one, else the built-in choice.
    pub fn choose(gpu: &Gpu, m: usize, n: usize, k: usize) -> Tiling {
        // Enough workgroups to fill a large GPU twice, or all cores of a CPU.
        let (entry, threads, tile, wanted) = if gpu.is_cpu {
            ("direct", [1, 8], [8, 96], 16)
        } else {
            let threads = match gpu.tuned(Class::product([m, n, k])) {
                Some(Choice::Tile(threads)) => threads,
                _ => Tiling::built_in(m, n, k),
            };
            let entry = if n.is_multiple_of(4) { "tiled" } else { "tiled_odd" };
            (entry, threads, threads.map(|t| 8 * t), 65_536 / (threads[0] * threads[1]).max(128))
        };
        let tiles = m.div_ceil(tile[0]) * n.div_ceil(tile[1]);
        let room = gpu.max_binding as usize / 4 / (m * n).max(1);
        let parts = if tiles > wanted / 2 { 1 } else { wanted.div_ceil(tiles.max(1)) };
        // PRECISION: one f32 sum over thousands of steps loses digits that a relu near its kink shows; where a product
        // is small, parts of 256 steps cost next to nothing.
        let parts = if m * n <= 1 << 16 { parts.max(k / 256) } else { parts };
        let parts = parts.min(k / 256).min(room).clamp(1, 256);
        let part = k.div_ceil(parts).next_multiple_of(STEP).max(STEP);
        Tiling { entry, threads, tile, part, parts: k.div_ceil(part).max(1) }
    }

    /// Threads of a GPU's tile of 8x8 values a thread: 128x128 if that wastes little and leaves enough tiles,
    /// 128x32 or 32x128 for narrow products, else 64x64.
    pub fn built_in(m: usize, n: usize, k: usize) -> [usize; 2] {
        let tiles = |rows: usize, columns: usize| m.div_ceil(rows) * n.div_ceil(columns);
        if n <= 32 {
            return [16, 4];
        }
        if m <= 32 {
            return [4, 16];
        }
        let (large, small) = (tiles(128, 128), tiles(64, 64));
        let busy = large * (k / 512).max(1) >= 128;
        if busy && 16 * large <= 5 * small { [16, 16] } else { [8, 8] }
    }

    /// Workgroups in all parts.
    pub fn groups(&self, m: usize, n: usize) -> usize {
        m.div_ceil(self.tile[0]) * n.div_ceil(self.tile[1]) * self.parts
    }

    /// The pipeline constants `TY` and `TX`.
    pub fn constants(&self) -> [(&'static str, f64); 2] {
        [("TY", self.threads[0] as f64), ("TX", self.threads[1] as f64)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_suit_the_shape() {
        assert_eq!(Tiling::built_in(4096, 4096, 4096), [16, 16]);
        assert_eq!(Tiling::built_in(100_000, 32, 288), [16, 4]);
        assert_eq!(Tiling::built_in(10, 2048, 512), [4, 16]);
        assert_eq!(Tiling::built_in(100_000, 64, 576), [8, 8]);
        assert_eq!(Tiling::built_in(130, 130, 512), [8, 8]);
    }
}
