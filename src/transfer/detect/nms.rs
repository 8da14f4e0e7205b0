//! Non-maximum suppression: of boxes that overlap, the one with the highest score stays.

use super::boxes::Rect;
use crate::engine::device::vector::vectorised;

/// Boxes that are compared at once.
const LANES: usize = 64;

/// The boxes that stay, by descending score: each that overlaps with none of a higher score by more than `threshold` (IoU). Equal
/// scores keep their order; a box of NaN is left out.
///
/// Every box is compared with those that stay, sixty-four at a time.
pub fn nms(boxes: &[Rect], scores: &[f32], threshold: f32) -> Vec<usize> {
    let mut kept = Kept::default();
    by_score(boxes, scores).into_iter().filter(|&i| kept.add(&boxes[i], threshold)).collect()
}

/// [`nms`] within each group (class, or level of a pyramid); the boxes that stay in all, by descending score.
pub fn grouped_nms(boxes: &[Rect], scores: &[f32], groups: &[usize], threshold: f32) -> Vec<usize> {
    let count = groups.iter().max().map_or(0, |most| most + 1);
    let mut kept: Vec<Kept> = (0..count).map(|_| Kept::default()).collect();
    by_score(boxes, scores).into_iter().filter(|&i| kept[groups[i]].add(&boxes[i], threshold)).collect()
}

fn by_score(boxes: &[Rect], scores: &[f32]) -> Vec<usize> {
    let is_sound = |&i: &usize| !scores[i].is_nan() && boxes[i].iter().all(|v| !v.is_nan());
    let mut order: Vec<usize> = (0..boxes.len()).filter(is_sound).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    order
}

/// Boxes that stay, coordinate by coordinate, and their areas, in blocks of which the last is filled up with boxes that overlap with none.
#[derive(Default)]
struct Kept {
    count: usize,
    blocks: Vec<Block>,
}

/// `x0`, `y0`, `x1`, `y1` and area of some boxes.
type Block = [[f32; LANES]; 5];

/// Boxes of no area, to the right of and below all others.
const NONE: Block = [
    [f32::INFINITY; LANES],
    [f32::INFINITY; LANES],
    [f32::NEG_INFINITY; LANES],
    [f32::NEG_INFINITY; LANES],
    [0.0; LANES],
];

impl Kept {
    /// Adds a box unless one of those that are there overlaps with it by more than a threshold.
    fn add(&mut self, new: &Rect, threshold: f32) -> bool {
        let area = (new[2] - new[0]).max(0.0) * (new[3] - new[1]).max(0.0);
        let suppressed = vectorised(
            #[inline(always)]
            || self.blocks.iter().any(|block| touches(block, new) && overlaps(block, new, area, threshold)),
        );
        if !suppressed {
            let lane = self.count % LANES;
            if lane == 0 {
                self.blocks.push(NONE);
            }
            let block = &mut self.blocks[self.count / LANES];
            block.iter_mut().zip(new.iter().chain([&area])).for_each(|(values, &value)| values[lane] = value);
            self.count += 1;
        }
        !suppressed
    }
}

/// Whether a box has some area in common with one of a block: most have with none, and this is half the work.
#[inline(always)]
fn touches([x0, y0, x1, y1, _]: &Block, new: &Rect) -> bool {
    let mut any = 0;
    for i in 0..LANES {
        any |= u32::from((x1[i] > new[0]) & (x0[i] < new[2]) & (y1[i] > new[1]) & (y0[i] < new[3]));
    }
    any > 0
}

/// Whether a box overlaps with one of a block by more than a threshold: `common > threshold (a + b - common)`, without a division.
#[inline(always)]
fn overlaps([x0, y0, x1, y1, areas]: &Block, new: &Rect, area: f32, threshold: f32) -> bool {
    // In lanes, each the largest excess of its boxes.
    let mut most = [0.0f32; LANES];
    for i in 0..LANES {
        let right = if x1[i] < new[2] { x1[i] } else { new[2] };
        let left = if x0[i] > new[0] { x0[i] } else { new[0] };
        let bottom = if y1[i] < new[3] { y1[i] } else { new[3] };
        let top = if y0[i] > new[1] { y0[i] } else { new[1] };
        let width = if right > left { right - left } else { 0.0 };
        let height = if bottom > top { bottom - top } else { 0.0 };
        let common = width * height;
        most[i] = common - threshold * (areas[i] + area - common);
    }
    let mut any = 0;
    for excess in most {
        any |= u32::from(excess > 0.0);
    }
    any > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::detect::boxes::iou;

    fn boxes(n: usize, spread: usize) -> Vec<Rect> {
        let number = |i: usize, k: usize| ((i * 7919 + k * 104_729 + 13) % 10_007) as f32 / 10_007.0;
        let of = |i| {
            let [x, y] = [number(i, 1), number(i, 2)].map(|v| v * spread as f32);
            [x, y, x + 5.0 + 40.0 * number(i, 3), y + 5.0 + 40.0 * number(i, 4)]
        };
        (0..n).map(of).collect()
    }

    #[test]
    fn what_stays_is_what_a_plain_loop_keeps() {
        for (n, spread) in [(0, 10), (1, 10), (65, 40), (700, 200)] {
            let boxes = boxes(n, spread);
            let scores: Vec<f32> = (0..n).map(|i| ((i * 31 + 7) % n.max(1)) as f32).collect();
            let groups: Vec<usize> = (0..n).map(|i| i % 3).collect();
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
            let plain = |same: &dyn Fn(usize, usize) -> bool| {
                let mut kept: Vec<usize> = Vec::new();
                for &i in &order {
                    if kept.iter().all(|&k| !same(k, i) || iou(&boxes[k], &boxes[i]) <= 0.5) {
                        kept.push(i);
                    }
                }
                kept
            };
            assert_eq!(nms(&boxes, &scores, 0.5), plain(&|_, _| true));
            assert_eq!(grouped_nms(&boxes, &scores, &groups, 0.5), plain(&|a, b| groups[a] == groups[b]));
        }
    }

    #[test]
    fn nan_is_left_out_and_suppresses_nothing() {
        let boxes = [[0.0, 0.0, 4.0, 4.0], [f32::NAN, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 3.9]];
        assert_eq!(nms(&boxes, &[0.5, 0.9, 0.8], 0.5), [2]);
        assert_eq!(nms(&boxes, &[0.5, 0.9, f32::NAN], 0.5), [0]);
    }
}
