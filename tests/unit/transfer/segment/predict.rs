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

/// The label map of a photo as it is defined, pixel by pixel: every window that holds it, mirrored or not, at every scale.
fn by_definition(net: &Segmenter, config: &SegmentConfig, photo: &Rgb, classes: usize) -> Vec<Vec<f32>> {
    let (side, device) = (config.crops.size, net.device());
    let mut sums = vec![vec![0.0; classes]; photo.width * photo.height];
    for &scale in &config.eval.scales {
        let [h, w] = [photo.height, photo.width].map(|side| (side as f64 * scale).round() as usize);
        let scaled =
            if scale == 1.0 { photo.clone() } else { resized_crop(photo, CropBox::whole(photo), w, h) };
        let mut pixels = vec![0.0; 3 * h * w];
        normalize(&scaled, config.crops.mean, config.crops.std, &mut pixels);
        let (tall, wide) = (h.max(side), w.max(side));
        let [above, before] = [(tall - h) / 2, (wide - w) / 2];
        let stride = (side as f64 * config.eval.stride).ceil() as usize;
        let mut field = vec![vec![0.0; classes]; h * w];
        let mut counts = vec![0.0; h * w];
        for top in starts(tall, side, stride) {
            for left in starts(wide, side, stride) {
                for flip in [false, true] {
                    let turned = |x: usize| if flip { side - 1 - x } else { x };
                    let mut window = vec![0.0; side * side * 3];
                    let inside = |y: usize, x: usize| {
                        let (y, x) = ((top + y).checked_sub(above)?, (left + x).checked_sub(before)?);
                        (y < h && x < w).then_some(y * w + x)
                    };
                    for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
                        let Some(at) = inside(y, x) else { continue };
                        window[(y * side + turned(x)) * 3..][..3].copy_from_slice(&pixels[3 * at..][..3]);
                    }
                    let tape = Tape::inert(&device);
                    let window = Tensor::new(&device, [1, side, side, 3], &window).expect("a window");
                    let said = net.pixels(&tape.constant(window), Mode::Eval).and_then(|x| x.softmax());
                    let said = said.and_then(|x| x.value().to_vec()).expect("probabilities");
                    for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
                        let Some(at) = inside(y, x) else { continue };
                        counts[at] += 1.0;
                        let of = &said[(y * side + turned(x)) * classes..][..classes];
                        field[at].iter_mut().zip(of).for_each(|(sum, value)| *sum += value);
                    }
                }
            }
        }
        // Between the centres of pixels, those at edges repeated.
        let place = |i: usize, n: usize, of: usize| {
            (((i as f64 + 0.5) * of as f64 / n as f64) - 0.5).clamp(0.0, (of - 1) as f64)
        };
        for (at, sum) in sums.iter_mut().enumerate() {
            let (y, x) = (place(at / photo.width, photo.height, h), place(at % photo.width, photo.width, w));
            for (dy, dx) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let near = |at: f64, d: usize| if d == 0 { 1.0 - at.fract() } else { at.fract() };
                let weight = near(y, dy) * near(x, dx);
                let from = (y as usize + dy).min(h - 1) * w + (x as usize + dx).min(w - 1);
                for (sum, value) in sum.iter_mut().zip(&field[from]) {
                    *sum += (weight * f64::from(value / counts[from])) as f32;
                }
            }
        }
    }
    sums
}

#[test]
fn windows_mirrors_and_scales_are_averaged_as_they_are_defined() {
    let mut config = tiny();
    let net = starting_segmenter(&config, 4, &Device::cpu()).expect("a segmenter");
    for (scales, width, height) in [(vec![1.0], 70, 50), (vec![0.75, 1.5], 50, 70), (vec![1.0, 0.5], 20, 45)]
    {
        config.eval.scales = scales;
        let photo = photo(width, height);
        let map = segment(&net, &config, &photo).expect("a label map");
        for (at, expected) in by_definition(&net, &config, &photo, 4).iter().enumerate() {
            let most = expected.iter().copied().fold(0.0, f32::max);
            let said = expected[usize::from(map.classes[at])];
            assert!(said > most - 1e-4, "pixel {at} of {width} x {height}: {said} of {expected:?}");
        }
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
