//! Image operations (in 8 bits as Pillow, colours in floats too) and the kNN classifier.

use super::case::{GoldenCase, Outputs};
use vista::photos::Rgb;
use vista::photos::views::{self, CropBox};
use vista::transfer::classify::{Features, Knn};
use vista::{Device, Result};

fn image(case: &GoldenCase) -> Rgb {
    let array = case.array("in.image");
    let [height, width] = [array.shape[0], array.shape[1]];
    Rgb { width, height, data: array.values.iter().map(|&v| v as u8).collect() }
}

fn as_output(image: &Rgb) -> Result<Outputs> {
    Ok(Outputs::from([("out.image".into(), image.data.iter().map(|&v| f64::from(v)).collect())]))
}

/// Brightness, contrast, saturation and hue; which one is told by the case's name alone.
pub fn adjust(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let mut image = image(case);
    let factor = case.number("factor");
    match case.op.as_str() {
        "adjust_brightness" => views::adjust_brightness(&mut image, factor),
        "adjust_contrast" => views::adjust_contrast(&mut image, factor),
        "adjust_saturation" => views::adjust_saturation(&mut image, factor),
        _ => views::adjust_hue(&mut image, factor),
    }
    as_output(&image)
}

/// The same on floats; images are `[3, H, W]` in the file.
pub fn adjust_float(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let planes = &case.array("in.image").values;
    let pixels = planes.len() / 3;
    let mut image: Vec<f32> =
        (0..pixels).flat_map(|i| [0, 1, 2].map(|c| planes[c * pixels + i] as f32)).collect();
    let adjust = match case.op.as_str() {
        "adjust_brightness_float" => views::adjust_brightness_float,
        "adjust_contrast_float" => views::adjust_contrast_float,
        "adjust_saturation_float" => views::adjust_saturation_float,
        _ => views::adjust_hue_float,
    };
    adjust(&mut image, case.number("factor"));
    let planes = (0..3).flat_map(|c| image.iter().skip(c).step_by(3)).map(|&v| f64::from(v)).collect();
    Ok(Outputs::from([("out.image".into(), planes)]))
}

pub fn grayscale(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let mut image = image(case);
    views::grayscale(&mut image);
    as_output(&image)
}

pub fn horizontal_flip(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let mut image = image(case);
    views::horizontal_flip(&mut image.data, image.width);
    as_output(&image)
}

pub fn gaussian_blur(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let blurred = views::gaussian_blur(&image(case), case.number("sigma"));
    Ok(Outputs::from([("out.float".into(), blurred.into_iter().map(f64::from).collect())]))
}

pub fn resized_crop(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let corner = |i: usize| case.attrs["box"][i].as_u64().expect("a box") as usize;
    let crop = CropBox { x0: corner(0), y0: corner(1), x1: corner(2), y1: corner(3) };
    let [width, height] = case.pair("size");
    as_output(&views::resized_crop(&image(case), crop, width, height))
}

pub fn normalize_image(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let image = image(case);
    let triple = |key: &str| [0, 1, 2].map(|i| case.attrs[key][i].as_f64().expect("a number") as f32);
    let mut out = vec![0.0; image.data.len()];
    views::normalize(&image, triple("mean"), triple("std"), &mut out);
    // [H, W, 3] to [3, H, W]
    let planes = (0..3).flat_map(|c| out.iter().skip(c).step_by(3)).map(|&v| f64::from(v)).collect();
    Ok(Outputs::from([("out.x".into(), planes)]))
}

pub fn knn_classifier(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let set = |name: &str| {
        let array = case.array(&format!("in.{name}"));
        let labels = &case.array(&format!("in.{name}_labels")).values;
        Features {
            values: array.values.iter().map(|&v| v as f32).collect(),
            labels: labels.iter().map(|&l| l as usize).collect(),
        }
    };
    let knn = Knn { k: case.whole("k"), tau: case.number("tau") };
    let knn = knn.classify(device, &set("train"), &set("test"))?;
    Ok(Outputs::from([
        ("out.votes".into(), knn.votes.iter().map(|&v| f64::from(v)).collect()),
        ("out.predicted".into(), knn.predicted.iter().map(|&p| p as f64).collect()),
        ("out.top1".into(), vec![knn.top1]),
    ]))
}
