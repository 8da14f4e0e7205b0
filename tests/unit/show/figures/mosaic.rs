use super::*;

fn tile(width: usize, height: usize, crop: CropBox, color: [u8; 3]) -> Tile {
    let photo = Rgb { width, height, data: vec![128; width * height * 3].into() };
    Tile::new(&photo, crop, color, "0.5".into(), BLACK)
}

fn pixel(image: &Rgb, x: usize, y: usize) -> [u8; 3] {
    let at = (y * image.width + x) * 3;
    [image.data[at], image.data[at + 1], image.data[at + 2]]
}

#[test]
fn rectangles_lie_where_the_crops_do_in_their_own_colour() {
    // Half the size: 400 x 300 becomes 200 x 150.
    let query = tile(400, 300, CropBox { x0: 100, y0: 60, x1: 300, y1: 240 }, RED);
    let near = tile(150, 150, CropBox { x0: 0, y0: 0, x1: 150, y1: 150 }, YELLOW);
    let image = mosaic(&[vec![query.clone(), near.clone()], vec![near, query]]);
    let (left, top) = (GAP, GAP);
    for (x, y) in [(50, 30), (149, 30), (50, 119), (149, 119), (100, 32), (52, 70)] {
        assert_eq!(pixel(&image, left + x, top + y), RED, "({x}, {y})");
    }
    for (x, y) in [(49, 70), (100, 29), (53, 70), (100, 33), (150, 70), (100, 120), (100, 75)] {
        assert_eq!(pixel(&image, left + x, top + y), [128; 3], "({x}, {y})");
    }
    // The second column starts after the widest of the first, the frame a pixel before it.
    let second = GAP + 200 + WIDE_GAP;
    assert_eq!(pixel(&image, second, top + 70), YELLOW);
    assert_eq!(pixel(&image, second - 1, top + 70), [90; 3]);
    assert_eq!(pixel(&image, second - 2, top + 70), [255; 3]);
    // The second row's neighbour stands on the left.
    let lower = GAP + HEIGHT + 5 + PLAIN.height() + GAP;
    assert_eq!(pixel(&image, left, lower + 70), YELLOW);
    assert_eq!((image.width, image.height), (second + 200 + GAP, 2 * lower - GAP));
}

#[test]
fn photos_of_any_shape_fit_and_no_rows_are_a_picture_too() {
    for (w, h) in [(1, 1), (5000, 10), (10, 3000), (1, 900)] {
        let strip = tile(w, h, CropBox::at(0, 0, w, h), RED);
        let [width, height] = strip.size();
        assert!(width <= WIDEST && height <= HEIGHT && width > 0 && height > 0);
        mosaic(&[vec![strip]]);
    }
    assert_eq!(mosaic(&[]).height, GAP);
}
