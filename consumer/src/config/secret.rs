//! Values that must not be seen.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

const REDACTED: &str = "[redacted]";

/// A password, key or token. Prints and serialises as `[redacted]`; [`Secret::expose`] is the only way to its text.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself, for the one place that signs or authenticates with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

/// Whether the key at the end of this path (`sinks[0].secret`) names a secret, so that its value must not be quoted.
pub(super) fn is_secret_key(path: &str) -> bool {
    let key = path.rsplit('.').next().unwrap_or(path);
    let names_a_file = key.ends_with("_file");
    !names_a_file && ["secret", "token", "password", "credential", "_key"].iter().any(|word| key.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_in_no_output() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?} {secret:#?}"), "[redacted] [redacted]");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"[redacted]\"");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn secret_keys_are_known_by_name() {
        for key in ["sinks[0].secret", "stores[1].secret_key", "stores[0].access_key", "x.session_token"] {
            assert!(is_secret_key(key), "{key}");
        }
        for key in ["sinks[0].secret_file", "worker.slots", "secrets.slots"] {
            assert!(!is_secret_key(key), "{key}");
        }
    }
}
