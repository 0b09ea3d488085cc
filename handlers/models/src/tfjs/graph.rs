//! The JSON of a network, and the numbers of its constants.

use std::collections::HashMap;

use half::f16;
use serde::Deserialize;

/// Dimensions of a constant.
const MAX_RANK: usize = 4;

/// A file.
#[derive(Debug, Deserialize)]
pub struct File {
    /// The graph.
    #[serde(rename = "modelTopology")]
    pub topology: Topology,
    #[serde(rename = "weightsManifest")]
    weights: Vec<Group>,
}

/// A graph.
#[derive(Debug, Deserialize)]
pub struct Topology {
    /// Its operations, in an order in which they can be computed.
    #[serde(rename = "node")]
    pub nodes: Vec<Op>,
}

/// An operation.
#[derive(Debug, Deserialize)]
pub struct Op {
    /// Its name, and that of what it makes.
    pub name: String,
    /// What it does.
    #[serde(rename = "op")]
    pub kind: String,
    /// What it reads.
    #[serde(default, rename = "input")]
    pub inputs: Vec<String>,
    /// Its settings.
    #[serde(default, rename = "attr")]
    pub settings: HashMap<String, Setting>,
}

/// A setting: one of these.
#[derive(Debug, Default, Deserialize)]
pub struct Setting {
    /// A word, in base64.
    #[serde(default)]
    pub s: Option<String>,
    /// A number.
    #[serde(default)]
    pub f: Option<f32>,
    /// A choice.
    #[serde(default)]
    pub b: Option<bool>,
    /// Whole numbers.
    #[serde(default)]
    pub list: Option<List>,
    /// Dimensions.
    #[serde(default)]
    pub shape: Option<Shape>,
}

/// Whole numbers, written as words, or words.
#[derive(Debug, Default, Deserialize)]
pub struct List {
    #[serde(default)]
    i: Vec<String>,
    /// Words, in base64.
    #[serde(default)]
    s: Vec<String>,
}

/// Dimensions.
#[derive(Debug, Deserialize)]
pub struct Shape {
    #[serde(default)]
    dim: Vec<Dim>,
}

#[derive(Debug, Deserialize)]
struct Dim {
    size: String,
}

/// Constants that are stored together.
#[derive(Debug, Deserialize)]
struct Group {
    weights: Vec<Weight>,
}

#[derive(Debug, Deserialize)]
struct Weight {
    name: String,
    shape: Vec<usize>,
    dtype: String,
    #[serde(default)]
    quantization: Option<Quantization>,
}

#[derive(Debug, Deserialize)]
struct Quantization {
    dtype: String,
}

/// A constant.
#[derive(Debug, Clone)]
pub enum Constant {
    /// Numbers, and their dimensions.
    Floats(Vec<f32>, Vec<usize>),
    /// Whole numbers.
    Ints(Vec<i64>),
}

impl File {
    /// All constants, by their names.
    ///
    /// # Errors
    /// Where they do not fit the bytes, or are of a kind that is not known.
    pub fn constants(&self, bin: &[u8]) -> Result<HashMap<String, Constant>, String> {
        let mut rest = bin;
        let mut constants = HashMap::new();
        for weight in self.weights.iter().flat_map(|group| &group.weights) {
            let constant = weight.read(&mut rest).map_err(|why| format!("the constant `{}`: {why}", weight.name))?;
            constants.insert(weight.name.clone(), constant);
        }
        if rest.is_empty() { Ok(constants) } else { Err(format!("{} bytes of weights are left over", rest.len())) }
    }
}

impl Weight {
    fn read(&self, rest: &mut &[u8]) -> Result<Constant, String> {
        let count = self.shape.iter().try_fold(1, |count: usize, side| count.checked_mul(*side));
        let count = count.filter(|_| self.shape.len() <= MAX_RANK).ok_or("its size is impossible")?;
        let stored = self.quantization.as_ref().map_or(self.dtype.as_str(), |quantization| &quantization.dtype);
        let mut take = |size: usize| {
            let bytes = count.checked_mul(size).and_then(|bytes| rest.split_at_checked(bytes));
            let (taken, left) = bytes.ok_or("the weights end too early")?;
            *rest = left;
            Ok::<_, String>(taken)
        };
        match (self.dtype.as_str(), stored) {
            ("float32", "float16") => {
                let numbers = take(2)?.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32());
                Ok(Constant::Floats(numbers.collect(), self.shape.clone()))
            }
            ("float32", "float32") => {
                let numbers = take(4)?.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
                Ok(Constant::Floats(numbers.collect(), self.shape.clone()))
            }
            ("int32", "int32") => {
                let numbers = take(4)?.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]).into());
                Ok(Constant::Ints(numbers.collect()))
            }
            (kind, stored) => Err(format!("numbers of kind {kind} stored as {stored} are not known")),
        }
    }
}

impl Op {
    /// Whole numbers of a setting.
    ///
    /// # Errors
    /// Where it has none, or other ones.
    pub fn ints(&self, name: &str) -> Result<Vec<usize>, String> {
        let list = self.settings.get(name).and_then(|setting| setting.list.as_ref());
        let list = list.map(|list| list.i.iter().map(|text| text.parse().ok()).collect::<Option<Vec<usize>>>());
        list.flatten().ok_or_else(|| format!("its `{name}` is missing"))
    }

    /// A word of a setting.
    pub fn word(&self, name: &str) -> Option<String> {
        plain(self.settings.get(name)?.s.as_ref()?)
    }

    /// Words of a setting; none where it is absent.
    pub fn words(&self, name: &str) -> Vec<String> {
        let list = self.settings.get(name).and_then(|setting| setting.list.as_ref());
        list.map(|list| list.s.iter().filter_map(|text| plain(text)).collect()).unwrap_or_default()
    }

    /// A choice; no where it is absent.
    pub fn choice(&self, name: &str) -> bool {
        self.settings.get(name).and_then(|setting| setting.b).unwrap_or(false)
    }

    /// Dimensions of a setting; `None` where one of them is open.
    pub fn dims(&self, name: &str) -> Option<Vec<usize>> {
        let shape = self.settings.get(name)?.shape.as_ref()?;
        shape.dim.iter().map(|dim| dim.size.parse().ok()).collect()
    }
}

fn plain(text: &str) -> Option<String> {
    String::from_utf8(data_encoding::BASE64.decode(text.as_bytes()).ok()?).ok()
}
