use super::*;
use crate::photos::views::ViewParams;
use crate::rng::KeyedRng;

#[test]
fn every_crop_of_a_photo_that_is_decoded_smaller_has_twice_the_pixels_of_its_view() {
    let configs = [
        ViewConfig::moco_v2(32),
        ViewConfig::simclr(20),
        ViewConfig { crop_scale: [0.5, 0.6], crop_ratio: [2.0, 3.0], ..ViewConfig::moco_v2(24) },
        ViewConfig { crop_scale: [0.9, 1.0], crop_ratio: [0.2, 0.4], ..ViewConfig::moco_v2(9) },
    ];
    let mut smaller = 0;
    for config in configs {
        let detail = Detail::of(std::slice::from_ref(&config)).unwrap();
        for [width, height] in [[4000, 3000], [1500, 1500], [700, 2100], [4000, 260], [333, 500], [60, 41]] {
            let scale = detail.scale([width, height]);
            assert_eq!(scale, detail.scale([height, width]), "whichever way up it is");
            smaller += usize::from(scale > 1);
            let [width, height] = [width, height].map(|side: usize| side.div_ceil(scale));
            for i in 0..200 {
                let mut rng = KeyedRng::new("view", 0, [0, i, 0]);
                let crop = ViewParams::draw(&config, width, height, &mut rng).crop;
                let least = crop.width().min(crop.height());
                assert!(
                    scale == 1 || least + 1 >= 2 * config.size,
                    "{width} x {height} at 1/{scale}: {crop:?}"
                );
            }
        }
    }
    assert!(smaller > 8);
}

#[test]
fn the_scale_is_that_of_the_most_demanding_view() {
    let (fine, coarse) = (ViewConfig::moco_v2(224), ViewConfig::moco_v2(32));
    let phone = [4000, 3000]; // its smallest crop has 1342 pixels along a side
    let scale = |views: &[ViewConfig]| Detail::of(views).unwrap().scale(phone);
    assert_eq!(
        [scale(std::slice::from_ref(&coarse)), scale(&[coarse.clone(), fine.clone()]), scale(&[fine])],
        [8, 2, 2]
    );
    assert_eq!(Detail::of_side(375).scale(phone), 4);
    assert_eq!(Detail::of_side(376).scale(phone), 2);
    assert_eq!(Detail::of(&[]), None);
}

#[test]
fn photos_of_the_usual_benchmarks_are_decoded_whole() {
    let detail = Detail::of(&[ViewConfig::moco_v2(224)]).unwrap();
    assert!([[640, 480], [500, 375], [500, 500], [2000, 1500]].iter().all(|&size| detail.scale(size) == 1));
}
