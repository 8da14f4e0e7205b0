//! Nodes of an ONNX graph, one behind the other.

use super::Weights;
use super::proto::{Attribute, Initializer, Node};

/// Types of elements.
pub(super) const FLOAT: i32 = 1;
const INTEGER: i32 = 7;
/// What batch norm adds to the variance.
const EPS: f32 = 1e-5;

/// Nodes, each named after its output.
pub(super) struct Builder<'a> {
    weights: &'a Weights,
    pub(super) nodes: Vec<Node>,
    pub(super) constants: Vec<Initializer>,
}

impl Builder<'_> {
    /// Nothing yet, of these weights.
    pub(super) fn new(weights: &Weights) -> Builder<'_> {
        Builder { weights, nodes: Vec::new(), constants: Vec::new() }
    }

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
    pub(super) fn conv(&mut self, x: &str, conv: &str, norm: &str, stride: i64) -> String {
        let weight = format!("{conv}.weight");
        let kernel = self.weights.0[&weight].shape[2] as i64;
        let y = self.node("Conv", conv, vec![x.into(), weight], window(kernel, stride));
        let inputs = ["weight", "bias", "running_mean", "running_var"].map(|p| format!("{norm}.{p}"));
        let epsilon = Attribute { name: "epsilon".into(), f: EPS, kind: 1, ..Attribute::default() };
        self.node("BatchNormalization", norm, [vec![y], inputs.into()].concat(), vec![epsilon])
    }

    pub(super) fn relu(&mut self, x: String) -> String {
        self.node("Relu", &format!("{x}.relu"), vec![x], Vec::new())
    }

    /// Convolutions each with its batch norm, relu between them, the shortcut added, relu.
    pub(super) fn block(&mut self, x: String, block: &str, stride: i64) -> String {
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

/// A square window that keeps the size at stride 1.
pub(super) fn window(kernel: i64, stride: i64) -> Vec<Attribute> {
    let ints = |name: &str, ints| Attribute { name: name.into(), ints, kind: 7, ..Attribute::default() };
    vec![
        ints("kernel_shape", vec![kernel; 2]),
        ints("strides", vec![stride; 2]),
        ints("pads", vec![kernel / 2; 4]),
    ]
}
