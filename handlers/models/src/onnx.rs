//! ONNX files as data: what of `onnx.proto` (ONNX 1.12) networks are written with, and read by whoever changes them.
//!
//! Weights, settings of operations and what nobody here looks at are kept as the bytes that they came as: a file that is
//! read and written again says the same.

mod build;

use prost::Message;

/// A file.
#[derive(Clone, PartialEq, Message)]
pub struct Model {
    /// Version of the file's own format.
    #[prost(int64, optional, tag = "1")]
    pub ir_version: Option<i64>,
    /// Who wrote it.
    #[prost(string, optional, tag = "2")]
    pub producer_name: Option<String>,
    /// What it computes.
    #[prost(message, optional, tag = "7")]
    pub graph: Option<Graph>,
    /// Versions of the meaning of operations, each an [`Opset`].
    #[prost(bytes = "vec", repeated, tag = "8")]
    pub opset_import: Vec<Vec<u8>>,
    /// Operations that the file defines itself.
    #[prost(bytes = "vec", repeated, tag = "25")]
    pub functions: Vec<Vec<u8>>,
}

/// A version of the meaning of operations.
#[derive(Clone, PartialEq, Message)]
pub struct Opset {
    /// Whose operations; ONNX's own where empty.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// The version.
    #[prost(int64, tag = "2")]
    pub version: i64,
}

/// A computation.
#[derive(Clone, PartialEq, Message)]
pub struct Graph {
    /// Operations, in an order in which they can be computed.
    #[prost(message, repeated, tag = "1")]
    pub nodes: Vec<Node>,
    /// Its name.
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
    /// Each a [`Tensor`].
    #[prost(bytes = "vec", repeated, tag = "5")]
    pub weights: Vec<Vec<u8>>,
    /// What goes in; older files list weights too.
    #[prost(message, repeated, tag = "11")]
    pub inputs: Vec<Value>,
    /// What comes out.
    #[prost(message, repeated, tag = "12")]
    pub outputs: Vec<Value>,
    /// How tensors are quantised.
    #[prost(bytes = "vec", repeated, tag = "14")]
    pub quantization: Vec<Vec<u8>>,
    /// Weights that are mostly zero.
    #[prost(bytes = "vec", repeated, tag = "15")]
    pub sparse_weights: Vec<Vec<u8>>,
}

/// An operation.
#[derive(Clone, PartialEq, Message)]
pub struct Node {
    /// Names of the tensors that it reads; an optional one that is absent has no name.
    #[prost(string, repeated, tag = "1")]
    pub inputs: Vec<String>,
    /// Names of the tensors that it makes.
    #[prost(string, repeated, tag = "2")]
    pub outputs: Vec<String>,
    /// Its own name.
    #[prost(string, optional, tag = "3")]
    pub name: Option<String>,
    /// What it does, e.g. `Conv`.
    #[prost(string, tag = "4")]
    pub op_type: String,
    /// Its settings, each an [`Attribute`].
    #[prost(bytes = "vec", repeated, tag = "5")]
    pub attributes: Vec<Vec<u8>>,
    /// Whose operation it is; ONNX's own where absent.
    #[prost(string, optional, tag = "7")]
    pub domain: Option<String>,
    /// Which of several operations of one name.
    #[prost(string, optional, tag = "8")]
    pub overload: Option<String>,
}

impl Node {
    /// A setting by its name.
    pub fn attribute(&self, name: &str) -> Option<Attribute> {
        self.decoded().find(|attribute| attribute.name == name)
    }

    /// Whether it holds a computation of its own, which reads tensors without saying so.
    pub fn is_nested(&self) -> bool {
        self.decoded().any(|attribute| attribute.graph.is_some() || !attribute.graphs.is_empty())
    }

    fn decoded(&self) -> impl Iterator<Item = Attribute> {
        self.attributes.iter().filter_map(|bytes| Attribute::decode(&bytes[..]).ok())
    }
}

/// A setting of an operation.
#[derive(Clone, PartialEq, Message)]
pub struct Attribute {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// A number.
    #[prost(float, optional, tag = "2")]
    pub f: Option<f32>,
    /// A whole number.
    #[prost(int64, optional, tag = "3")]
    pub i: Option<i64>,
    /// A word.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub s: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "6")]
    graph: Option<Vec<u8>>,
    /// Whole numbers.
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub ints: Vec<i64>,
    #[prost(bytes = "vec", repeated, tag = "11")]
    graphs: Vec<Vec<u8>>,
    /// `AttributeProto.AttributeType`.
    #[prost(int32, tag = "20")]
    kind: i32,
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
        let ints = values.iter().map(|v| *v as i64).collect();
        Attribute { name: name.into(), ints, kind: 7, ..Attribute::default() }
    }
}

/// `TensorProto.DataType.FLOAT`.
pub const FLOAT: i32 = 1;
/// `TensorProto.DataType.INT64`.
pub const INT64: i32 = 7;

/// A weight.
#[derive(Clone, PartialEq, Message)]
pub struct Tensor {
    /// Its shape; one number without.
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    /// `TensorProto.DataType`.
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    /// What operations call it.
    #[prost(string, tag = "8")]
    pub name: String,
    /// Its numbers, little-endian.
    #[prost(bytes = "vec", tag = "9")]
    pub raw: Vec<u8>,
}

/// A weight without its numbers.
#[derive(Clone, PartialEq, Message)]
pub struct TensorHead {
    /// What operations call it.
    #[prost(string, tag = "8")]
    pub name: String,
    /// 1: in another file.
    #[prost(int32, tag = "14")]
    pub location: i32,
}

/// An input or output of a computation.
#[derive(Clone, PartialEq, Message)]
pub struct Value {
    /// Name of the tensor.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its type, a `TypeProto`; inferred where absent.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub kind: Option<Vec<u8>>,
}

impl Value {
    /// A tensor of an element type (`TensorProto.DataType`) and a shape; of any rank without one.
    pub fn tensor(name: &str, element: i32, dims: Option<Vec<Dim>>) -> Value {
        let tensor = TensorKind { element, shape: dims.map(|dims| Shape { dims }) };
        Value { name: name.to_owned(), kind: Some(Kind { tensor: Some(tensor) }.encode_to_vec()) }
    }
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

/// A dimension: a number, or any, perhaps with a name.
#[derive(Clone, PartialEq, Message)]
pub struct Dim {
    /// The number.
    #[prost(int64, optional, tag = "1")]
    pub value: Option<i64>,
    /// The name.
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
}
