//! A few letters of 3 x 5 pixels: enough to write a cosine on a picture without any font.

use crate::photos::Rgb;

/// Rows from the top, the leftmost pixel in bit 2.
const GLYPHS: [(char, [u8; 5]); 17] = [
    ('0', [7, 5, 5, 5, 7]),
    ('1', [2, 6, 2, 2, 7]),
    ('2', [7, 1, 7, 4, 7]),
    ('3', [7, 1, 7, 1, 7]),
    ('4', [5, 5, 7, 1, 1]),
    ('5', [7, 4, 7, 1, 7]),
    ('6', [7, 4, 7, 5, 7]),
    ('7', [7, 1, 1, 2, 2]),
    ('8', [7, 5, 7, 5, 7]),
    ('9', [7, 5, 7, 1, 7]),
    ('.', [0, 0, 0, 0, 2]),
    ('-', [0, 0, 7, 0, 0]),
    ('w', [5, 5, 5, 7, 5]),
    ('o', [7, 5, 5, 5, 7]),
    ('r', [7, 5, 6, 5, 5]),
    ('s', [7, 4, 7, 1, 7]),
    ('t', [7, 2, 2, 2, 2]),
];

/// Picture pixels of a glyph's pixel.
const SCALE: usize = 3;
/// Height of a line of text.
pub(super) const HEIGHT: usize = 5 * SCALE;

/// Writes `text` with its upper left corner at `(x, y)`; characters without a glyph are blank.
pub(super) fn write(image: &mut Rgb, x: usize, y: usize, text: &str, ink: [u8; 3]) {
    for (i, letter) in text.chars().enumerate() {
        let Some((_, rows)) = GLYPHS.iter().find(|(known, _)| *known == letter) else { continue };
        for (row, bits) in rows.iter().enumerate() {
            for column in (0..3).filter(|column| bits >> (2 - column) & 1 == 1) {
                let (left, top) = (x + (4 * i + column) * SCALE, y + row * SCALE);
                for pixel in 0..SCALE * SCALE {
                    image.put(left + pixel % SCALE, top + pixel / SCALE, ink);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_one_is_drawn_where_it_is_asked_for_and_text_off_the_picture_is_cut() {
        let mut image = Rgb::new(30, 20);
        write(&mut image, 4, 2, "1", [255, 0, 0]);
        let red = |x: usize, y: usize| image.data[(y * 30 + x) * 3] == 255;
        // Its foot is three glyph pixels wide, its top the middle one alone.
        assert!(red(4, 2 + 14) && red(4 + 8, 2 + 14) && !red(4, 2) && red(4 + 3, 2) && !red(4 + 6, 2));
        write(&mut image, 28, 18, "88", [0, 255, 0]);
        write(&mut Rgb::new(0, 0), 0, 0, "0.5", [1; 3]);
    }
}
