//! What converted networks are written with.

use prost::Message;

use super::{Attribute, Dim, FLOAT, Graph, INT64, Model, Node, Opset, Tensor, Value};

/// Version of the file's own format.
const IR_VERSION: i64 = 8;
/// Version of the meaning of operations.
const OPSET: i64 = 17;

impl Model {
    /// A file of one computation.
    pub fn new(graph: Graph) -> Model {
        Model {
            ir_version: Some(IR_VERSION),
            producer_name: Some("darkroom".into()),
            graph: Some(graph),
            opset_import: vec![Opset { version: OPSET, ..Opset::default() }.encode_to_vec()],
            functions: Vec::new(),
        }
    }
}

impl Graph {
    /// A computation.
    pub fn new(name: &str, nodes: Vec<Node>, weights: &[Tensor], inputs: Vec<Value>, outputs: Vec<Value>) -> Graph {
        let weights = weights.iter().map(Message::encode_to_vec).collect();
        Graph { nodes, name: Some(name.into()), weights, inputs, outputs, ..Graph::default() }
    }
}

#[cfg(test)]
impl Graph {
    /// Its weights, read again.
    pub fn tensors(&self) -> Vec<Tensor> {
        self.weights.iter().map(|bytes| Tensor::decode(&bytes[..]).unwrap()).collect()
    }
}

impl Node {
    /// An operation of ONNX's own with a name of its own.
    pub fn new(kind: &str, name: String, inputs: Vec<String>, outputs: Vec<String>, settings: &[Attribute]) -> Node {
        let attributes = settings.iter().map(Message::encode_to_vec).collect();
        Node { inputs, outputs, name: Some(name), op_type: kind.into(), attributes, ..Node::default() }
    }
}

impl Value {
    /// f32[n, channels, height, width]: any number of pictures of any size.
    pub fn pictures(name: &str, channels: usize, [height, width]: [&str; 2]) -> Value {
        Value::tensor(name, FLOAT, Some(vec![any("n"), number(channels), any(height), any(width)]))
    }

    /// Numbers of a shape that follows from those that go in.
    pub fn any_floats(name: &str) -> Value {
        Value::tensor(name, FLOAT, None)
    }

    /// f32[n, ...] with any number n of what has the dimensions `dims`.
    pub fn floats(name: &str, dims: &[usize]) -> Value {
        let dims = dims.iter().map(|dim| number(*dim));
        Value::tensor(name, FLOAT, Some([any("n")].into_iter().chain(dims).collect()))
    }
}

fn any(name: &str) -> Dim {
    Dim { value: None, name: Some(name.into()) }
}

fn number(value: usize) -> Dim {
    Dim { value: Some(value as i64), name: None }
}

impl Tensor {
    /// A weight; without dimensions it is one number.
    pub fn new(name: String, dims: &[usize], numbers: &[f32]) -> Tensor {
        let raw = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        Tensor { dims: dims.iter().map(|dim| *dim as i64).collect(), data_type: FLOAT, name, raw }
    }

    /// A list of sizes; what a size below 1 stands for is the operation's business.
    pub fn sizes(name: String, sizes: &[i64]) -> Tensor {
        let raw = sizes.iter().flat_map(|size| size.to_le_bytes()).collect();
        Tensor { dims: vec![sizes.len() as i64], data_type: INT64, name, raw }
    }

    /// Halves each number of a weight, which is exact but for the very smallest.
    pub fn halve(&mut self) {
        for number in self.raw.chunks_exact_mut(4) {
            let half = f32::from_le_bytes([number[0], number[1], number[2], number[3]]) / 2.0;
            number.copy_from_slice(&half.to_le_bytes());
        }
    }
}
