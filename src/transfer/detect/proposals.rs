//! Proposals: the boxes that a region proposal network finds worth a look, and the detections that come of them.

use super::boxes::{Rect, area, clipped, decode};
use super::nms::grouped_nms;

/// What a network says of the anchors of one photo on one map, in the anchors' order.
#[derive(Clone, Copy, Debug)]
pub struct Level<'a> {
    /// The anchors.
    pub anchors: &'a [Rect],
    /// Of each, the logit of there being an object.
    pub logits: &'a [f32],
    /// Of each, where it is: differences as of [`decode`] with weights of 1.
    pub deltas: &'a [[f32; 4]],
}

/// How proposals are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chosen {
    /// The most of each map before suppression.
    pub before: usize,
    /// The most of all maps together after it.
    pub after: usize,
    /// Boxes of one map that overlap by more are suppressed.
    pub overlap: f32,
    /// Boxes with a side of no more than so many pixels are left out.
    pub least_side: f32,
}

/// The proposals of a photo of a height and a width, with their logits, by descending logit: of each map the best, moved, cut at the
/// photo's borders, without those that are too small, or not finite, suppressed map by map, then the best of all.
///
/// # Source
/// Faster R-CNN, Sec. 3.3; FPN, Sec. 4.1; detectron2, `find_top_rpn_proposals`.
pub fn proposals(levels: &[Level], size: [usize; 2], chosen: &Chosen) -> Vec<(Rect, f32)> {
    let (mut boxes, mut scores, mut of_level) = (Vec::new(), Vec::new(), Vec::new());
    for (index, level) in levels.iter().enumerate() {
        for i in best(level.logits, chosen.before) {
            let moved = decode(&level.anchors[i], &level.deltas[i], [1.0; 4]);
            let moved = clipped(&moved, size);
            let is_large = moved[2] - moved[0] > chosen.least_side && moved[3] - moved[1] > chosen.least_side;
            if is_large && level.logits[i].is_finite() {
                boxes.push(moved);
                scores.push(level.logits[i]);
                of_level.push(index);
            }
        }
    }
    let mut kept = grouped_nms(&boxes, &scores, &of_level, chosen.overlap);
    kept.truncate(chosen.after);
    kept.into_iter().map(|i| (boxes[i], scores[i])).collect()
}

/// Indices of the largest values, largest first; NaN last.
fn best(values: &[f32], count: usize) -> Vec<usize> {
    let key = |i: &usize| if values[*i].is_nan() { f32::NEG_INFINITY } else { values[*i] };
    let falling = |a: &usize, b: &usize| key(b).total_cmp(&key(a)).then(a.cmp(b));
    let mut order: Vec<usize> = (0..values.len()).collect();
    if count < order.len() && count > 0 {
        order.select_nth_unstable_by(count - 1, falling);
    }
    order.truncate(count);
    order.sort_unstable_by(falling);
    order
}

/// The map of a pyramid, by its level, from which a box is looked at: `floor(canonical_level + log2(sqrt(area) / canonical_size))`,
/// within the pyramid.
///
/// # Source
/// FPN (Lin et al. 2017), Eq. 1: 224 and 4.
pub fn level_of(of: &Rect, canonical: (f64, f64), levels: [usize; 2]) -> usize {
    let (size, level) = canonical;
    let root = area(of).sqrt();
    // A box of no area is the smallest.
    let at = (level + (root / size + 1e-8).log2()).floor();
    (at.max(levels[0] as f64) as usize).min(levels[1])
}

/// An object that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// Where.
    pub rect: Rect,
    /// Its class.
    pub class: usize,
    /// How surely, from 0 to 1.
    pub score: f32,
    /// The proposal that it came of.
    pub proposal: usize,
}

/// How detections are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// They have a higher score.
    pub score: f32,
    /// Boxes of one class that overlap by more are suppressed.
    pub overlap: f32,
    /// The most of a photo.
    pub most: usize,
    /// Weights of the differences.
    pub weights: [f32; 4],
}

impl Found {
    /// The numbers that all papers here judge with.
    ///
    /// # Source
    /// Fast R-CNN, Sec. 3.1; detectron2's defaults; COCO's 100 detections.
    pub const USUAL: Found = Found { score: 0.05, overlap: 0.5, most: 100, weights: [10.0, 10.0, 5.0, 5.0] };

    /// The detections of a photo of a height and a width, by descending score.
    ///
    /// Logits are `[proposals, classes + 1]`, the background last; deltas `[proposals, classes, 4]`. Each proposal may be several
    /// classes at once: all whose softmax is high enough. A row that is not finite finds nothing.
    pub fn detections(
        &self,
        proposals: &[Rect],
        logits: &[f32],
        deltas: &[f32],
        size: [usize; 2],
    ) -> Vec<Detection> {
        if proposals.is_empty() {
            return Vec::new();
        }
        let classes = logits.len() / proposals.len() - 1;
        let mut all = Vec::new();
        for (proposal, ((from, logits), deltas)) in
            proposals.iter().zip(logits.chunks(classes + 1)).zip(deltas.chunks(4 * classes)).enumerate()
        {
            let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let total: f64 = logits.iter().map(|&v| f64::from(v - most).exp()).sum();
            for (class, delta) in deltas.as_chunks::<4>().0.iter().enumerate() {
                let score = (f64::from(logits[class] - most).exp() / total) as f32;
                let rect = clipped(&decode(from, delta, self.weights), size);
                if score > self.score && rect.iter().all(|v| v.is_finite()) && area(&rect) > 0.0 {
                    all.push(Detection { rect, class, score, proposal });
                }
            }
        }
        let rects: Vec<Rect> = all.iter().map(|d| d.rect).collect();
        let scores: Vec<f32> = all.iter().map(|d| d.score).collect();
        let groups: Vec<usize> = all.iter().map(|d| d.class).collect();
        let mut kept = grouped_nms(&rects, &scores, &groups, self.overlap);
        kept.truncate(self.most);
        kept.into_iter().map(|i| all[i]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_found_and_nan_is_never_one_of_them() {
        assert_eq!(best(&[1.0, f32::NAN, 3.0, 2.0], 2), [2, 3]);
        assert_eq!(best(&[1.0, 2.0], 5), [1, 0]);
        assert!(best(&[], 5).is_empty() && best(&[1.0], 0).is_empty());
    }

    #[test]
    fn a_box_is_looked_at_on_the_map_of_its_size() {
        let level = |side: f32| level_of(&[0.0, 0.0, side, side], (224.0, 4.0), [2, 5]);
        assert_eq!([0.0, 10.0, 112.0, 223.0, 224.0, 448.0, 5000.0].map(level), [2, 2, 3, 3, 4, 5, 5]);
    }

    #[test]
    fn predictions_that_are_not_finite_find_nothing() {
        let found = Found::USUAL;
        let proposals = [[0.0, 0.0, 10.0, 10.0]];
        assert_eq!(found.detections(&proposals, &[3.0, 0.0], &[0.0; 4], [20, 20]).len(), 1);
        assert!(found.detections(&proposals, &[f32::NAN, 0.0], &[0.0; 4], [20, 20]).is_empty());
        assert!(found.detections(&proposals, &[3.0, 0.0], &[f32::NAN; 4], [20, 20]).is_empty());
        assert!(found.detections(&[], &[], &[], [20, 20]).is_empty());
    }
}
