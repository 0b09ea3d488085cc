//! Messages of real shapes, changed in ways that a list of random bytes would never reach. They are kept as text and not
//! as values: names may be given twice, and strings may be no Unicode.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

/// JSON, or nearly.
#[derive(Debug, Clone)]
enum Node {
    /// Anything, as it is written.
    Raw(String),
    List(Vec<Node>),
    /// Names as they are written, without quotes.
    Map(Vec<(String, Node)>),
}

/// A message.
#[derive(Debug, Clone)]
pub struct Document(Node);

/// What is done to one node of it.
#[derive(Debug, Clone)]
pub enum Change {
    Replace(Index, Index),
    Repeat(Index, usize),
    Nest(Index, usize, bool),
    Rename(Index, Index),
    Twice(Index),
    Remove(Index),
}

/// What stands where something else is expected.
const ODD: &[&str] = &[
    "null",
    "-1",
    "1e308",
    "18446744073709551616",
    "0.1234567890123456789",
    "9007199254740993",
    "-0.0",
    "[]",
    "{}",
    "\"\"",
    r#""\ud800""#,
    r#""\udc00\ud800""#,
    r#""%""#,
    r#""%zz""#,
    r#""%ff%fe""#,
    r#""%00%2e%2e%2f""#,
    r#""in/../../etc/passwd""#,
    r#""in//\u0000\n\u202e""#,
    r#""s3://uploads/in/../x""#,
    r#""s3://uploads/in/""#,
    r#""s3://results/../uploads/in/""#,
    r#""s3://results/%2e%2e/""#,
    r#""s3://arn:aws:s3:::x/y""#,
    r#""https://169.254.169.254/latest/""#,
    r#""https://media.example.com/a.mp4?signature=secret""#,
    r#""https://media.example.com@169.254.169.254/\\@x.example.org/""#,
    r#""https://x.example.org:8443/%2e%2e/#a""#,
    r#""s3:TestEvent""#,
    r#""ObjectCreated:Put""#,
    r#""aws:s3""#,
    r#""ceph:s3""#,
    r#""darkroom:reconcile""#,
    r#""darkroom.job.v1""#,
    r#"{"$serde_json::private::RawValue":"{\"a\":1,\"a\":2}"}"#,
    r#"{"$serde_json::private::Number":"1"}"#,
];

/// Names that mean something somewhere.
const NAMES: &[&str] = &[
    "Records",
    "schema",
    "detail",
    "detail-type",
    "source",
    "Type",
    "TopicArn",
    "Message",
    "Event",
    "specversion",
    "type",
    "s3",
    "object",
    "key",
    "eTag",
    "etag",
    "versionId",
    "version-id",
    "sequencer",
    "size",
    "eventTime",
    "input",
    "inputs",
    "params",
    "rerun",
    r"\u0000",
    r"\ud800",
    "",
];

/// One of the messages that the parser's own tests read.
pub fn document() -> impl Strategy<Value = Document> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/triggers");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let values = files.iter().filter_map(|file| serde_json::from_slice::<Value>(&fs::read(file).unwrap()).ok());
    let documents: Vec<_> = values.map(|value| Document(Node::from(value))).collect();
    assert!(documents.len() > 30, "the fixtures are there");
    prop::sample::select(documents)
}

pub fn change() -> impl Strategy<Value = Change> {
    let index = any::<Index>;
    prop_oneof![
        4 => (index(), index()).prop_map(|(at, what)| Change::Replace(at, what)),
        2 => (index(), 1..400usize).prop_map(|(at, times)| Change::Repeat(at, times)),
        1 => (index(), 1..200usize, any::<bool>()).prop_map(|(at, levels, maps)| Change::Nest(at, levels, maps)),
        2 => (index(), index()).prop_map(|(at, name)| Change::Rename(at, name)),
        1 => index().prop_map(Change::Twice),
        1 => index().prop_map(Change::Remove),
    ]
}

/// The message as SNS (true) or EventBridge carries it, wrapper in wrapper.
pub fn wrapped(mut text: String, wrappers: &[bool]) -> String {
    for is_sns in wrappers {
        text = match is_sns {
            true => format!(r#"{{"Type":"Notification","TopicArn":"arn:x","Message":{}}}"#, Value::from(text)),
            false => format!(r#"{{"source":"aws.s3","detail-type":"Object Created","detail":{text}}}"#),
        };
    }
    text
}

impl From<Value> for Node {
    fn from(value: Value) -> Self {
        match value {
            Value::Array(items) => Node::List(items.into_iter().map(Node::from).collect()),
            Value::Object(map) => Node::Map(map.into_iter().map(|(name, value)| (name, value.into())).collect()),
            other => Node::Raw(other.to_string()),
        }
    }
}

impl Node {
    fn count(&self) -> usize {
        1 + match self {
            Node::Raw(_) => 0,
            Node::List(items) => items.iter().map(Node::count).sum(),
            Node::Map(entries) => entries.iter().map(|(_, node)| node.count()).sum::<usize>(),
        }
    }

    /// The nth node from here, depth first.
    fn nth(&mut self, n: &mut usize) -> Option<&mut Node> {
        if *n == 0 {
            return Some(self);
        }
        *n -= 1;
        match self {
            Node::Raw(_) => None,
            Node::List(items) => items.iter_mut().find_map(|node| node.nth(n)),
            Node::Map(entries) => entries.iter_mut().find_map(|(_, node)| node.nth(n)),
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Node::Raw(text) => out.push_str(text),
            Node::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    item.write(out);
                }
                out.push(']');
            }
            Node::Map(entries) => {
                out.push('{');
                for (index, (name, node)) in entries.iter().enumerate() {
                    out.push_str(if index > 0 { ",\"" } else { "\"" });
                    out.push_str(name);
                    out.push_str("\":");
                    node.write(out);
                }
                out.push('}');
            }
        }
    }
}

impl Document {
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.0.write(&mut text);
        text
    }

    pub fn apply(&mut self, change: Change) {
        // What grows without end takes the test's time and proves nothing.
        const MOST_NODES: usize = 20_000;
        let count = self.0.count();
        if count > MOST_NODES {
            return;
        }
        let (Change::Replace(at, _)
        | Change::Repeat(at, _)
        | Change::Nest(at, _, _)
        | Change::Rename(at, _)
        | Change::Twice(at)
        | Change::Remove(at)) = &change;
        let Some(node) = self.0.nth(&mut at.index(count)) else { return };
        match change {
            Change::Replace(_, what) => *node = Node::Raw((*what.get(ODD)).to_owned()),
            Change::Repeat(_, times) => match node {
                // A string becomes longer, a key too long.
                Node::Raw(text) if text.len() > 1 && text.ends_with('"') => {
                    text.pop();
                    text.push_str(&"x".repeat(times * 10));
                    text.push('"');
                }
                _ => *node = Node::List(vec![node.clone(); times.min(MOST_NODES / count + 1)]),
            },
            Change::Nest(_, levels, maps) => {
                for _ in 0..levels {
                    let inner = std::mem::replace(node, Node::List(vec![]));
                    *node = if maps { Node::Map(vec![("a".into(), inner)]) } else { Node::List(vec![inner]) };
                }
            }
            Change::Rename(at, name) => {
                if let Node::Map(entries) = node
                    && !entries.is_empty()
                {
                    let entry = at.index(entries.len());
                    entries[entry].0 = (*name.get(NAMES)).to_owned();
                }
            }
            Change::Twice(at) => {
                if let Node::Map(entries) = node
                    && !entries.is_empty()
                {
                    let entry = entries[at.index(entries.len())].clone();
                    entries.push(entry);
                }
            }
            Change::Remove(at) => match node {
                Node::Map(entries) if !entries.is_empty() => drop(entries.remove(at.index(entries.len()))),
                Node::List(items) if !items.is_empty() => drop(items.remove(at.index(items.len()))),
                _ => *node = Node::Raw("null".into()),
            },
        }
    }
}
