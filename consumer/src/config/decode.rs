//! From a tree of values to the typed configuration, with every error and not just the first.
//!
//! `serde` stops at the first error. So the value at fault is noted and taken out, and the rest is read again, until
//! nothing is at fault any more.

use config::{Value, ValueKind};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, IntoDeserializer};
use serde_path_to_error::Segment;

use super::error::ConfigError;

/// Bound on the errors reported: a file that is something else altogether.
const MOST_ERRORS: usize = 100;

/// What could be read.
pub(super) struct Decoded<T> {
    /// With defaults where something could not be read; list entries that could not be read are missing.
    pub(super) value: T,
    /// Keys that could not be read.
    removed: Vec<String>,
}

impl<T> Decoded<T> {
    /// The keys of a list's entries as the user counts them: `sinks[0]`, `sinks[2]` when `sinks[1]` was not readable.
    pub(super) fn keys_of<'a>(&'a self, list: &'a str) -> impl Iterator<Item = String> + 'a {
        (0..).map(move |index: usize| format!("{list}[{index}]")).filter(|key| !self.removed.contains(key))
    }
}

/// Reads `tree` and notes what is wrong.
pub(super) fn decode<T: DeserializeOwned + Default>(mut tree: Value, errors: &mut Vec<ConfigError>) -> Decoded<T> {
    let mut removed: Vec<String> = Vec::new();
    while errors.len() < MOST_ERRORS {
        let failure = match serde_path_to_error::deserialize::<_, T>(tree.clone()) {
            Ok(value) => return Decoded { value, removed },
            Err(failure) => failure,
        };
        let mut path: Vec<Segment> = failure.path().iter().map(copy).collect();
        let message = sentence(failure.inner(), &print(&path));
        if let Some(key) = quoted(&message, "unknown field `")
            && !matches!(path.last(), Some(Segment::Map { key: last }) if *last == key)
        {
            path.push(Segment::Map { key });
        }
        // A field that is missing because it was at fault itself has been reported.
        let missing = quoted(&message, "missing field `").map(|field| format!("{}.{field}", print(&path)));
        let found = take_out(&mut tree, &path);
        let key = print(&path);
        if !missing.is_some_and(|missing| removed.contains(&missing)) {
            let quote = !message.contains(" field `");
            errors.push(ConfigError::new(key.clone(), found.as_ref().filter(|_| quote).map(show), message));
        }
        if found.is_none() {
            break;
        }
        removed.push(key);
    }
    Decoded { value: T::default(), removed }
}

/// Reads a list in which [`decode`] may have blanked entries.
pub(super) fn entries<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Vec::<Option<T>>::deserialize(from)?.into_iter().flatten().collect())
}

/// One word of a closed set; unlike `config`'s own reading, the error names the set.
pub(super) fn word<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<T, D::Error> {
    T::deserialize(String::deserialize(from)?.into_deserializer())
}

/// A list of [`word`]s.
pub(super) fn words<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Vec<T>, D::Error> {
    let words = Vec::<String>::deserialize(from)?;
    words.into_iter().map(|word| T::deserialize(word.into_deserializer())).collect()
}

/// A list, or its only entry.
pub(super) fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged, expecting = "expected a text or a list of texts")]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(from)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

fn copy(segment: &Segment) -> Segment {
    match segment {
        Segment::Seq { index } => Segment::Seq { index: *index },
        Segment::Map { key } => Segment::Map { key: key.clone() },
        Segment::Enum { variant } => Segment::Enum { variant: variant.clone() },
        Segment::Unknown => Segment::Unknown,
    }
}

/// The error without the library's own idea of the key and the source.
fn sentence(error: &config::ConfigError, path: &str) -> String {
    match error {
        config::ConfigError::At { error, .. } => sentence(error, path),
        config::ConfigError::NotFound(key) => {
            format!("missing field `{}`", key.strip_prefix(path).unwrap_or(key).trim_start_matches('.'))
        }
        config::ConfigError::Type { expected, .. } => format!("expected {expected}"),
        config::ConfigError::Message(message) => message.clone(),
        other => other.to_string(),
    }
}

fn quoted(message: &str, before: &str) -> Option<String> {
    let (name, _) = message.strip_prefix(before)?.split_once('`')?;
    Some(name.to_owned())
}

fn print(path: &[Segment]) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => text.push_str(&format!("[{index}]")),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
            Segment::Unknown => {}
        }
    }
    text
}

/// Removes the value at a path, or the nearest one above it that exists, and returns it. An entry of a top-level list
/// is blanked for [`entries`]: removing it would shift the numbers of the others. A list further down goes as a whole.
fn take_out(tree: &mut Value, path: &[Segment]) -> Option<Value> {
    let mut keys: Vec<&Segment> =
        path.iter().filter(|s| matches!(s, Segment::Seq { .. } | Segment::Map { .. })).collect();
    let found = (1..=keys.len()).rev().find_map(|length| get(tree, &keys[..length]).cloned());
    if let Some(deeper) = keys.iter().skip(2).position(|s| matches!(s, Segment::Seq { .. })) {
        keys.truncate(deeper + 2);
    }
    (1..=keys.len()).rev().find_map(|length| take_exactly(tree, &keys[..length]))?;
    found
}

fn get<'a>(tree: &'a Value, path: &[&Segment]) -> Option<&'a Value> {
    path.iter().try_fold(tree, |parent, segment| match (segment, &parent.kind) {
        (Segment::Map { key }, ValueKind::Table(table)) => table.get(key),
        (Segment::Seq { index }, ValueKind::Array(list)) => list.get(*index),
        _ => None,
    })
}

fn take_exactly(tree: &mut Value, path: &[&Segment]) -> Option<Value> {
    let (last, above) = path.split_last()?;
    let mut parent = tree;
    for segment in above {
        parent = match (segment, &mut parent.kind) {
            (Segment::Map { key }, ValueKind::Table(table)) => table.get_mut(key)?,
            (Segment::Seq { index }, ValueKind::Array(list)) => list.get_mut(*index)?,
            _ => return None,
        };
    }
    match (last, &mut parent.kind) {
        (Segment::Map { key }, ValueKind::Table(table)) => table.remove(key),
        (Segment::Seq { index }, ValueKind::Array(list)) if *index < list.len() => {
            Some(std::mem::replace(&mut list[*index], Value::new(None, ValueKind::Nil)))
        }
        _ => None,
    }
}

fn show(value: &Value) -> String {
    match &value.kind {
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Table(_) => "a table".into(),
        ValueKind::Array(_) => "a list".into(),
        ValueKind::Nil => "nothing".into(),
        _ => value.to_string(),
    }
}
