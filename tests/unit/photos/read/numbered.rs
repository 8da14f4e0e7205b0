use super::*;
use crate::photos::masks::Bitmap;
use crate::rng::KeyedRng;
use png::{BitDepth, ColorType};

/// A PNG of a map of numbers, row by row.
fn png(size: [u32; 2], color: ColorType, depth: BitDepth, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, size[1], size[0]);
    encoder.set_color(color);
    encoder.set_depth(depth);
    if color == ColorType::Indexed {
        encoder.set_palette(vec![9; 3 * 256]); // all entries alike: only the numbers tell objects apart
    }
    encoder.write_header().unwrap().write_image_data(data).unwrap();
    bytes
}

fn packed(numbers: &[u8], width: usize, bits: usize) -> Vec<u8> {
    let byte =
        |part: &[u8]| (0..8 / bits).fold(0, |byte, i| (byte << bits) | part.get(i).copied().unwrap_or(0));
    numbers.chunks(width).flat_map(|row| row.chunks(8 / bits).map(byte).collect::<Vec<u8>>()).collect()
}

#[test]
fn every_number_is_an_object_at_every_depth() {
    let [height, width] = [13, 11];
    for (bits, depth) in [
        (1, BitDepth::One),
        (2, BitDepth::Two),
        (4, BitDepth::Four),
        (8, BitDepth::Eight),
        (16, BitDepth::Sixteen),
    ] {
        let mut rng = KeyedRng::new("numbers", 0, [bits, 0, 0]);
        let numbers: Vec<u16> = (0..height * width)
            .map(|_| if rng.chance(0.5) { 0 } else { rng.below(1u64 << bits.min(10)) as u16 })
            .collect();
        let small: Vec<u8> = numbers.iter().map(|&n| n as u8).collect();
        let data = match bits {
            16 => numbers.iter().flat_map(|n| n.to_be_bytes()).collect(),
            bits => packed(&small, width, bits as usize),
        };
        for color in [ColorType::Grayscale, ColorType::Indexed] {
            if bits == 16 && color == ColorType::Indexed {
                continue;
            }
            let found = masks(&png([13, 11], color, depth, &data)).unwrap();
            let mut expected: Vec<u16> = numbers.iter().copied().filter(|&n| n > 0).collect();
            expected.sort_unstable();
            expected.dedup();
            assert!(found.keys().map(|&n| n as u16).eq(expected), "{bits} bits");
            for (&number, mask) in &found {
                let pixels = numbers.iter().map(|&n| u8::from(usize::from(n) == number)).collect();
                assert_eq!(
                    *mask,
                    Rle::of(&Bitmap { size: [height, width], pixels }),
                    "{number} of {bits} bits"
                );
            }
        }
    }
    assert!(masks(&png([2, 3], ColorType::Grayscale, BitDepth::Eight, &[0; 6])).unwrap().is_empty());
}

#[test]
fn files_that_are_no_maps_of_numbers_say_why() {
    let sound = png([20, 30], ColorType::Grayscale, BitDepth::Eight, &[7; 600]);
    let colours = png([2, 2], ColorType::Rgb, BitDepth::Eight, &[0; 12]);
    let mut huge = sound.clone();
    huge[16..20].copy_from_slice(&(1u32 << 14).to_be_bytes());
    huge[20..24].copy_from_slice(&(1u32 << 13).to_be_bytes());
    let sum = crc32fast::hash(&huge[12..29]);
    huge[29..33].copy_from_slice(&sum.to_be_bytes());
    for (bytes, why) in [
        (&sound[..sound.len() / 2], "no sound PNG"),
        (&[], "no sound PNG"),
        (b"\xff\xd8\xff\xe0 a photo", "no sound PNG"),
        (&colours, "save it grey or indexed"),
        (&huge, "16384 x 8192 pixels in"),
    ] {
        let message = masks(bytes).unwrap_err();
        assert!(message.contains(why), "{message}");
    }
    // A file of few bytes whose every pixel begins a run.
    let ragged: Vec<u8> = (0..4096 * 4096).map(|i| (i / 4096 % 2) as u8).collect();
    let message = masks(&png([4096, 4096], ColorType::Grayscale, BitDepth::Eight, &ragged)).unwrap_err();
    assert!(message.contains("no mask is that ragged"), "{message}");
}
