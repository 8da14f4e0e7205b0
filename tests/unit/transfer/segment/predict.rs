use super::*;
use crate::engine::device::Device;
use crate::transfer::segment::starting_segmenter;

fn tiny() -> SegmentConfig {
    let mut config = SegmentConfig::preset("segment-small").expect("a preset");
    config.segmenter.width = 4;
    config.crops.size = 33;
    config
}

fn photo(width: usize, height: usize) -> Rgb {
    let data: Vec<u8> = (0..width * height * 3).map(|i| (i * 37 % 251) as u8).collect();
    Rgb { width, height, data: data.into() }
}

#[test]
fn windows_cover_a_side_and_end_flush_with_it() {
    assert_eq!(starts(33, 33, 22), [0]);
    assert_eq!(starts(34, 33, 22), [0, 1]);
    assert_eq!(starts(100, 33, 22), [0, 22, 44, 66, 67]);
}

#[test]
fn a_photo_of_the_crops_size_is_one_pass_of_the_network() {
    let (mut config, device) = (tiny(), Device::cpu());
    config.eval.flip = false;
    let net = starting_segmenter(&config, 5, &device).expect("a segmenter");
    let photo = photo(33, 33);
    let mut pixels = vec![0.0; 33 * 33 * 3];
    normalize(&photo, config.crops.mean, config.crops.std, &mut pixels);
    let tape = Tape::inert(&device);
    let images = tape.constant(Tensor::new(&device, [1, 33, 33, 3], &pixels).expect("a photo"));
    let logits = net.pixels(&images, Mode::Eval).expect("logits").value().to_vec().expect("values");
    let map = segment(&net, &config, &photo).expect("a label map");
    for (at, logits) in logits.chunks(5).enumerate() {
        let best = (0..5).fold(0, |best, class| if logits[class] > logits[best] { class } else { best });
        assert_eq!(usize::from(map.classes[at]), best);
    }
}

#[test]
fn a_mirrored_photo_has_the_mirrored_label_map() {
    let config = tiny();
    let net = starting_segmenter(&config, 5, &Device::cpu()).expect("a segmenter");
    // One window: of several, the grid is not the same from both sides.
    let photo = photo(33, 33);
    let mut mirrored = photo.clone();
    crate::photos::views::horizontal_flip(&mut mirrored.data, 33);
    let [map, other] = [&photo, &mirrored].map(|photo| segment(&net, &config, photo).expect("a label map"));
    let turned: Vec<u8> = other.classes.chunks(33).flat_map(|row| row.iter().rev().copied()).collect();
    let same = map.classes.iter().zip(&turned).filter(|(a, b)| a == b).count();
    assert!(same >= 1088, "{same} of 1089");
}

#[test]
fn photos_of_any_size_and_several_scales_have_label_maps_of_their_size() {
    let mut config = tiny();
    config.eval.scales = vec![0.75, 1.0, 1.5];
    let net = starting_segmenter(&config, 3, &Device::cpu()).expect("a segmenter");
    for (width, height) in [(1, 1), (20, 50), (70, 35)] {
        let map = segment(&net, &config, &photo(width, height)).expect("a label map");
        assert_eq!((map.size, map.classes.len()), ([height, width], width * height));
    }
}
