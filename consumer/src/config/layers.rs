//! The file and, over it, the environment, as one tree of values.

use std::ffi::OsString;
use std::path::Path;

use config::{File, FileFormat, Map, Source, Value, ValueKind};

use super::error::ConfigError;

/// Longest configuration file.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Variables that set a key begin so.
const PREFIX: &str = "DARKROOM__";
/// Most entries of a list that variables may fill.
const MAX_INDEX: usize = 63;

/// Reads the file, if there is one, and lays the variables over it.
///
/// # Errors
/// One error for a file that cannot be read or is no TOML. The text of the file is not quoted: it may hold secrets.
pub(super) fn merge(
    path: Option<&Path>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Value, ConfigError> {
    let mut builder = config::Config::builder();
    if let Some(path) = path {
        builder = builder.add_source(File::from_str(&read(path)?, FileFormat::Toml));
    }
    let merged = builder
        .add_source(Variables(variables(env)?))
        .build()
        .and_then(config::Config::try_deserialize::<Map<String, Value>>)
        .map_err(|e| ConfigError::new("configuration", None, format!("cannot be put together: {e}")))?;
    Ok(Value::new(None, ValueKind::Table(merged)))
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let name = path.display().to_string();
    let fail = |why: String| ConfigError::new(name.clone(), None, why);
    let size = std::fs::metadata(path).map_err(|e| fail(format!("cannot be read: {e}")))?.len();
    if size > MAX_FILE_BYTES {
        return Err(fail(format!("has {size} bytes; at most {MAX_FILE_BYTES} are allowed")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| fail(format!("cannot be read: {e}")))?;
    if let Err(error) = text.parse::<toml::Table>() {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        return Err(fail(format!("line {line} is no TOML: {}", error.message())));
    }
    Ok(text)
}

/// `DARKROOM__SECTION__KEY` as `section.key`; a number names an entry of a list: `DARKROOM__SINKS__0__URL`.
fn variables(env: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Map<String, Value>, ConfigError> {
    let mut keys = Map::new();
    for (name, value) in env {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        let value = value.into_string().map_err(|_| ConfigError::new(name, None, "its value is not UTF-8"))?;
        let key = key_path(&name[PREFIX.len()..]).map_err(|why| ConfigError::new(name, None, why))?;
        keys.insert(key, structured(value));
    }
    Ok(keys)
}

fn key_path(name: &str) -> Result<String, String> {
    let mut path = String::new();
    for part in name.to_ascii_lowercase().split("__") {
        if let Ok(index) = part.parse::<usize>() {
            if index > MAX_INDEX || path.is_empty() {
                return Err(format!("a number after `__` counts the entries of a list from 0 to {MAX_INDEX}"));
            }
            path.push_str(&format!("[{index}]"));
        } else if part.is_empty() || !part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')) {
            return Err("write it DARKROOM__SECTION__KEY, in letters, digits and `_`".into());
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(part);
        }
    }
    Ok(path)
}

/// Lists and tables are written as JSON; all else is text, which becomes a number or a boolean where one is expected.
fn structured(value: String) -> Value {
    if value.starts_with(['[', '{'])
        && let Ok(json) = serde_json::from_str::<Value>(&value)
    {
        return json;
    }
    Value::new(None, ValueKind::String(value))
}

#[derive(Debug, Clone)]
struct Variables(Map<String, Value>);

impl Source for Variables {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}
