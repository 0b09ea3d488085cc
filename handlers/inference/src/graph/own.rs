//! A network with our own convolutions in the place of some of ONNX Runtime's.

use std::collections::{HashMap, HashSet};

use darkroom_models::onnx::{Attribute, FLOAT, Node, Tensor};
use prost::Message;

use super::Graph;
use crate::winograd::{self, ACTIVATION, DOMAIN, GATE, NAME, SILU, SLOPE};

/// Fewest channels, in and out, of a convolution that is computed in our own way: of fewer, transforming takes longer than it saves.
const MIN_CHANNELS: i64 = 8;

impl Graph {
    /// Has convolutions of 3x3 computed by the method of Winograd, see [`winograd`], together with what follows them: for
    /// sessions on a CPU. `false`, and no change, where there is none, or where the processor lacks the instructions.
    pub fn own_convolutions(&mut self) -> bool {
        if !winograd::is_there() || self.0.nodes.iter().any(Node::is_nested) {
            return false;
        }
        let tensors: HashMap<String, Tensor> = (self.0.weights.iter())
            .filter_map(|bytes| Tensor::decode(&bytes[..]).ok())
            .map(|tensor| (tensor.name.clone(), tensor))
            .collect();
        let taken: Vec<usize> = (0..self.0.nodes.len()).filter(|at| fits(&self.0.nodes[*at], &tensors)).collect();
        if taken.is_empty() {
            return false;
        }
        // What is listed as an input too could be given another value; nobody does, and the operator wants constants.
        self.0.inputs.retain(|input| !tensors.contains_key(&input.name));
        for at in &taken {
            let node = &mut self.0.nodes[*at];
            (node.op_type, node.domain) = (NAME.into(), Some(DOMAIN.into()));
            // Sessions of the model share weights by it.
            node.name = Some(format!("{NAME}/{}", node.outputs[0]));
            node.attributes.clear();
        }
        let mut made = Vec::new();
        let mut fusion = Fusion::new(self, &tensors);
        for at in &taken {
            fusion.slope(*at, &mut made).or_else(|| fusion.silu(*at)).or_else(|| fusion.gate(*at));
        }
        let kept = fusion.kept;
        self.0.nodes = kept.into_iter().flatten().collect();
        self.0.weights.extend(made.iter().map(Message::encode_to_vec));
        self.prune();
        true
    }
}

/// Whether it is a convolution of ONNX's own with a wide kernel of 3x3, a border of one zero and no steps, its weights known.
fn fits(node: &Node, tensors: &HashMap<String, Tensor>) -> bool {
    let ints = |name: &str, plain: &[i64]| node.attribute(name).is_none_or(|attribute| attribute.ints == plain);
    let has_border = node.attribute("pads").is_some_and(|pads| pads.ints == [1; 4]);
    let whole = node.attribute("group").is_none_or(|group| group.i == Some(1));
    let told = node.attribute("auto_pad").is_none_or(|auto| auto.s.as_deref() == Some(b"NOTSET"));
    let own = node.domain.as_deref().is_none_or(str::is_empty);
    let plain = own && node.op_type == "Conv" && has_border && whole && told && ints("strides", &[1; 2]);
    let known = match &node.inputs[..] {
        [_, kernel] => is_wide(kernel, tensors),
        [_, kernel, bias] => is_wide(kernel, tensors) && tensors.contains_key(bias),
        _ => false,
    };
    plain && ints("dilations", &[1; 2]) && known && node.outputs.len() == 1
}

fn is_wide(kernel: &str, tensors: &HashMap<String, Tensor>) -> bool {
    let Some(Tensor { dims, data_type: FLOAT, .. }) = tensors.get(kernel) else { return false };
    let [outputs, inputs, 3, 3] = dims[..] else { return false };
    outputs.min(inputs) >= MIN_CHANNELS
}

/// Convolutions that take in what follows them.
struct Fusion<'a> {
    tensors: &'a HashMap<String, Tensor>,
    /// Operations; those that were taken in are none.
    kept: Vec<Option<Node>>,
    makers: HashMap<String, usize>,
    readers: HashMap<String, Vec<usize>>,
    results: HashSet<String>,
}

impl<'a> Fusion<'a> {
    fn new(graph: &Graph, tensors: &'a HashMap<String, Tensor>) -> Fusion<'a> {
        let (mut makers, mut readers) = (HashMap::new(), HashMap::<String, Vec<usize>>::new());
        for (at, node) in graph.0.nodes.iter().enumerate() {
            makers.extend(node.outputs.iter().map(|made| (made.clone(), at)));
            for read in &node.inputs {
                readers.entry(read.clone()).or_default().push(at);
            }
        }
        let results = graph.0.outputs.iter().map(|value| value.name.clone()).collect();
        Fusion { tensors, kept: graph.0.nodes.iter().cloned().map(Some).collect(), makers, readers, results }
    }

    /// The operations that read what this one makes, which must not be a result of the network.
    fn readers(&self, at: usize) -> Option<(&str, &[usize])> {
        let [made] = &self.kept[at].as_ref()?.outputs[..] else { return None };
        if self.results.contains(made) {
            return None;
        }
        Some((made, self.readers.get(made)?))
    }

    /// The one that does, of some kind.
    fn reader(&self, at: usize, kind: &str) -> Option<usize> {
        let (_, [reader]) = self.readers(at)? else { return None };
        self.is(*reader, kind).then_some(*reader)
    }

    fn is(&self, at: usize, kind: &str) -> bool {
        self.kept[at]
            .as_ref()
            .is_some_and(|node| node.op_type == kind && node.domain.as_deref().is_none_or(str::is_empty))
    }

    fn node(&self, at: usize) -> Option<&Node> {
        self.kept[at].as_ref()
    }

    /// Puts the convolution in the place of the last of what it takes in.
    fn take_in(
        &mut self,
        convolution: usize,
        others: &[usize],
        last: usize,
        activation: &str,
        with: Option<String>,
    ) -> Option<()> {
        let mut node = self.kept[convolution].take()?;
        node.outputs.clone_from(&self.kept[last].as_ref()?.outputs);
        node.attributes = vec![Attribute::text(ACTIVATION, activation).encode_to_vec()];
        node.inputs.extend(with);
        others.iter().for_each(|at| self.kept[*at] = None);
        self.kept[last] = Some(node);
        Some(())
    }

    fn has_bias(&self, at: usize) -> bool {
        self.node(at).is_some_and(|node| node.inputs.len() == 3)
    }

    /// `PRelu`, `LeakyRelu` and `Relu`; slopes that no weight tells are added to `made`.
    fn slope(&mut self, at: usize, made: &mut Vec<Tensor>) -> Option<()> {
        let (_, [reader]) = self.readers(at)? else { return None };
        let (reader, follows) = (*reader, self.node(*reader)?);
        if !self.has_bias(at) {
            return None;
        }
        let channels = self.tensors.get(&self.node(at)?.inputs[1])?.dims[0];
        let slope = match follows.op_type.as_str() {
            "PRelu" if self.is(reader, "PRelu") => {
                let [read, slope] = &follows.inputs[..] else { return None };
                let tensor = self.tensors.get(slope)?;
                let by_channel = tensor.dims[..] == [channels, 1, 1] || tensor.dims.iter().all(|dim| *dim == 1);
                let fits = by_channel && tensor.data_type == FLOAT && read == self.readers(at)?.0;
                fits.then(|| slope.clone())?
            }
            kind @ ("LeakyRelu" | "Relu") if self.is(reader, kind) => {
                // A number that is 0 may be left out of an attribute.
                let told = follows.attribute("alpha").map(|alpha| alpha.f.unwrap_or(0.0));
                let alpha: f32 = if kind == "Relu" { 0.0 } else { told.unwrap_or(0.01) };
                let name = format!("darkroom/slope{}", made.len());
                made.push(Tensor {
                    dims: vec![1],
                    data_type: FLOAT,
                    name: name.clone(),
                    raw: alpha.to_le_bytes().to_vec(),
                });
                name
            }
            _ => return None,
        };
        self.take_in(at, &[], reader, SLOPE, Some(slope))
    }

    /// y sigmoid(y).
    fn silu(&mut self, at: usize) -> Option<()> {
        let (made, readers) = self.readers(at)?;
        let sigmoid = readers.iter().copied().find(|at| self.is(*at, "Sigmoid"))?;
        let product = self.reader(sigmoid, "Mul")?;
        let sigmoid_made = &self.node(sigmoid)?.outputs[0];
        let of_both = |inputs: &[String]| {
            inputs.len() == 2
                && inputs.iter().any(|read| read == made)
                && inputs.iter().any(|read| read == sigmoid_made)
        };
        if readers.len() != 2 || !readers.contains(&product) || !of_both(&self.node(product)?.inputs) {
            return None;
        }
        self.take_in(at, &[sigmoid], product, SILU, None)
    }

    /// (y + x / 2) tanh(y).
    fn gate(&mut self, at: usize) -> Option<()> {
        let (made, readers) = self.readers(at)?;
        let [tanh, sum] = ["Tanh", "Add"].map(|kind| readers.iter().copied().find(|at| self.is(*at, kind)));
        let (tanh, sum) = (tanh?, sum?);
        let product = self.reader(tanh, "Mul")?;
        let beside = self.node(sum)?.inputs.iter().find(|read| *read != made)?;
        let halving = *self.makers.get(beside)?;
        let fits = readers.len() == 2
            && self.has_bias(at)
            && self.reader(sum, "Mul") == Some(product)
            && self.reader(halving, "Add") == Some(sum)
            && self.halves(halving, &self.node(at)?.inputs[1]);
        if !fits {
            return None;
        }
        let beside = self.node(halving)?.inputs[0].clone();
        self.take_in(at, &[tanh, sum, halving], product, GATE, Some(beside))
    }

    /// Whether it is a convolution that halves as many channels as the kernel makes.
    fn halves(&self, at: usize, kernel: &str) -> bool {
        let (Some(node), Some(kernel)) = (self.node(at), self.tensors.get(kernel)) else { return false };
        let [_, halves] = &node.inputs[..] else { return false };
        let Some(halves) = self.tensors.get(halves) else { return false };
        let channels = kernel.dims[0];
        self.is(at, "Conv")
            && halves.data_type == FLOAT
            && halves.dims[..] == [channels, 1, 1, 1]
            && i64::try_from(halves.raw.len()) == Ok(4 * channels)
            && halves.raw.chunks_exact(4).all(|number| number == 0.5_f32.to_le_bytes())
            && node.attribute("group").is_some_and(|group| group.i == Some(channels))
            && node.attribute("strides").is_none_or(|strides| strides.ints == [1; 2])
            && node.attribute("pads").is_none_or(|pads| pads.ints == [0; 4])
    }
}
