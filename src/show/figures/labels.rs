//! Label maps drawn on their photos, and which classes are taken for which.

use super::glyphs::{PLAIN, blend};
use super::svg::escaped;
use crate::photos::views::{CropBox, resized_crop};
use crate::photos::{IGNORED, LabelMap, PixelClass, Rgb};
use crate::transfer::metrics::Confusion;

/// The longer side of a picture.
const LONGER: [usize; 2] = [640, 1280];
/// How much of a class's colour lies over the photo.
const FILL: f32 = 0.6;
/// Side of a colour in the legend, and space around it and between lines.
const SWATCH: usize = 14;
const GAP: usize = 6;
/// Least share of a photo's pixels that a class in the legend has.
const LEAST: f64 = 0.0005;
/// Pixels of a cell of a confusion matrix, and of the names beside it.
const CELL: usize = 44;
const NAMES: usize = 150;

/// A photo under its label map: each pixel in the colour of its class, translucent, ignored ones as they are, with a line between
/// classes; below it the colours and names of the classes that occur, the largest first.
///
/// The picture's longer side is 640 to 1,280 pixels, whatever the photo's.
///
/// # Panics
/// If the label map has another size than the photo.
pub fn label_map(photo: &Rgb, map: &LabelMap, classes: &[PixelClass]) -> Rgb {
    assert_eq!(map.size, [photo.height, photo.width], "a label map of the photo's size");
    let longer = photo.width.max(photo.height).max(1);
    let scale = longer.clamp(LONGER[0], LONGER[1]) as f64 / longer as f64;
    let side = |pixels: usize| ((pixels as f64 * scale).round() as usize).max(1);
    let (width, height) = (side(photo.width), side(photo.height));
    let at =
        |x: usize, y: usize| map.classes[y * photo.height / height * photo.width + x * photo.width / width];
    let shown = resized_crop(photo, CropBox::whole(photo), width, height);
    let legend = Legend::of(map, classes, width);
    let mut picture = Rgb {
        width,
        height: height + legend.height,
        data: vec![255; width * (height + legend.height) * 3].into(),
    };
    picture.data[..width * height * 3].copy_from_slice(&shown.data);
    for y in 0..height {
        for x in 0..width {
            let class = at(x, y);
            let differs = |x: usize, y: usize| x < width && y < height && at(x, y) != class;
            if differs(x + 1, y) || differs(x, y + 1) {
                blend(&mut picture, x, y, [255; 3], 0.8);
            } else if let Some(known) = classes.get(usize::from(class)) {
                blend(&mut picture, x, y, known.color, FILL);
            }
        }
    }
    for (class, x, y) in legend.places {
        let top = height + y;
        for dy in 0..SWATCH {
            for dx in 0..SWATCH {
                let edge = [0, SWATCH - 1].iter().any(|end| [dx, dy].contains(end));
                picture.put(x + dx, top + dy, if edge { [90; 3] } else { classes[class].color });
            }
        }
        PLAIN.write(&mut picture, x + SWATCH + GAP, top.saturating_sub(1), &classes[class].name, [20; 3]);
    }
    picture
}

/// Where the classes' colours and names stand below a picture.
struct Legend {
    height: usize,
    places: Vec<(usize, usize, usize)>,
}

impl Legend {
    fn of(map: &LabelMap, classes: &[PixelClass], width: usize) -> Legend {
        let mut counts = vec![0_usize; classes.len()];
        for &class in map.classes.iter().filter(|&&class| class != IGNORED) {
            // What a page keeps may be damaged.
            counts.get_mut(usize::from(class)).into_iter().for_each(|count| *count += 1);
        }
        let least = LEAST * map.classes.len() as f64;
        let mut shown: Vec<usize> =
            (0..classes.len()).filter(|&class| counts[class] as f64 > least).collect();
        shown.sort_by_key(|&class| std::cmp::Reverse(counts[class]));
        let (mut x, mut y, mut places) = (GAP, GAP, Vec::new());
        for class in shown {
            let wide = SWATCH + GAP + PLAIN.width(&classes[class].name) + 3 * GAP;
            if x > GAP && x + wide > width {
                (x, y) = (GAP, y + PLAIN.height() + GAP);
            }
            places.push((class, x, y));
            x += wide;
        }
        let height = if places.is_empty() { 0 } else { y + PLAIN.height() + GAP };
        Legend { height, places }
    }
}

/// Which classes were taken for which, as an SVG: a row for each class of pixels, in it the shares of its pixels that were taken for each class,
/// darker the more. Classes without a pixel have an empty row.
pub fn confusion_matrix(confusion: &Confusion, classes: &[PixelClass]) -> String {
    let n = classes.len();
    let (width, height) = (NAMES + n * CELL + 12, NAMES + n * CELL + 12);
    let name = |class: usize| escaped(&classes[class].name);
    let mut drawn = String::new();
    for (row, &labelled) in confusion.labelled().iter().enumerate() {
        let y = NAMES + row * CELL;
        let (x, middle) = (NAMES - 8, y + CELL / 2 + 4);
        drawn += &format!("<text x=\"{x}\" y=\"{middle}\" text-anchor=\"end\">{}</text>\n", name(row));
        let (x, y0) = (NAMES + row * CELL + CELL / 2 + 4, NAMES - 8);
        drawn += &format!("<text transform=\"translate({x} {y0}) rotate(-60)\">{}</text>\n", name(row));
        for column in 0..n {
            let x = NAMES + column * CELL;
            let count = confusion.count(row, column);
            let share = count as f64 / labelled.max(1) as f64;
            let told =
                format!("{} taken for {}: {:.1} % ({count} pixels)", name(row), name(column), 100.0 * share);
            let shade = |full: f64| (255.0 - share.sqrt() * (255.0 - full)).round() as u8;
            let (r, g, b) = (shade(0.0), shade(80.0), shade(140.0));
            drawn += &format!(
                "<rect x=\"{x}\" y=\"{y}\" width=\"{CELL}\" height=\"{CELL}\" fill=\"rgb({r},{g},{b})\" stroke=\"#ccc\"><title>{told}</title></rect>\n"
            );
            if share >= 0.005 {
                let ink = if share > 0.3 { "#fff" } else { "#222" };
                let (x, text) = (x + CELL / 2, format!("{:.0}", 100.0 * share));
                drawn += &format!(
                    "<text x=\"{x}\" y=\"{middle}\" text-anchor=\"middle\" style=\"fill:{ink}\">{text}</text>\n"
                );
            }
        }
    }
    format!(
        "<svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" xmlns=\"http://www.w3.org/2000/svg\" font-family=\"sans-serif\" font-size=\"13\" role=\"img\" aria-label=\"Which classes were taken for which\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n<text x=\"8\" y=\"20\" font-weight=\"bold\">Of each row's pixels, % taken for</text>\n{drawn}</svg>\n"
    )
}

#[cfg(test)]
#[path = "../../../tests/unit/show/figures/labels.rs"]
mod tests;
