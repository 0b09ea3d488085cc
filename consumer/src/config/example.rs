//! Holds `infra/config.example.toml` to the truth: its active lines are the defaults, and with its optional lines it
//! shows every key there is, and none that is not.

use std::collections::BTreeSet;
use std::io::Write;

use serde::de::value::Error;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};

use super::*;

fn load(text: &str) -> Config {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    Config::load(Some(file.path()), []).unwrap()
}

/// The example with its optional lines.
fn whole() -> String {
    EXAMPLE.lines().map(|line| format!("{}\n", line.strip_prefix("#: ").unwrap_or(line))).collect()
}

/// Notes the fields that a struct asks for, and gives it nothing.
struct Asked<'a>(&'a mut BTreeSet<&'static str>);

impl<'de> Deserializer<'de> for Asked<'_> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        self.0.extend(fields);
        Err(Error::custom("that is all"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("no struct"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// All keys of a section.
fn keys<T: for<'de> Deserialize<'de>>() -> BTreeSet<&'static str> {
    let mut keys = BTreeSet::new();
    assert!(T::deserialize(Asked(&mut keys)).is_err());
    keys
}

#[test]
fn active_lines_are_the_defaults() {
    let config = load(EXAMPLE);
    let mut default = Config::default();
    default.worker.id = config.worker.id.clone();
    assert_eq!(config, default);
}

#[test]
fn optional_lines_are_good_too() {
    // Secrets in files are not there to be read.
    let without_files: String =
        whole().lines().filter(|line| !line.contains("_file = ")).map(|line| format!("{line}\n")).collect();
    let complete = without_files
        .replace("name = \"billing\"", "name = \"billing\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"");
    let config = load(&complete);
    assert_eq!((config.sinks.len(), config.stores.len(), config.routes.len()), (8, 2, 1));
}

#[test]
fn every_key_is_shown_and_no_other() {
    let shown: toml::Table = whole().parse().unwrap();
    let of_table = |table: &toml::Value| table.as_table().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    for section in keys::<Config>() {
        let known = match section {
            "worker" => keys::<WorkerConfig>(),
            "queue" | "queues" => keys::<QueueConfig>(),
            "handlers" => {
                let handler = &shown[section]["matting"];
                assert_eq!(of_table(handler), keys::<HandlerConfig>().into_iter().map(str::to_owned).collect());
                continue;
            }
            "amqp" => keys::<AmqpConfig>(),
            "aws" => keys::<AwsConfig>(),
            "stores" => keys::<StoreConfig>(),
            "routes" => keys::<RouteConfig>(),
            "sources" => keys::<SourceConfig>(),
            "destinations" => keys::<DestinationConfig>(),
            "https" => keys::<HttpsConfig>(),
            "sinks" => keys::<SinkConfig>(),
            "executor" => keys::<ExecutorConfig>(),
            "limits" => keys::<Limits>(),
            "models" => keys::<RegistryConfig>(),
            "gateway" => keys::<GatewayConfig>(),
            "log" => keys::<LogConfig>(),
            "event_retry_secs" => continue,
            other => panic!("say here what `{other}` holds"),
        };
        let found: BTreeSet<String> = match shown.get(section) {
            // They have the same keys, and together they show all.
            _ if section.starts_with("queue") => {
                let more = shown["queues"].as_array().unwrap();
                more.iter().chain([&shown["queue"]]).flat_map(of_table).collect()
            }
            Some(toml::Value::Array(entries)) => entries.iter().flat_map(of_table).collect(),
            Some(table) => of_table(table),
            None => panic!("the example lacks [{section}]"),
        };
        assert_eq!(found, known.into_iter().map(str::to_owned).collect(), "[{section}]");
    }
    let amqp: BTreeSet<_> = keys::<AmqpQueueConfig>().into_iter().map(str::to_owned).collect();
    assert_eq!(of_table(&shown["queue"]["amqp"]), amqp, "[queue.amqp]");
    let sqs: BTreeSet<_> = keys::<SqsConfig>().into_iter().map(str::to_owned).collect();
    assert_eq!(of_table(&shown["queue"]["sqs"]), sqs, "[queue.sqs]");
    assert!(shown.contains_key("event_retry_secs"));
}
