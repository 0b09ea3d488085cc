//! What of `onnx.proto` (ONNX 1.12, the first with these versions) a converted network needs, to be written.

use prost::Message;

/// Version of the file's own format.
const IR_VERSION: i64 = 8;
/// Version of the meaning of operations.
const OPSET: i64 = 17;
/// `TensorProto.DataType.FLOAT`.
const FLOAT: i32 = 1;

/// A file.
#[derive(Clone, PartialEq, Message)]
pub struct Model {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(string, tag = "2")]
    producer_name: String,
    /// What it computes.
    #[prost(message, optional, tag = "7")]
    pub graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<Opset>,
}

#[derive(Clone, PartialEq, Message)]
struct Opset {
    #[prost(int64, tag = "2")]
    version: i64,
}

/// A computation.
#[derive(Clone, PartialEq, Message)]
pub struct Graph {
    /// Operations, in an order in which they can be computed.
    #[prost(message, repeated, tag = "1")]
    pub nodes: Vec<Node>,
    #[prost(string, tag = "2")]
    name: String,
    /// Weights.
    #[prost(message, repeated, tag = "5")]
    pub weights: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    inputs: Vec<Value>,
    #[prost(message, repeated, tag = "12")]
    outputs: Vec<Value>,
}

/// An operation.
#[derive(Clone, PartialEq, Message)]
pub struct Node {
    /// Tensors that it reads; an optional one that is absent has no name.
    #[prost(string, repeated, tag = "1")]
    pub inputs: Vec<String>,
    /// Tensors that it makes.
    #[prost(string, repeated, tag = "2")]
    pub outputs: Vec<String>,
    /// Its own name, which tells the layer that it comes from.
    #[prost(string, tag = "3")]
    pub name: String,
    /// What it does, e.g. `Conv`.
    #[prost(string, tag = "4")]
    pub op_type: String,
    /// Its settings.
    #[prost(message, repeated, tag = "5")]
    pub attributes: Vec<Attribute>,
}

/// A setting of an operation.
#[derive(Clone, PartialEq, Message)]
pub struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(float, optional, tag = "2")]
    f: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    i: Option<i64>,
    #[prost(string, optional, tag = "4")]
    s: Option<String>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    ints: Vec<i64>,
    /// `AttributeProto.AttributeType`.
    #[prost(int32, tag = "20")]
    kind: i32,
}

/// A weight.
#[derive(Clone, PartialEq, Message)]
pub struct Tensor {
    /// Its shape.
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    /// What operations call it.
    #[prost(string, tag = "8")]
    pub name: String,
    /// Its numbers, little-endian.
    #[prost(bytes = "vec", tag = "9")]
    pub raw: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Message)]
struct Kind {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorKind>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorKind {
    #[prost(int32, tag = "1")]
    element: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "1")]
    dims: Vec<Dim>,
}

/// A dimension: a number, or a name for any.
#[derive(Clone, PartialEq, Message)]
struct Dim {
    #[prost(int64, optional, tag = "1")]
    value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
}

impl Model {
    /// A file of one computation.
    pub fn new(graph: Graph) -> Model {
        let opset_import = vec![Opset { version: OPSET }];
        Model { ir_version: IR_VERSION, producer_name: "darkroom".into(), graph: Some(graph), opset_import }
    }
}

impl Graph {
    /// A computation from pictures, `input`, to pictures of another size, `output`.
    pub fn of_pictures(nodes: Vec<Node>, weights: Vec<Tensor>) -> Graph {
        let (inputs, outputs) = (vec![pictures("input", ["h", "w"])], vec![pictures("output", ["H", "W"])]);
        Graph { nodes, name: "upscale".into(), weights, inputs, outputs }
    }
}

/// f32[n, 3, height, width] of any size.
fn pictures(name: &str, [height, width]: [&str; 2]) -> Value {
    let any = |name: &str| Dim { value: None, name: Some(name.into()) };
    let dims = vec![any("n"), Dim { value: Some(3), name: None }, any(height), any(width)];
    let tensor = TensorKind { element: FLOAT, shape: Some(Shape { dims }) };
    Value { name: name.into(), kind: Some(Kind { tensor: Some(tensor) }) }
}

impl Attribute {
    /// A number.
    pub fn float(name: &str, value: f32) -> Attribute {
        Attribute { name: name.into(), f: Some(value), kind: 1, ..Attribute::default() }
    }

    /// A whole number.
    pub fn int(name: &str, value: i64) -> Attribute {
        Attribute { name: name.into(), i: Some(value), kind: 2, ..Attribute::default() }
    }

    /// A word.
    pub fn text(name: &str, value: &str) -> Attribute {
        Attribute { name: name.into(), s: Some(value.into()), kind: 3, ..Attribute::default() }
    }

    /// Whole numbers.
    pub fn ints(name: &str, values: &[usize]) -> Attribute {
        Attribute {
            name: name.into(),
            ints: values.iter().map(|v| *v as i64).collect(),
            kind: 7,
            ..Attribute::default()
        }
    }
}

impl Tensor {
    /// A weight; without dimensions it is one number.
    pub fn new(name: String, dims: &[usize], numbers: &[f32]) -> Tensor {
        let raw = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        Tensor { dims: dims.iter().map(|dim| *dim as i64).collect(), data_type: FLOAT, name, raw }
    }

    /// Halves each number, which is exact but for the very smallest.
    pub fn halve(&mut self) {
        for number in self.raw.chunks_exact_mut(4) {
            let half = f32::from_le_bytes([number[0], number[1], number[2], number[3]]) / 2.0;
            number.copy_from_slice(&half.to_le_bytes());
        }
    }
}
