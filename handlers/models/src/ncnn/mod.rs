//! Networks of [ncnn](https://github.com/Tencent/ncnn) as ONNX: some that upscale pictures are published in no other form.
//!
//! ncnn keeps a network as two files, a text that names its layers (`.param`, module [`param`]) and their weights one after
//! the other (`.bin`, module [`weights`]). [`to_onnx`] knows the layers of convolutional networks that upscale (SPAN,
//! Real-ESRGAN) and refuses what it does not know: a network is converted exactly, or not at all.
//!
//! The files come from outside. Every size is checked against what is really there before memory is taken for it; what comes
//! out has at most twice the bytes of the weights in weights, and at most 16384 operations.

mod gates;
mod layers;
mod network;
mod param;
mod weights;

use prost::Message;

pub use param::MAX_BYTES as MAX_PARAM_BYTES;

/// Converts a network with one picture in and one out. The model's `input` is f32[n, 3, h, w], RGB in 0 to 1, of any size;
/// its `output` f32[n, 3, scale * h, scale * w], clipped to 0 to 1. The same files give the same bytes.
///
/// # Errors
/// What the converter does not know, by its name, and what does not fit together, as the end of a sentence.
pub fn to_onnx(param: &[u8], bin: &[u8]) -> Result<Vec<u8>, String> {
    let mut network = network::Network::new(bin);
    for layer in param::parse(param)? {
        network.add(layer)?;
    }
    Ok(network.finish()?.encode_to_vec())
}

#[cfg(test)]
mod tests;
