use std::sync::Arc;

use super::*;
use crate::photos::masks::Rle;
use crate::photos::read::Mask;
use crate::photos::views::Detail;

fn config(shortest: usize, longest: usize) -> SceneConfig {
    SceneConfig { shortest: vec![shortest], longest, mean: [0.0; 3], std: [1.0; 3], ..SceneConfig::default() }
}

/// A photo whose red is its column, whose green is its row.
fn photo(height: usize, width: usize) -> Photo {
    let pixel = |i: usize| [(i % width) as u8, (i / width) as u8, 50];
    let data = (0..height * width).flat_map(pixel).collect();
    Photo { image: Rgb { width, height, data }, width, height }
}

fn masked(rect: [f32; 4], mask: Mask) -> LabelledBox {
    LabelledBox { mask: Some(Arc::new(mask)), ..LabelledBox::new(3, rect) }
}

#[test]
fn sizes_are_those_of_resize_shortest_edge() {
    for (own, shortest, longest, size) in [
        ([480, 640], 800, 1333, [800, 1067]),
        ([640, 427], 800, 1333, [1199, 800]),
        ([375, 1242], 800, 1333, [402, 1333]),
        ([1242, 375], 640, 1333, [1333, 402]),
        ([333, 500], 672, 1333, [672, 1009]),
        ([10, 10], 640, 1333, [640, 640]),
        ([192, 257], 256, 400, [256, 343]),
        ([100, 3000], 256, 1333, [44, 1333]),
        ([500, 375], 480, 1333, [640, 480]),
        ([281, 500], 768, 1333, [749, 1333]),
        ([2, 9999], 256, 1333, [1, 1333]), // there: no pixel at all
    ] {
        assert_eq!(config(shortest, longest).size(own, shortest), size, "{own:?} to {shortest}");
    }
}

#[test]
fn a_scene_is_drawn_from_the_list_of_sides_and_mirrored_as_often_as_said() {
    let config = SceneConfig { shortest: vec![10, 20, 30], flip: 0.25, ..SceneConfig::default() };
    let draw = |i| SceneParams::draw(&config, &mut KeyedRng::new("scene", 1, [0, i, 0]));
    let all: Vec<SceneParams> = (0..3000).map(draw).collect();
    for side in [10, 20, 30] {
        let share = all.iter().filter(|params| params.shortest == side).count() as f64 / 3000.0;
        assert!((share - 1.0 / 3.0).abs() < 0.04, "{side}: {share}");
    }
    let flips = all.iter().filter(|params| params.flip).count() as f64 / 3000.0;
    assert!((flips - 0.25).abs() < 0.04 && all[7] == draw(7), "{flips}");
}

#[test]
fn configurations_that_make_no_sense_are_refused_by_name() {
    let whole = SceneConfig::default();
    assert_eq!(whole.shortest, [640, 672, 704, 736, 768, 800]);
    for (field, changed) in [
        ("shortest", SceneConfig { shortest: vec![], ..whole.clone() }),
        ("shortest", SceneConfig { shortest: vec![640, 0], ..whole.clone() }),
        ("longest", SceneConfig { longest: 0, ..whole.clone() }),
        ("flip", SceneConfig { flip: f64::NAN, ..whole.clone() }),
        ("mean", SceneConfig { mean: [0.0, f32::NAN, 0.0], ..whole.clone() }),
        ("std", SceneConfig { std: [1.0, 0.0, 1.0], ..whole.clone() }),
    ] {
        let message = SceneMaker::new(changed).unwrap_err().to_string();
        assert!(message.contains(&format!("scenes: invalid {field}")), "{message}");
    }
    let read = |text: &str| toml::from_str::<SceneConfig>(text);
    assert_eq!(
        read("shortest = [256]\nflip = 0.0").unwrap(),
        SceneConfig { shortest: vec![256], flip: 0.0, ..whole }
    );
    assert!(read("shortes = [256]").is_err());
}

#[test]
fn a_photo_of_the_scene_s_size_keeps_its_pixels_and_is_mirrored_with_its_objects() {
    let (height, width) = (20, 30);
    let objects = [
        LabelledBox { crowd: true, area: 7.0, ..LabelledBox::new(1, [2.0, 3.0, 4.0, 5.0]) },
        LabelledBox {
            difficult: true,
            ..masked([0.0, 0.0, 3.0, 2.0], Mask::Polygons(vec![vec![0.0, 0.0, 3.0, 0.0, 3.0, 2.0, 0.0, 2.0]]))
        },
    ];
    let mut maker = SceneMaker::new(config(20, 100)).unwrap();
    let plain = maker.make(&photo(height, width), &objects, SceneParams { shortest: 20, flip: false });
    let turned = maker.make(&photo(height, width), &objects, SceneParams { shortest: 20, flip: true });
    assert_eq!((plain.size, plain.own, plain.left_out.len()), ([20, 30], [20, 30], 0));
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        let pixel = |scene: &Scene, x: usize| {
            [0, 1, 2].map(|c| (scene.pixels[(y * width + x) * 3 + c] * 255.0).round() as usize)
        };
        assert_eq!((pixel(&plain, x), pixel(&turned, width - 1 - x)), ([x, y, 50], [x, y, 50]));
    }
    let first = &plain.objects[0];
    assert_eq!(
        (first.class, first.rect, first.crowd, first.difficult, first.area),
        (1, [2.0, 3.0, 6.0, 8.0], true, false, 7.0)
    );
    assert_eq!(
        (turned.objects[0].rect, turned.objects[1].rect),
        ([24.0, 3.0, 28.0, 8.0], [27.0, 0.0, 30.0, 2.0])
    );
    assert!(turned.objects[1].difficult && turned.objects[1].class == 3 && first.mask.is_none());
    for (scene, xs) in [(&plain, 0..3), (&turned, 27..30)] {
        let mask = scene.objects[1].mask.as_ref().unwrap();
        let inside = |i: usize| u8::from(i / width < 2 && xs.contains(&(i % width)));
        assert!(
            mask.size == [20, 30] && mask.pixels.iter().enumerate().all(|(i, &v)| v == inside(i)),
            "{xs:?}"
        );
    }
}

#[test]
fn boxes_and_masks_follow_the_photo_s_own_size_though_it_is_decoded_smaller() {
    let small = Photo { width: 80, height: 61, ..photo(31, 40) };
    let cell = |y: usize, x: usize| u8::from((20..40).contains(&y) && (8..24).contains(&x));
    let pixels = (0..61 * 80).map(|i| cell(i / 80, i % 80)).collect();
    let rle = Rle::of(&Bitmap { size: [61, 80], pixels });
    let objects = [masked([8.0, 20.0, 16.0, 20.0], Mask::Rle(rle))];
    let mut maker = SceneMaker::new(config(122, 1000)).unwrap();
    let scene = maker.make(&small, &objects, SceneParams { shortest: 122, flip: false });
    assert_eq!(
        (scene.size, scene.own, scene.objects[0].rect),
        ([122, 160], [61, 80], [16.0, 40.0, 48.0, 80.0])
    );
    let mask = scene.objects[0].mask.as_ref().unwrap();
    assert!((0..122 * 160).all(|i| mask.pixels[i] == cell(i / 160 / 2, i % 160 / 2)));
    // Detail is asked for by the longest short side.
    let detail = Detail::of_scenes(&SceneConfig { shortest: vec![100, 300, 200], ..SceneConfig::default() });
    assert_eq!(
        [[599, 900], [600, 900], [3000, 1200], [2400, 2400]].map(|size| detail.scale(size)),
        [1, 1, 2, 4]
    );
}

#[test]
fn what_can_not_be_seen_is_left_out_with_the_reason() {
    let triangle = |at: f64| Mask::Polygons(vec![vec![at, at, at + 4.0, at, at, at + 4.0]]);
    let objects = [
        LabelledBox::new(0, [-5.0, -6.0, 10.0, 60.0]), // clipped
        LabelledBox::new(0, [30.0, 2.0, 9.0, 9.0]),    // right of the photo
        LabelledBox::new(0, [3.0, 2.0, 0.0, 9.0]),     // of no area
        LabelledBox::new(0, [f32::NAN, 2.0, 4.0, 9.0]),
        LabelledBox::new(0, [0.0, 0.0, f32::INFINITY, 9.0]),
        masked([1.0, 1.0, 4.0, 4.0], Mask::Rle(Rle::new(vec![0, 600], [30, 20]).unwrap())), // of another size
        masked([1.0, 1.0, 4.0, 4.0], triangle(1.0)),
        masked([1.0, 1.0, 4.0, 4.0], triangle(200.0)), // outside
        masked([1.0, 1.0, 4.0, 4.0], triangle(1e9)),
        LabelledBox::new(0, [-4.0, 2.0, 4.0, 9.0]), // ends where the photo begins
    ];
    let mut maker = SceneMaker::new(config(20, 100)).unwrap();
    let scene = maker.make(&photo(20, 30), &objects, SceneParams { shortest: 20, flip: true });
    assert_eq!(scene.objects[0].rect, [25.0, 0.0, 30.0, 20.0]);
    assert_eq!(
        scene.objects.iter().map(|o| o.mask.is_some()).collect::<Vec<_>>(),
        [false, false, true, false, false]
    );
    let out: Vec<(usize, bool)> =
        scene.left_out.iter().map(|out| (out.object.expect("one"), out.only_mask)).collect();
    assert_eq!(
        out,
        [(1, false), (2, false), (3, false), (4, false), (5, true), (7, true), (8, true), (9, false)]
    );
    assert!(scene.left_out[0].why.contains("30, 2 has no area in the photo"), "{}", scene.left_out[0].why);
    assert!(scene.left_out[4].why.contains("made for a photo of 20 x 30 pixels, this one has 30 x 20"));
    let empty = maker.make(&photo(20, 30), &[], SceneParams { shortest: 20, flip: false });
    assert!(empty.objects.is_empty() && empty.pixels.len() == 20 * 30 * 3);
}

#[test]
fn a_maker_can_be_given_to_every_thread() {
    fn given<T: Clone + Send>(_: T) {}
    given(SceneMaker::new(SceneConfig::default()).unwrap());
}
