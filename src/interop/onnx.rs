//! A backbone as an ONNX graph.

use super::proto::{
    Attribute, Dimension, Graph, Initializer, Model, Node, Opset, TensorShape, TensorType, Type, ValueInfo,
};
use super::{Transform, Weights};
use crate::engine::nn::{ResNetConfig, Stem};
use prost::Message;

/// Version of the file format, and of the operators: ONNX 1.10 (2021) and later read both.
const IR_VERSION: i64 = 8;
const OPSET: i64 = 15;
/// Types of elements.
pub(super) const FLOAT: i32 = 1;
const BYTE: i32 = 2;
const INTEGER: i32 = 7;
/// What batch norm adds to the variance.
const EPS: f32 = 1e-5;

/// The bytes of an ONNX file: normalised images `images` `[N, 3, H, W]` to pooled features `features` `[N, C]` and the last
/// feature map `map` `[N, C, h, w]`; N, H and W are free. Batch norm takes running statistics. `facts` become the
/// model's metadata. With a `transform` the input is decoded photos of one size, `photos`, u8 `[N, H, W, 3]`.
///
/// # Source
/// The operators Conv, BatchNormalization, Relu, MaxPool, Add, GlobalAveragePool and Flatten of ONNX, opset 15, and those of
/// arithmetic and shapes.
pub fn onnx(
    backbone: &ResNetConfig,
    weights: &Weights,
    transform: Option<&Transform>,
    facts: &[(String, String)],
) -> Vec<u8> {
    let mut net = Builder { weights, nodes: Vec::new(), constants: Vec::new() };
    if let Some(transform) = transform {
        transform.nodes(&mut net);
    }
    let stride = if backbone.stem == Stem::Imagenet { 2 } else { 1 };
    let mut x = net.conv("images", "conv1", "bn1", stride);
    x = net.relu(x);
    if backbone.stem != Stem::Cifar {
        x = net.node("MaxPool", "maxpool", vec![x], window(3, 2));
    }
    for (stage, depth) in (1..).zip(backbone.architecture.depths()) {
        for index in 0..depth {
            let stride = if stage > 1 && index == 0 { 2 } else { 1 };
            x = net.block(x, &format!("layer{stage}.{index}"), stride);
        }
    }
    // The map is an output: its name is its own.
    let map = net.nodes.last_mut().expect("a network has layers");
    map.output = vec!["map".into()];
    let pooled = net.node("GlobalAveragePool", "avgpool", vec!["map".into()], Vec::new());
    let axis = Attribute { name: "axis".into(), i: 1, kind: 2, ..Attribute::default() };
    net.node("Flatten", "features", vec![pooled], vec![axis]);
    let known = |size: usize| Dimension { size: size as i64, ..Dimension::default() };
    let free = |name: &str| Dimension { name: name.into(), ..Dimension::default() };
    let (n, channels) = (free("batch"), known(backbone.features()));
    let (height, width) = (free("height"), free("width"));
    let input = match transform {
        None => value("images", FLOAT, vec![n.clone(), known(3), height, width]),
        Some(_) => value("photos", BYTE, vec![n.clone(), height, width, known(3)]),
    };
    let graph = Graph {
        name: "backbone".into(),
        initializer: [initializers(weights, &net.nodes), net.constants].concat(),
        node: net.nodes,
        input: vec![input],
        output: vec![
            value("features", FLOAT, vec![n.clone(), channels.clone()]),
            value("map", FLOAT, vec![n, channels, free("map_height"), free("map_width")]),
        ],
    };
    let model = Model {
        ir_version: IR_VERSION,
        producer_name: "vista".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(graph),
        opset_import: vec![Opset { version: OPSET }],
        metadata_props: facts.iter().cloned().collect(),
    };
    model.encode_to_vec()
}

/// Nodes, each named after its output.
pub(super) struct Builder<'a> {
    weights: &'a Weights,
    nodes: Vec<Node>,
    constants: Vec<Initializer>,
}

impl Builder<'_> {
    fn has(&self, layer: &str) -> bool {
        self.weights.0.contains_key(&format!("{layer}.weight"))
    }

    /// Adds a node; its output is called like itself.
    pub(super) fn node(
        &mut self,
        op: &str,
        name: &str,
        input: Vec<String>,
        attribute: Vec<Attribute>,
    ) -> String {
        let (op_type, output) = (op.to_string(), vec![name.to_string()]);
        self.nodes.push(Node { input, output, name: name.into(), op_type, attribute });
        name.into()
    }

    /// Adds a constant of f32.
    pub(super) fn floats(&mut self, name: &str, dims: &[i64], values: &[f32]) {
        self.constant(name, dims, FLOAT, values.iter().flat_map(|v| v.to_le_bytes()).collect());
    }

    /// Adds a list of i64.
    pub(super) fn integers(&mut self, name: &str, values: &[i64]) {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(name, &[values.len() as i64], INTEGER, bytes);
    }

    fn constant(&mut self, name: &str, dims: &[i64], data_type: i32, raw_data: Vec<u8>) {
        self.constants.push(Initializer { dims: dims.to_vec(), data_type, name: name.into(), raw_data });
    }

    /// A convolution that keeps the size at stride 1, and its batch norm.
    fn conv(&mut self, x: &str, conv: &str, norm: &str, stride: i64) -> String {
        let weight = format!("{conv}.weight");
        let kernel = self.weights.0[&weight].shape[2] as i64;
        let y = self.node("Conv", conv, vec![x.into(), weight], window(kernel, stride));
        let inputs = ["weight", "bias", "running_mean", "running_var"].map(|p| format!("{norm}.{p}"));
        let epsilon = Attribute { name: "epsilon".into(), f: EPS, kind: 1, ..Attribute::default() };
        self.node("BatchNormalization", norm, [vec![y], inputs.into()].concat(), vec![epsilon])
    }

    fn relu(&mut self, x: String) -> String {
        self.node("Relu", &format!("{x}.relu"), vec![x], Vec::new())
    }

    /// Convolutions each with its batch norm, relu between them, the shortcut added, relu.
    fn block(&mut self, x: String, block: &str, stride: i64) -> String {
        let layers = (1..).take_while(|i| self.has(&format!("{block}.conv{i}"))).count();
        // The stride is in the 3x3: the first convolution of a basic block, the second of a bottleneck.
        let strided = if layers == 3 { 2 } else { 1 };
        let mut y = x.clone();
        for i in 1..=layers {
            let stride = if i == strided { stride } else { 1 };
            y = self.conv(&y, &format!("{block}.conv{i}"), &format!("{block}.bn{i}"), stride);
            if i < layers {
                y = self.relu(y);
            }
        }
        let [conv, norm] = [0, 1].map(|i| format!("{block}.downsample.{i}"));
        let shortcut = if self.has(&conv) { self.conv(&x, &conv, &norm, stride) } else { x };
        let sum = self.node("Add", &format!("{block}.add"), vec![y, shortcut], Vec::new());
        self.relu(sum)
    }
}

/// The arrays that the nodes read.
fn initializers(weights: &Weights, nodes: &[Node]) -> Vec<Initializer> {
    let names = nodes.iter().flat_map(|node| &node.input);
    let array = |name: &String| {
        let array = weights.0.get(name)?;
        Some(Initializer {
            dims: array.shape.iter().map(|&n| n as i64).collect(),
            data_type: FLOAT,
            name: name.clone(),
            raw_data: array.values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        })
    };
    names.filter_map(array).collect()
}

/// A square window that keeps the size at stride 1.
fn window(kernel: i64, stride: i64) -> Vec<Attribute> {
    let ints = |name: &str, ints| Attribute { name: name.into(), ints, kind: 7, ..Attribute::default() };
    vec![
        ints("kernel_shape", vec![kernel; 2]),
        ints("strides", vec![stride; 2]),
        ints("pads", vec![kernel / 2; 4]),
    ]
}

/// A tensor that goes in or comes out.
fn value(name: &str, elem_type: i32, dim: Vec<Dimension>) -> ValueInfo {
    let tensor = TensorType { elem_type, shape: Some(TensorShape { dim }) };
    ValueInfo { name: name.into(), kind: Some(Type { tensor_type: Some(tensor) }) }
}

#[cfg(test)]
#[path = "../../tests/unit/interop/onnx.rs"]
mod tests;
