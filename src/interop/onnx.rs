//! A backbone as an ONNX graph.

use super::nodes::{Builder, FLOAT, window};
use super::proto::{
    Attribute, Dimension, Graph, Initializer, Model, Node, Opset, TensorShape, TensorType, Type, ValueInfo,
};
use super::{Transform, Weights};
use crate::engine::nn::{ResNetConfig, Stem};
use prost::Message;

/// Version of the file format, and of the operators: ONNX 1.10 (2021) and later read both.
const IR_VERSION: i64 = 8;
const OPSET: i64 = 15;
/// The type of bytes.
const BYTE: i32 = 2;

/// The bytes of an ONNX file: normalised images `images` `[N, 3, H, W]` to pooled features `features` `[N, C]` and the last
/// feature map `map` `[N, C, h, w]`; N, H and W are free. Batch norm takes running statistics. `facts` become the
/// model's metadata. With a `transform` the input is decoded photos of one size, `photos`, u8 `[N, H, W, 3]`.
///
/// # Panics
/// If a stage is dilated, which only a segmenter's is.
/// # Source
/// The operators Conv, BatchNormalization, Relu, MaxPool, Add, GlobalAveragePool and Flatten of ONNX, opset 15, and those of
/// arithmetic and shapes.
pub fn onnx(
    backbone: &ResNetConfig,
    weights: &Weights,
    transform: Option<&Transform>,
    facts: &[(String, String)],
) -> Vec<u8> {
    assert_eq!(backbone.dilated, 0, "a network with strides leaves, not one that is dilated");
    let mut net = Builder::new(weights);
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

/// A tensor that goes in or comes out.
fn value(name: &str, elem_type: i32, dim: Vec<Dimension>) -> ValueInfo {
    let tensor = TensorType { elem_type, shape: Some(TensorShape { dim }) };
    ValueInfo { name: name.into(), kind: Some(Type { tensor_type: Some(tensor) }) }
}

#[cfg(test)]
#[path = "../../tests/unit/interop/onnx.rs"]
mod tests;
