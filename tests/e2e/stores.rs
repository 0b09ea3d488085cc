//! Inputs from elsewhere than the first store: from another one, which keeps versions, and from the web.

use std::net::TcpListener;

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use serde_json::{Value, json};

use crate::harness::media::{sha256, sound};
use crate::harness::{Emulator, Host, Up, poll, stdout, wait_for};

/// The manifest of a completed job whose results go under `prefix`.
#[track_caller]
fn manifest(up: &Up, prefix: &str, event: &Value) -> Value {
    assert_eq!(event["type"], "dev.darkroom.job.completed.v1", "{event:#}");
    up.results().json(&format!("{prefix}/{}/manifest.json", event["jobid"].as_str().unwrap()))
}

#[test]
fn versions_in_another_store_are_jobs_of_their_own_whichever_is_the_latest() {
    let aws = Emulator::Ministack.shared();
    let uploads = aws.bucket("versions");
    uploads.create();
    let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    wait_for(uploads.client().put_bucket_versioning().bucket("versions").versioning_configuration(on).send()).unwrap();
    let mut contents = [sound(), sound()];
    *contents[1].last_mut().unwrap() = 1;
    let versions = contents.clone().map(|content| {
        let put = uploads.client().put_object().bucket("versions").key("in/a.wav").body(content.into());
        let put = wait_for(put.send()).unwrap();
        (put.version_id.unwrap(), put.e_tag.unwrap().trim_matches('"').to_owned())
    });
    assert_ne!(versions[0], versions[1]);

    let up = Up::with_faults(&[
        ("DARKROOM__STORES__1__NAME", "archive"),
        ("DARKROOM__STORES__1__ENDPOINT", aws.endpoint()),
        ("DARKROOM__STORES__1__ACCESS_KEY", "test"),
        ("DARKROOM__STORES__1__SECRET_KEY", "test"),
        ("DARKROOM__SOURCES__1__STORE", "archive"),
        ("DARKROOM__SOURCES__1__BUCKET", "versions"),
        ("DARKROOM__ROUTES__3__STORE", "archive"),
        ("DARKROOM__ROUTES__3__BUCKET", "versions"),
        ("DARKROOM__ROUTES__3__HANDLER", "fault"),
        ("DARKROOM__ROUTES__3__PARAMS", r#"{"action":"ok"}"#),
        ("DARKROOM__ROUTES__3__OUTPUT", "s3://results/versions/"),
    ]);
    for (version, etag) in &versions {
        let object = json!({"key": "in/a.wav", "size": sound().len(), "eTag": etag, "versionId": version});
        let s3 = json!({"bucket": {"name": "versions"}, "object": object});
        let record = json!({"eventVersion": "2.1", "eventSource": "aws:s3", "eventTime": "2026-01-01T00:00:00.000Z",
            "eventName": "ObjectCreated:Put", "s3": s3});
        up.queues().send(&json!({ "Records": [record] }).to_string());
    }
    let both = || Some(up.events("s3://versions/in/a.wav")).filter(|events| events.len() >= 2);
    let manifests: Vec<Value> =
        poll("two results", both).iter().map(|event| manifest(&up, "versions", event)).collect();
    for ((version, _), content) in versions.iter().zip(&contents) {
        let of_version = |manifest: &&Value| manifest["inputs"][0]["object"]["version"] == **version;
        let made = manifests.iter().find(of_version).unwrap();
        assert_eq!(made["outputs"][0]["sha256"], sha256(content), "{made:#}");
    }
}

#[test]
fn an_input_by_https_is_read_once_and_the_secret_in_its_url_kept_nowhere() {
    let host = Host::start("");
    let address = host.address();
    // Nobody listens there any more.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let up = Up::with_faults(&[
        ("DARKROOM__HTTPS__HOSTS", &json!([address, nobody.to_string()]).to_string()),
        ("DARKROOM__HTTPS__ALLOW_PRIVATE", "true"),
        ("DARKROOM__WORKER__MAX_ATTEMPTS", "2"),
        ("DARKROOM__WORKER__BACKOFF_MIN_SECS", "0"),
        ("DARKROOM__LOG__LEVEL", "debug"),
    ]);
    let ask_for = |input: String, rerun: Option<&str>| {
        let mut message = json!({"schema": "darkroom.job.v1", "handler": "fault", "params": {"action": "ok"},
            "input": input, "output": "s3://results/web/"});
        message["rerun"] = rerun.into();
        up.event_of(&up.queues().send(&message.to_string()))
    };
    let ask = |name: &str, rerun| ask_for(host.url(name), rerun);
    let event = ask("a.wav", None);
    assert_eq!(event["subject"], format!("http://{address}/a.wav"));
    let made = manifest(&up, "web", &event);
    assert_eq!(made["outputs"][0]["sha256"], sha256(&sound()));
    assert_eq!(made["inputs"][0]["object"]["version"], format!("sha256:{}", sha256(&sound())));
    assert_eq!(host.asked(), 2, "one look, one fetch");
    assert_ne!(ask("a.wav", Some("again"))["jobid"], event["jobid"]);

    let gone = ask("gone.wav", None);
    assert_eq!(gone["data"]["error"]["code"], "input-not-found", "{gone:#}");
    let letters = up.queues().dead_letters();
    assert!(letters.len() == 1 && !letters[0].reason.as_ref().unwrap().message.contains("s3cret"));
    let lost = ask_for(format!("http://{nobody}/a.wav?sig=s3cret"), None);
    assert_eq!(
        lost["data"]["error"]["code"], "store-unavailable",
        "a host that is gone for good ends its job: {lost:#}"
    );
    let refused = ask_for(format!("HTTP://me:s3cret@{address}/a.wav?sig=s3cret"), None);
    assert_eq!(refused["data"]["error"]["code"], "source-forbidden", "{refused:#}");

    let log = std::fs::read_to_string(up.dir().join("up.log")).unwrap();
    assert!(log.contains(address) && !log.contains("s3cret"), "in the log");
    assert!(!json!(up.queues().seen()).to_string().contains("s3cret"), "in an event");
    for bucket in [up.state(), up.results()] {
        for key in bucket.keys("") {
            assert!(!String::from_utf8_lossy(&bucket.get(&key)).contains("s3cret"), "in {key}");
        }
    }
}

#[test]
fn presigned_urls_read_and_write_without_keys() {
    let up = Up::shared();
    let url = |args: &[&str]| stdout(&up.cli(&[&["presign", "s3://inbox/signed/a b.txt"], args].concat()));
    wait_for(async {
        let (client, put) = (reqwest::Client::new(), url(&["--put", "--expires", "1m"]));
        client.put(put.trim()).body("content").send().await.unwrap().error_for_status().unwrap();
        let got = client.get(url(&[]).trim()).send().await.unwrap().error_for_status().unwrap();
        assert_eq!(got.text().await.unwrap(), "content");
    });
    let refused = up.cli(&["presign", "s3://inbox/a", "--expires", "169h"]);
    assert_eq!(refused.status.code(), Some(2));
}
