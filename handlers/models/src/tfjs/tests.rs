use std::collections::BTreeMap;

use super::*;
use crate::onnx::Model;

/// A picture of 4x4 and 3 channels in planes, padded, through a convolution to 2 channels, its pixels in one row.
const GRAPH: &str = r#"{"format": "graph-model", "modelTopology": {"node": [
 {"name": "in", "op": "Placeholder", "attr": {"shape": {"shape": {"dim": [{"size": "1"}, {"size": "3"}, {"size": "4"}, {"size": "4"}]}}}},
 {"name": "none", "op": "Const"},
 {"name": "zeros", "op": "SparseToDense", "input": ["none", "three", "none", "zero"]},
 {"name": "row", "op": "AddV2", "input": ["shape", "zeros"]},
 {"name": "padded", "op": "Pad", "input": ["in", "pads"]},
 {"name": "seen", "op": "Transpose", "input": ["padded", "last"]},
 {"name": "sum", "op": "Conv2D", "input": ["seen", "w"], "attr": {"padding": {"s": "VkFMSUQ="},
  "strides": {"list": {"i": ["1", "2", "2", "1"]}}, "dilations": {"list": {"i": ["1", "1", "1", "1"]}}}},
 {"name": "biased", "op": "Add", "input": ["sum", "b"]},
 {"name": "back", "op": "Transpose", "input": ["biased", "first"]},
 {"name": "act", "op": "LeakyRelu", "input": ["back"], "attr": {"alpha": {"f": 0.1}}},
 {"name": "flat", "op": "Reshape", "input": ["act", "row"]},
 {"name": "turned", "op": "Transpose", "input": ["flat", "swap"]},
 {"name": "Identity", "op": "Identity", "input": ["turned"]}]},
 "weightsManifest": [{"paths": ["x.bin"], "weights": [
 {"name": "none", "shape": [0, 1], "dtype": "int32"}, {"name": "three", "shape": [1], "dtype": "int32"},
 {"name": "zero", "shape": [], "dtype": "int32"}, {"name": "shape", "shape": [3], "dtype": "int32"},
 {"name": "pads", "shape": [4, 2], "dtype": "int32"}, {"name": "last", "shape": [4], "dtype": "int32"},
 {"name": "first", "shape": [4], "dtype": "int32"}, {"name": "swap", "shape": [3], "dtype": "int32"},
 {"name": "w", "shape": [1, 2, 3, 2], "dtype": "float32", "quantization": {"dtype": "float16", "original_dtype": "float32"}},
 {"name": "b", "shape": [2], "dtype": "float32"}]}]}"#;

fn bin() -> Vec<u8> {
    let ints = [3, 0, 1, 2, -1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 2, 3, 1, 0, 3, 1, 2, 0, 2, 1];
    let halves = (0u8..12).flat_map(|i| half::f16::from_f32(f32::from(i)).to_le_bytes());
    let singles = [7.0_f32, 8.0].into_iter().flat_map(f32::to_le_bytes);
    ints.into_iter().flat_map(i32::to_le_bytes).chain(halves).chain(singles).collect()
}

fn outputs() -> BTreeMap<String, String> {
    [("rows".to_owned(), "Identity".to_owned())].into()
}

#[test]
fn a_network_becomes_operations_on_planes() {
    let bytes = to_onnx(GRAPH.as_bytes(), &bin(), &outputs()).unwrap();
    let graph = Model::decode(&bytes[..]).unwrap().graph.unwrap();
    let told: Vec<String> =
        graph.nodes.iter().map(|n| format!("{} = {} {}", n.outputs.join(" "), n.op_type, n.inputs.join(" "))).collect();
    assert_eq!(
        told,
        [
            "t0 = Pad image w0",
            "t1 = Conv t0 w1",
            "t2 = Add t1 w2",
            "t3 = LeakyRelu t2",
            "t4 = Reshape t3 w3",
            "t5 = Transpose t4",
            "rows = Identity t5",
        ]
    );
    assert_eq!(graph.tensors()[1].dims, [2, 3, 1, 2]);
    let floats = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    assert_eq!(graph.tensors()[1].raw, floats(&[0.0, 6.0, 2.0, 8.0, 4.0, 10.0, 1.0, 7.0, 3.0, 9.0, 5.0, 11.0]));
    assert_eq!(graph.tensors()[3].raw, [0_i64, 2, -1].map(i64::to_le_bytes).concat());
}

#[test]
fn what_is_not_known_or_does_not_fit_is_refused() {
    for (from, to, words) in [
        ("\"LeakyRelu\"", "\"Softmax\"", "Softmax `act`: nodes of this kind are not known"),
        ("VkFMSUQ=", "U0FNRQ==", "only windows without padding"),
        ("\"2\", \"2\", \"1\"]", "\"0\", \"2\", \"1\"]", "only windows without padding"),
        ("[1, 2, 3, 2]", "[2, 2, 3, 1]", "[2] biases for 1 channels"),
        ("[1, 2, 3, 2]", "[1, 3, 2, 2]", "do not fit 3x6x6"),
        ("[1, 2, 3, 2]", "[1, 2, 3, 9999999999999999999]", "its size is impossible"),
        ("[1, 2, 3, 2]", "[4294967296, 4294967296, 3, 2]", "its size is impossible"),
        ("[\"in\", \"pads\"]", "[\"in\", \"w\"]", "`w` is no constant of whole numbers"),
        ("[\"back\"]", "[\"nowhere\"]", "there is no `nowhere` to read"),
        ("[\"back\"]", "[\"biased\"]", "is no picture that fits here"),
        ("\"size\": \"3\"", "\"size\": \"-3\"", "no picture in planes"),
        ("\"int32\"", "\"bool\"", "numbers of kind bool"),
    ] {
        let error = to_onnx(GRAPH.replacen(from, to, 1).as_bytes(), &bin(), &outputs()).unwrap_err();
        assert!(error.contains(words), "{to}: {error}");
    }
    let cut = to_onnx(GRAPH.as_bytes(), &bin()[..100], &outputs()).unwrap_err();
    assert!(cut.contains("the weights end too early"), "{cut}");
    let longer = [bin(), vec![0]].concat();
    assert!(to_onnx(GRAPH.as_bytes(), &longer, &outputs()).unwrap_err().contains("1 bytes of weights are left over"));
    assert!(to_onnx(b"[", &bin(), &outputs()).unwrap_err().contains("damaged"));
}

/// An interleaved picture of bytes, scaled, through a fused and a depthwise convolution; what comes after them is not needed.
const INTERLEAVED: &str = r#"{"modelTopology": {"node": [
 {"name": "in", "op": "Placeholder", "attr": {"shape": {"shape": {"dim": [{"size": "1"}, {"size": "6"}, {"size": "8"}, {"size": "3"}]}}}},
 {"name": "cast", "op": "Cast", "input": ["in"]},
 {"name": "scaled", "op": "Mul", "input": ["cast", "scale"]},
 {"name": "sum", "op": "_FusedConv2D", "input": ["scaled", "w", "b"], "attr": {"padding": {"s": "U0FNRQ=="},
  "fused_ops": {"list": {"s": ["Qmlhc0FkZA==", "UmVsdTY="]}}, "strides": {"list": {"i": ["1", "2", "2", "1"]}}}},
 {"name": "each", "op": "DepthwiseConv2dNative", "input": ["sum", "d"], "attr": {"padding": {"s": "VkFMSUQ="},
  "strides": {"list": {"i": ["1", "1", "1", "1"]}}}},
 {"name": "both", "op": "AddV2", "input": ["each", "each"]},
 {"name": "heat", "op": "Sigmoid", "input": ["both"]},
 {"name": "best", "op": "ArgMax", "input": ["heat"]}]},
 "weightsManifest": [{"paths": ["x.bin"], "weights": [
 {"name": "scale", "shape": [1, 1, 1, 3], "dtype": "float32"}, {"name": "w", "shape": [1, 1, 3, 2], "dtype": "float32"},
 {"name": "b", "shape": [2], "dtype": "float32"}, {"name": "d", "shape": [1, 2, 2, 1], "dtype": "float32"}]}]}"#;

#[test]
fn an_interleaved_network_becomes_planes_as_far_as_it_is_needed() {
    let numbers: Vec<u8> = (0u8..15).flat_map(|i| f32::from(i).to_le_bytes()).collect();
    let outputs: BTreeMap<String, String> = [("heat".to_owned(), "heat".to_owned())].into();
    let bytes = to_onnx(INTERLEAVED.as_bytes(), &numbers, &outputs).unwrap();
    let graph = Model::decode(&bytes[..]).unwrap().graph.unwrap();
    let told: Vec<String> =
        graph.nodes.iter().map(|n| format!("{} = {} {}", n.outputs.join(" "), n.op_type, n.inputs.join(" "))).collect();
    assert_eq!(
        told,
        [
            "t0 = Mul image w0",
            "t1 = Conv t0 w1 w2",
            "t2 = Clip t1 w3 w4",
            "t3 = Conv t2 w5",
            "t4 = Add t3 t3",
            "t5 = Sigmoid t4",
            "heat = Identity t5",
        ]
    );
    let padding = |node: usize| graph.nodes[node].attribute("auto_pad").unwrap().s.unwrap();
    assert_eq!((padding(1), padding(3)), (b"SAME_UPPER".to_vec(), b"VALID".to_vec()));
    assert_eq!(graph.nodes[3].attribute("group").unwrap().i, Some(2));
    let dims: Vec<Vec<i64>> = graph.tensors().into_iter().map(|tensor| tensor.dims).collect();
    assert_eq!(dims, [vec![3, 1, 1], vec![2, 3, 1, 1], vec![2], vec![], vec![], vec![2, 1, 1, 2]]);
    let floats = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    assert_eq!(graph.tensors()[5].raw, floats(&[11.0, 13.0, 12.0, 14.0]));
    let needed: BTreeMap<String, String> = [("best".to_owned(), "best".to_owned())].into();
    let error = to_onnx(INTERLEAVED.as_bytes(), &numbers, &needed).unwrap_err();
    assert!(error.contains("ArgMax `best`: nodes of this kind are not known"), "{error}");
}
