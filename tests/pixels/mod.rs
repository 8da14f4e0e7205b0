//! Pictures of every kind against the pixels that libjpeg-turbo and Pillow give: `make.py` made both.

use std::collections::BTreeMap;

use safetensors::SafeTensors;
use vista::photos::{decode, decode_scaled};
use vista::rng::KeyedRng;

const VARIANTS: &[u8] = include_bytes!("variants.safetensors");
const SCALED: &[u8] = include_bytes!("scaled.safetensors");

/// Each picture's bytes; and its pixels with their shape, or the reason that must be given.
type Variant<'a> = (&'a [u8], Result<(&'a [usize], &'a [u8]), &'a str>);

fn check(select: impl Fn(&str) -> bool, tolerance: u8) {
    let (_, header) = SafeTensors::read_metadata(VARIANTS).unwrap();
    let reasons = header.metadata().clone().unwrap_or_default();
    let file = SafeTensors::deserialize(VARIANTS).unwrap();
    let tensors: BTreeMap<&str, _> = file.iter().collect();
    let mut variants: BTreeMap<&str, Variant> = BTreeMap::new();
    for (&name, bytes) in tensors.iter().filter(|(name, _)| !name.ends_with(".rgb") && select(name)) {
        let wanted = match tensors.get(&*format!("{name}.rgb")) {
            Some(pixels) => Ok((pixels.shape(), pixels.data())),
            None => Err(&*reasons[name]),
        };
        variants.insert(name, (bytes.data(), wanted));
    }
    let mut wrong = Vec::new();
    for (name, (bytes, wanted)) in &variants {
        match (decode(bytes), wanted) {
            (Ok(image), Ok((shape, pixels))) => {
                let far = image.data.iter().zip(*pixels).map(|(a, b)| a.abs_diff(*b)).max();
                if **shape != [image.height, image.width, 3] || far > Some(tolerance) {
                    wrong.push(format!("{name}: {}x{}, {far:?}", image.width, image.height));
                }
            }
            (Err(why), Err(wanted)) if why.contains(wanted) => {}
            (got, wanted) => {
                wrong.push(format!("{name}: {:?}, wanted {:?}", got.map(|_| ()), wanted.map(|_| ())))
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), variants.len(), wrong.join("\n"));
    assert!(!variants.is_empty());
}

#[test]
fn jpegs_have_the_pixels_of_libjpeg_turbo_or_are_left_out_by_name() {
    check(|name| name.starts_with("jpeg/"), 0);
}

#[test]
fn jpegs_at_a_part_of_their_size_have_the_pixels_of_libjpeg_turbo() {
    let (variants, scaled) =
        (SafeTensors::deserialize(VARIANTS).unwrap(), SafeTensors::deserialize(SCALED).unwrap());
    let mut wrong = Vec::new();
    for (name, wanted) in scaled.iter() {
        let (bytes, mut wanted) = (variants.tensor(name).unwrap(), wanted.data());
        let whole = decode(bytes.data()).unwrap();
        for scale in [2, 4, 8] {
            let image = decode_scaled(bytes.data(), scale).unwrap();
            let (width, height) = (whole.width.div_ceil(scale), whole.height.div_ceil(scale));
            let pixels;
            (pixels, wanted) = wanted.split_at(width * height * 3);
            if (image.width, image.height) != (width, height) || image.data != pixels {
                let far = image.data.iter().zip(pixels).map(|(a, b)| a.abs_diff(*b)).max();
                wrong.push(format!("{name} at 1/{scale}: {}x{}, {far:?}", image.width, image.height));
            }
        }
        assert!(wanted.is_empty(), "{name}");
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), 3 * scaled.len(), wrong.join("\n"));
    assert!(scaled.len() > 200);
}

#[test]
fn pngs_have_their_samples_rounded_to_8_bits() {
    check(|name| name.starts_with("png/"), 0);
}

#[test]
fn other_formats_have_the_pixels_of_pillow_or_say_what_they_are() {
    check(|name| !name.starts_with("jpeg/") && !name.starts_with("png/"), 1);
}

#[test]
fn every_cut_through_a_jpeg_is_refused_or_gives_all_its_pixels() {
    let file = SafeTensors::deserialize(VARIANTS).unwrap();
    for name in ["jpeg/sizes/2x2/9x17", "jpeg/rgb-progressive/13x10/adobe", "jpeg/exif/II_long_6"] {
        let bytes = file.tensor(name).unwrap().data().to_vec();
        let whole = decode(&bytes).unwrap();
        for cut in 0..bytes.len() {
            match decode(&bytes[..cut]) {
                Ok(image) => assert_eq!(image, whole, "{name} cut at {cut} of {}", bytes.len()),
                Err(why) if cut >= 3 => assert_eq!(why, "truncated JPEG", "{name} cut at {cut}"),
                Err(_) => {}
            }
            // As a broken download leaves it: in full length, filled up with zeros.
            let filled = [&bytes[..cut], &[0; 4096]].concat();
            assert!(decode(&filled).is_err(), "{name} cut at {cut} and filled up");
        }
    }
}

#[test]
fn damaged_pictures_of_every_kind_decode_or_give_a_reason_soon() {
    let file = SafeTensors::deserialize(VARIANTS).unwrap();
    let names: Vec<&str> = file.names().into_iter().filter(|name| !name.ends_with(".rgb")).collect();
    for (i, name) in names.into_iter().enumerate() {
        let sound = file.tensor(name).unwrap().data().to_vec();
        let mut rng = KeyedRng::new("damage", 9, [i as u64, 0, 0]);
        for _ in 0..if sound.is_empty() { 0 } else { 40 } {
            let mut bytes = sound.clone();
            let mut any = |n: usize| rng.below(n as u64) as usize;
            for _ in 0..=any(4) {
                let at = any(bytes.len());
                match any(6) {
                    0 => bytes[at] = 0xFF,
                    1 => bytes[at] = any(256) as u8,
                    2 => bytes.truncate(at.max(8)),
                    _ => bytes[at] ^= 1 << any(8),
                }
            }
            match decode(&bytes) {
                Ok(image) => assert_eq!(image.data.len(), 3 * image.width * image.height),
                Err(why) => assert!(why != "the decoder failed", "{name}: {bytes:?}"),
            }
        }
    }
}
