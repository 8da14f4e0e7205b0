//! Text on a picture: letters of a fixed width from pixels that are part of the program, so that no font needs to be there.

use crate::photos::Rgb;
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, RasterizedChar, get_raster, get_raster_width};

/// How text is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Font {
    weight: FontWeight,
    raster: RasterHeight,
}

/// Numbers below a photo.
pub(super) const PLAIN: Font = Font { weight: FontWeight::Regular, raster: RasterHeight::Size16 };
/// Names on a photo.
pub(super) const BOLD: Font = Font { weight: FontWeight::Bold, raster: RasterHeight::Size20 };

impl Font {
    /// Height of a line of text.
    pub(super) const fn height(self) -> usize {
        self.raster.val()
    }

    /// Width of a text.
    pub(super) fn width(self, text: &str) -> usize {
        text.chars().count() * get_raster_width(self.weight, self.raster)
    }

    /// Writes `text` with its upper left corner at `(x, y)`, over what is there; a letter that no Latin alphabet has as `?`, what is off
    /// the picture not at all.
    pub(super) fn write(self, image: &mut Rgb, x: usize, y: usize, text: &str, ink: [u8; 3]) {
        let drawn = |letter| get_raster(letter, self.weight, self.raster);
        let letters =
            text.chars().map(|letter| drawn(letter).or_else(|| drawn('?')).expect("a question mark"));
        for (i, letter) in letters.enumerate() {
            stamp(image, x + i * letter.width(), y, &letter, ink);
        }
    }
}

fn stamp(image: &mut Rgb, x: usize, y: usize, letter: &RasterizedChar, ink: [u8; 3]) {
    for (row, pixels) in letter.rows().enumerate() {
        for (column, &share) in pixels.iter().enumerate() {
            blend(image, x + column, y + row, ink, f32::from(share) / 255.0);
        }
    }
}

/// Lays a colour over a pixel, by a share of 0 to 1; nothing outside the image.
pub(super) fn blend(image: &mut Rgb, x: usize, y: usize, color: [u8; 3], share: f32) {
    if x < image.width && y < image.height {
        let at = (y * image.width + x) * 3;
        let mixed = |c: usize| {
            let [under, over] = [image.data[at + c], color[c]].map(f32::from);
            (under + (over - under) * share).round() as u8
        };
        let mixed = [mixed(0), mixed(1), mixed(2)];
        image.put(x, y, mixed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_drawn_where_it_is_asked_for_and_cut_off_the_picture() {
        let mut image = Rgb::new(60, 40);
        PLAIN.write(&mut image, 4, 2, "1é字", [255, 0, 0]);
        let red = |x0: usize, x1: usize| {
            let inside =
                |i: usize| (x0..x1).contains(&(i / 3 % 60)) && (2..2 + PLAIN.height()).contains(&(i / 180));
            image.data.iter().enumerate().filter(|&(i, &v)| v > 100 && inside(i)).count()
        };
        let width = PLAIN.width("1");
        assert_eq!(PLAIN.width("1é字"), 3 * width);
        assert!((0..3).all(|i| red(4 + i * width, 4 + (i + 1) * width) > 5));
        let all = image.data.iter().filter(|&&v| v > 0).count();
        assert_eq!(all, image.data.iter().step_by(3).filter(|&&v| v > 0).count()); // red alone
        assert_eq!((red(0, 4), red(4 + 3 * width, 60)), (0, 0));
        BOLD.write(&mut image, 55, 30, "88", [0, 255, 0]);
        BOLD.write(&mut Rgb::new(0, 0), 0, 0, "0.5", [1; 3]);
    }
}
