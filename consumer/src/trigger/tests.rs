//! Messages as senders write them (`tests/fixtures/triggers`), and as they should not.

use darkroom_api::ErrorCode;
use proptest::prelude::*;

use super::*;

fn fixture(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/triggers");
    std::fs::read(format!("{folder}/{name}.json")).unwrap()
}

fn uploads(name: &str) -> Vec<Upload> {
    let triggers = parse(&fixture(name)).unwrap();
    let upload = |t| if let Trigger::Upload(upload) = t { Some(upload) } else { None };
    triggers.into_iter().filter_map(upload).collect()
}

#[test]
fn every_sender_names_the_same_object_in_its_own_way() {
    let plain = "in/a b+c é.mp4";
    let percent = "in/a b+c%2B é.mp4";
    let table = [
        ("aws-put", plain, "d41d8cd98f00b204e9800998ecf8427e", "C3D13FE58DE4C810-0055AED6DCD90281E5"),
        ("sns-aws-put", plain, "d41d8cd98f00b204e9800998ecf8427e", "C3D13FE58DE4C810-0055AED6DCD90281E5"),
        ("minio-put", plain, "d41d8cd98f00b204e9800998ecf8427e", "1799A1C5D5B2B1F0-1799A1C5D6A9F3E8"),
        ("sns-sns-minio", plain, "d41d8cd98f00b204e9800998ecf8427e", "1799A1C5D5B2B1F0-1799A1C5D6A9F3E8"),
        (
            "ceph-put",
            percent,
            "37b51d194a7513e45b56f6524f2d51f2",
            "503a4c37-85eb-47cd-8681-2817e80b4281.5330.903595-F7E6D75DC742D108",
        ),
        ("eventbridge-created", percent, "b1946ac92492d2347c6235b4d2611184", "N4N7GDK58NMKJ12R-617f08299329d189"),
        ("sns-eventbridge", percent, "b1946ac92492d2347c6235b4d2611184", "N4N7GDK58NMKJ12R-617f08299329d189"),
    ];
    for (name, key, etag, submission_id) in table {
        let [upload] = uploads(name).try_into().unwrap();
        assert_eq!((upload.bucket.as_str(), upload.key.as_str()), ("uploads", key), "{name}");
        assert_eq!((upload.etag.as_deref(), upload.submission_id.as_str()), (Some(etag), submission_id), "{name}");
        let time = upload.event_time.unwrap().to_string();
        assert!(time.starts_with("2026-03-04T10:11:12"), "{name}: {time}");
        assert!(upload.size.is_some() && upload.event_name.contains("Created"), "{name}");
    }
}

#[test]
fn an_aws_record_is_read_in_full() {
    let [upload] = uploads("aws-put").try_into().unwrap();
    assert_eq!(upload.event_name, "ObjectCreated:Put");
    assert_eq!(upload.size, Some(1_048_576));
    assert_eq!(upload.version.as_deref(), Some("096fKKXTRTtl3on89fVO.nfljtsv6qko"));
    assert_eq!(upload.sequencer.as_deref(), Some("0055AED6DCD90281E5"));
}

#[test]
fn every_record_counts_and_what_is_not_for_us_has_a_reason() {
    let triggers = parse(&fixture("aws-several-records")).unwrap();
    let told: Vec<_> = triggers
        .iter()
        .map(|trigger| match trigger {
            Trigger::Upload(upload) => (None, upload.key.as_str()),
            Trigger::Ignored(ignored) => (Some(ignored.reason), ignored.about.as_str()),
            Trigger::Job(_) => panic!("no job was asked for"),
        })
        .collect();
    let expected = [
        (None, "in/100% wide/../%2B.mp4"),
        (None, "/leading//double/../映像🎬.mov"),
        (Some(IgnoredReason::Folder), "s3://uploads/in/new folder/"),
        (Some(IgnoredReason::Deleted), "s3://uploads/in/old.mp4"),
        (Some(IgnoredReason::NotCreated), "s3://uploads/in/a.mp4"),
    ];
    assert_eq!(told, expected);
}

#[test]
fn messages_that_are_not_for_us_are_ignored() {
    for (name, reason) in [
        ("aws-test-event", IgnoredReason::TestEvent),
        ("sns-test-event", IgnoredReason::TestEvent),
        ("sns-subscription", IgnoredReason::Subscription),
        ("eventbridge-deleted", IgnoredReason::Deleted),
        ("empty-records", IgnoredReason::Empty),
        ("own-event", IgnoredReason::OwnEvent),
        ("eventbridge-own-event", IgnoredReason::OwnEvent),
    ] {
        let [trigger] = parse(&fixture(name)).unwrap().try_into().unwrap();
        assert!(matches!(&trigger, Trigger::Ignored(ignored) if ignored.reason == reason), "{name}: {trigger:?}");
    }
}

#[test]
fn of_two_events_of_one_key_the_later_counts_whatever_their_order_and_padding() {
    let [first, second] = parse(&fixture("aws-same-key-twice")).unwrap().try_into().unwrap();
    assert!(matches!(first, Trigger::Upload(upload) if upload.etag.as_deref() == Some("newer")));
    assert!(matches!(second, Trigger::Ignored(ignored) if ignored.reason == IgnoredReason::Superseded));
}

#[test]
fn what_senders_leave_out_is_tolerated() {
    let [upload] = uploads("emulator-without-sequencer").try_into().unwrap();
    assert_eq!(upload.key, "in/a b+c é.mp4");
    assert_eq!(upload.etag.as_deref(), Some("5eb63bbbe01eeed093cb22bb8f5acdc3"));
    assert_eq!((upload.version.as_ref(), upload.sequencer.as_ref()), (None, None));
    let again = uploads("emulator-without-sequencer");
    assert_eq!(again[0].submission_id, upload.submission_id, "stable over deliveries");
    assert_eq!(upload.submission_id.len(), 32);

    let [old] = uploads("ceph-old-release").try_into().unwrap();
    assert_eq!((old.key.as_str(), old.size), ("in/100% + more.mp4", Some(1024)));
    assert_eq!(uploads("aws-key-1024-bytes")[0].key.len(), 1024);
}

#[test]
fn job_messages_are_read_as_the_contract_says() {
    let [Trigger::Job(job)] = &parse(&fixture("job-input")).unwrap()[..] else { panic!("no job") };
    assert_eq!(job.input.as_deref(), Some("s3://uploads/in/a b+c%2B é.mp4"));
    assert_eq!((job.deadline_secs, job.reference.as_deref()), (Some(3600), Some("caller's own id")));
    let [Trigger::Job(job)] = &parse(&fixture("job-inputs")).unwrap()[..] else { panic!("no job") };
    assert_eq!(job.inputs.as_ref().unwrap()["background"].as_slice(), ["s3://uploads/backgrounds/beach.png"]);
}

#[test]
fn refusals_name_what_is_wrong() {
    for (name, says) in [
        ("refused-bucket-is-an-arn", "no name of a bucket"),
        ("refused-eventbridge-other-service", "aws.s3"),
        ("refused-job-field-twice", "given twice"),
        ("refused-job-unknown-field", "unknown field `priority`"),
        ("refused-job-unknown-schema", "darkroom.job.v1"),
        ("refused-job-without-output", "missing field `output`"),
        ("refused-job-wrong-type", "`deadline_secs`"),
        ("refused-key-1025-bytes", "1025 bytes"),
        ("refused-key-bad-percent", "hexadecimal"),
        ("refused-key-empty", "key is empty"),
        ("refused-key-not-utf8", "UTF-8"),
        ("refused-not-json", "not valid JSON"),
        ("refused-records-not-a-list", "no list"),
        ("refused-sns-nested", "nested too deep"),
        ("refused-source-unknown", "aws:sqs"),
        ("refused-unknown-shape", "neither a job"),
    ] {
        let error = parse(&fixture(name)).unwrap_err();
        assert_eq!(error.code, ErrorCode::MessageInvalid, "{name}");
        assert!(error.message.contains(says), "{name}: {}", error.message);
    }
}

#[test]
fn length_and_depth_are_bounded() {
    let long = vec![b' '; 300 << 10];
    assert_eq!(parse(&long).unwrap_err().code, ErrorCode::MessageTooLarge);
    assert_eq!(parse_within(b"{}", 1).unwrap_err().code, ErrorCode::MessageTooLarge);
    let deep = format!(r#"{{"schema":"darkroom.job.v1","params":{}"#, r#"{"a":"#.repeat(40_000));
    assert_eq!(parse(deep.as_bytes()).unwrap_err().code, ErrorCode::MessageInvalid);
    let long_text = format!(r#"{{"schema":"darkroom.job.v1","{}":1}}"#, "x".repeat(200 << 10));
    let error = parse(long_text.as_bytes()).unwrap_err();
    assert!(error.message.len() < 1000, "messages do not repeat what a stranger wrote at length");
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        drop(parse(&bytes));
    }

    #[test]
    fn no_damaged_message_panics(
        name in prop_oneof![Just("aws-put"), Just("sns-eventbridge"), Just("ceph-put"), Just("job-inputs")],
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = fixture(name);
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        drop(parse(&bytes));
    }

    #[test]
    fn any_key_survives_form_encoding(key in "[^\\x00/][^\\x00]{0,60}[^\\x00/]") {
        let encoded = percent_encoding::utf8_percent_encode(&key, percent_encoding::NON_ALPHANUMERIC).to_string();
        let text = serde_json::json!({"Records": [{
            "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "uploads"}, "object": {"key": encoded.replace("%20", "+")}},
        }]});
        let triggers = parse(text.to_string().as_bytes()).unwrap();
        let [Trigger::Upload(upload)] = &triggers[..] else { panic!("{triggers:?}") };
        prop_assert_eq!(&upload.key, &key);
    }
}
