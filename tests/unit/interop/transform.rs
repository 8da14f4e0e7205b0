use super::super::proto::{Attribute, Graph, Initializer, Model, Node};
use super::*;
use crate::engine::device::Device;
use crate::engine::nn::{Architecture, ResNet, ResNetConfig, Stem};
use crate::interop::{Weights, onnx};
use crate::photos::Rgb;
use crate::photos::views::ViewMaker;
use crate::rng::KeyedRng;
use prost::Message;
use rand::{SeedableRng, rngs::StdRng};
use std::collections::HashMap;

/// An array of ONNX; whole numbers are floats that are whole, and `whole` says how they are divided.
#[derive(Clone, Debug)]
struct Array {
    shape: Vec<usize>,
    values: Vec<f32>,
    whole: bool,
}

impl Array {
    fn constant(of: &Initializer) -> Array {
        let whole = of.data_type == 7;
        let values = match whole {
            true => of.raw_data.as_chunks::<8>().0.iter().map(|&b| i64::from_le_bytes(b) as f32).collect(),
            false => of.raw_data.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
        };
        Array { shape: of.dims.iter().map(|&n| n as usize).collect(), values, whole }
    }

    fn sizes(&self) -> Vec<usize> {
        self.values.iter().map(|&v| v as usize).collect()
    }

    fn map(&self, f: impl Fn(f32) -> f32) -> Array {
        Array { values: self.values.iter().map(|&v| f(v)).collect(), ..self.clone() }
    }

    /// The element at a place of a shape that this one is spread over.
    fn spread(&self, shape: &[usize], mut at: usize) -> f32 {
        let (mut place, mut stride) = (0, 1);
        for (back, &size) in shape.iter().rev().enumerate() {
            let i = at % size;
            at /= size;
            if let Some(own) = self.shape.len().checked_sub(back + 1).map(|axis| self.shape[axis]) {
                place += if own == 1 { 0 } else { i * stride };
                stride *= own;
            }
        }
        self.values[place]
    }

    fn with(&self, other: &Array, f: impl Fn(f32, f32) -> f32) -> Array {
        let rank = self.shape.len().max(other.shape.len());
        let size = |of: &Array, axis: usize| {
            (axis + of.shape.len()).checked_sub(rank).map_or(1, |axis| of.shape[axis])
        };
        let shape: Vec<usize> = (0..rank).map(|axis| size(self, axis).max(size(other, axis))).collect();
        let count = shape.iter().product();
        let values = (0..count).map(|i| f(self.spread(&shape, i), other.spread(&shape, i))).collect();
        Array { shape, values, whole: self.whole && other.whole }
    }

    /// What lies from `begin` to `end` along some axes.
    fn slice(&self, begin: &[usize], end: &[usize], axes: &[usize]) -> Array {
        let bounds: Vec<[usize; 2]> = (0..self.shape.len())
            .map(|axis| {
                axes.iter().position(|&a| a == axis).map_or([0, self.shape[axis]], |i| [begin[i], end[i]])
            })
            .collect();
        let shape: Vec<usize> = bounds.iter().map(|[from, to]| to - from).collect();
        let value = |mut at: usize| {
            let (mut place, mut stride) = (0, 1);
            for axis in (0..shape.len()).rev() {
                place += (at % shape[axis] + bounds[axis][0]) * stride;
                (at, stride) = (at / shape[axis], stride * self.shape[axis]);
            }
            self.values[place]
        };
        let values = (0..shape.iter().product()).map(value).collect();
        Array { values, shape, whole: self.whole }
    }

    /// A matrix times the last two axes.
    fn times(&self, x: &Array) -> Array {
        let (&[m, k], &[.., n]) = (&self.shape[..], &x.shape[..]) else { panic!("no matrix") };
        let rows = x.values.chunks_exact(k * n).flat_map(|x| {
            (0..m * n)
                .map(move |at| (0..k).map(|j| self.values[at / n * k + j] * x[j * n + at % n]).sum::<f32>())
        });
        let mut shape = x.shape.clone();
        shape[x.shape.len() - 2] = m;
        Array { values: rows.collect(), shape, whole: false }
    }
}

/// What a node of the transform makes of its inputs.
fn run(node: &Node, x: &[&Array]) -> Array {
    let number = |values: Vec<usize>| Array {
        shape: vec![values.len()],
        values: values.into_iter().map(|n| n as f32).collect(),
        whole: true,
    };
    let extreme = |f: fn(f32, f32) -> f32| Array {
        shape: vec![1],
        values: vec![x[0].values.iter().copied().reduce(f).expect("values")],
        whole: x[0].whole,
    };
    match node.op_type.as_str() {
        "Shape" => number(x[0].shape.clone()),
        "Slice" => {
            let axes = x.get(3).map_or(vec![0], |axes| axes.sizes());
            x[0].slice(&x[1].sizes(), &x[2].sizes(), &axes)
        }
        "ReduceMin" => extreme(f32::min),
        "ReduceMax" => extreme(f32::max),
        "Mul" => x[0].with(x[1], |a, b| a * b),
        "Add" => x[0].with(x[1], |a, b| a + b),
        "Sub" => x[0].with(x[1], |a, b| a - b),
        "Div" if x[0].whole => x[0].with(x[1], |a, b| (a / b).trunc()),
        "Div" => x[0].with(x[1], |a, b| a / b),
        "Max" => x[0].with(x[1], f32::max),
        "Equal" => x[0].with(x[1], |a, b| f32::from(u8::from(a == b))),
        "Where" => if x[0].values[0] == 1.0 { x[1] } else { x[2] }.clone(),
        "Cast" => Array { whole: false, ..x[0].clone() },
        "Squeeze" => Array { shape: Vec::new(), ..x[0].clone() },
        "Range" => {
            let [from, to, step] = [0, 1, 2].map(|i| x[i].values[0]);
            let count = ((to - from) / step).ceil() as usize;
            let values = (0..count).map(|i| from + i as f32 * step).collect();
            Array { shape: vec![count], values, whole: false }
        }
        "Abs" => x[0].map(f32::abs),
        "Relu" => x[0].map(|v| v.max(0.0)),
        "Floor" => x[0].map(f32::floor),
        "ReduceSum" => {
            assert_eq!((x[0].shape.len(), x[1].sizes()), (2, vec![1]));
            let sums = x[0].values.chunks_exact(x[0].shape[1]).map(|row| row.iter().sum()).collect();
            Array { shape: vec![x[0].shape[0], 1], values: sums, whole: false }
        }
        "MatMul" => x[0].times(x[1]),
        "Reshape" => {
            let sizes = x[1].sizes().into_iter().enumerate();
            let shape = sizes.map(|(axis, n)| if n == 0 { x[0].shape[axis] } else { n }).collect();
            Array { shape, ..x[0].clone() }
        }
        "Transpose" => {
            let &[n, h, w, c] = &x[0].shape[..] else { panic!("no images") };
            let Attribute { ints, .. } = &node.attribute[0];
            assert_eq!(ints, &[0, 3, 1, 2]);
            let at = |i: usize| x[0].values[(i / (c * h * w) * h * w + i % (h * w)) * c + i / (h * w) % c];
            Array { shape: vec![n, c, h, w], values: (0..x[0].values.len()).map(at).collect(), whole: false }
        }
        other => panic!("{other} is no part of the transform"),
    }
}

fn graph(transform: &Transform) -> Graph {
    let config = ResNetConfig {
        architecture: Architecture::Resnet18,
        width: 4,
        stem: Stem::Cifar,
        zero_init: false,
        dilated: 0,
    };
    let net = ResNet::new(&Device::cpu(), &mut StdRng::seed_from_u64(1), &config).expect("network");
    let bytes = onnx(&config, &Weights::of(&net).expect("weights"), Some(transform), &transform.facts());
    Model::decode(&bytes[..]).expect("it reads what it wrote").graph.expect("a graph")
}

/// The images that a graph's own transform makes of decoded photos of one size.
fn images(graph: &Graph, photos: &[Rgb]) -> Array {
    let shape = vec![photos.len(), photos[0].height, photos[0].width, 3];
    let values = photos.iter().flat_map(|photo| photo.data.iter().map(|&v| f32::from(v))).collect();
    let mut known: HashMap<&str, Array> =
        graph.initializer.iter().map(|i| (i.name.as_str(), Array::constant(i))).collect();
    known.insert("photos", Array { shape, values, whole: true });
    for node in &graph.node {
        let made = run(node, &node.input.iter().map(|name| &known[name.as_str()]).collect::<Vec<_>>());
        if node.output[0] == "images" {
            return made;
        }
        known.insert(&node.output[0], made);
    }
    panic!("the graph makes no images")
}

#[test]
fn a_graph_with_its_transform_sees_the_views_of_judging() {
    let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    let mut rng = KeyedRng::new("transform", 0, [0; 3]);
    // Wide, tall, square, smaller than the view, one pixel in one direction; what Pillow halves exactly.
    for ([width, height], size) in
        [([61, 40], 16), ([33, 90], 24), ([48, 48], 16), ([9, 7], 16), ([1, 5], 4), ([64, 64], 32)]
    {
        let transform = Transform { size, mean, std, detail: None };
        let graph = graph(&transform);
        assert_eq!((graph.input[0].name.as_str(), graph.input.len()), ("photos", 1));
        let photo = || {
            let mut photo = Rgb::new(width, height);
            photo.data.iter_mut().for_each(|v| *v = rng.below(256) as u8);
            photo
        };
        let photos: Vec<Rgb> = std::iter::repeat_with(photo).take(2).collect();
        let made = images(&graph, &photos);
        assert_eq!(made.shape, [2, 3, size, size]);
        let views = ViewConfig { size, mean, std, ..ViewConfig::default() };
        let mut maker = ViewMaker::new(views).expect("views");
        for (i, photo) in photos.iter().enumerate() {
            let mut view = vec![0.0; size * size * 3];
            maker.center(photo, &mut view);
            let differs = |at: &usize| {
                let (c, pixel) = (at / (size * size), at % (size * size));
                let apart = (made.values[i * view.len() + at] - view[pixel * 3 + c]) * std[c] * 255.0;
                assert!(apart.abs() < 1.01, "{width}x{height} to {size}: {apart} of 255");
                apart.abs() > 0.01
            };
            // Weights are floats here and rounded to 22 bits there: a sum that is a half may fall to either side.
            let other = (0..view.len()).filter(differs).count();
            assert!(other * 100 <= view.len(), "{width}x{height} to {size}: {other} of {} bytes", view.len());
        }
    }
}

#[test]
fn the_python_has_the_numbers_of_the_transform() {
    let detail = Detail::of(&[ViewConfig::moco_v2(96)]);
    let whole = Transform::of(&ViewConfig { mean: [0.25, 0.5, 0.75], ..ViewConfig::moco_v2(96) }, detail);
    let text = whole.functions().join("\n\n");
    for part in
        ["(96, 96)", "BILINEAR", "[0.25, 0.5, 0.75]", "[0.229, 0.224, 0.225]", "* 224 + 128) // 256", "draft"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let facts: HashMap<String, String> = whole.facts().into_iter().collect();
    assert_eq!((facts["image_size"].as_str(), &facts["transform"]), ("96", &text));
    // The scale at which it has a JPEG decoded is the album's.
    let [by_area, by_side] = detail.expect("views").pixels();
    for size in [[640, 480], [4000, 3000], [1000, 90], [96, 96], [2000, 1500]] {
        let (w, h) = (size[0] as f64, size[1] as f64);
        let pixels = (by_area * (w * h).sqrt()).min(by_side * w.min(h));
        let scale = [1, 2, 4, 8].into_iter().filter(|&s| s == 1 || 2.0 * s as f64 <= pixels).max();
        assert_eq!(scale, Some(detail.expect("views").scale(size)), "{size:?}");
    }
    assert!(Transform { detail: None, ..whole }.functions()[0].contains("min(0.0 *"));
}
