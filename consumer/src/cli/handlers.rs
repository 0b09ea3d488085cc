//! `darkroom handlers`: what each handler does, and which parameters it takes.

use darkroom_api::{Descriptor, InputRole};
use serde_json::Value;

use crate::job::executor;

use super::{Failure, Global, open, print_line};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// All about this one: parameters, inputs, models.
    name: Option<String>,
}

/// One line a handler, or a page about one; with `--json` their descriptors, one a line.
pub(crate) async fn handlers(global: &Global, args: &Args) -> Result<(), Failure> {
    let config = global.config()?;
    let found = match &args.name {
        Some(name) => vec![open::handler(&config, name).await?.1],
        None => executor::describe(&config.executor.binary.clone().map_or_else(executor::find_binary, Ok)?).await?,
    };
    for handler in &found {
        let lines = match (global.json, &args.name) {
            (true, _) => vec![serde_json::json!(handler).to_string()],
            (false, None) => vec![head(handler)],
            (false, Some(_)) => page(handler),
        };
        lines.iter().try_for_each(|line| print_line(line))?;
    }
    if args.name.is_none() {
        global.note("parameters, inputs and models: `darkroom handlers NAME`");
    }
    Ok(())
}

fn head(handler: &Descriptor) -> String {
    format!("{} {}  {}", handler.name, handler.version, handler.summary)
}

fn page(handler: &Descriptor) -> Vec<String> {
    let mut lines =
        vec![head(handler), String::new(), "Inputs (the first by position, others --input ROLE=FILE)".into()];
    lines.extend(handler.inputs.iter().map(input));
    lines.extend([String::new(), "Parameters (--set NAME=VALUE)".into()]);
    let schema = &handler.params_schema;
    for (name, said) in schema["properties"].as_object().into_iter().flatten() {
        let default = said.get("default").filter(|value| !value.is_null());
        let default = default.map(|value| format!("; default {}", word(value))).unwrap_or_default();
        lines.push(format!("  {name}: {}{default}", kind(schema, said)));
        lines.extend(text(said).lines().map(|line| format!("      {line}")));
        // A choice of named values says what each means.
        let choices = resolve(schema, said)["oneOf"].as_array().into_iter().flatten();
        for choice in choices.filter(|choice| !text(choice).is_empty()) {
            lines.push(format!("      - {}: {}", word(&choice["const"]), text(choice).replace('\n', " ")));
        }
    }
    let models = if handler.models.is_empty() { "none".into() } else { handler.models.join(", ") };
    lines.extend([String::new(), format!("Models: {models}")]);
    lines
}

fn input(role: &InputRole) -> String {
    let kinds: Vec<_> = role.kinds.iter().map(|kind| format!("{kind:?}").to_lowercase()).collect();
    let kinds = if kinds.is_empty() { "any file".into() } else { kinds.join(" or ") };
    let count = match (role.min, role.max) {
        (min, max) if min == max => min.to_string(),
        (min, max) => format!("{min} to {max}"),
    };
    format!("  {}: {count}, {kinds}", role.name)
}

/// What values there are: a type with its range, or a choice.
fn kind(schema: &Value, said: &Value) -> String {
    let said = resolve(schema, said);
    if let Some(choices) = said["oneOf"].as_array().or_else(|| said["anyOf"].as_array()) {
        // An optional value is a choice between it and null; absent says the same.
        let choices = choices.iter().map(|choice| kind(schema, choice)).filter(|choice| choice != "null");
        return choices.collect::<Vec<_>>().join(" or ");
    }
    if let Some(value) = said.get("const") {
        return word(value);
    }
    if let Some(values) = said["enum"].as_array() {
        return values.iter().filter(|value| !value.is_null()).map(word).collect::<Vec<_>>().join(" or ");
    }
    let mut shown = match &said["type"] {
        Value::Array(types) => types.iter().filter(|name| *name != "null").map(word).collect::<Vec<_>>().join(" or "),
        Value::Null => "any value".into(),
        name => word(name),
    };
    let bound = |name: &str| said.get(name).map(word);
    match (bound("minimum"), bound("maximum")) {
        (Some(least), Some(most)) => shown += &format!(" {least} to {most}"),
        (Some(least), None) => shown += &format!(" from {least}"),
        (None, Some(most)) => shown += &format!(" up to {most}"),
        (None, None) => {}
    }
    if let Some(pattern) = bound("pattern") {
        shown += &format!(" {pattern}");
    }
    shown
}

/// The schema itself, where `said` only names one of the definitions.
fn resolve<'a>(schema: &'a Value, said: &'a Value) -> &'a Value {
    let definition = said["$ref"].as_str().and_then(|at| schema.pointer(at.strip_prefix('#')?));
    definition.unwrap_or(said)
}

fn text(said: &Value) -> &str {
    said["description"].as_str().unwrap_or_default()
}

/// A value as one writes it on the command line.
fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_told_as_one_writes_them() {
        let schema = json!({"$defs": {"Format": {"oneOf": [
            {"const": "webm", "type": "string", "description": "With alpha."}, {"const": "png", "type": "string"}]}}});
        for (said, shown) in [
            (json!({"$ref": "#/$defs/Format", "default": "webm"}), "webm or png"),
            (json!({"type": ["number", "null"], "minimum": 0, "maximum": 43200}), "number 0 to 43200"),
            (json!({"oneOf": [{"const": "auto"}, {"type": "integer", "minimum": 1}]}), "auto or integer from 1"),
            (json!({"anyOf": [{"type": "boolean"}, {"type": "null"}]}), "boolean"),
            (json!({"type": "string", "enum": ["a", "b"]}), "a or b"),
            (json!({"$ref": "#/$defs/Gone"}), "any value"),
        ] {
            assert_eq!(kind(&schema, &said), shown);
        }
    }
}
