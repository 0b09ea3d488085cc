//! Networks of [TensorFlow.js](https://www.tensorflow.org/js) as ONNX: NanoDet, which finds people, and MoveNet, which finds
//! their joints, are in no registry in another form.
//!
//! TensorFlow.js keeps a network as two files, a graph of TensorFlow's operations as JSON and its weights one after the other
//! (`.bin`). [`to_onnx`] knows the operations of convolutional networks: of one that itself came from ONNX, where what turned
//! its pictures from planes to interleaved channels and back for each operation is left out again, and of one that was
//! interleaved from the start. What the results asked for are not made of is left out, and what it does not know refused.
//!
//! The files come from outside: weights are bounded by the bytes that are there, the graph by [`MAX_GRAPH_BYTES`].

mod fused;
mod graph;
mod layers;
mod network;

use std::collections::BTreeMap;

use prost::Message;

use crate::onnx::Model;

/// The longest graph that is read; the longest known has 202 KB.
pub const MAX_GRAPH_BYTES: usize = 1 << 22;

/// Converts a network with one picture in. The model's `image` is f32[n, c, h, w] of any size that the network's strides
/// divide; `outputs` gives the names of its results, as keys, and those of the nodes that make them. The same files give the
/// same bytes.
///
/// # Errors
/// What the converter does not know, by its name, and what does not fit together, as the end of a sentence.
pub fn to_onnx(graph: &[u8], bin: &[u8], outputs: &BTreeMap<String, String>) -> Result<Vec<u8>, String> {
    if graph.len() > MAX_GRAPH_BYTES {
        return Err(format!("the network's graph is longer than {MAX_GRAPH_BYTES} bytes"));
    }
    let file: graph::File =
        serde_json::from_slice(graph).map_err(|e| format!("the network's graph is damaged: {e}"))?;
    let constants = file.constants(bin)?;
    let graph = network::Network::new(constants).convert(&file.topology.nodes, outputs)?;
    Ok(Model::new(graph).encode_to_vec())
}

#[cfg(test)]
mod tests;
