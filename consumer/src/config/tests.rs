use std::ffi::OsString;
use std::io::Write;

use super::*;

fn load(toml: &str, env: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(toml.as_bytes()).unwrap();
    let env = env.iter().map(|(k, v)| (OsString::from(k), OsString::from(v)));
    Config::load(Some(file.path()), env)
}

fn errors(toml: &str, env: &[(&str, &str)]) -> Vec<ConfigError> {
    load(toml, env).unwrap_err().0
}

#[track_caller]
fn assert_error(errors: &[ConfigError], key: &str, found: Option<&str>, allowed: &str) {
    let hit = errors.iter().find(|e| e.key == key).unwrap_or_else(|| panic!("no error at {key}: {errors:#?}"));
    assert_eq!(hit.found.as_deref(), found, "{hit}");
    assert!(hit.allowed.contains(allowed), "{hit}");
}

#[test]
fn without_a_file_and_variables_everything_has_its_default() {
    let config = Config::load(None, []).unwrap();
    let id = config.worker.id.clone();
    assert_eq!(config, Config { worker: WorkerConfig { id, ..WorkerConfig::default() }, ..Config::default() });
}

#[test]
fn the_environment_wins_over_the_file_and_reaches_every_kind_of_value() {
    let toml = "[worker]\nslots = 2\nid = \"a\"\n[[sinks]]\nkind = \"log\"\n";
    let config = load(
        toml,
        &[
            ("DARKROOM__WORKER__SLOTS", "3"),
            ("DARKROOM__EXECUTOR__FRESH", "true"),
            ("DARKROOM__EXECUTOR__DEVICES", r#"["cuda:0","cuda:1"]"#),
            ("DARKROOM__LIMITS__MAX_DURATION_SECS", "1.5"),
            ("DARKROOM__GATEWAY__LISTEN", "127.0.0.1:0"),
            ("DARKROOM__MODELS__CUSTOM__MINE", "/m.onnx"),
            ("DARKROOM__SINKS__0__REQUIRED", "true"),
            ("DARKROOM__SINKS__1__KIND", "queue"),
            ("DARKROOM__SINKS__1__PATH", "/e.sqlite"),
            ("DARKROOM__STORES__0__NAME", "main"),
            ("DARKROOM__STORES__0__ACCESS_KEY", "0123"),
            ("DARKROOM__STORES__0__SECRET_KEY", "0456"),
            ("DARKROOM_LOG", "not ours"),
            ("PATH", "/bin"),
        ],
    )
    .unwrap();
    assert_eq!((config.worker.slots, config.worker.id.as_str(), config.executor.fresh), (3, "a", true));
    assert_eq!(config.executor.devices, ["cuda:0", "cuda:1"]);
    assert_eq!(config.limits.max_duration_secs, 1.5);
    assert!(config.gateway.listen.unwrap().ip().is_loopback());
    assert_eq!(config.models.custom["mine"], std::path::Path::new("/m.onnx"));
    assert_eq!((config.sinks[0].required, config.sinks[1].kind), (true, SinkKind::Queue));
    assert_eq!(config.stores[0].keys().unwrap(), Some(("0123".into(), "0456".into())), "no text turns into a number");
    assert_eq!(load("[executor]\ndevices = \"auto\"", &[]).unwrap().executor.devices, ["auto"]);
    let devices = load("[executor]\ndevices = [\"tensorrt:0\", \"cuda:1\"]", &[]).unwrap().executor.devices;
    assert_eq!(devices, ["tensorrt:0", "cuda:1"], "all that executors know");
    assert!(load("[executor]\ndevices = [\"tensorrt:x\"]", &[]).is_err());
}

#[test]
fn everything_wrong_is_reported_at_once_with_key_value_and_what_is_allowed() {
    let toml = r#"
        event_retry_secs = 0
        colour = "blue"
        [worker]
        slots = "many"
        max_attempts = 1000
        slot = 1
        state = "/tmp/state"
        [queue]
        kind = "carrier-pigeon"
        [[sinks]]
        required = true
        [[sinks]]
        kind = "webhook"
        url = "https://169.254.169.254/latest"
        [[sinks]]
        kind = "log"
        types = ["done"]
        [[sinks]]
        kind = "queue"
        name = "kept for ever"
        path = "/e.sqlite"
        max_events = 0
        [executor]
        devices = ["gpu"]
        [gateway]
        listen = "0.0.0.0:80"
        [log]
        keep = -1
        level = "verbose"
    "#;
    let errors = errors(toml, &[("DARKROOM__WORKER__DRAIN_SECS", "1e9")]);
    assert_error(&errors, "event_retry_secs", Some("0"), "1 to 86400");
    assert_error(&errors, "colour", None, "unknown field `colour`, expected one of");
    assert_error(&errors, "worker.slots", Some("\"many\""), "integer");
    assert_error(&errors, "worker.max_attempts", Some("1000"), "1 to 100");
    assert_error(&errors, "worker.slot", None, "unknown field");
    assert_error(&errors, "worker.state", Some("/tmp/state"), "s3://bucket/prefix/");
    assert_error(&errors, "worker.drain_secs", Some("\"1e9\""), "integer");
    assert_error(&errors, "queue.kind", Some("\"carrier-pigeon\""), "sqlite");
    assert_error(&errors, "sinks[0]", None, "missing field `kind`");
    assert_error(&errors, "sinks[1].url", Some("not usable"), "allow_private");
    assert_error(&errors, "sinks[1].secret", None, "a webhook needs it");
    assert_error(&errors, "sinks[2].types", Some("a list"), "unknown variant `done`, expected one of `accepted`");
    assert_error(&errors, "sinks[3].max_events", Some("0"), "1 to 1000000");
    assert_error(&errors, "executor.devices", Some("gpu"), "cuda:<n>");
    assert_error(&errors, "gateway.listen", Some("0.0.0.0:80"), "allow_public");
    assert_error(&errors, "log.keep", Some("-1"), "unsigned");
    assert_error(&errors, "log.level", Some("verbose"), "error, warn, info");
    assert_eq!(errors.len(), 17, "{errors:#?}");
    let text = ConfigErrors(errors).to_string();
    assert!(text.starts_with("The configuration has 17 errors:\n  `"), "{text}");
}

#[test]
fn secrets_come_from_files_and_show_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    std::fs::write(&file, format!("{secret}\n")).unwrap();
    let toml = "[[sinks]]\nkind = \"webhook\"\nurl = \"https://example.com/\"\n";
    let variable = ("DARKROOM__SINKS__0__SECRET_FILE", file.to_str().unwrap());
    let config = load(toml, &[variable]).unwrap();
    assert_eq!(config.sinks[0].secret.as_ref().unwrap().expose(), secret);
    assert!(!format!("{config:?}{}", serde_json::to_string(&config).unwrap()).contains(secret));

    let twice = load(toml, &[variable, ("DARKROOM__SINKS__0__SECRET", secret)]).unwrap_err();
    assert_error(&twice.0, "sinks[0].secret", None, "one of the two");
    let typo = load(toml, &[("DARKROOM__SINKS__0__SECRETS", secret), ("DARKROOM__SINKS__0__SECRET", "hunter2")]);
    let text = typo.unwrap_err().to_string();
    assert!(!text.contains(secret) && !text.contains("hunter2"), "{text}");
    let broken = load(&format!("[[sinks]]\nsecret = \"{secret}\" oops\n"), &[]).unwrap_err().to_string();
    assert!(broken.contains("line 2") && !broken.contains(secret), "{broken}");
    let missing = load(toml, &[("DARKROOM__SINKS__0__SECRET_FILE", "/nonexistent")]).unwrap_err();
    assert_error(&missing.0, "sinks[0].secret_file", Some("/nonexistent"), "cannot be read");
}

#[test]
fn variables_that_name_no_key_are_refused() {
    for name in ["DARKROOM__WORKER____SLOTS", "DARKROOM__0__X", "DARKROOM__SINKS__99999__URL", "DARKROOM__A B"] {
        assert_eq!(errors("", &[(name, "1")])[0].key, name);
    }
    assert_error(&errors("", &[("DARKROOM__WORKER__SLOT", "1")]), "worker.slot", None, "unknown field");
}

#[test]
fn stores_and_routes_are_checked_before_anything_is_sent() {
    let store = |endpoint: &str| format!("[[stores]]\nname = \"main\"\nendpoint = \"{endpoint}\"\n");
    assert!(load(&store("http://127.0.0.1:9000/s3"), &[]).is_ok());
    for bad in ["s3.example.com:9000", "ftp://s3.example.com", "https://me:hunter2@s3.example.com", "https://h/?x=1"] {
        let found = errors(&store(bad), &[]);
        assert_error(&found, "stores[0].endpoint", None, "");
        assert!(!format!("{found:?}").contains("hunter2"));
    }
    let toml = "[[stores]]\nname = \"a b\"\naccess_key = \"x\"\nsecret_key = \"\"\n\
                [[routes]]\nbucket = \"in\"\nhandler = \"h\"\noutput = \"s3://out/\"\ndeadline_secs = 0\n";
    let found = errors(toml, &[]);
    assert_error(&found, "stores[0].name", Some("a b"), "letters");
    assert_error(&found, "stores[0]", None, "empty");
    assert_error(&found, "routes[0].deadline_secs", Some("0"), "1 to");
}

#[test]
fn a_broker_is_checked_and_its_password_shows_nowhere() {
    let toml = |rest: &str| format!("[queue]\nkind = \"amqp\"\nlease_secs = 60\n{rest}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hunter2\n").unwrap();
    let password = ("DARKROOM__AMQP__PASSWORD_FILE", file.path().to_str().unwrap());
    let config =
        load(&toml("[amqp]\nurl = \"amqps://rabbit.example.com/jobs\"\nusername = \"me\""), &[password]).unwrap();
    assert_eq!(config.amqp.password.as_ref().unwrap().expose(), "hunter2");
    assert!(!format!("{config:?}{}", serde_json::to_string(&config).unwrap()).contains("hunter2"));
    for bad in ["http://h", "amqp://me:hunter2@h", "amqp:h", "amqps://h/?x=1"] {
        let found = errors(&toml(&format!("[amqp]\nurl = {bad:?}")), &[]);
        assert_error(&found, "amqp.url", None, "");
        assert!(!format!("{found:?}").contains("hunter2"));
    }
    let found = errors(&toml("[queue.amqp]\nqueue = \"a b\"\nack_timeout_secs = 60\n[amqp]\nusername = \"me\""), &[]);
    assert_error(&found, "amqp.url", None, "needs it");
    assert_error(&found, "queue.amqp.queue", Some("a b"), "letters");
    assert_error(&found, "amqp.username", None, "both or none");
    assert_error(&found, "queue.amqp.ack_timeout_secs", Some("60"), "120 to");
}

#[test]
fn a_queue_in_sqs_needs_its_name_and_an_account_whole_keys() {
    let sqs = |rest: &str| format!("[queue]\nkind = \"sqs\"\n{rest}");
    let config = load(&sqs("[queue.sqs]\nqueue = \"jobs\"\n"), &[("DARKROOM__AWS__REGION", "eu-west-1")]).unwrap();
    assert_eq!((config.queue.kind, config.aws.region.as_deref()), (QueueKind::Sqs, Some("eu-west-1")));
    let found = errors(&sqs("lease_secs = 901\n[aws]\naccess_key = \"AKEXAMPLE\"\nendpoint = \"sqs\"\n"), &[]);
    assert_error(&found, "queue.lease_secs", Some("901"), "1 to 900");
    assert_error(&found, "queue.sqs.queue", None, "name or URL");
    assert_error(&found, "aws", None, "both or none");
    assert_error(&found, "aws.endpoint", None, "URL");
    assert!(!format!("{found:?}").contains("AKEXAMPLE"));
    let url = "https://me:hunter2@sqs.example.com/1/jobs";
    let toml = sqs(&format!("[queue.sqs]\nqueue = \"{url}\"\ndead_letter_queue = \"{url}\"\n"));
    let found = errors(&format!("{toml}[[sinks]]\nkind = \"sqs\"\nqueue = \"{url}\"\n"), &[]);
    for key in ["queue.sqs.queue", "queue.sqs.dead_letter_queue", "sinks[0].queue"] {
        assert_error(&found, key, None, "keys belong in");
    }
    assert!(!format!("{found:?}").contains("hunter2"));
    load(&sqs("[queue.sqs]\nqueue = \"https://sqs.example.com/1/jobs\"\n"), &[]).unwrap();
}

#[test]
fn a_sink_at_an_exchange_needs_it_and_a_broker() {
    let sinks = "[[sinks]]\nkind = \"amqp\"\n[[sinks]]\nkind = \"log\"\nrouting_key = \"k\"\n";
    let found = errors(sinks, &[]);
    assert_error(&found, "amqp.url", None, "needs it");
    assert_error(&found, "sinks[0].exchange", None, "needs it");
    assert_error(&found, "sinks[1].routing_key", None, "amqp");
    assert_eq!(found.len(), 3, "{found:#?}");
}

#[test]
fn sinks_at_amazon_say_where_events_go() {
    let sinks = "[[sinks]]\nkind = \"sqs\"\n[[sinks]]\nkind = \"sns\"\ntopic = \"events\"\n[[sinks]]\nkind = \"log\"\nbus = \"b\"\n\
                 [[sinks]]\nkind = \"eventbridge\"\n";
    let found = errors(sinks, &[]);
    assert_error(&found, "sinks[0].queue", None, "name or URL");
    assert_error(&found, "sinks[1].topic", Some("events"), "ARN");
    assert_error(&found, "sinks[2].bus", None, "eventbridge");
    assert_eq!(found.len(), 3, "{found:#?}");
}

#[test]
fn queues_have_names_and_are_not_the_same_one_twice() {
    let toml = "worker.interruption_notices = \"ec2\"\n[queue]\nweight = 3\n\
                [[queues]]\nname = \"urgent\"\nkind = \"amqp\"\namqp.queue = \"urgent\"\npriority = 10\n\
                [[queues]]\nname = \"night\"\npath = \"/night.sqlite\"\ndeferred = true\nhours = \"22:00-06:00\"\n\
                [amqp]\nurl = \"amqp://h\"\n[handlers.matting]\nmax_running = 2\n";
    let config = load(toml, &[("DARKROOM__QUEUES__1__WEIGHT", "7")]).unwrap();
    let all: Vec<_> = config.all_queues().map(|q| (q.name.as_str(), q.weight, q.priority, q.deferred)).collect();
    assert_eq!(all, [("main", 3, 0, false), ("urgent", 1, 10, false), ("night", 7, 0, true)]);
    assert_eq!(config.handlers["matting"].max_running, Some(2));
    assert_eq!(config.worker.interruption_notices, InterruptionNotices::Ec2);

    let toml = "worker.metadata_endpoint = \"169.254.169.254\"\n[queue]\nkind = \"amqp\"\n\
                [[queues]]\npath = \"/a\"\nweight = 0\nhours = \"22:00-06:00\"\n\
                [[queues]]\nname = \"two\"\npath = \"/x/../a\"\nhours = \"at night\"\n\
                [[queues]]\nname = \"three\"\nkind = \"amqp\"\namqp.queue = \"darkroom.jobs.dead\"\n\
                [[queues]]\nname = \"four\"\nkind = \"sqs\"\nlease_secs = 901\n\
                [amqp]\nurl = \"amqp://h\"\n[handlers.matting]\nmax_running = 0\n";
    let found = errors(toml, &[]);
    assert_error(&found, "worker.metadata_endpoint", None, "URL");
    assert_error(&found, "queues[0].name", Some("main"), "of its own");
    assert_error(&found, "queues[0].weight", Some("0"), "1 to 100");
    assert_error(&found, "queues[0].hours", None, "deferred");
    assert_error(&found, "queues[1].hours", Some("\"at night\""), "22:00-06:00, in UTC");
    assert_error(&found, "queues[2]", None, "belongs to it");
    assert_error(&found, "queues[3].lease_secs", Some("901"), "1 to 900");
    assert_error(&found, "queues[3].sqs.queue", None, "name or URL");
    assert_error(&found, "handlers.matting.max_running", Some("0"), "1 to 4096");
    assert_eq!(found.len(), 9, "{found:#?}");
    let same = "[[queues]]\nname = \"a\"\npath = \"/tmp/a\"\n[[queues]]\nname = \"b\"\npath = \"/tmp/../tmp/a\"\n";
    assert_error(&errors(same, &[]), "queues[1]", None, "the same queue as `queues[0]`");
}
