//! Objects drawn on their photo: what a detector found, or what is there.

use super::glyphs::{BOLD, blend};
use crate::photos::views::{CropBox, resized_crop};
use crate::photos::{Bitmap, Rgb};

/// The longer side of a picture: within these a name can be read and lines are neither thick nor thin, so smaller photos are
/// enlarged and larger ones shrunk.
const LONGER: [usize; 2] = [640, 1280];
/// Width of a box's line, and of the dark line around it, which tells it from a photo of its colour.
const LINE: i64 = 2;
const EDGE: i64 = 1;
/// How dark that is.
const SHADE: f32 = 0.55;
/// How much of a mask's colour lies over the photo.
const FILL: f32 = 0.4;
/// Space around a name.
const PADDING: i64 = 3;

/// An object to draw.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// x, y, width and height in pixels of the photo.
    pub rect: [f64; 4],
    /// Which class: its colour.
    pub class: usize,
    /// The class's name.
    pub name: String,
    /// How sure; nothing of what is known.
    pub score: Option<f64>,
    /// Its pixels, of the photo's own size.
    pub mask: Option<Bitmap>,
}

/// A photo with objects on it: masks translucent with an outline, boxes, and class and score on a label; one colour for each
/// class, the surest on top.
///
/// A label stands above its box where it fits, else in it or below, where it hides the least of other labels. What is off the photo is not
/// drawn; nor is a box without an area. The picture's longer side is 640 to 1,280 pixels, whatever the photo's.
///
/// # Panics
/// If a mask has another size than the photo.
pub fn detections(photo: &Rgb, objects: &[Drawn]) -> Rgb {
    let longer = photo.width.max(photo.height).max(1);
    let scale = longer.clamp(LONGER[0], LONGER[1]) as f64 / longer as f64;
    let side = |pixels: usize| ((pixels as f64 * scale).round() as usize).max(1);
    let (width, height) = (side(photo.width), side(photo.height));
    let mut picture = if photo.data.is_empty() {
        Rgb::new(width, height)
    } else {
        resized_crop(photo, CropBox::whole(photo), width, height)
    };
    let score = |object: &Drawn| object.score.unwrap_or(f64::INFINITY);
    let mut rising: Vec<&Drawn> = objects.iter().collect();
    rising.sort_by(|a, b| score(a).total_cmp(&score(b)));
    let masks: Vec<(&Bitmap, [u8; 3])> =
        rising.iter().filter_map(|object| Some((object.mask.as_ref()?, color(object.class)))).collect();
    for (mask, _) in &masks {
        assert_eq!(mask.size, [photo.height, photo.width], "a mask of the photo's size");
    }
    masks.iter().for_each(|(mask, color)| lay(&mut picture, mask, *color, FILL, |inner| inner));
    masks.iter().for_each(|(mask, color)| lay(&mut picture, mask, *color, 1.0, |inner| !inner));
    let boxes: Vec<Option<Frame>> =
        rising.iter().map(|object| Frame::of(&object.rect, scale, &picture)).collect();
    for (object, frame) in rising.iter().zip(&boxes) {
        if let Some(frame) = frame {
            frame.draw(&mut picture, color(object.class));
        }
    }
    // The surest first has the best place.
    let mut labels: Vec<Frame> = Vec::new();
    for (object, frame) in rising.iter().zip(&boxes).rev() {
        if let Some(frame) = frame {
            labels.push(label(&mut picture, object, frame, &labels));
        }
    }
    picture
}

/// The colour of a class: hues a golden angle apart, so that any first few differ well, in three lightnesses in turn; never near black,
/// white or grey.
///
/// # Source
/// Lightness, chroma and hue of OKLab: Ottosson 2020, "A perceptual color space for image processing".
pub fn color(class: usize) -> [u8; 3] {
    let hue = (class as f64 * 0.618_033_988_75 + 0.07).fract() * std::f64::consts::TAU;
    let (lightness, chroma) = ([0.70, 0.58, 0.82][class % 3], 0.19);
    let (a, b) = (chroma * hue.cos(), chroma * hue.sin());
    let l = (lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
    let m = (lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
    let s = (lightness - 0.089_484_177_5 * a - 1.291_485_548 * b).powi(3);
    let linear = [
        4.076_741_662_1 * l - 3.307_711_591_3 * m + 0.230_969_929_2 * s,
        -1.268_438_004_6 * l + 2.609_757_401_1 * m - 0.341_319_396_5 * s,
        -0.004_196_086_3 * l - 0.703_418_614_7 * m + 1.707_614_701 * s,
    ];
    linear.map(|v| {
        let v = v.clamp(0.0, 1.0);
        let v = if v <= 0.003_130_8 { 12.92 * v } else { 1.055 * v.powf(1.0 / 2.4) - 0.055 };
        (255.0 * v).round() as u8
    })
}

/// Black or white, whichever is told better from a colour.
fn ink(on: [u8; 3]) -> [u8; 3] {
    let [r, g, b] = on.map(f32::from);
    if 0.299 * r + 0.587 * g + 0.114 * b > 125.0 { [0; 3] } else { [255; 3] }
}

/// Lays a colour by a share over the pixels of a mask that are (or are not) inner ones: two pixels or more from its border. The
/// picture may be of another scale.
fn lay(picture: &mut Rgb, mask: &Bitmap, color: [u8; 3], share: f32, which: impl Fn(bool) -> bool) {
    let [rows, columns] = mask.size;
    let (width, height) = (picture.width, picture.height);
    let inside = |x: i64, y: i64| {
        (0..width as i64).contains(&x) && (0..height as i64).contains(&y) && {
            let (row, column) = (y as usize * rows / height, x as usize * columns / width);
            mask.pixels[row * columns + column] == 1
        }
    };
    for y in 0..height as i64 {
        for x in (0..width as i64).filter(|&x| inside(x, y)) {
            let all_in = |by: i64| {
                [(by, 0), (-by, 0), (0, by), (0, -by)]
                    .iter()
                    .all(|&(right, down)| inside(x + right, y + down))
            };
            if which(all_in(1) && all_in(2)) {
                blend(picture, x as usize, y as usize, color, share);
            }
        }
    }
}

/// A rectangle of whole pixels, the right and lower ends exclusive, that may reach beyond the picture.
#[derive(Clone, Copy, Debug)]
struct Frame {
    x0: i64,
    y0: i64,
    x1: i64,
    y1: i64,
}

impl Frame {
    /// A box at the picture's scale, cut off at its sides; `None` if nothing of it is on the picture.
    fn of(rect: &[f64; 4], scale: f64, picture: &Rgb) -> Option<Frame> {
        let ends = |low: f64, length: f64, side: usize| {
            let end = |at: f64| (at * scale).round().clamp(0.0, side as f64) as i64;
            let (low, high) = (end(low), end(low + length));
            (length > 0.0 && high > low).then_some((low, high))
        };
        let (x0, x1) = ends(rect[0], rect[2], picture.width)?;
        let (y0, y1) = ends(rect[1], rect[3], picture.height)?;
        Some(Frame { x0, y0, x1, y1 })
    }

    fn grown(&self, by: i64) -> Frame {
        Frame { x0: self.x0 - by, y0: self.y0 - by, x1: self.x1 + by, y1: self.y1 + by }
    }

    /// Every pixel between this frame and one that is smaller by `line` on each side; all of it if it is that small.
    fn each(&self, line: i64, mut draw: impl FnMut(usize, usize)) {
        for y in self.y0.max(0)..self.y1 {
            let whole = y < self.y0 + line || y >= self.y1 - line;
            for x in self.x0.max(0)..self.x1 {
                if whole || x < self.x0 + line || x >= self.x1 - line {
                    draw(x as usize, y as usize);
                }
            }
        }
    }

    fn draw(&self, picture: &mut Rgb, color: [u8; 3]) {
        self.grown(EDGE).each(EDGE, |x, y| blend(picture, x, y, [0; 3], SHADE));
        self.each(LINE, |x, y| picture.put(x, y, color));
        self.grown(-LINE).each(EDGE, |x, y| blend(picture, x, y, [0; 3], SHADE));
    }

    /// Pixels that two have in common.
    fn shared(&self, other: &Frame) -> i64 {
        let across = self.x1.min(other.x1) - self.x0.max(other.x0);
        let down = self.y1.min(other.y1) - self.y0.max(other.y0);
        across.max(0) * down.max(0)
    }
}

/// Draws an object's name and score where they hide the least of the labels before; says where.
fn label(picture: &mut Rgb, object: &Drawn, around: &Frame, before: &[Frame]) -> Frame {
    let mut text = object.name.clone();
    if let Some(score) = object.score {
        text += &format!(" {score:.2}");
    }
    let (width, height) = (BOLD.width(&text) as i64 + 2 * PADDING, BOLD.height() as i64);
    let (right, bottom) = (picture.width as i64 - width, picture.height as i64 - height);
    let places = [
        (around.x0 - EDGE, around.y0 - height),
        (around.x0 - EDGE, around.y0 - EDGE),
        (around.x0 - EDGE, around.y1),
        (around.x1 - width, around.y0 - height),
        (around.x1 - width, around.y1 - height),
        (around.x1, around.y0),
    ];
    let at = |(x, y): (i64, i64)| {
        let (x0, y0) = (x.min(right).max(0), y.min(bottom).max(0));
        Frame { x0, y0, x1: x0 + width, y1: y0 + height }
    };
    let hidden = |place: &Frame| before.iter().map(|other| place.shared(other)).sum::<i64>();
    let place = places.into_iter().map(at).min_by_key(hidden).expect("six places"); // of equal ones the first
    let color = color(object.class);
    place.each(place.y1 - place.y0, |x, y| picture.put(x, y, color));
    BOLD.write(picture, (place.x0 + PADDING) as usize, place.y0 as usize, &text, ink(color));
    place
}

#[cfg(test)]
#[path = "../../../tests/unit/show/figures/detections.rs"]
mod tests;
