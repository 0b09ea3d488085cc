//! What rules allow, refuse and turn into jobs.

use darkroom_api::{Descriptor, ErrorCode, InputRole, Limits, MediaKind};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::store::{HttpsConfig, ObjectRef, Place, StoreConfig};

fn role(name: &str, min: u32, max: u32) -> InputRole {
    InputRole { name: name.into(), min, max, kinds: vec![MediaKind::Video] }
}

fn handler(name: &str, inputs: Vec<InputRole>) -> Descriptor {
    Descriptor {
        name: name.into(),
        version: "1".into(),
        summary: String::new(),
        params_schema: Value::Null,
        inputs,
        limits: Limits::default(),
        models: vec![],
        stages: vec![],
        resumable: false,
    }
}

fn store(name: &str, endpoint: &str) -> StoreConfig {
    StoreConfig { name: name.into(), endpoint: Some(endpoint.into()), ..StoreConfig::default() }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    #[serde(default)]
    routes: Vec<RouteConfig>,
    #[serde(default)]
    sources: Vec<SourceConfig>,
    #[serde(default)]
    destinations: Vec<DestinationConfig>,
    #[serde(default)]
    https: HttpsConfig,
}

fn routes(text: &str) -> Result<Routes, Vec<String>> {
    let Rules { routes, sources, destinations, https } = toml::from_str(text).unwrap();
    let stores = [store("main", "http://a"), store("alias", "http://A/"), store("other", "http://b")];
    let handlers = [
        handler("matting", vec![role("video", 1, 1), role("background", 0, 1)]),
        handler("splat", vec![role("views", 2, 500)]),
    ];
    let state = Place { store: "main".into(), bucket: "records".into(), prefix: "state/".into() };
    Routes::new(&RouteRules { routes, sources, destinations, https }, &stores, &handlers, &state)
}

const USUAL: &str = r#"
sources = [{ bucket = "uploads", prefix = "in/" }]
destinations = [{ bucket = "results" }, { bucket = "uploads", prefix = "" }]
[[routes]]
bucket = "uploads"
prefix = "in/alpha"
suffixes = [".MP4", ".mov"]
handler = "matting"
params = { format = "alpha" }
output = "s3://results/alpha"
deadline_secs = 60
[[routes]]
bucket = "uploads"
prefix = "in/"
handler = "matting"
output = "s3://results/matting/"
"#;

fn upload(key: &str) -> Upload {
    Upload {
        origin: Origin::Upload,
        event_name: "ObjectCreated:Put".into(),
        bucket: "uploads".into(),
        key: key.into(),
        etag: Some("e1".into()),
        version: None,
        size: Some(3),
        sequencer: None,
        submission_id: "s-1".into(),
        event_time: Some(Timestamp::UNIX_EPOCH),
    }
}

fn accept(message: Value) -> darkroom_api::Result<Submission> {
    let message = serde_json::from_value(message).unwrap();
    routes(USUAL).unwrap().accept(message, "m-1", Timestamp::UNIX_EPOCH)
}

fn message(input: &str, output: &str) -> Value {
    json!({"schema": "darkroom.job.v1", "handler": "matting", "input": input, "output": output})
}

#[test]
fn a_message_may_name_an_input_of_an_allowed_host() {
    let allowed = format!("https = {{ hosts = [\"media.example.com\"] }}\n{USUAL}");
    let routes = routes(&allowed).unwrap();
    let take = |url: &str| {
        let message = serde_json::from_value(message(url, "s3://results/x/")).unwrap();
        routes.accept(message, "m-1", Timestamp::UNIX_EPOCH)
    };
    let taken = take("https://media.example.com/a.mp4?sig=1").unwrap();
    assert_eq!(taken.inputs[0].object, ObjectRef::new("https", "media.example.com", "/a.mp4?sig=1"));
    assert_eq!(take("https://example.com/a.mp4").unwrap_err().code, ErrorCode::SourceForbidden);
}

#[test]
fn the_first_route_that_matches_takes_an_upload() {
    let routes = routes(USUAL).unwrap();
    let output = |key: &str| routes.route(&upload(key)).map(|s| s.destination.prefix);
    assert_eq!(output("in/alpha/a.mp4").as_deref(), Some("alpha/"));
    assert_eq!(output("in/alpha.Mov").as_deref(), Some("alpha/"), "prefixes are of the string, endings in any case");
    assert_eq!(output("in/alpha/a.txt").as_deref(), Some("matting/"));
    assert_eq!(output("in/../a.mp4").as_deref(), Some("matting/"), "a key is a string, not a path");
    for key in ["out/in/a.mp4", "/in/a.mp4", "IN/a.mp4", "./in/a.mp4"] {
        assert_eq!(output(key), None, "{key}");
    }
    assert_eq!(routes.taken(), "s3://uploads/in/alpha (.mp4, .mov), s3://uploads/in/");
    let taken = routes.route(&upload("in/alpha/a.mp4")).unwrap();
    assert_eq!(Value::Object(taken.params), json!({"format": "alpha"}));
    assert_eq!((taken.deadline_secs, taken.submission_id.as_str()), (Some(60), "s-1"));
    let input = &taken.inputs[0];
    assert_eq!((input.role.as_str(), input.object.store.as_str()), ("video", "main"));
    assert_eq!((input.object.etag.as_deref(), input.object.size), (Some("e1"), Some(3)));
}

#[test]
fn messages_may_read_and_write_only_where_rules_allow() {
    for (input, output, code) in [
        ("s3://uploads/other/a.mp4", "s3://results/x/", ErrorCode::SourceForbidden),
        ("s3://uploads/in", "s3://results/x/", ErrorCode::SourceForbidden),
        ("s3://uploads/x/../in/a.mp4", "s3://results/x/", ErrorCode::SourceForbidden),
        ("s3://secret/in/a.mp4", "s3://results/x/", ErrorCode::SourceForbidden),
        ("https://example.com/in/a.mp4", "s3://results/x/", ErrorCode::SourceForbidden),
        ("s3://uploads/in/a.mp4", "s3://elsewhere/x/", ErrorCode::DestinationForbidden),
        ("s3://uploads/in/a.mp4", "s3://uploads/in/results/", ErrorCode::DestinationForbidden),
        ("s3://uploads/in/a.mp4", "s3://uploads/", ErrorCode::DestinationForbidden),
        ("s3://uploads/in/a.mp4", "s3://uploads/out/../in/", ErrorCode::DestinationForbidden),
        ("s3://uploads/in/a.mp4", "results", ErrorCode::DestinationForbidden),
    ] {
        let error = accept(message(input, output)).unwrap_err();
        assert_eq!(error.code, code, "{input} {output}: {error}");
    }
    let accepted = accept(message("s3://uploads/in/../a b+.mp4", "s3://uploads/out/x")).unwrap();
    assert_eq!(accepted.destination.to_string(), "s3://uploads/out/x/");
    assert_eq!(accepted.inputs[0].object.key, "in/../a b+.mp4");
    assert!(!accepted.inputs[0].object.is_pinned());
}

#[test]
fn inputs_must_fit_the_handlers_roles() {
    let with = |handler: &str, inputs: Value| json!({"schema": "darkroom.job.v1", "handler": handler, "inputs": inputs, "output": "s3://results/"});
    let url = "s3://uploads/in/a";
    let both = accept(with("matting", json!({"background": url, "video": [url]}))).unwrap();
    let roles: Vec<_> = both.inputs.iter().map(|input| input.role.as_str()).collect();
    assert_eq!(roles, ["video", "background"], "in the handler's order");
    let short = accept(message(url, "s3://results/")).unwrap();
    assert_eq!(short.inputs, accept(with("matting", json!({"video": url}))).unwrap().inputs);
    for (body, code, says) in [
        (with("upscale", json!({"video": url})), ErrorCode::HandlerUnknown, "matting, splat"),
        (with("matting", json!({"background": url})), ErrorCode::InputsInvalid, "`video`, 0 are given"),
        (with("matting", json!({"video": [url, url]})), ErrorCode::InputsInvalid, "2 are given"),
        (with("matting", json!({"video": url, "mask": url})), ErrorCode::InputsInvalid, "no input `mask`"),
        (with("splat", json!({"views": url})), ErrorCode::InputsInvalid, "2 to 500"),
    ] {
        let error = accept(body).unwrap_err();
        assert_eq!(error.code, code);
        assert!(error.message.contains(says), "{}", error.message);
    }
}

#[test]
fn nothing_may_be_written_where_a_route_listens() {
    let rule = |listen: &str, output: &str, extra: &str| {
        let text = format!(
            r#"
            sources = [{{ bucket = "uploads" }}]
            destinations = [{{ bucket = "uploads" }}, {{ bucket = "uploads", store = "alias" }},
                            {{ bucket = "uploads", store = "other" }}, {{ bucket = "results" }}]
            [[routes]]
            bucket = "uploads"
            handler = "matting"
            prefix = "{listen}"
            output = "{output}"
            {extra}"#
        );
        routes(&text).map(|_| ()).map_err(|errors| errors.join("; "))
    };
    // An empty prefix hears everything, so that a whole-bucket destination is of no use either.
    assert!(rule("", "s3://uploads/out/", "").unwrap_err().contains("for ever"));
    for (listen, output, extra) in [
        ("in/", "s3://uploads/in/", ""),
        ("in/", "s3://uploads/in/results/", ""),
        ("in/new/", "s3://uploads/in/", ""),
        ("in", "s3://uploads/index/", ""),
        ("in/", "s3://uploads/", ""),
        ("in/", "s3://uploads/in/", r#"output_store = "alias""#),
    ] {
        let said = rule(listen, output, extra).unwrap_err();
        assert!(said.contains("for ever"), "{listen} {output}: {said}");
    }
    rule("in/", "s3://uploads/out/", "").unwrap();
    rule("in/", "s3://results/in/", "").unwrap();
    rule("in/", "s3://uploads/in/", r#"output_store = "other""#).unwrap();

    let across = r#"
        sources = [{ bucket = "uploads" }, { bucket = "records" }]
        destinations = [{ bucket = "results" }, { bucket = "uploads", prefix = "in/x/" }]
        [[routes]]
        bucket = "records"
        handler = "matting"
        output = "s3://results/b/"
        [[routes]]
        bucket = "uploads"
        prefix = "in/"
        handler = "matting"
        output = "s3://results/a/"
        "#;
    let errors = routes(across).unwrap_err();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors.iter().any(|e| e.contains("The state is kept at s3://records/state/")));
    assert!(errors.iter().any(|e| e.contains("s3://uploads/in/x/ lies where a route listens")));
}

#[test]
fn no_circle_of_routes_is_let_in() {
    // Where each route listens, and where it writes; how many of them are refused.
    let refused = |rules: &[(&str, &str)]| {
        let mut text = String::from(
            r#"
            sources = [{ bucket = "one" }, { bucket = "two" }]
            destinations = [{ bucket = "one" }, { bucket = "two" }, { bucket = "records" }]
            "#,
        );
        for (listens, output) in rules {
            let (bucket, prefix) = listens.split_once('/').unwrap();
            text += &format!(
                "[[routes]]\nbucket = \"{bucket}\"\nprefix = \"{prefix}\"\nhandler = \"matting\"\noutput = \"s3://{output}\"\n"
            );
        }
        let errors = routes(&text).err().unwrap_or_default();
        assert!(
            errors.iter().all(|error| error.contains("for ever") || error.contains("The state is kept")),
            "{errors:?}"
        );
        errors.len()
    };
    assert_eq!(refused(&[("one/a/", "two/b/"), ("two/b/", "one/a/")]), 2, "two in a circle");
    assert_eq!(refused(&[("one/a/", "one/b/x/"), ("one/b/", "one/c/"), ("one/c/", "one/a/y/")]), 3, "three");
    assert_eq!(refused(&[("one/a/", "two/b/deep/"), ("two/b/", "one/out/")]), 1, "a result that another route takes");
    assert_eq!(
        refused(&[("one/a/", "two/"), ("two/b/", "one/out/")]),
        1,
        "and one whose outputs may come to lie there"
    );
    assert_eq!(refused(&[("one/a/", "two/out/"), ("two/b/", "one/out/")]), 0);
}

#[test]
fn the_state_is_not_kept_where_a_route_listens() {
    for prefix in ["", "state/", "st", "state/deeper/"] {
        let text = format!(
            r#"
            sources = [{{ bucket = "records" }}]
            destinations = [{{ bucket = "results" }}]
            [[routes]]
            bucket = "records"
            prefix = "{prefix}"
            handler = "matting"
            output = "s3://results/"
            "#
        );
        let errors = routes(&text).unwrap_err();
        assert!(errors.iter().any(|error| error.contains("The state is kept at s3://records/state/")), "{errors:?}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let errors = routes(
        r#"
        sources = [{ bucket = "arn:aws" }]
        destinations = [{ bucket = "results", store = "nowhere" }]
        [[routes]]
        bucket = "uploads"
        handler = "upscale"
        output = "/tmp/x"
        [[routes]]
        bucket = "uploads"
        handler = "splat"
        output = "s3://results/"
        "#,
    )
    .unwrap_err();
    let all = errors.join("\n");
    for says in [
        "[[sources]]: `arn:aws` is no name of a bucket",
        "[[destinations]]: no store is called `nowhere`",
        "[[routes]] 1: no handler is called `upscale`",
        "[[routes]] 1: `/tmp/x` does not begin with s3://",
        "[[routes]] 1: it listens on s3://uploads/, which no [[sources]] rule allows",
        "[[routes]] 2: `splat` needs 2 inputs",
        "[[routes]] 2: it writes to s3://results/, which no [[destinations]] rule allows",
    ] {
        assert!(all.contains(says), "{says} is not in\n{all}");
    }
}

#[test]
fn what_routes_listen_on_is_listed_once() {
    let routes = routes(USUAL).unwrap();
    let listened = |bucket: Option<&str>, prefix: &str| {
        routes.listened(bucket, prefix).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(listened(None, ""), ["s3://uploads/in/"], "one route's place lies in the other's");
    assert_eq!(listened(Some("uploads"), "in/alpha/x"), ["s3://uploads/in/alpha/x"]);
    assert_eq!(listened(Some("uploads"), "in/new"), ["s3://uploads/in/new"]);
    assert!(listened(Some("uploads"), "out/").is_empty() && listened(Some("results"), "").is_empty());
    let written = |prefix: &str| routes.written(None, prefix).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(written(""), ["s3://results/", "s3://uploads/"]);
    assert_eq!(written("m/"), ["s3://results/m/", "s3://uploads/m/"]);
    assert!(routes.takes("alias", "uploads", "in/a.mp4"));
    assert!(!routes.takes("other", "uploads", "in/a.mp4") && !routes.takes("main", "uploads", "out/a.mp4"));
}
