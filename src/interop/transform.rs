//! How a photo becomes an encoder's input when it is judged, told to other programs: in Python, in a file's metadata, as nodes of
//! an ONNX graph.

use super::nodes::{Builder, FLOAT};
use super::proto::Attribute;
use crate::photos::views::{Detail, ViewConfig};

/// From a photo to a view: what [`ViewMaker::center`](crate::photos::views::ViewMaker::center) makes of a photo that was decoded as
/// finely as a run's views need it.
#[derive(Clone, Debug)]
pub struct Transform {
    /// Side of the view in pixels.
    pub size: usize,
    /// Subtracted from each channel, values in `[0, 1]`.
    pub mean: [f32; 3],
    /// Then divided by.
    pub std: [f32; 3],
    /// How finely JPEGs are decoded; `None` for all pixels.
    pub detail: Option<Detail>,
}

impl Transform {
    /// That of views from the middle.
    pub fn of(views: &ViewConfig, detail: Option<Detail>) -> Transform {
        Transform { size: views.size, mean: views.mean, std: views.std, detail }
    }

    /// Python that does it by Pillow and numpy: `decode(file)`, an upright RGB photo, and `view(file)`, `[3, size, size]`.
    pub fn functions(&self) -> [String; 2] {
        let [by_area, by_side] = self.detail.map_or([0.0; 2], |detail| detail.pixels());
        let values = [
            ("by_area", format!("{by_area:?}")),
            ("by_side", format!("{by_side:?}")),
            ("size", self.size.to_string()),
            ("mean", format!("{:?}", self.mean)),
            ("std", format!("{:?}", self.std)),
        ];
        [include_str!("python/decode.py"), include_str!("python/view.py")].map(|text| filled(text, &values))
    }

    /// The same for a file's metadata: numbers by name, and `transform`, the Python.
    pub fn facts(&self) -> Vec<(String, String)> {
        let facts = [
            ("channels", "RGB, values in [0, 1]".to_string()),
            ("mean", format!("{:?}", self.mean)),
            ("std", format!("{:?}", self.std)),
            ("image_size", self.size.to_string()),
            ("crop", "the centred square of 224/256 of the short side; a square photo whole".into()),
            ("interpolation", "bilinear, antialiased, in 8 bits (Pillow's BILINEAR)".into()),
            ("transform", self.functions().join("\n\n")),
        ];
        facts.map(|(key, value)| (key.to_string(), value)).into()
    }

    /// Nodes that make views `images` `[N, 3, size, size]` of decoded photos `photos`, u8 `[N, H, W, 3]`; the resize is a product
    /// with the filter's weights along each axis. See [`resized_crop`](crate::photos::views::resized_crop), whose weights are rounded:
    /// one byte in some thousands may be one apart.
    pub(super) fn nodes(&self, net: &mut Builder) {
        let size = self.size as i64;
        let one = [("1", 1), ("2", 2), ("3", 3), ("128", 128), ("224", 224), ("256", 256)];
        one.iter().for_each(|(name, n)| net.integers(name, &[*n]));
        let lists: [(&str, &[i64]); 3] =
            [("y_x", &[1, 2]), ("lines", &[0, 0, 3 * size]), ("pixels", &[0, size, size, 3])];
        lists.iter().for_each(|(name, values)| net.integers(name, values));
        net.floats("0.5", &[], &[0.5]);
        net.floats("1.0", &[], &[1.0]);
        net.floats("255.0", &[], &[255.0]);
        net.floats("size", &[], &[size as f32]);
        net.floats("middles", &[size, 1], &(0..size).map(|i| i as f32 + 0.5).collect::<Vec<_>>());
        net.floats("mean", &[3, 1, 1], &self.mean);
        net.floats("std", &[3, 1, 1], &self.std);
        for (op, output, inputs) in NODES {
            let ints =
                |name: &str, ints| Attribute { name: name.into(), ints, kind: 7, ..Attribute::default() };
            let attribute = match op {
                "Cast" => {
                    vec![Attribute { name: "to".into(), i: FLOAT.into(), kind: 2, ..Attribute::default() }]
                }
                "Transpose" => vec![ints("perm", vec![0, 3, 1, 2])],
                _ => Vec::new(),
            };
            net.node(op, output, inputs.split(' ').map(String::from).collect(), attribute);
        }
    }
}

/// The transform: an operator, what it makes, and of what.
const NODES: [(&str, &str, &str); 40] = [
    // The square: its side, where it begins and where it ends.
    ("Shape", "shape", "photos"),
    ("Slice", "height_width", "shape 1 3"),
    ("ReduceMin", "short", "height_width"),
    ("ReduceMax", "long", "height_width"),
    ("Mul", "short_224", "short 224"),
    ("Add", "short_224_128", "short_224 128"),
    ("Div", "short_part", "short_224_128 256"),
    ("Max", "inner", "short_part 1"),
    ("Equal", "is_square", "short long"),
    ("Where", "side", "is_square short inner"),
    ("Sub", "around", "height_width side"),
    ("Div", "begin", "around 2"),
    ("Add", "end", "begin side"),
    ("Slice", "square", "photos begin end y_x"),
    ("Cast", "square_float", "square"),
    // Weights [size, side] of a line's pixels: triangles around the middles of the view's.
    ("Cast", "side_float", "side"),
    ("Div", "scale", "side_float size"),
    ("Max", "support", "scale 1.0"),
    ("Mul", "centres", "middles scale"),
    ("Squeeze", "last", "side_float"),
    ("Range", "places", "0.5 last 1.0"),
    ("Sub", "apart", "places centres"),
    ("Abs", "distance", "apart"),
    ("Div", "of_support", "distance support"),
    ("Sub", "near", "1.0 of_support"),
    ("Relu", "triangle", "near"),
    ("ReduceSum", "sums", "triangle 1"),
    ("Div", "weights", "triangle sums"),
    // Along x [N, side, size, 3], then along y [N, size, size * 3]; bytes after each.
    ("MatMul", "along_x", "weights square_float"),
    ("Add", "along_x_half", "along_x 0.5"),
    ("Floor", "along_x_bytes", "along_x_half"),
    ("Reshape", "along_x_lines", "along_x_bytes lines"),
    ("MatMul", "along_y", "weights along_x_lines"),
    ("Add", "along_y_half", "along_y 0.5"),
    ("Floor", "along_y_bytes", "along_y_half"),
    ("Reshape", "view", "along_y_bytes pixels"),
    ("Transpose", "planes", "view"),
    ("Div", "of_white", "planes 255.0"),
    ("Sub", "centred", "of_white mean"),
    ("Div", "images", "centred std"),
];

/// Values of `[0, 1]` as those of bytes, rounded to four digits.
pub(super) fn bytes(values: [f32; 3]) -> [f64; 3] {
    values.map(|value| (f64::from(value) * 255e4).round() / 1e4)
}

/// A template with its `{{names}}` replaced; the file's name, which may hold anything, comes last.
pub(super) fn filled(template: &str, values: &[(&str, String)]) -> String {
    values
        .iter()
        .fold(template.to_string(), |text, (name, value)| text.replace(&format!("{{{{{name}}}}}"), value))
}

#[cfg(test)]
#[path = "../../tests/unit/interop/transform.rs"]
mod tests;
