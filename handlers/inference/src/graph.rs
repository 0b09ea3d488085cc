//! ONNX graphs as data, to leave out of a model what is computed elsewhere.
//!
//! Only what an [`Edit`] looks at is decoded, see [`darkroom_models::onnx`].

mod own;

use std::collections::{HashMap, HashSet};

use darkroom_models::onnx::{self, Dim, Model, Node, Opset, TensorHead, Value};
use ort::sys::ONNXTensorElementDataType;
use prost::Message;

use crate::TensorInfo;
use crate::winograd;

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

/// The computation of a model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Graph(onnx::Graph);

fn value(info: &TensorInfo) -> Value {
    // ONNX Runtime counts element types as ONNX does.
    let element = info.element.map_or(0, |element| ONNXTensorElementDataType::from(element) as i32);
    let dim = |dim: &Option<u64>| Dim { value: dim.and_then(|dim| i64::try_from(dim).ok()), name: None };
    // A tensor of any rank is told as one without dimensions.
    let dims = (!info.dims.is_empty()).then(|| info.dims.iter().map(dim).collect());
    Value::tensor(&info.name, element, dims)
}

impl Graph {
    /// The operation that makes a tensor; `None` for inputs and weights.
    pub fn producer(&self, tensor: &str) -> Option<&Node> {
        self.0.nodes.iter().find(|node| node.outputs.iter().any(|output| output == tensor))
    }

    /// The operations that read a tensor.
    pub fn readers(&self, tensor: &str) -> impl Iterator<Item = &Node> {
        self.0.nodes.iter().filter(move |node| node.inputs.iter().any(|input| input == tensor))
    }

    /// Keeps only what is computed for `outputs`, which may be any tensors, in that order.
    pub fn end_at(&mut self, outputs: &[&str]) {
        let known = |name: &&str| self.0.outputs.iter().find(|value| value.name == **name).cloned();
        // ONNX Runtime infers the shape.
        let value = |name: &&str| known(name).unwrap_or_else(|| Value { name: (*name).to_owned(), kind: None });
        self.0.outputs = outputs.iter().map(value).collect();
        self.prune();
    }

    /// Takes tensors as inputs, in place of what computes them and of all other inputs.
    pub fn begin_at(&mut self, inputs: &[TensorInfo]) {
        let given: HashSet<&str> = inputs.iter().map(|info| info.name.as_str()).collect();
        self.0.nodes.retain(|node| !node.outputs.iter().any(|output| given.contains(output.as_str())));
        self.0.inputs = inputs.iter().map(value).collect();
        self.prune();
    }

    /// What all else in the graph reads of the tensors that are computed for `outputs`: of these it can be computed in
    /// another session, which [`Graph::begin_at`] them. `None` where it reads an input of the graph too.
    pub fn seam(&self, outputs: &[&str]) -> Option<Vec<String>> {
        let before = self.needed(outputs);
        let weights = self.weight_names();
        let mut varies: HashSet<&str> = self.0.inputs.iter().map(|value| value.name.as_str()).collect();
        varies.retain(|name| !weights.contains(*name));
        let given = varies.clone();
        // Operations stand in the order in which they can be computed.
        for node in &self.0.nodes {
            if node.inputs.iter().any(|input| varies.contains(input.as_str())) {
                varies.extend(node.outputs.iter().map(String::as_str));
            }
        }
        let made_before: HashSet<&str> = (self.0.nodes.iter().zip(&before))
            .filter(|(_, before)| **before)
            .flat_map(|(node, _)| node.outputs.iter().map(String::as_str))
            .collect();
        let mut seam: Vec<String> = Vec::new();
        let after = self.0.nodes.iter().zip(&before).filter(|(_, before)| !**before).map(|(node, _)| node);
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
        let exists = |name: &str| self.0.outputs.iter().any(|output| output.name == name);
        if !replaced.iter().all(|(output, ..)| exists(output)) || self.0.nodes.iter().any(Node::is_nested) {
            return false;
        }
        for (output, tensor, name) in replaced {
            for value in self.0.outputs.iter_mut().filter(|value| value.name == *output) {
                // ONNX Runtime infers the shape.
                *value = Value { name: (*name).to_owned(), kind: None };
            }
            let names = self.0.nodes.iter_mut().flat_map(|node| node.inputs.iter_mut().chain(&mut node.outputs));
            for known in names.filter(|known| *known == tensor) {
                *known = (*name).to_owned();
            }
        }
        self.prune();
        true
    }

    /// Keeps what the outputs depend on.
    fn prune(&mut self) {
        let outputs: Vec<&str> = self.0.outputs.iter().map(|output| output.name.as_str()).collect();
        let mut keep = self.needed(&outputs).into_iter();
        self.0.nodes.retain(|_| keep.next().unwrap_or(true));
        let read: HashSet<&str> = self.0.nodes.iter().flat_map(|node| &node.inputs).map(String::as_str).collect();
        let weights = self.weight_names();
        self.0
            .weights
            .retain(|bytes| TensorHead::decode(&bytes[..]).is_ok_and(|tensor| read.contains(tensor.name.as_str())));
        // Older files list weights as inputs too; without their values they would have to be filled.
        self.0.inputs.retain(|input| read.contains(input.name.as_str()) || !weights.contains(&input.name));
    }

    fn weight_names(&self) -> HashSet<String> {
        self.0.weights.iter().filter_map(|bytes| Some(TensorHead::decode(&bytes[..]).ok()?.name)).collect()
    }

    /// Which operations `tensors` depend on.
    fn needed(&self, tensors: &[&str]) -> Vec<bool> {
        let makers: HashMap<&str, usize> = (self.0.nodes.iter().enumerate())
            .flat_map(|(index, node)| node.outputs.iter().map(move |output| (output.as_str(), index)))
            .collect();
        let mut needed = vec![false; self.0.nodes.len()];
        let mut open: Vec<usize> = tensors.iter().filter_map(|name| makers.get(name).copied()).collect();
        while let Some(index) = open.pop() {
            if !std::mem::replace(&mut needed[index], true) {
                open.extend(self.0.nodes[index].inputs.iter().filter_map(|input| makers.get(input.as_str())));
            }
        }
        needed
    }

    fn has_external_weights(&self) -> bool {
        self.0.weights.iter().any(|bytes| TensorHead::decode(&bytes[..]).is_ok_and(|tensor| tensor.location == 1))
    }
}

/// The edited file; `None` where it is none that can be edited, or where the edit does not fit it.
pub(crate) fn edited(file: &[u8], edit: Edit<'_>) -> Option<Vec<u8>> {
    let mut model = Model::decode(file).ok()?;
    let mut graph = Graph(model.graph.take()?);
    // A session of bytes has no directory in which to find other files.
    if graph.has_external_weights() || !(edit.apply)(&mut graph) {
        return None;
    }
    if graph.0.nodes.iter().any(|node| node.domain.as_deref() == Some(winograd::DOMAIN)) {
        let own = Opset { domain: winograd::DOMAIN.into(), version: 1 };
        model.opset_import.push(own.encode_to_vec());
    }
    model.graph = Some(graph.0);
    Some(model.encode_to_vec())
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
        let weight = |name: &str| TensorHead { name: name.into(), location: 0 }.encode_to_vec();
        Graph(onnx::Graph {
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
            ..onnx::Graph::default()
        })
    }

    fn listed(graph: &Graph) -> [Vec<String>; 3] {
        let names = |values: &[Value]| values.iter().map(|value| value.name.clone()).collect();
        let made = graph.0.nodes.iter().flat_map(|node| node.outputs.clone()).collect();
        [names(&graph.0.inputs), made, names(&graph.0.outputs)]
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
        reads_the_input.0.nodes[4].inputs[0] = "x".into();
        assert_eq!(reads_the_input.seam(&["state"]), None);
    }
}
