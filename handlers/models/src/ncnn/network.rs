//! A network in the making: which tensors its blobs are, and what has been added for its layers.

use std::collections::{BTreeMap, BTreeSet};

use super::gates;
use super::param::Layer;
use super::weights::Weights;
use crate::onnx::{Attribute, Graph, Model, Node, Tensor, Value};

/// Most operations of a network; the longest known has two thousand.
const MAX_NODES: usize = 1 << 14;
/// Most parts whose sum a convolution becomes; SPAN's has four.
const MAX_PARTS: usize = 64;

/// A network as far as it is converted.
pub struct Network<'a> {
    /// What no layer has taken yet.
    pub weights: Weights<'a>,
    /// What no layer has read yet. ncnn has each blob read once, and copies it with `Split` for several.
    unread: BTreeMap<&'a str, Blob>,
    nodes: Vec<Node>,
    tensors: Vec<Tensor>,
    /// What tensors were joined of.
    pub joined: BTreeMap<String, Vec<Blob>>,
    /// Channels of all tensors.
    channels: BTreeMap<String, usize>,
    /// Which operation makes a tensor.
    makers: BTreeMap<String, usize>,
    /// Whether the picture that goes in has a name.
    pub has_input: bool,
}

/// A tensor and its channels.
#[derive(Debug, Clone)]
pub struct Blob {
    /// What operations call it.
    pub tensor: String,
    /// Its channels.
    pub channels: usize,
}

impl<'a> Network<'a> {
    /// A network without layers yet.
    pub fn new(bin: &'a [u8]) -> Network<'a> {
        let weights = Weights::new(bin);
        Network {
            weights,
            unread: BTreeMap::new(),
            nodes: Vec::new(),
            tensors: Vec::new(),
            joined: BTreeMap::new(),
            channels: BTreeMap::new(),
            makers: BTreeMap::new(),
            has_input: false,
        }
    }

    /// Adds the next layer.
    ///
    /// # Errors
    /// What is not known or does not fit, with the layer's kind and name.
    pub fn add(&mut self, mut layer: Layer<'a>) -> Result<(), String> {
        let (kind, name) = (layer.kind, layer.name);
        let done = self.convert(&mut layer).and_then(|()| layer.all_taken());
        done.and_then(|()| self.is_short()).map_err(|why| format!("{kind} `{name}`: {why}"))
    }

    fn is_short(&self) -> Result<(), String> {
        if self.nodes.len() > MAX_NODES {
            return Err(format!("from here on the network has more than {MAX_NODES} operations"));
        }
        Ok(())
    }

    /// The whole network, once all layers are added.
    ///
    /// # Errors
    /// Where weights are left over, or where not exactly one picture comes out.
    pub fn finish(mut self) -> Result<Model, String> {
        self.weights.all_read()?;
        if !self.has_input {
            return Err("no picture goes in".into());
        }
        let [Blob { tensor, channels: 3 }] = &self.unread.values().cloned().collect::<Vec<_>>()[..] else {
            let open: Vec<String> =
                self.unread.iter().map(|(name, b)| format!("{name} ({} channels)", b.channels)).collect();
            return Err(format!("not one picture of 3 channels comes out, but: {}", open.join(", ")));
        };
        let [least, most] = [0.0, 1.0].map(|limit| self.weight(&[], &[limit]));
        self.nodes.push(Node {
            op_type: "Clip".into(),
            inputs: vec![tensor.clone(), least, most],
            outputs: vec!["output".into()],
            ..Node::default()
        });
        gates::simplify(&mut self.nodes, &mut self.tensors, &self.channels, &self.makers);
        let read: BTreeSet<String> = self.nodes.iter().flat_map(|node| node.inputs.iter().cloned()).collect();
        self.nodes.retain(|node| node.op_type != "Concat" || node.outputs.iter().any(|made| read.contains(made)));
        self.tensors.retain(|tensor| read.contains(&tensor.name));
        let inputs = vec![Value::pictures("input", 3, ["h", "w"])];
        let outputs = vec![Value::pictures("output", 3, ["H", "W"])];
        Ok(Model::new(Graph::new("upscale", self.nodes, &self.tensors, inputs, outputs)))
    }

    /// The parts that a blob was joined of, each with its first channel, in the order in which they are made; the blob
    /// itself where it was not joined, or of very many.
    pub fn parts(&self, blob: &Blob) -> Vec<(usize, Blob)> {
        let parts = self.joined.get(&blob.tensor).filter(|parts| parts.len() <= MAX_PARTS);
        let Some(parts) = parts else { return vec![(0, blob.clone())] };
        let mut next = 0;
        let placed = parts.iter().map(|part| {
            next += part.channels;
            (next - part.channels, part.clone())
        });
        let mut placed: Vec<_> = placed.collect();
        placed.sort_by_key(|(_, part)| self.makers.get(&part.tensor));
        placed
    }

    /// Takes the `N` blobs that a layer reads.
    ///
    /// # Errors
    /// Where it reads another number of them, and as [`Network::read_all`].
    pub fn read<const N: usize>(&mut self, layer: &Layer<'a>) -> Result<[Blob; N], String> {
        self.read_all(layer)?.try_into().map_err(|found: Vec<_>| format!("{} inputs in place of {N}", found.len()))
    }

    /// Takes all blobs that a layer reads.
    ///
    /// # Errors
    /// Where one was not made, or was read before.
    pub fn read_all(&mut self, layer: &Layer<'a>) -> Result<Vec<Blob>, String> {
        let take = |name: &str| self.unread.remove(name).ok_or_else(|| format!("there is no `{name}` to read"));
        layer.inputs.iter().copied().map(take).collect()
    }

    /// Tells what the one output of a layer is.
    ///
    /// # Errors
    /// Where the layer has none or several, and as [`Network::insert`].
    pub fn made(&mut self, layer: &Layer<'a>, blob: Blob) -> Result<(), String> {
        let [name] = layer.outputs[..] else { return Err(format!("{} outputs in place of 1", layer.outputs.len())) };
        self.insert(name, blob)
    }

    /// Tells what a blob is.
    ///
    /// # Errors
    /// Where another of its name is unread.
    pub fn insert(&mut self, name: &'a str, blob: Blob) -> Result<(), String> {
        self.channels.insert(blob.tensor.clone(), blob.channels);
        match self.unread.insert(name, blob) {
            Some(_) => Err(format!("there are two `{name}`")),
            None => Ok(()),
        }
    }

    /// Adds a weight, without dimensions a number; returns its name.
    pub fn weight(&mut self, dims: &[usize], numbers: &[f32]) -> String {
        let name = format!("w{}", self.tensors.len());
        self.tensors.push(Tensor::new(name.clone(), dims, numbers));
        name
    }

    /// Adds an operation; returns the tensor that it makes.
    pub fn node(
        &mut self,
        layer: &Layer<'_>,
        op_type: &str,
        inputs: Vec<String>,
        attributes: Vec<Attribute>,
    ) -> String {
        let made = format!("t{}", self.nodes.len());
        self.makers.insert(made.clone(), self.nodes.len());
        // Names must differ, and a layer may be several operations.
        let (outputs, name) = (vec![made.clone()], format!("{}/{made}", layer.name));
        self.nodes.push(Node::new(op_type, name, inputs, outputs, &attributes));
        made
    }
}
