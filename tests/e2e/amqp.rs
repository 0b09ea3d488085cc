//! Jobs through RabbitMQ: a worker with a configuration of its own, a real broker, the embedded S3 server.

use std::fs;
use std::path::Path;

use darkroom_tests::rabbitmq::{Broker, CUT, PASSWORD, USER, broker};
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, ExchangeKind};
use rustix::process::Signal;
use serde_json::Value;

use crate::harness::media::{Workshop, sound};
use crate::harness::{Up, Worker, binary, json_lines, poll, stdout, wait_for};

/// A worker that takes uploads from the queue `name` at this URL.
fn worker(up: &Up, name: &str, url: &str, env: &[(&'static str, &str)]) -> Worker {
    let worker = Worker::new(&[&[("DARKROOM__AMQP__PASSWORD", PASSWORD)], env].concat());
    let key = |field| up.fact(field);
    for bucket in [name.to_owned(), format!("{name}-results"), format!("{name}-state")] {
        up.bucket(&bucket).create();
    }
    worker.configure(&format!(
        "worker.state = \"s3://{name}-state/\"\n\
         [queue]\nkind = \"amqp\"\nlease_secs = 2\n[queue.amqp]\nqueue = \"{name}\"\n\
         [amqp]\nurl = \"{url}\"\nusername = \"{USER}\"\n\
         [[stores]]\nname = \"main\"\nendpoint = \"{}\"\naccess_key = \"{}\"\nsecret_key = \"{}\"\n\
         [[sources]]\nbucket = \"{name}\"\n[[destinations]]\nbucket = \"{name}-results\"\n\
         [[routes]]\nbucket = \"{name}\"\nsuffixes = [\".mp4\"]\nhandler = \"matting\"\noutput = \"s3://{name}-results/\"\n\
         [executor]\nstall_secs = 30\n",
        key("s3"),
        key("access_key"),
        key("secret_key"),
    ));
    worker
}

fn channel(broker: &Broker, vhost: &str) -> (lapin::Connection, Channel) {
    wait_for(async {
        let connection = broker.connect(vhost).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        (connection, channel)
    })
}

/// Messages that wait in a queue of the broker.
fn waiting(channel: &Channel, queue: &str) -> u32 {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
    wait_for(channel.queue_declare(queue.into(), options, FieldTable::default())).unwrap().message_count()
}

/// The manifest of a completed event is there, and so are its outputs, and no others.
#[track_caller]
fn result(up: &Up, name: &str, event: &Value) {
    assert_eq!(event["type"], "dev.darkroom.job.completed.v1", "{event:#}");
    let (job, results) = (event["jobid"].as_str().unwrap(), up.bucket(&format!("{name}-results")));
    let manifest = results.json(&format!("{job}/manifest.json"));
    let outputs = manifest["outputs"].as_array().unwrap().iter().map(|o| o["key"].as_str().unwrap().to_owned());
    let mut expected: Vec<String> = outputs.chain([format!("{job}/manifest.json")]).collect();
    expected.sort();
    assert_eq!(results.keys(&format!("{job}/")), expected);
}

/// A notification as its sender writes it, about an object that is there: tag and size are put in, the rest are its
/// exact bytes.
fn notification(file: &str, etag: &str, size: usize) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/triggers").join(file);
    let text = fs::read_to_string(path).unwrap();
    let told: Value = serde_json::from_str(&text).unwrap();
    let object = &told["Records"][0]["s3"]["object"];
    let with_tag = text.replace(object["eTag"].as_str().unwrap(), etag);
    with_tag.replace(&format!("\"size\": {}", object["size"]), &format!("\"size\": {size}")).into_bytes()
}

/// As MinIO and Ceph do: to an exchange, without a message id.
fn publish(channel: &Channel, exchange: &str, key: &str, body: &[u8]) {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default().with_content_type("application/json".into()).with_delivery_mode(2);
    let confirmed = wait_for(async {
        channel.basic_publish(exchange.into(), key.into(), options, body, properties).await.unwrap().await.unwrap()
    });
    assert!(matches!(confirmed, Confirmation::Ack(None)), "{confirmed:?}");
}

#[test]
fn notifications_of_minio_and_ceph_published_to_an_exchange_run_their_jobs() {
    let (up, broker, shop) = (Up::shared(), wait_for(broker()), Workshop::new());
    let url = format!("amqps://127.0.0.1:{}", broker.tls_port);
    let certificate = broker.certificate();
    // The fixtures' bucket.
    let mut worker = worker(&up, "uploads", &url, &[("SSL_CERT_FILE", certificate.to_str().unwrap())]);
    assert!(stdout(&worker.cli(&["work", "--check"])).contains("good"));
    let (_connection, channel) = channel(broker, "%2f");
    wait_for(async {
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let (kind, none) = (ExchangeKind::Direct, FieldTable::default());
        channel.exchange_declare("bucketevents".into(), kind, durable, none.clone()).await.unwrap();
        let bind = QueueBindOptions::default();
        channel.queue_bind("uploads".into(), "bucketevents".into(), "bucketlogs".into(), bind, none).await.unwrap();
    });
    worker.start();
    let uploads = up.bucket("uploads");
    for (file, key) in [("minio-put.json", "in/a b+c é.mp4"), ("ceph-put.json", "in/a b+c%2B é.mp4")] {
        let video = shop.man(4, "-an", "a.mp4");
        let size = video.len();
        publish(&channel, "bucketevents", "bucketlogs", &notification(file, &uploads.put(key, video), size));
        let event = worker.event(&format!("s3://uploads/{key}"));
        result(&up, "uploads", &event);
        assert_eq!(event["id"], format!("{}.completed", event["jobid"].as_str().unwrap()));
    }
    assert!(worker.end(Signal::TERM).success());
    assert_eq!(worker.events().len(), 2);
    assert_eq!((waiting(&channel, "uploads"), waiting(&channel, "uploads.dead")), (0, 0));
}

#[test]
fn a_job_survives_its_connection_and_its_worker() {
    let (up, broker) = (Up::shared(), wait_for(broker()));
    let url = format!("amqp://127.0.0.1:{}/{CUT}", broker.port);
    let executor = binary("darkroom-executor-fault");
    let mut worker = worker(&up, "survives", &url, &[("DARKROOM_EXECUTOR", executor.to_str().unwrap())]);
    up.bucket("survives").put("long.wav", sound());
    let input = "s3://survives/long.wav";
    worker.start();
    let slow = ["--set", "action=slow", "--set", "secs=4"];
    stdout(&worker.cli(&[&["submit", "fault", input, "--output", "s3://survives-results/"][..], &slow].concat()));
    let attempt_runs = |attempt: usize| {
        let running = || {
            let jobs = json_lines(&stdout(&worker.cli(&["--json", "jobs", "list"])));
            let job = jobs.into_iter().find(|job| job["state"] == "running")?["job_id"].as_str()?.to_owned();
            let shown: Value = serde_json::from_str(&stdout(&worker.cli(&["--json", "jobs", "show", &job]))).unwrap();
            (shown["attempts"].as_array().unwrap().len() == attempt).then_some(job)
        };
        poll(&format!("attempt {attempt} to run"), running)
    };
    let job = attempt_runs(1);
    // The worker loses the delivery, drops the run, connects again, and gets the message once more.
    wait_for(broker.control(&["close_all_connections", "-p", CUT, "a test"]));
    assert_eq!(attempt_runs(2), job);
    assert!(!worker.end(Signal::KILL).success());
    worker.start();
    let event = worker.event(input);
    assert_eq!((&event["jobid"], &event["attempt"]), (&job.into(), &3.into()), "{event:#}");
    result(&up, "survives", &event);
    let (_connection, channel) = channel(broker, CUT);
    assert!(worker.end(Signal::TERM).success());
    assert_eq!(worker.events().len(), 1);
    assert_eq!((waiting(&channel, "survives"), waiting(&channel, "survives.dead")), (0, 0));
}
