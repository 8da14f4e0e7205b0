//! The image operations against golden values: Pillow's bytes, exact Gaussians.

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use vista::data::Rgb;
use vista::views::{self, CropBox};

/// One case: its metadata and tensors.
struct Golden {
    name: String,
    bytes: Vec<u8>,
}

impl Golden {
    fn metadata(&self, key: &str) -> String {
        let (_, header) = SafeTensors::read_metadata(&self.bytes).unwrap();
        header.metadata().as_ref().unwrap()[key].clone()
    }

    fn attrs(&self) -> serde_json::Value {
        serde_json::from_str(&self.metadata("attrs")).unwrap()
    }

    fn number(&self, key: &str) -> f64 {
        self.attrs()[key].as_f64().unwrap()
    }

    fn numbers(&self, key: &str) -> Vec<f64> {
        serde_json::from_value(self.attrs()[key].clone()).unwrap()
    }

    fn image(&self, name: &str) -> Rgb {
        let tensors = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = tensors.tensor(name).unwrap();
        Rgb { width: tensor.shape()[1], height: tensor.shape()[0], data: tensor.data().to_vec() }
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        let tensors = SafeTensors::deserialize(&self.bytes).unwrap();
        let data = tensors.tensor(name).unwrap().data().to_vec();
        data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    }

    /// The largest error; panics past `atol + rtol |expected|`.
    fn check(&self, name: &str, got: &[f32], expected: &[f32]) -> f32 {
        let tol: serde_json::Value = serde_json::from_str(&self.metadata("tol")).unwrap();
        let [rtol, atol] = [0, 1].map(|i| tol[name][i].as_f64().unwrap() as f32);
        assert_eq!(got.len(), expected.len(), "{}: {name}", self.name);
        let mut worst = 0.0f32;
        for (i, (g, e)) in got.iter().zip(expected).enumerate() {
            assert!(
                (g - e).abs() <= atol + rtol * e.abs(),
                "{}: {name}[{i}] is {g}, expected {e}",
                self.name
            );
            worst = worst.max((g - e).abs());
        }
        worst
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.iter().map(|&v| f32::from(v)).collect()
}

/// Runs one case and returns its largest error; `None` if it is not an image operation.
fn run(case: &Golden) -> Option<f32> {
    let mut image = match case.metadata("op").as_str() {
        op if !op.ends_with("_float") && case.name.contains(op) => case.image("in.image"),
        _ => return None,
    };
    match case.metadata("op").as_str() {
        "adjust_brightness" => views::adjust_brightness(&mut image, case.number("factor")),
        "adjust_contrast" => views::adjust_contrast(&mut image, case.number("factor")),
        "adjust_saturation" => views::adjust_saturation(&mut image, case.number("factor")),
        "adjust_hue" => views::adjust_hue(&mut image, case.number("factor")),
        "grayscale" => views::grayscale(&mut image),
        "horizontal_flip" => image = views::horizontal_flip(&image),
        "resized_crop" => {
            let [b, size] =
                ["box", "size"].map(|key| case.numbers(key).iter().map(|&v| v as usize).collect::<Vec<_>>());
            let crop = CropBox { x0: b[0], y0: b[1], x1: b[2], y1: b[3] };
            image = views::resized_crop(&image, crop, size[0], size[1]);
        }
        "gaussian_blur" => {
            let got = views::gaussian_blur(&image, case.number("sigma"));
            return Some(case.check("out.float", &got, &case.floats("out.float")));
        }
        "normalize_image" => {
            let [mean, std] = ["mean", "std"].map(|key| {
                let v = case.numbers(key);
                [v[0] as f32, v[1] as f32, v[2] as f32]
            });
            let mut pixels = vec![0.0; image.data.len()];
            views::normalize(&image, mean, std, &mut pixels);
            let channels: Vec<f32> =
                (0..3).flat_map(|c| pixels.iter().skip(c).step_by(3).copied().collect::<Vec<_>>()).collect();
            return Some(case.check("out.x", &channels, &case.floats("out.x")));
        }
        op => panic!("{op}: unknown"),
    }
    Some(case.check("out.image", &floats(&image.data), &floats(&case.image("out.image").data)))
}

#[test]
fn image_operations_match_their_golden_values() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let ops = ["adjust_", "grayscale", "horizontal_flip", "gaussian_blur", "resized_crop", "normalize_image"];
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut count = 0;
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if ops.iter().any(|op| name.starts_with(op)) {
            let case = Golden { name, bytes: std::fs::read(&path).unwrap() };
            if let Some(worst) = run(&case) {
                println!("{}: largest error {worst:.2e}", case.name);
                count += 1;
            }
        }
    }
    assert!(count >= 28, "only {count} cases");
}
