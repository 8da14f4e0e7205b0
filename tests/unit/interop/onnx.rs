use super::*;
use crate::engine::device::Device;
use crate::engine::nn::{Architecture, ResNet};
use rand::{SeedableRng, rngs::StdRng};
use std::collections::HashSet;

fn graph(architecture: Architecture, stem: Stem) -> Graph {
    let config = ResNetConfig { architecture, width: 4, stem, zero_init: false, dilated: 0 };
    let net = ResNet::new(&Device::cpu(), &mut StdRng::seed_from_u64(1), &config).expect("network");
    let bytes = onnx(&config, &Weights::of(&net).expect("weights"), None, &[("a".into(), "b".into())]);
    let model = Model::decode(&bytes[..]).expect("it reads what it wrote");
    assert_eq!((model.ir_version, model.opset_import[0].version), (8, 15));
    assert_eq!(model.metadata_props["a"], "b");
    model.graph.expect("a graph")
}

#[test]
fn every_input_of_a_node_is_there_before_it_and_every_value_is_made_once() {
    for architecture in [Architecture::Resnet18, Architecture::Resnet50] {
        let graph = graph(architecture, Stem::Imagenet);
        let mut known: HashSet<&str> = graph.initializer.iter().map(|i| i.name.as_str()).collect();
        assert_eq!(known.len(), graph.initializer.len());
        known.insert("images");
        for node in &graph.node {
            assert!(node.input.iter().all(|i| known.contains(i.as_str())), "{node:?}");
            assert!(node.output.iter().all(|o| known.insert(o)), "{node:?}");
        }
        assert!(graph.output.iter().all(|o| known.contains(o.name.as_str())));
    }
}

#[test]
fn a_graph_has_the_layers_of_its_network_and_strides_in_the_3x3() {
    let count = |graph: &Graph, op: &str| graph.node.iter().filter(|n| n.op_type == op).count();
    let r18 = graph(Architecture::Resnet18, Stem::Cifar);
    assert_eq!([count(&r18, "Conv"), count(&r18, "Add"), count(&r18, "MaxPool")], [20, 8, 0]);
    let r50 = graph(Architecture::Resnet50, Stem::Small);
    assert_eq!([count(&r50, "Conv"), count(&r50, "Relu"), count(&r50, "MaxPool")], [53, 49, 1]);
    let strides = |name: &str| {
        let node = r50.node.iter().find(|n| n.name == name).expect("node");
        node.attribute.iter().find(|a| a.name == "strides").expect("strides").ints.clone()
    };
    assert_eq!([strides("layer2.0.conv1"), strides("layer2.0.conv2")], [[1, 1], [2, 2]]);
    assert_eq!(strides("layer3.0.downsample.0"), [2, 2]);
}
