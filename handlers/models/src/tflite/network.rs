//! A network in the making: which ONNX tensors its own have become.

use super::model::{Model, Operator};
use super::weights::MAX_NUMBERS;
use crate::onnx::{Attribute, Graph, Node, Tensor, Value};

/// A network as far as it is converted.
pub struct Network<'a> {
    model: &'a Model<'a>,
    /// What each tensor has become, by its index.
    made: Vec<Option<Made>>,
    nodes: Vec<Node>,
    weights: Vec<Tensor>,
    /// Numbers of all weights.
    numbers: usize,
}

/// A tensor that is computed.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// What operations call it.
    pub name: String,
    /// Whether it is a picture that is stored channel by channel; otherwise it is stored as in the file.
    pub planar: bool,
}

impl<'a> Network<'a> {
    /// A network of which nothing is converted yet.
    pub fn new(model: &'a Model<'a>) -> Network<'a> {
        Network { model, made: vec![None; model.tensors.len()], nodes: Vec::new(), weights: Vec::new(), numbers: 0 }
    }

    /// Converts what some tensors need, which come out under new names.
    ///
    /// # Errors
    /// What is not known or does not fit, with the operator.
    pub fn convert(mut self, outputs: &[(&str, usize)]) -> Result<Graph, String> {
        let [1, height, width, channels] = self.model.tensors[self.model.input].shape[..] else {
            return Err("no picture goes in".into());
        };
        let image = Value::floats("image", &[channels, height, width]);
        self.made[self.model.input] = Some(Made { name: "image".into(), planar: true });
        let needed = self.needed(outputs);
        let model = self.model;
        for (operator, _) in model.operators.iter().zip(needed).filter(|(_, needed)| *needed) {
            self.operator(operator).map_err(|why| {
                let name = model.tensors[operator.output].name;
                format!("the operator that makes `{name}`: {why}")
            })?;
        }
        let mut values = Vec::new();
        for (name, index) in outputs {
            let plain = self.plain(*index)?;
            let [_, dims @ ..] = self.shape(*index) else {
                return Err(format!("the output `{name}` has no dimensions"));
            };
            self.nodes.push(Node {
                op_type: "Identity".into(),
                inputs: vec![plain],
                outputs: vec![(*name).to_owned()],
                ..Node::default()
            });
            values.push(Value::floats(name, dims));
        }
        Ok(Graph::new("tflite", self.nodes, &self.weights, vec![image], values))
    }

    /// Which operators some tensors depend on.
    fn needed(&self, outputs: &[(&str, usize)]) -> Vec<bool> {
        let mut open = vec![false; self.made.len()];
        outputs.iter().for_each(|(_, index)| open[*index] = true);
        let mut needed: Vec<bool> = Vec::with_capacity(self.model.operators.len());
        // They stand in the order in which they can be computed.
        for operator in self.model.operators.iter().rev() {
            needed.push(open[operator.output]);
            if open[operator.output] {
                operator.inputs.iter().for_each(|input| open[*input] = true);
            }
        }
        needed.reverse();
        needed
    }

    /// Dimensions of a tensor, as in the file.
    pub fn shape(&self, index: usize) -> &'a [usize] {
        &self.model.tensors[index].shape
    }

    /// Height, width and channels of a picture.
    ///
    /// # Errors
    /// Where it is none.
    pub fn picture(&self, index: usize) -> Result<[usize; 3], String> {
        match self.shape(index) {
            [1, h, w, c] => Ok([*h, *w, *c]),
            shape => Err(format!("{shape:?} is no picture")),
        }
    }

    /// The tensor that an operator reads as its `position`-th.
    ///
    /// # Errors
    /// Where it reads fewer.
    pub fn operand(operator: &Operator<'_>, position: usize) -> Result<usize, String> {
        operator.inputs.get(position).copied().ok_or_else(|| format!("fewer than {} inputs", position + 1))
    }

    /// What a tensor has become.
    ///
    /// # Errors
    /// Where nothing has made it.
    pub fn made(&self, index: usize) -> Result<Made, String> {
        self.made[index].clone().ok_or_else(|| format!("nothing has made `{}`", self.model.tensors[index].name))
    }

    /// The same, where it must be a picture.
    ///
    /// # Errors
    /// Where it is none, or nothing has made it.
    pub fn planar(&self, index: usize) -> Result<String, String> {
        let made = self.made(index)?;
        if made.planar { Ok(made.name) } else { Err(format!("`{}` is no picture", self.model.tensors[index].name)) }
    }

    /// The same, stored as in the file.
    ///
    /// # Errors
    /// Where nothing has made it.
    pub fn plain(&mut self, index: usize) -> Result<String, String> {
        let made = self.made(index)?;
        if !made.planar {
            return Ok(made.name);
        }
        Ok(self.node("Transpose", vec![made.name], vec![Attribute::ints("perm", &[0, 2, 3, 1])]))
    }

    /// Tells what the operator's tensor has become.
    pub fn set(&mut self, operator: &Operator<'_>, name: String, planar: bool) {
        self.made[operator.output] = Some(Made { name, planar });
    }

    /// The numbers of a weight, through the operators that unpack weights, and its shape.
    ///
    /// # Errors
    /// Where it is computed, too large, or of a kind that is not known.
    pub fn numbers(&mut self, index: usize) -> Result<(Vec<f32>, &'a [usize]), String> {
        let mut source = index;
        // Unpacked twice at most: what is sparse becomes dense, what is half becomes single.
        for _ in 0..2 {
            let unpacks = |operator: &&Operator<'_>| operator.output == source && operator.unpacks();
            let Some(operator) = self.model.operators.iter().find(unpacks) else { break };
            source = Self::operand(operator, 0)?;
        }
        let tensor = &self.model.tensors[source];
        if tensor.data.is_empty() {
            return Err(format!("`{}` is no weight", tensor.name));
        }
        self.numbers = self.numbers.saturating_add(tensor.len());
        if self.numbers > MAX_NUMBERS {
            return Err(format!("more than {MAX_NUMBERS} numbers in all weights"));
        }
        Ok((tensor.numbers()?, &tensor.shape))
    }

    /// The whole numbers of a constant.
    ///
    /// # Errors
    /// Where it is none, or longer than `most`.
    pub fn integers(&self, index: usize, most: usize) -> Result<Vec<usize>, String> {
        let tensor = &self.model.tensors[index];
        if tensor.len() > most { Err("a list of sizes that is too long".into()) } else { tensor.integers() }
    }

    /// Adds a weight; returns its name.
    pub fn weight(&mut self, dims: &[usize], numbers: &[f32]) -> String {
        let name = format!("w{}", self.weights.len());
        self.weights.push(Tensor::new(name.clone(), dims, numbers));
        name
    }

    /// Adds a list of sizes; returns its name.
    pub fn sizes(&mut self, sizes: &[usize]) -> String {
        let name = format!("w{}", self.weights.len());
        let sizes: Vec<i64> = sizes.iter().map(|size| *size as i64).collect();
        self.weights.push(Tensor::sizes(name.clone(), &sizes));
        name
    }

    /// Adds an operation; returns the tensor that it makes.
    pub fn node(&mut self, op_type: &str, inputs: Vec<String>, attributes: Vec<Attribute>) -> String {
        let made = format!("t{}", self.nodes.len());
        let (outputs, name) = (vec![made.clone()], format!("{op_type}/{made}"));
        self.nodes.push(Node::new(op_type, name, inputs, outputs, &attributes));
        made
    }
}
