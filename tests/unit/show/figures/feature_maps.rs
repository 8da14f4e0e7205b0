use super::*;
use crate::engine::device::Device;
use crate::photos::{Album, AlbumOptions, Photos};
use crate::pretrain::{Config, ResNetEncoder};
use image::RgbImage;
use std::path::Path;

/// An encoder with 8 channels at the end, whose stride is 16.
fn narrow(config: &Config, seed: u64, device: &Device) -> ResNetEncoder {
    Config { seed, ..config.clone() }.encoder(device).expect("encoder")
}

fn config() -> Config {
    let demo = Config::preset("demo").expect("preset");
    let settings = ["model.width=1", "model.backbone=resnet18", "model.stem=small"];
    settings.iter().fold(demo, |config, setting| config.with(setting).expect("set"))
}

/// A photo: its name, width and height, and the colour of each pixel.
type Drawn<'a> = (&'a str, [u32; 2], fn(u32, u32) -> [u8; 3]);

/// Some photos, and a file that is none.
fn album(folder: &Path, photos: &[Drawn]) -> Album {
    for (name, [width, height], colour) in photos {
        let photo = RgbImage::from_fn(*width, *height, |x, y| image::Rgb(colour(x, y)));
        photo.save(folder.join(name)).expect("a photo");
    }
    std::fs::write(folder.join("broken.jpg"), "no photo").expect("a file");
    Album::new(Photos::open(folder.to_path_buf(), None).expect("photos"), AlbumOptions::default())
}

fn grain(x: u32, y: u32) -> u8 {
    (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503)).wrapping_mul(2_246_822_519).to_be_bytes()[0]
}

/// The figure of `count` photos of an album by encoders of two seeds, and the ids that it shows.
fn figure(album: &Album, count: usize) -> (Vec<usize>, Figure) {
    let (config, device) = (config(), Device::cpu());
    let sampler = Sampler { album, views: &config.views, seed: 0, device: &device };
    let (ids, mut done) = (sampler.spread(count).expect("photos"), 0);
    let [a, b] = [1, 2].map(|seed| narrow(&config, seed, &device));
    let figure = sampler.feature_maps(&ids, [&a.backbone, &b.backbone], &mut |n| done += n).expect("figure");
    assert_eq!(done, 2 * ids.len());
    (ids, figure)
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("an array").iter().map(|v| v.as_f64().expect("a finite number")).collect()
}

#[test]
fn photos_keep_their_shape_in_cells_but_for_long_strips() {
    for (photo, size) in [
        ([160, 160], [16, 16]),
        ([215, 160], [22, 16]),
        ([3000, 4500], [16, 24]),
        ([1, 1], [16, 16]),
        ([400, 100], [64, 16]),
        ([5000, 10], [64, 1]),
        ([10, 400], [2, 64]),
    ] {
        assert_eq!(cells(photo), size, "{photo:?}");
    }
}

#[test]
fn a_component_is_drawn_from_its_2nd_to_its_98th_percentile_and_even_without_variance() {
    let sorted: Vec<f64> = (0..=200).map(f64::from).collect();
    assert_eq!([0.02, 0.5, 0.98, 1.0].map(|share| percentile(&sorted, share)), [4.0, 100.0, 196.0, 200.0]);
    assert!((percentile(&sorted[..51], 0.25) - 12.5).abs() < 1e-12);
    assert_eq!((percentile(&[], 0.02), percentile(&[7.0], 0.98)), (0.0, 7.0));

    // Rows of two features: the first is the cell's number, the second never changes.
    let maps: Vec<f32> = (0..=200).flat_map(|i| [i as f32, 3.0]).collect();
    let painted = Painted::new("trained", &maps, 2);
    let fed = |first, width| Fed { id: 0, image: Rgb::new(1, 1), size: [width, 1], first };
    assert!((painted.shares[0] - 1.0).abs() < 1e-9 && painted.shares[1..] == [0.0; 2]);
    assert_eq!(painted.said(), "100 % of the variance (100, 0, 0)");
    let colours = painted.colours(&fed(0, 201));
    let colours = colours.data.as_chunks::<3>().0;
    let red: Vec<u8> = colours.iter().map(|c| c[0]).collect();
    assert!(red.is_sorted() || red.iter().rev().is_sorted());
    // 100 lies in the middle; from 4 to 196 each cell is 255 / 192 of a step.
    let up = |i: usize| if red.is_sorted() { i } else { 200 - i };
    for (cell, value) in [(0, 0), (4, 0), (5, 1), (100, 128), (148, 191), (196, 255), (200, 255)] {
        assert!(red[up(cell)].abs_diff(value) <= 1, "{cell}: {} for {value}", red[up(cell)]);
    }
    assert!(colours.iter().all(|c| c[1..] == [128; 2]));
    assert_eq!(painted.colours(&fed(7, 3)).data[..], colours[7..10].concat());
}

#[test]
fn every_cell_of_a_map_is_drawn_in_its_place() {
    let folder = tempfile::tempdir().expect("folder");
    let halves = |x: u32, y: u32| if x < 160 { [20, 30, 40] } else { [230, 30, grain(x, y)] };
    let album = album(folder.path(), &[("halves.png", [320, 200], halves)]);
    let (_, figure) = figure(&album, 1);
    let row = &figure.json["rows"][0];
    assert_eq!((&row["cells"], &row["pixels"]), (&json!([26, 16]), &json!([416, 256])));
    for name in ["untrained", "trained"] {
        assert_eq!(numbers(&row[name]).len(), 3 * 26 * 16);
    }
    // The first cell's colour is at the left upper corner of its map.
    let Drawing::Picture(picture) = &figure.drawing else { panic!("a picture") };
    let [low, high] = [0, 1].map(|end| figure.json["trained"]["ends"][0][end].as_f64().expect("a number"));
    let red = |cell: usize| {
        let score = numbers(&row["trained"])[cell * 3];
        (255.0 * ((score - low) / (high - low)).clamp(0.0, 1.0)).round() as u8
    };
    let (left, top) = (GAP + 2 * (26 * CELL + GAP), GAP + 3 * TEXT);
    for (cell, [x, y]) in [(0, [0, 0]), (1, [1, 0]), (26, [0, 1]), (26 * 16 - 1, [25, 15])] {
        for inside in [0, CELL - 1] {
            let at = (top + y * CELL + inside) * picture.width + left + x * CELL + inside;
            assert!(picture.data[at * 3].abs_diff(red(cell)) <= 1, "cell {cell}");
        }
    }
}

#[test]
fn odd_photos_are_drawn_and_what_is_no_photo_is_left_out() {
    let folder = tempfile::tempdir().expect("folder");
    let even = |_, _| [90, 120, 60];
    let album = album(
        folder.path(),
        &[("a.png", [64, 64], even), ("c.png", [3, 300], even), ("d.png", [1, 1], |_, _| [0; 3])],
    );
    // a, broken, c, d: the second of four parts holds nothing but the broken one.
    assert_eq!(figure(&album, 4).0, [0, 2, 3]);
    assert_eq!(figure(&album, 9).0, [0, 2, 3]);
    assert!(album.left_out().iter().any(|line| line.contains("broken.jpg")));
    for count in [1, 2, 4] {
        let (ids, figure) = figure(&album, count);
        for name in ["untrained", "trained"] {
            let shares = numbers(&figure.json[name]["of_components"]);
            let sum: f64 = shares.iter().sum();
            assert!(shares.len() == 3 && shares.iter().all(|s| (0.0..=1.0).contains(s)) && sum < 1.0 + 1e-9);
            for (row, _) in figure.json["rows"].as_array().expect("rows").iter().zip(&ids) {
                let cells = numbers(&row["cells"]).iter().product::<f64>() as usize;
                assert_eq!(numbers(&row[name]).len(), 3 * cells);
            }
        }
        let Drawing::Picture(picture) = &figure.drawing else { panic!("a picture") };
        assert_eq!(picture.data.len(), picture.width * picture.height * 3);
    }
    let device = Device::cpu();
    let nothing = tempfile::tempdir().expect("folder");
    let none = self::album(nothing.path(), &[]);
    let sampler = Sampler { album: &none, views: &config().views, seed: 0, device: &device };
    assert!(sampler.spread(3).unwrap_err().to_string().contains("broken.jpg"));
}
