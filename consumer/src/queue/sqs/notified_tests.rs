//! What is told of an upload, on each of the ways from S3 to a queue.

use std::time::Instant;

use aws_sdk_s3::types::{
    CompletedMultipartUpload, CompletedPart, Event, EventBridgeConfiguration, NotificationConfiguration,
    QueueConfiguration, TopicConfiguration,
};

use super::testing::{Emulator, short};
use super::tests::{PATIENCE, all, settle};
use super::*;
use crate::trigger::{self, Trigger, Upload};

const KEY: &str = "in/a b+c%2B é.mp4";

/// The way of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    Topic { raw: bool },
    Bus,
}

impl Way {
    const ALL: [Way; 4] = [Way::Direct, Way::Topic { raw: false }, Way::Topic { raw: true }, Way::Bus];
}

/// A bucket, a queue, and the way between them.
struct Wired {
    emulator: Emulator,
    s3: aws_sdk_s3::Client,
    bucket: String,
    queue: SqsQueue,
}

impl Wired {
    async fn new(emulator: Emulator, way: Way) -> Wired {
        let account = emulator.account().await;
        let config = aws_sdk_s3::config::Builder::from(&account).force_path_style(true).build();
        let s3 = aws_sdk_s3::Client::from_conf(config);
        let name = emulator.pair(false, 20).await;
        let queue = emulator.open(&name, short()).await.unwrap();
        let arn = emulator.arn(&name).await;
        let bucket = format!("bucket-of-{name}");
        s3.create_bucket().bucket(&bucket).send().await.unwrap();
        let notify = NotificationConfiguration::builder();
        let created = Event::from("s3:ObjectCreated:*");
        let notify = match way {
            Way::Direct => {
                let to = QueueConfiguration::builder().queue_arn(&arn).events(created).build().unwrap();
                notify.queue_configurations(to)
            }
            Way::Topic { raw } => {
                let topic = emulator.topic(&name, &name, raw).await;
                let to = TopicConfiguration::builder().topic_arn(topic).events(created).build().unwrap();
                notify.topic_configurations(to)
            }
            Way::Bus => {
                let detail = serde_json::json!({ "bucket": { "name": [bucket] } });
                let pattern =
                    serde_json::json!({ "source": ["aws.s3"], "detail-type": ["Object Created"], "detail": detail });
                emulator.rule(&bucket, &name, &pattern).await;
                notify.event_bridge_configuration(EventBridgeConfiguration::builder().build())
            }
        };
        let put = s3.put_bucket_notification_configuration().bucket(&bucket);
        put.notification_configuration(notify.build()).send().await.unwrap();
        Wired { emulator, s3, bucket, queue }
    }

    /// Everything that arrives about uploads until there are that many, acknowledged.
    async fn uploads(&self, count: usize) -> Vec<Upload> {
        let (mut uploads, end) = (Vec::new(), Instant::now() + PATIENCE);
        while uploads.len() < count {
            assert!(Instant::now() < end, "{uploads:?}");
            for delivery in self.queue.receive(10, PATIENCE).await.unwrap() {
                for trigger in trigger::parse(&delivery.body).unwrap_or_else(|e| panic!("{e}: {:?}", delivery.body)) {
                    match trigger {
                        Trigger::Upload(upload) => uploads.push(upload),
                        // What a store says when it is told whom to notify.
                        Trigger::Ignored(ignored) => {
                            assert_eq!(ignored.reason, trigger::IgnoredReason::TestEvent, "{ignored:?}");
                        }
                        Trigger::Job(job) => panic!("{job:?}"),
                    }
                }
                settle(&self.queue, delivery, Settlement::Ack).await;
            }
        }
        uploads
    }

    async fn multipart(&self, key: &str) -> String {
        let (s3, bucket) = (&self.s3, &self.bucket);
        let upload = s3.create_multipart_upload().bucket(bucket).key(key).send().await.unwrap().upload_id.unwrap();
        let part = s3.upload_part().bucket(bucket).key(key).upload_id(&upload).part_number(1);
        let part = part.body(vec![7; 1000].into()).send().await.unwrap();
        let part = CompletedPart::builder().part_number(1).set_e_tag(part.e_tag).build();
        let done = s3.complete_multipart_upload().bucket(bucket).key(key).upload_id(upload);
        let done = done.multipart_upload(CompletedMultipartUpload::builder().parts(part).build());
        done.send().await.unwrap().e_tag.unwrap().trim_matches('"').to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_told_on_every_way_with_its_key_and_tag() {
    let each = |(emulator, way): (Emulator, Way)| async move {
        let wired = Wired::new(emulator, way).await;
        let put = wired.s3.put_object().bucket(&wired.bucket).key(KEY).body(b"film".to_vec().into());
        let etag = put.send().await.unwrap().e_tag.unwrap();
        let upload = wired.uploads(1).await.remove(0);
        assert_eq!((&*upload.bucket, &*upload.key), (&*wired.bucket, KEY), "{emulator:?}, {way:?}");
        assert_eq!(upload.etag.as_deref(), Some(etag.trim_matches('"')), "{emulator:?}, {way:?}");
        assert_eq!(upload.size, Some(4), "{emulator:?}, {way:?}");
        assert_eq!(all(&wired.queue).await, 0, "{emulator:?}, {way:?}");
    };
    let cases = Emulator::BOTH.into_iter().flat_map(|emulator| Way::ALL.map(|way| (emulator, way)));
    futures::future::join_all(cases.map(each)).await;
}

/// Moto tells a multipart upload twice, as a Put and as its completion: both name the same object, so that they are the
/// same job.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_parts_is_the_same_object_however_often_it_is_told() {
    let each = |emulator: Emulator| async move {
        let wired = Wired::new(emulator, Way::Direct).await;
        let etag = wired.multipart(KEY).await;
        let count = if wired.emulator == Emulator::Moto { 2 } else { 1 };
        let uploads = wired.uploads(count).await;
        assert!(uploads.iter().any(|upload| upload.event_name.ends_with("CompleteMultipartUpload")), "{uploads:?}");
        for upload in uploads {
            assert_eq!((&*upload.key, upload.etag.as_deref()), (KEY, Some(&*etag)), "{emulator:?}");
        }
    };
    futures::future::join_all(Emulator::BOTH.map(each)).await;
}
