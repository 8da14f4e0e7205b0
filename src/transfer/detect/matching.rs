//! Which object a box stands for: by its overlap with each, then a balanced sample of those that stand for one and those that don't.

use super::boxes::{Rect, area};
use crate::engine::device::vector::vectorised;
use crate::rng::KeyedRng;

/// What a box stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// An object, by its index.
    Object(usize),
    /// None.
    Background,
    /// Neither clearly: it takes part in no loss.
    Ignored,
}

/// How boxes are matched with objects.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Matcher {
    /// Below this overlap with all objects a box is background.
    pub background: f64,
    /// From this overlap on it stands for the object of its largest; between both it is ignored.
    pub object: f64,
    /// Whether the boxes that overlap with an object the most stand for one, however little that is: for the object with which they
    /// themselves overlap the most.
    pub low_quality: bool,
}

impl Matcher {
    /// Anchors with objects.
    ///
    /// # Source
    /// Faster R-CNN, Sec. 3.1.2; detectron2, `MODEL.RPN.IOU_THRESHOLDS`.
    pub const ANCHORS: Matcher = Matcher { background: 0.3, object: 0.7, low_quality: true };
    /// Proposals with objects.
    ///
    /// # Source
    /// Fast R-CNN, Sec. 2.3; detectron2, `MODEL.ROI_HEADS.IOU_THRESHOLDS`.
    pub const PROPOSALS: Matcher = Matcher { background: 0.5, object: 0.5, low_quality: false };

    /// For each box the object with which it overlaps the most, 0 where it overlaps with none, and what it stands for. Crowds are no
    /// objects: leave them out.
    pub fn matches(&self, boxes: &[Rect], objects: &[Rect]) -> (Vec<usize>, Vec<Match>) {
        let columns = Columns::of(boxes);
        let (mut best, mut of) = (vec![0.0; boxes.len()], vec![0; boxes.len()]);
        // The boxes that overlap with an object as much as any.
        let mut closest = vec![false; boxes.len()];
        let mut overlaps = vec![0.0; boxes.len()];
        for (index, object) in objects.iter().enumerate() {
            let most = vectorised(
                #[inline(always)]
                || {
                    columns.overlaps(object, &mut overlaps);
                    larger(&overlaps, index, &mut best, &mut of)
                },
            );
            if self.low_quality {
                closest.iter_mut().zip(&overlaps).for_each(|(is, &overlap)| *is |= overlap == most);
            }
        }
        let stands_for = |((&overlap, &object), &is_closest): ((&f64, &u64), &bool)| {
            if is_closest || (overlap >= self.object && !objects.is_empty()) {
                Match::Object(object as usize)
            } else if overlap < self.background {
                Match::Background
            } else {
                Match::Ignored
            }
        };
        let stand_for = best.iter().zip(&of).zip(&closest).map(stands_for).collect();
        (of.into_iter().map(|object| object as usize).collect(), stand_for)
    }
}

/// Boxes, coordinate by coordinate, and their areas: so laid out, eight of them are compared at once.
struct Columns {
    sides: [Vec<f32>; 4],
    areas: Vec<f64>,
}

impl Columns {
    fn of(boxes: &[Rect]) -> Columns {
        let side = |i: usize| boxes.iter().map(|of| of[i]).collect();
        Columns { sides: [side(0), side(1), side(2), side(3)], areas: boxes.iter().map(area).collect() }
    }

    /// The [overlap](super::boxes::iou) of each box with an object.
    #[inline(always)]
    fn overlaps(&self, object: &Rect, overlaps: &mut [f64]) {
        let own = area(object);
        let [x0, y0, x1, y1] = self.sides.each_ref().map(|side| &side[..overlaps.len()]);
        let areas = &self.areas[..overlaps.len()];
        for i in 0..overlaps.len() {
            let width = f64::from(lesser(x1[i], object[2])) - f64::from(greater(x0[i], object[0]));
            let height = f64::from(lesser(y1[i], object[3])) - f64::from(greater(y0[i], object[1]));
            let common = if width > 0.0 && height > 0.0 { width * height } else { 0.0 };
            let ratio = common / (areas[i] + own - common);
            overlaps[i] = if common > 0.0 { ratio } else { 0.0 };
        }
    }
}

#[inline(always)]
fn lesser(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

#[inline(always)]
fn greater(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// Writes an object's index where it overlaps more than those before it; the largest of its overlaps.
#[inline(always)]
fn larger(overlaps: &[f64], index: usize, best: &mut [f64], of: &mut [u64]) -> f64 {
    let (best, of) = (&mut best[..overlaps.len()], &mut of[..overlaps.len()]);
    for i in 0..overlaps.len() {
        let is_larger = overlaps[i] > best[i];
        best[i] = if is_larger { overlaps[i] } else { best[i] };
        of[i] = if is_larger { index as u64 } else { of[i] };
    }
    // In lanes, since the compiler may not change the order of a maximum.
    let mut most = [0.0; 8];
    let (eights, rest) = overlaps.as_chunks::<8>();
    for eight in eights {
        for lane in 0..8 {
            most[lane] = if eight[lane] > most[lane] { eight[lane] } else { most[lane] };
        }
    }
    most.iter().chain(rest).fold(0.0, |most, &overlap| if overlap > most { overlap } else { most })
}

/// A balanced sample: `count` boxes, a share of them that stand for an object at most, the rest background. Chosen by the seed's
/// counter, so that a run that goes on draws the same. In ascending order.
///
/// # Source
/// detectron2, `subsample_labels`.
pub fn sample(matches: &[Match], count: usize, share: f64, rng: &mut KeyedRng) -> [Vec<usize>; 2] {
    let of = |what: fn(&Match) -> bool| (0..matches.len()).filter(|&i| what(&matches[i])).collect::<Vec<_>>();
    let mut objects = of(|m| matches!(m, Match::Object(_)));
    let mut background = of(|m| *m == Match::Background);
    let mut draw = |from: &mut Vec<usize>, most: usize| {
        let most = most.min(from.len());
        for i in 0..most {
            let other = i + rng.below((from.len() - i) as u64) as usize;
            from.swap(i, other);
        }
        from.truncate(most);
        from.sort_unstable();
    };
    draw(&mut objects, (count as f64 * share) as usize);
    draw(&mut background, count - objects.len());
    [objects, background]
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECTS: [Rect; 2] = [[0.0, 0.0, 10.0, 10.0], [100.0, 100.0, 110.0, 130.0]];

    #[test]
    fn boxes_stand_for_objects_by_overlap_and_the_closest_however_little_it_is() {
        let boxes = [
            [0.0, 0.0, 10.0, 9.0],        // .9 of the first object
            [0.0, 0.0, 10.0, 5.0],        // .5: between the thresholds
            [0.0, 0.0, 10.0, 1.0],        // .1
            [100.0, 100.0, 110.0, 104.0], // .13, but the closest to the second object
            [50.0, 50.0, 60.0, 60.0],
        ];
        let (objects, stand_for) = Matcher::ANCHORS.matches(&boxes, &OBJECTS);
        assert_eq!(objects, [0, 0, 0, 1, 0]);
        use Match::{Background, Ignored, Object};
        assert_eq!(stand_for, [Object(0), Ignored, Background, Object(1), Background]);
        let (_, of_proposals) = Matcher::PROPOSALS.matches(&boxes, &OBJECTS);
        assert_eq!(of_proposals, [Object(0), Object(0), Background, Background, Background]);
    }

    #[test]
    fn without_an_object_all_is_background_and_an_object_that_nothing_touches_takes_all_boxes() {
        let boxes = [[0.0, 0.0, 1.0, 1.0], [5.0, 5.0, 6.0, 6.0]];
        assert_eq!(Matcher::ANCHORS.matches(&boxes, &[]).1, [Match::Background; 2]);
        let far = [[90.0, 90.0, 91.0, 91.0]];
        assert_eq!(Matcher::ANCHORS.matches(&boxes, &far).1, [Match::Object(0); 2]);
        assert_eq!(Matcher::PROPOSALS.matches(&boxes, &[[90.0, 90.0, 91.0, 91.0]]).1, [Match::Background; 2]);
    }

    #[test]
    fn a_sample_is_balanced_and_the_same_for_the_same_key() {
        let matches: Vec<Match> = (0..100)
            .map(|i| match i % 10 {
                0..3 => Match::Object(i),
                3..9 => Match::Background,
                _ => Match::Ignored,
            })
            .collect();
        let draw = |key| sample(&matches, 40, 0.25, &mut KeyedRng::new("sample", 7, [key, 0, 0]));
        let [objects, background] = draw(1);
        assert_eq!((objects.len(), background.len()), (10, 30));
        assert!(objects.iter().all(|i| i % 10 < 3) && background.iter().all(|i| (3..9).contains(&(i % 10))));
        assert!(draw(1) == [objects.clone(), background] && draw(2)[0] != objects);
        // Few objects leave room for more background, and both may run out.
        let [objects, background] =
            sample(&matches[..20], 40, 0.5, &mut KeyedRng::new("sample", 7, [0, 0, 0]));
        assert_eq!((objects.len(), background.len()), (6, 12));
    }
}
