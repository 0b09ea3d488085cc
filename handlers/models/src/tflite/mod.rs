//! Networks of [TensorFlow Lite](https://ai.google.dev/edge/litert) as ONNX: those that find people and their landmarks are
//! published in no other form.
//!
//! [`to_onnx`] knows the operators of BlazePose, in half or single precision, dense or sparse, and refuses what it does not
//! know: a network is converted exactly, or not at all. Pictures are stored channel by channel in what it makes, which ONNX
//! wants, and their number is left open.
//!
//! The file comes from outside. Every offset in it is checked (module [`flat`]), every size against what is really there, and
//! all weights together have at most [`weights::MAX_NUMBERS`] numbers.

mod flat;
mod layers;
mod model;
mod network;
mod weights;

use std::collections::BTreeMap;

use prost::Message;

use crate::onnx;

/// The longest file that is read; the longest network known has 28 MB.
pub const MAX_BYTES: usize = 1 << 27;

/// Converts a network. The model's `image` is f32[n, c, h, w], its outputs are those that `outputs` names, as they are called
/// in the file, under the names that it gives them; all, under their own names, where it is empty. The same file gives the
/// same bytes.
///
/// # Errors
/// What the converter does not know, by its name, and what does not fit together, as the end of a sentence.
pub fn to_onnx(file: &[u8], outputs: &BTreeMap<String, String>) -> Result<Vec<u8>, String> {
    if file.len() > MAX_BYTES {
        return Err(format!("the network is longer than {MAX_BYTES} bytes"));
    }
    let model = model::Model::parse(file)?;
    let outputs = named(&model, outputs)?;
    let graph = network::Network::new(&model).convert(&outputs)?;
    Ok(onnx::Model::new(graph).encode_to_vec())
}

/// The tensors to come out, with their new names.
fn named<'a>(model: &model::Model<'a>, wanted: &'a BTreeMap<String, String>) -> Result<Vec<(&'a str, usize)>, String> {
    let all = || model.outputs.iter().map(|index| (model.tensors[*index].name, *index));
    if wanted.is_empty() {
        return Ok(all().collect());
    }
    let find = |(name, source): (&'a String, &'a String)| {
        let found = all().find(|(name, _)| name == source);
        let found = found.ok_or_else(|| {
            let there: Vec<_> = all().map(|(name, _)| name).collect();
            format!("there is no output `{source}`, but {}", there.join(", "))
        })?;
        Ok((name.as_str(), found.1))
    };
    wanted.iter().map(find).collect()
}

#[cfg(test)]
mod tests;
