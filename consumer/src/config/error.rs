//! What is wrong with a configuration: all of it at once.

use std::fmt;

use super::secret::is_secret_key;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The key, e.g. `worker.slots` or `sinks[0].url`; the file's name for a file that cannot be read.
    pub key: String,
    /// The value found there; none for keys that are missing or unknown, `[redacted]` for secrets.
    pub found: Option<String>,
    /// What may stand there.
    pub allowed: String,
}

impl ConfigError {
    /// An error at a key; the value of a key that names a secret is not kept.
    pub fn new(key: impl Into<String>, found: Option<String>, allowed: impl Into<String>) -> Self {
        let key = key.into();
        let found = found.map(|value| if is_secret_key(&key) { "[redacted]".into() } else { shorten(value) });
        ConfigError { key, found, allowed: allowed.into() }
    }
}

/// Values are quoted so that they are recognised, not reproduced.
fn shorten(value: String) -> String {
    const MOST: usize = 80;
    if value.chars().count() <= MOST {
        return value;
    }
    let mut short: String = value.chars().take(MOST).collect();
    short.push('…');
    short
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.found {
            Some(found) => write!(f, "`{}` is {found}: {}", self.key, self.allowed),
            None => write!(f, "`{}`: {}", self.key, self.allowed),
        }
    }
}

/// All that is wrong, in the order of the sections.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0.len();
        write!(f, "The configuration has {n} error{}:", if n == 1 { "" } else { "s" })?;
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}
