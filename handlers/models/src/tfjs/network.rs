//! A network in the making: what its nodes have become.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::graph::{Constant, Op};
use crate::onnx::{Attribute, Graph, Node, Tensor, Value};

const MAX_NODES: usize = 1 << 14;
/// Numbers of all weights together, one that is read twice counted twice; the largest known has 4 million.
const MAX_NUMBERS: usize = 1 << 25;

/// A network as far as it is converted.
pub struct Network {
    made: HashMap<String, Made>,
    constants: HashMap<String, Constant>,
    nodes: Vec<Node>,
    weights: Vec<Tensor>,
    /// Numbers of all weights.
    numbers: usize,
    /// Channels of the picture that goes in.
    pub channels: Option<usize>,
}

/// What a node has become.
#[derive(Debug, Clone, PartialEq)]
pub enum Made {
    /// A picture, stored in planes.
    Picture {
        /// What operations call it.
        name: String,
        /// Whether the graph sees it as interleaved channels.
        interleaved: bool,
        /// Channels, height and width, where the picture that goes in has the size that the graph names.
        size: [usize; 3],
    },
    /// Something else.
    Plain(String),
}

impl Network {
    /// A network of which nothing is converted yet.
    pub fn new(constants: HashMap<String, Constant>) -> Network {
        Network { made: HashMap::new(), constants, nodes: Vec::new(), weights: Vec::new(), numbers: 0, channels: None }
    }

    /// Converts all nodes; `outputs` are the new names of results and the nodes that make them.
    ///
    /// # Errors
    /// What is not known or does not fit, with the node.
    pub fn convert(mut self, ops: &[Op], outputs: &BTreeMap<String, String>) -> Result<Graph, String> {
        if ops.len() > MAX_NODES {
            return Err(format!("more than {MAX_NODES} nodes"));
        }
        let needed = needed(ops, outputs);
        for op in ops.iter().filter(|op| needed.contains(op.name.as_str())) {
            self.op(op).map_err(|why| format!("{} `{}`: {why}", op.kind, op.name))?;
            if self.numbers > MAX_NUMBERS {
                return Err(format!("more than {MAX_NUMBERS} numbers in all weights"));
            }
        }
        let channels = self.channels.ok_or("no picture goes in")?;
        let mut values = Vec::new();
        for (name, source) in outputs {
            // A picture comes out in planes.
            let (Made::Plain(tensor) | Made::Picture { name: tensor, .. }) = self.made(source)?;
            self.nodes.push(Node {
                op_type: "Identity".into(),
                inputs: vec![tensor],
                outputs: vec![name.clone()],
                ..Node::default()
            });
            values.push(Value::any_floats(name));
        }
        Ok(Graph::new("tfjs", self.nodes, &self.weights, vec![Value::pictures("image", channels, ["h", "w"])], values))
    }

    /// What a node has become.
    ///
    /// # Errors
    /// Where it is none that was converted.
    pub fn made(&self, name: &str) -> Result<Made, String> {
        self.made.get(name).cloned().ok_or_else(|| format!("there is no `{name}` to read"))
    }

    /// What a node's input of that position has become, which must be a picture that is seen as told.
    ///
    /// # Errors
    /// Where it is none.
    pub fn picture(&self, op: &Op, position: usize, interleaved: bool) -> Result<(String, [usize; 3]), String> {
        match self.made(input(op, position)?)? {
            Made::Picture { name, interleaved: seen, size } if seen == interleaved => Ok((name, size)),
            _ => Err(format!("`{}` is no picture that fits here", input(op, position)?)),
        }
    }

    /// Numbers of a constant and their dimensions.
    ///
    /// # Errors
    /// Where it is none.
    pub fn floats(&self, op: &Op, position: usize) -> Result<(&[f32], &[usize]), String> {
        match self.constants.get(input(op, position)?) {
            Some(Constant::Floats(numbers, dims)) => Ok((numbers, dims)),
            _ => Err(format!("`{}` is no constant of numbers", input(op, position)?)),
        }
    }

    /// Whole numbers of a constant.
    ///
    /// # Errors
    /// Where it is none.
    pub fn ints(&self, op: &Op, position: usize) -> Result<&[i64], String> {
        match self.constants.get(input(op, position)?) {
            Some(Constant::Ints(numbers)) => Ok(numbers),
            _ => Err(format!("`{}` is no constant of whole numbers", input(op, position)?)),
        }
    }

    /// Whole numbers that a node makes of constants.
    pub fn constant(&mut self, op: &Op, numbers: Vec<i64>) {
        self.constants.insert(op.name.clone(), Constant::Ints(numbers));
    }

    /// Tells what a node has become.
    pub fn set(&mut self, name: &str, made: Made) {
        self.made.insert(name.to_owned(), made);
    }

    /// Tells that a node has become a picture.
    pub fn set_picture(&mut self, op: &Op, name: String, interleaved: bool, size: [usize; 3]) {
        self.set(&op.name, Made::Picture { name, interleaved, size });
    }

    /// Adds a weight; returns its name.
    pub fn weight(&mut self, dims: &[usize], numbers: &[f32]) -> String {
        let name = format!("w{}", self.weights.len());
        self.numbers += numbers.len();
        self.weights.push(Tensor::new(name.clone(), dims, numbers));
        name
    }

    /// Adds a list of sizes; returns its name.
    pub fn sizes(&mut self, sizes: &[i64]) -> String {
        let name = format!("w{}", self.weights.len());
        self.weights.push(Tensor::sizes(name.clone(), sizes));
        name
    }

    /// Adds an operation that makes one tensor; returns its name.
    pub fn node(&mut self, op_type: &str, inputs: Vec<String>, attributes: Vec<Attribute>) -> String {
        let made = format!("t{}", self.nodes.len());
        self.node_of_several(op_type, inputs, vec![made.clone()], attributes);
        made
    }

    /// Adds an operation.
    pub fn node_of_several(
        &mut self,
        op_type: &str,
        inputs: Vec<String>,
        outputs: Vec<String>,
        attributes: Vec<Attribute>,
    ) {
        let name = format!("{op_type}/{}", self.nodes.len());
        self.nodes.push(Node::new(op_type, name, inputs, outputs, &attributes));
    }
}

/// The name of what a node reads.
///
/// # Errors
/// Where it reads fewer.
pub fn input(op: &Op, position: usize) -> Result<&str, String> {
    op.inputs.get(position).map(String::as_str).ok_or_else(|| format!("fewer than {} inputs", position + 1))
}

/// The nodes that results are made of.
fn needed<'a>(ops: &'a [Op], outputs: &'a BTreeMap<String, String>) -> HashSet<&'a str> {
    // One of several results of a node has its number behind the name.
    let node = |name: &'a String| name.split(':').next().unwrap_or_default();
    let mut needed: HashSet<&str> = outputs.values().map(node).collect();
    for op in ops.iter().rev() {
        if needed.contains(op.name.as_str()) {
            needed.extend(op.inputs.iter().map(node));
        }
    }
    needed
}
