use super::*;

fn classes() -> Vec<PixelClass> {
    let class =
        |(id, (name, color)): (usize, (&str, [u8; 3]))| PixelClass { name: name.into(), color, id: id as u8 };
    [("sky", [0, 0, 255]), ("road & path", [255, 0, 0]), ("tree", [0, 255, 0])]
        .into_iter()
        .enumerate()
        .map(class)
        .collect()
}

#[test]
fn pixels_have_their_classes_colours_ignored_ones_none_and_the_legend_names_what_is_there() {
    let photo = Rgb { width: 64, height: 32, data: vec![100; 64 * 32 * 3].into() };
    let of = |i: usize| if i / 64 < 8 { IGNORED } else { u8::from(i % 64 >= 32) };
    let map = LabelMap { size: [32, 64], classes: (0..64 * 32).map(of).collect() };
    let picture = label_map(&photo, &map, &classes());
    let at = |x: usize, y: usize| -> [u8; 3] {
        std::array::from_fn(|c| picture.data[(y * picture.width + x) * 3 + c])
    };
    assert_eq!(picture.width, 640);
    assert!(picture.height > 320 + 10, "a legend below the photo");
    assert_eq!(at(5, 5), [100; 3], "an ignored pixel is the photo's");
    let [sky, road] = [at(50, 200), at(600, 200)];
    assert!(sky[2] > 180 && sky[0] < 60 && road[0] > 180 && road[2] < 60, "{sky:?} {road:?}");
    // Two of three classes occur.
    assert_eq!(Legend::of(&map, &classes(), 640).places.len(), 2);
    let blank = LabelMap { size: [32, 64], classes: vec![IGNORED; 64 * 32] };
    assert_eq!(label_map(&photo, &blank, &classes()).height, 320);
}

#[test]
fn a_matrix_tells_shares_of_rows_with_names_escaped() {
    let mut confusion = Confusion::new(3, 255);
    confusion.add(&[0, 0, 0, 1], &[0, 0, 0, 0]).expect("valid");
    let drawn = confusion_matrix(&confusion, &classes());
    assert!(drawn.contains("sky taken for sky: 75.0 % (3 pixels)"), "{drawn}");
    assert!(drawn.contains("sky taken for road &amp; path: 25.0 % (1 pixels)"), "{drawn}");
    assert!(drawn.contains("tree taken for tree: 0.0 %") && !drawn.contains("NaN"));
}
