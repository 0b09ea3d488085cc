//! The text of a network: a magic number, the counts of layers and blobs, then a line for each layer,
//! `kind name inputs outputs input... output... id=value...`. A value whose id is -23300 - `n` is a list, `count,value,...`.
//! After ncnn's own `docs/developer-guide/param-and-model-file-structure.md`.

use std::collections::BTreeMap;
use std::str::{FromStr, SplitWhitespace};

/// The longest text that is read; the longest network known has 116 KB.
pub const MAX_BYTES: usize = 1 << 20;
/// Names get into messages, and into the model.
const MAX_WORD_BYTES: usize = 256;
const MAGIC: &str = "7767517";
/// What an id counts down from where the value is a list.
const LIST: i32 = -23300;

/// A line of the text.
#[derive(Debug)]
pub struct Layer<'a> {
    /// What it does, e.g. `Convolution`.
    pub kind: &'a str,
    /// Its own name.
    pub name: &'a str,
    /// The blobs that it reads.
    pub inputs: Vec<&'a str>,
    /// The blobs that it makes.
    pub outputs: Vec<&'a str>,
    values: BTreeMap<i32, &'a str>,
}

/// All layers, in the order in which they are computed.
///
/// # Errors
/// What does not hold, with the line.
pub fn parse(text: &[u8]) -> Result<Vec<Layer<'_>>, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("the network's text is longer than {MAX_BYTES} bytes"));
    }
    let text = std::str::from_utf8(text).map_err(|_| "the network's text is no text")?;
    let mut lines = text.lines();
    if lines.next().map(str::trim) != Some(MAGIC) {
        return Err(format!("the network's text does not begin with {MAGIC}"));
    }
    let counts = lines.next().unwrap_or_default();
    let expected: usize = number(counts.split_whitespace().next(), "a number of layers")?;
    let lines = lines.enumerate().filter(|(_, line)| !line.trim().is_empty());
    let layers: Vec<Layer<'_>> = lines
        .map(|(index, line)| {
            Layer::parse(line).map_err(|why| format!("line {} of the network's text: {why}", index + 3))
        })
        .collect::<Result<_, _>>()?;
    if layers.len() != expected {
        return Err(format!("the network's text has {} layers and announces {expected}", layers.len()));
    }
    Ok(layers)
}

impl<'a> Layer<'a> {
    fn parse(line: &'a str) -> Result<Layer<'a>, String> {
        if line.split_whitespace().any(|word| word.len() > MAX_WORD_BYTES) {
            return Err(format!("a word longer than {MAX_WORD_BYTES} bytes"));
        }
        let mut words = line.split_whitespace();
        let (kind, name) = words.next().zip(words.next()).ok_or("a layer without a name")?;
        let inputs: usize = number(words.next(), "a number of inputs")?;
        let outputs: usize = number(words.next(), "a number of outputs")?;
        let inputs = blobs(&mut words, inputs)?;
        let outputs = blobs(&mut words, outputs)?;
        let mut values = BTreeMap::new();
        for word in words {
            let (id, value) = word.split_once('=').ok_or_else(|| format!("`{word}` is no value"))?;
            if values.insert(number(Some(id), "the id of a value")?, value).is_some() {
                return Err(format!("the value {id} stands there twice"));
            }
        }
        Ok(Layer { kind, name, inputs, outputs, values })
    }

    /// Takes a whole number of 0 to `most`; `default` where the text has none.
    ///
    /// # Errors
    /// Where it is no such number.
    pub fn count(&mut self, id: i32, default: usize, most: usize) -> Result<usize, String> {
        let Some(text) = self.values.remove(&id) else { return Ok(default) };
        let count: usize = number(Some(text), "a size")?;
        if count > most { Err(format!("the value {id} is {count}, more than {most}")) } else { Ok(count) }
    }

    /// Takes a finite number; `default` where the text has none.
    ///
    /// # Errors
    /// Where it is no such number.
    pub fn real(&mut self, id: i32, default: f32) -> Result<f32, String> {
        self.values.remove(&id).map_or(Ok(default), finite)
    }

    /// Takes a list of finite numbers; empty where the text has none.
    ///
    /// # Errors
    /// Where it is no such list.
    pub fn reals(&mut self, id: i32) -> Result<Vec<f32>, String> {
        let Some(text) = self.values.remove(&(LIST - id)) else { return Ok(Vec::new()) };
        let (count, rest) = text.split_once(',').unwrap_or((text, ""));
        let count: usize = number(Some(count), "the length of a list")?;
        let list: Vec<f32> = rest.split(',').filter(|text| !text.is_empty()).map(finite).collect::<Result<_, _>>()?;
        if list.len() == count { Ok(list) } else { Err(format!("the list {id} does not have {count} numbers")) }
    }

    /// Whether all values were taken: one that nobody knows may change what the layer does.
    ///
    /// # Errors
    /// The id of one that was not.
    pub fn all_taken(&self) -> Result<(), String> {
        match self.values.first_key_value() {
            Some((id, value)) => Err(format!("`{}` has a value that is not known, `{id}={value}`", self.kind)),
            None => Ok(()),
        }
    }
}

fn blobs<'a>(words: &mut SplitWhitespace<'a>, count: usize) -> Result<Vec<&'a str>, String> {
    // A count is not believed: the words that are there bound the list.
    let blobs: Vec<&str> = words.take(count).collect();
    if blobs.len() == count { Ok(blobs) } else { Err("fewer blobs than announced".into()) }
}

fn number<T: FromStr>(text: Option<&str>, what: &str) -> Result<T, String> {
    let text = text.unwrap_or_default();
    text.parse().map_err(|_| format!("`{text}` is not {what}"))
}

fn finite(text: &str) -> Result<f32, String> {
    number(Some(text), "a number").and_then(|value: f32| match value.is_finite() {
        true => Ok(value),
        false => Err(format!("`{text}` is not finite")),
    })
}
