//! ONNX graphs as data, to leave out of a model what is computed elsewhere.
//!
//! Only what an [`Edit`] looks at is decoded; everything else (weights, attributes, operator sets) is carried as the bytes
//! that it came as. The format is `onnx.proto` of ONNX 1.x.

use std::collections::{HashMap, HashSet};

use prost::Message;

/// A change to a model before a session is made of it.
#[derive(Debug, Clone, Copy)]
pub struct Edit {
    /// Tells sessions of the edited model from those of the whole one.
    pub name: &'static str,
    /// Changes the graph; `false` leaves the model as it is.
    pub apply: fn(&mut Graph) -> bool,
}

/// A model file.
#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(int64, optional, tag = "1")]
    ir_version: Option<i64>,
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    opset_import: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "25")]
    functions: Vec<Vec<u8>>,
}

/// The computation of a model.
#[derive(Clone, PartialEq, Message)]
pub struct Graph {
    #[prost(message, repeated, tag = "1")]
    nodes: Vec<Node>,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
    #[prost(bytes = "vec", repeated, tag = "5")]
    weights: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "11")]
    inputs: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "12")]
    outputs: Vec<Value>,
    #[prost(bytes = "vec", repeated, tag = "14")]
    quantization: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "15")]
    sparse_weights: Vec<Vec<u8>>,
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
    #[prost(string, optional, tag = "3")]
    name: Option<String>,
    /// What it does, e.g. `Resize`.
    #[prost(string, tag = "4")]
    pub op_type: String,
    #[prost(bytes = "vec", repeated, tag = "5")]
    attributes: Vec<Vec<u8>>,
    #[prost(string, optional, tag = "7")]
    domain: Option<String>,
    #[prost(string, optional, tag = "8")]
    overload: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", optional, tag = "2")]
    kind: Option<Vec<u8>>,
}

/// A setting of an operation.
#[derive(Clone, PartialEq, Message)]
pub struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    /// A whole number.
    #[prost(int64, tag = "3")]
    pub int: i64,
    /// A word.
    #[prost(bytes = "vec", tag = "4")]
    pub text: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "6")]
    graph: Option<Vec<u8>>,
    /// Whole numbers.
    #[prost(int64, repeated, tag = "8")]
    pub ints: Vec<i64>,
    #[prost(bytes = "vec", repeated, tag = "11")]
    graphs: Vec<Vec<u8>>,
}

/// The head of a weight.
#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(string, tag = "8")]
    name: String,
    /// 1: in another file.
    #[prost(int32, tag = "14")]
    location: i32,
}

impl Node {
    /// A setting by its name.
    pub fn attribute(&self, name: &str) -> Option<Attribute> {
        self.decoded().find(|attribute| attribute.name == name)
    }

    fn decoded(&self) -> impl Iterator<Item = Attribute> {
        self.attributes.iter().filter_map(|bytes| Attribute::decode(&bytes[..]).ok())
    }
}

impl Graph {
    /// The operation that makes a tensor; `None` for inputs and weights.
    pub fn producer(&self, tensor: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.outputs.iter().any(|output| output == tensor))
    }

    /// The operations that read a tensor.
    pub fn readers(&self, tensor: &str) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(move |node| node.inputs.iter().any(|input| input == tensor))
    }

    /// Puts other tensors in the place of outputs, as `(output, tensor, new name)`, and leaves out what is then computed
    /// for nothing. `false`, and no change, where an output does not exist, or where operations hold graphs of their own:
    /// those read tensors without saying so.
    pub fn replace_outputs(&mut self, replaced: &[(&str, &str, &str)]) -> bool {
        let exists = |name: &str| self.outputs.iter().any(|output| output.name == name);
        let nested = |node: &Node| node.decoded().any(|a| a.graph.is_some() || !a.graphs.is_empty());
        if !replaced.iter().all(|(output, ..)| exists(output)) || self.nodes.iter().any(nested) {
            return false;
        }
        for (output, tensor, name) in replaced {
            for value in self.outputs.iter_mut().filter(|value| value.name == *output) {
                // ONNX Runtime infers the shape.
                *value = Value { name: (*name).to_owned(), kind: None };
            }
            let names = self.nodes.iter_mut().flat_map(|node| node.inputs.iter_mut().chain(&mut node.outputs));
            for known in names.filter(|known| *known == tensor) {
                *known = (*name).to_owned();
            }
        }
        self.prune();
        true
    }

    /// Keeps what the outputs depend on.
    fn prune(&mut self) {
        let makers: HashMap<&str, usize> = (self.nodes.iter().enumerate())
            .flat_map(|(index, node)| node.outputs.iter().map(move |output| (output.as_str(), index)))
            .collect();
        let mut needed = vec![false; self.nodes.len()];
        let mut read: HashSet<String> = self.outputs.iter().map(|output| output.name.clone()).collect();
        let mut open: Vec<usize> = read.iter().filter_map(|name| makers.get(name.as_str()).copied()).collect();
        while let Some(index) = open.pop() {
            if std::mem::replace(&mut needed[index], true) {
                continue;
            }
            for input in &self.nodes[index].inputs {
                open.extend(makers.get(input.as_str()));
                read.insert(input.clone());
            }
        }
        let mut keep = needed.into_iter();
        self.nodes.retain(|_| keep.next().unwrap_or(true));
        self.weights.retain(|bytes| Tensor::decode(&bytes[..]).is_ok_and(|tensor| read.contains(&tensor.name)));
    }

    fn has_external_weights(&self) -> bool {
        self.weights.iter().any(|bytes| Tensor::decode(&bytes[..]).is_ok_and(|tensor| tensor.location == 1))
    }
}

/// The edited file; `None` where it is none that can be edited, or where the edit does not fit it.
pub(crate) fn edited(file: &[u8], edit: Edit) -> Option<Vec<u8>> {
    let mut model = Model::decode(file).ok()?;
    let graph = model.graph.as_mut()?;
    // A session of bytes has no directory in which to find other files.
    (!graph.has_external_weights() && (edit.apply)(graph)).then(|| model.encode_to_vec())
}
