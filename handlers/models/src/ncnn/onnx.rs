//! What a converted network is written with.

use prost::Message;

use crate::onnx::{Dim, FLOAT, Graph, Model, Node, Opset, Tensor, Value};

/// Version of the file's own format.
const IR_VERSION: i64 = 8;
/// Version of the meaning of operations.
const OPSET: i64 = 17;

/// The file of a computation from pictures, `input`, to pictures of another size, `output`.
pub fn file(nodes: Vec<Node>, weights: &[Tensor]) -> Model {
    let graph = Graph {
        nodes,
        name: Some("upscale".into()),
        weights: weights.iter().map(Message::encode_to_vec).collect(),
        inputs: vec![pictures("input", ["h", "w"])],
        outputs: vec![pictures("output", ["H", "W"])],
        ..Graph::default()
    };
    Model {
        ir_version: Some(IR_VERSION),
        producer_name: Some("darkroom".into()),
        graph: Some(graph),
        opset_import: vec![Opset { version: OPSET, ..Opset::default() }.encode_to_vec()],
        functions: Vec::new(),
    }
}

/// f32[n, 3, height, width] of any size.
fn pictures(name: &str, [height, width]: [&str; 2]) -> Value {
    let any = |name: &str| Dim { value: None, name: Some(name.into()) };
    Value::tensor(name, FLOAT, Some(vec![any("n"), Dim { value: Some(3), name: None }, any(height), any(width)]))
}

/// A weight; without dimensions it is one number.
pub fn weight(name: String, dims: &[usize], numbers: &[f32]) -> Tensor {
    let raw = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    Tensor { dims: dims.iter().map(|dim| *dim as i64).collect(), data_type: FLOAT, name, raw }
}

/// Halves each number of a weight, which is exact but for the very smallest.
pub fn halve(weight: &mut Tensor) {
    for number in weight.raw.chunks_exact_mut(4) {
        let half = f32::from_le_bytes([number[0], number[1], number[2], number[3]]) / 2.0;
        number.copy_from_slice(&half.to_le_bytes());
    }
}
