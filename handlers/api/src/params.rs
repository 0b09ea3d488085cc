//! Parameters as they were sent become a handler's own.

use serde::de::DeserializeOwned;

use crate::{ErrorCode, JobError, Result};

/// Parses parameters; the message names the field, what it may be, and the name that was probably meant.
///
/// # Errors
/// [`ErrorCode::ParamsInvalid`].
pub fn parse_params<P: DeserializeOwned>(params: &serde_json::Value) -> Result<P> {
    let value = if params.is_null() { serde_json::json!({}) } else { params.clone() };
    serde_path_to_error::deserialize(value).map_err(|e| {
        let (path, inner) = (e.path().to_string(), e.inner().to_string());
        let mut message = if path == "." {
            format!("Parameters are not valid: {inner}.")
        } else {
            format!("Parameter `{path}` is not valid: {inner}.")
        };
        if let Some(name) = meant(&inner) {
            message += &format!(" Did you mean `{name}`?");
        }
        JobError::new(ErrorCode::ParamsInvalid, message)
    })
}

/// The known name that an unknown one is closest to, from serde's sentence about it:
/// ``unknown field `foramt`, expected one of `model`, `format` ``. At most a third of its letters may differ.
fn meant(sentence: &str) -> Option<&str> {
    let known = ["unknown field ", "unknown variant "].iter().find_map(|start| sentence.strip_prefix(start))?;
    let mut names = known.split('`').skip(1).step_by(2);
    let unknown = names.next()?;
    let near = |name: &&str| {
        let most = name.len() / 3;
        // Names are as long as their sender likes: the distance is only taken where it can be small.
        let distance = (name.len().abs_diff(unknown.len()) <= most).then(|| strsim::osa_distance(unknown, name))?;
        (distance <= most).then_some(distance)
    };
    names.filter_map(|name| Some((near(&name)?, name))).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Format {
        #[default]
        WebmAlpha,
        Png,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Params {
        #[serde(rename = "format")]
        _format: Format,
        #[serde(rename = "start_secs", alias = "start_sec")]
        _start_secs: f64,
        #[serde(rename = "speed")]
        _speed: u8,
    }

    #[test]
    fn a_name_that_is_nearly_right_is_told() {
        let cases = [
            (json!({"foramt": "png"}), Some("`format`")),
            (json!({"startSecs": 1}), Some("`start_secs`")),
            (json!({"start_seconds": 1}), Some("`start_secs`")),
            (json!({"format": "webmalpha"}), Some("`webm-alpha`")),
            (json!({"bitrate": 1}), None),
            (json!({"s": 1}), None),
            (json!({"s".repeat(100_000): 1}), None),
            // Known names with wrong values.
            (json!({"speed": "fast"}), None),
            (json!({"format": 7}), None),
        ];
        for (value, name) in cases {
            let error = parse_params::<Params>(&value).unwrap_err();
            assert_eq!(error.code, ErrorCode::ParamsInvalid);
            let hint = error.message.split_once(". Did you mean ").map(|(_, hint)| hint);
            assert_eq!(hint, name.map(|name| format!("{name}?")).as_deref(), "{}", error.message);
        }
    }
}
