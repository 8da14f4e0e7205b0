//! Boxes: their areas and overlaps, and the differences by which one is told from another.
//!
//! A box is `[x0, y0, x1, y1]` in continuous image coordinates: pixel i covers [i, i + 1], and a width is `x1 - x0`, with no "+ 1".

/// `[x0, y0, x1, y1]`.
pub type Rect = [f32; 4];

/// The most by which a prediction enlarges a side: `dw <= ln(1000 / 16)`, before exp.
///
/// # Source
/// detectron2, `_DEFAULT_SCALE_CLAMP`.
pub const MOST: f64 = 4.135_166_556_742_356;

/// Width times height; 0 for a box that is turned inside out.
pub fn area(of: &Rect) -> f64 {
    let [x0, y0, x1, y1] = of.map(f64::from);
    (x1 - x0).max(0.0) * (y1 - y0).max(0.0)
}

/// The area that two boxes have in common.
pub fn intersection(a: &Rect, b: &Rect) -> f64 {
    let side =
        |low: usize, high: usize| (f64::from(a[high].min(b[high])) - f64::from(a[low].max(b[low]))).max(0.0);
    side(0, 2) * side(1, 3)
}

/// Intersection over union; 0 for boxes that do not, or only just, touch.
pub fn iou(a: &Rect, b: &Rect) -> f64 {
    let common = intersection(a, b);
    if common > 0.0 { common / (area(a) + area(b) - common) } else { 0.0 }
}

/// The part of a box that lies within a photo of a height and a width.
pub fn clipped(of: &Rect, [height, width]: [usize; 2]) -> Rect {
    let (w, h) = (width as f32, height as f32);
    [of[0].clamp(0.0, w), of[1].clamp(0.0, h), of[2].clamp(0.0, w), of[3].clamp(0.0, h)]
}

/// How a target differs from a box, each difference times its weight: `dx = (centre difference) / width`,
/// `dw = ln(width ratio)`, y and height alike.
///
/// # Source
/// Girshick et al. 2014, App. C; detectron2, `Box2BoxTransform`.
pub fn encode(from: &Rect, target: &Rect, weights: [f32; 4]) -> [f32; 4] {
    let ([x, y, w, h], [tx, ty, tw, th]) = (centre_and_size(from), centre_and_size(target));
    let differences = [(tx - x) / w, (ty - y) / h, (tw / w).ln(), (th / h).ln()];
    std::array::from_fn(|i| (differences[i] * f64::from(weights[i])) as f32)
}

/// The box that differs from another by [`encode`]d differences; a side grows at most `1000 / 16`-fold ([`MOST`]).
pub fn decode(from: &Rect, deltas: &[f32; 4], weights: [f32; 4]) -> Rect {
    let [x, y, w, h] = centre_and_size(from);
    let d: [f64; 4] = std::array::from_fn(|i| f64::from(deltas[i]) / f64::from(weights[i]));
    let (x, y) = (d[0] * w + x, d[1] * h + y);
    let (w, h) = (d[2].min(MOST).exp() * w, d[3].min(MOST).exp() * h);
    [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0].map(|v| v as f32)
}

fn centre_and_size(of: &Rect) -> [f64; 4] {
    let [x0, y0, x1, y1] = of.map(f64::from);
    [(x0 + x1) / 2.0, (y0 + y1) / 2.0, x1 - x0, y1 - y0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_that_touch_or_are_inside_out_have_nothing_in_common() {
        let unit = [0.0, 0.0, 1.0, 1.0];
        assert_eq!(iou(&unit, &[1.0, 0.0, 2.0, 1.0]), 0.0);
        assert_eq!(iou(&unit, &[1.0, 1.0, 0.0, 0.0]), 0.0);
        assert_eq!(iou(&[0.5; 4], &[0.5; 4]), 0.0); // no area, and no NaN
        assert_eq!(iou(&unit, &[0.0, 0.0, 1.0, 2.0]), 0.5);
    }

    #[test]
    fn a_target_comes_back_from_its_differences_but_none_grows_without_bound() {
        let (from, target) = ([10.0, 20.0, 50.0, 44.0], [-3.0, 25.0, 90.0, 31.0]);
        for weights in [[1.0; 4], [10.0, 10.0, 5.0, 5.0]] {
            let back = decode(&from, &encode(&from, &target, weights), weights);
            assert!(back.iter().zip(&target).all(|(a, b)| (a - b).abs() < 1e-4), "{back:?}");
        }
        let [x0, _, x1, _] = decode(&from, &[0.0, 0.0, 100.0, 0.0], [1.0; 4]);
        assert!((x1 - x0 - 40.0 * 62.5).abs() < 0.1);
    }
}
