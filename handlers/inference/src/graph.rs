//! ONNX graphs as data, to leave out of a model what is computed elsewhere.
//!
//! Only what an [`Edit`] looks at is decoded; weights, attributes and operator sets are carried as the bytes that they came
//! as. The format is `onnx.proto` of ONNX 1.x.

use std::collections::{HashMap, HashSet};

use ort::sys::ONNXTensorElementDataType;
use prost::Message;

use crate::TensorInfo;

/// A change to a model before a session is made of it.
#[derive(Clone, Copy)]
pub struct Edit<'a> {
    /// Tells sessions of the edited model from others of it: edits of one name must make the same of a model.
    pub name: &'static str,
    /// Threads of one call on the CPU; `None`: those of any other session.
    pub threads: Option<usize>,
    /// Changes the graph; `false` where the change does not fit it.
    pub apply: &'a dyn Fn(&mut Graph) -> bool,
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
    #[prost(message, repeated, tag = "11")]
    inputs: Vec<Value>,
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

/// The type of a tensor, as the value of its tag in the type of a value.
#[derive(Clone, PartialEq, Message)]
struct TensorType {
    #[prost(int32, tag = "1")]
    element: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
struct Kind {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "1")]
    dims: Vec<Dim>,
}

/// A dimension; without a value it is any.
#[derive(Clone, PartialEq, Message)]
struct Dim {
    #[prost(int64, optional, tag = "1")]
    value: Option<i64>,
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

impl From<&TensorInfo> for Value {
    fn from(info: &TensorInfo) -> Value {
        // ONNX Runtime counts element types as ONNX does.
        let element = info.element.map_or(0, |element| ONNXTensorElementDataType::from(element) as i32);
        let dims = info.dims.iter().map(|dim| Dim { value: dim.and_then(|dim| i64::try_from(dim).ok()) });
        // A tensor of any rank is told as one without dimensions.
        let shape = (!info.dims.is_empty()).then(|| Shape { dims: dims.collect() });
        let tensor = TensorType { element, shape };
        Value { name: info.name.clone(), kind: Some(Kind { tensor: Some(tensor) }.encode_to_vec()) }
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

    /// Keeps only what is computed for `outputs`, which may be any tensors, in that order.
    pub fn end_at(&mut self, outputs: &[&str]) {
        let known = |name: &&str| self.outputs.iter().find(|value| value.name == **name).cloned();
        // ONNX Runtime infers the shape.
        let value = |name: &&str| known(name).unwrap_or_else(|| Value { name: (*name).to_owned(), kind: None });
        self.outputs = outputs.iter().map(value).collect();
        self.prune();
    }

    /// Takes tensors as inputs, in place of what computes them and of all other inputs.
    pub fn begin_at(&mut self, inputs: &[TensorInfo]) {
        let given: HashSet<&str> = inputs.iter().map(|info| info.name.as_str()).collect();
        self.nodes.retain(|node| !node.outputs.iter().any(|output| given.contains(output.as_str())));
        self.inputs = inputs.iter().map(Value::from).collect();
        self.prune();
    }

    /// What all else in the graph reads of the tensors that are computed for `outputs`: of these it can be computed in
    /// another session, which [`Graph::begin_at`] them. `None` where it reads an input of the graph too.
    pub fn seam(&self, outputs: &[&str]) -> Option<Vec<String>> {
        let before = self.needed(outputs);
        let weights = self.weight_names();
        let mut varies: HashSet<&str> = self.inputs.iter().map(|value| value.name.as_str()).collect();
        varies.retain(|name| !weights.contains(*name));
        let given = varies.clone();
        // Operations stand in the order in which they can be computed.
        for node in &self.nodes {
            if node.inputs.iter().any(|input| varies.contains(input.as_str())) {
                varies.extend(node.outputs.iter().map(String::as_str));
            }
        }
        let made_before: HashSet<&str> = (self.nodes.iter().zip(&before))
            .filter(|(_, before)| **before)
            .flat_map(|(node, _)| node.outputs.iter().map(String::as_str))
            .collect();
        let mut seam: Vec<String> = Vec::new();
        let after = self.nodes.iter().zip(&before).filter(|(_, before)| !**before).map(|(node, _)| node);
        for input in after.flat_map(|node| &node.inputs) {
            if given.contains(input.as_str()) {
                return None;
            }
            if varies.contains(input.as_str()) && made_before.contains(input.as_str()) && !seam.contains(input) {
                seam.push(input.clone());
            }
        }
        Some(seam)
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
        let outputs: Vec<&str> = self.outputs.iter().map(|output| output.name.as_str()).collect();
        let mut keep = self.needed(&outputs).into_iter();
        self.nodes.retain(|_| keep.next().unwrap_or(true));
        let read: HashSet<&str> = self.nodes.iter().flat_map(|node| &node.inputs).map(String::as_str).collect();
        let weights = self.weight_names();
        self.weights.retain(|bytes| Tensor::decode(&bytes[..]).is_ok_and(|tensor| read.contains(tensor.name.as_str())));
        // Older files list weights as inputs too; without their values they would have to be filled.
        self.inputs.retain(|input| read.contains(input.name.as_str()) || !weights.contains(&input.name));
    }

    fn weight_names(&self) -> HashSet<String> {
        self.weights.iter().filter_map(|bytes| Some(Tensor::decode(&bytes[..]).ok()?.name)).collect()
    }

    /// Which operations `tensors` depend on.
    fn needed(&self, tensors: &[&str]) -> Vec<bool> {
        let makers: HashMap<&str, usize> = (self.nodes.iter().enumerate())
            .flat_map(|(index, node)| node.outputs.iter().map(move |output| (output.as_str(), index)))
            .collect();
        let mut needed = vec![false; self.nodes.len()];
        let mut open: Vec<usize> = tensors.iter().filter_map(|name| makers.get(name).copied()).collect();
        while let Some(index) = open.pop() {
            if !std::mem::replace(&mut needed[index], true) {
                open.extend(self.nodes[index].inputs.iter().filter_map(|input| makers.get(input.as_str())));
            }
        }
        needed
    }

    fn has_external_weights(&self) -> bool {
        self.weights.iter().any(|bytes| Tensor::decode(&bytes[..]).is_ok_and(|tensor| tensor.location == 1))
    }
}

/// The edited file; `None` where it is none that can be edited, or where the edit does not fit it.
pub(crate) fn edited(file: &[u8], edit: Edit<'_>) -> Option<Vec<u8>> {
    let mut model = Model::decode(file).ok()?;
    let graph = model.graph.as_mut()?;
    // A session of bytes has no directory in which to find other files.
    (!graph.has_external_weights() && (edit.apply)(graph)).then(|| model.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(op_type: &str, inputs: &[&str], outputs: &[&str]) -> Node {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Node { op_type: op_type.into(), inputs: names(inputs), outputs: names(outputs), ..Node::default() }
    }

    /// `state` and, beside it, `y`; weights are listed as inputs too, as older files do.
    fn graph() -> Graph {
        let value = |name: &str| Value { name: name.into(), kind: None };
        let weight = |name: &str| Tensor { name: name.into(), location: 0 }.encode_to_vec();
        Graph {
            nodes: vec![
                node("Constant", &[], &["sizes"]),
                node("Split", &["x"], &["a", "b"]),
                node("Conv", &["a", "v"], &["kept"]),
                node("Reshape", &["kept", "sizes"], &["state"]),
                node("Conv", &["b", "w"], &["wide"]),
                node("Reshape", &["wide", "sizes"], &["shaped"]),
                node("Add", &["shaped", "state"], &["y"]),
            ],
            inputs: vec![value("x"), value("w"), value("v")],
            outputs: vec![value("state"), value("y")],
            weights: vec![weight("w"), weight("v")],
            ..Graph::default()
        }
    }

    fn listed(graph: &Graph) -> [Vec<String>; 3] {
        let names = |values: &[Value]| values.iter().map(|value| value.name.clone()).collect();
        let made = graph.nodes.iter().flat_map(|node| node.outputs.clone()).collect();
        [names(&graph.inputs), made, names(&graph.outputs)]
    }

    #[test]
    fn a_graph_is_cut_where_the_rest_reads_it() {
        let seam = graph().seam(&["state"]).unwrap();
        assert_eq!(seam, ["b", "state"], "constants are in both parts");
        let mut first = graph();
        first.end_at(&["state", "b"]);
        assert_eq!(listed(&first), [vec!["x", "v"], vec!["sizes", "a", "b", "kept", "state"], vec!["state", "b"]]);
        assert_eq!(first.weight_names(), HashSet::from(["v".to_owned()]));

        let mut second = graph();
        let given = |name: &str| TensorInfo { name: name.into(), element: None, dims: Vec::new() };
        second.end_at(&["y"]);
        second.begin_at(&[given("b"), given("state")]);
        assert_eq!(listed(&second), [vec!["b", "state"], vec!["sizes", "wide", "shaped", "y"], vec!["y"]]);
        assert_eq!(second.weight_names(), HashSet::from(["w".to_owned()]));

        let mut reads_the_input = graph();
        reads_the_input.nodes[4].inputs[0] = "x".into();
        assert_eq!(reads_the_input.seam(&["state"]), None);
    }
}
