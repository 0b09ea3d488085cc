//! On two emulators.

use serde_json::{Value, json};

use super::*;
use crate::config::{AmqpConfig, SinkKind};
use crate::event::{EventKind, Outlet};
use crate::queue::sqs::testing::Emulator;

const ID: &str = "abc.completed";

fn message() -> Message {
    let body = json!({ "specversion": "1.0", "id": ID, "subject": "s3://in/a b+é.mp4" }).to_string();
    Message { id: ID.into(), kind: EventKind::Completed, body }
}

async fn outlet(emulator: Emulator, config: SinkConfig) -> Outlet {
    Outlet::open(&config, None, &AmqpConfig::default(), &emulator.aws()).await.unwrap()
}

/// Bodies and `type` attributes of what is in the queue.
async fn told(emulator: Emulator, queue: &str) -> Vec<(Value, Option<String>)> {
    let client = aws_sdk_sqs::Client::new(&emulator.account().await);
    let url = sqs::find(&client, queue, None).await.unwrap();
    let receive = client.receive_message().queue_url(url).message_attribute_names("All").wait_time_seconds(5);
    let received = receive.max_number_of_messages(10).send().await.unwrap().messages.unwrap_or_default();
    let read = |message: aws_sdk_sqs::types::Message| {
        let kind = message.message_attributes.and_then(|mut all| all.remove(TYPE)?.string_value);
        (serde_json::from_str(&message.body.unwrap()).unwrap(), kind)
    };
    received.into_iter().map(read).collect()
}

fn expected() -> (Value, Option<String>) {
    (serde_json::from_str(&message().body).unwrap(), Some("dev.darkroom.job.completed.v1".into()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_gets_the_event_and_a_fifo_one_gets_it_once() {
    for emulator in Emulator::BOTH {
        for (fifo, count) in [(false, 2), (true, 1)] {
            let name = emulator.pair(fifo, 20).await;
            let outlet =
                outlet(emulator, SinkConfig { queue: Some(name.clone()), ..SinkConfig::new(SinkKind::Sqs) }).await;
            for _ in 0..2 {
                outlet.sink.deliver(&message()).await.unwrap();
            }
            let mut all = told(emulator, &name).await;
            if all.len() < count {
                all.extend(told(emulator, &name).await);
            }
            assert_eq!(all, vec![expected(); count], "{emulator:?}, fifo {fifo}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_of_a_topic_get_the_event_with_its_type() {
    for emulator in Emulator::BOTH {
        let queue = emulator.pair(false, 20).await;
        let topic = emulator.topic(&format!("events-{queue}"), &queue, true).await;
        let outlet =
            outlet(emulator, SinkConfig { topic: Some(topic.clone()), ..SinkConfig::new(SinkKind::Sns) }).await;
        outlet.sink.deliver(&message()).await.unwrap();
        assert_eq!(told(emulator, &queue).await, [expected()], "{emulator:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_a_bus_match_the_event_by_source_and_type() {
    for emulator in Emulator::BOTH {
        let queue = emulator.pair(false, 20).await;
        let pattern = json!({ "source": [SOURCE], "detail-type": ["dev.darkroom.job.completed.v1"] });
        emulator.rule(&format!("events-{queue}"), &queue, &pattern).await;
        let outlet = outlet(emulator, SinkConfig::new(SinkKind::EventBridge)).await;
        outlet.sink.deliver(&Message { kind: EventKind::Progress, ..message() }).await.unwrap();
        outlet.sink.deliver(&message()).await.unwrap();
        let [(event, _)] = &told(emulator, &queue).await[..] else { panic!("{emulator:?}: one event") };
        assert_eq!((&event["detail"], &event["source"]), (&expected().0, &json!(SOURCE)), "{emulator:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_said_and_not_tried_again() {
    let emulator = Emulator::Ministack;
    let missing = SinkConfig { queue: Some("nowhere".into()), ..SinkConfig::new(SinkKind::Sqs) };
    let error = Outlet::open(&missing, None, &AmqpConfig::default(), &emulator.aws()).await.unwrap_err();
    assert!(error.contains("nowhere") && error.contains("create the queue"), "{error}");
    let topic = "arn:aws:sns:us-east-1:000000000000:nowhere";
    let missing = SinkConfig { topic: Some(topic.into()), ..SinkConfig::new(SinkKind::Sns) };
    let error = outlet(emulator, missing).await.sink.deliver(&message()).await.unwrap_err();
    assert!(matches!(&error, SinkError::Final(why) if why.contains("NotFound")), "{error:?}");
    let away = AwsConfig { endpoint: Some("http://127.0.0.1:1".into()), ..emulator.aws() };
    let config = SinkConfig::new(SinkKind::EventBridge);
    let error = Outlet::open(&config, None, &AmqpConfig::default(), &away)
        .await
        .unwrap()
        .sink
        .deliver(&message())
        .await
        .unwrap_err();
    assert!(matches!(error, SinkError::Passing(_)), "{error:?}");
}

#[test]
fn a_throttled_event_is_worth_another_try_and_a_forbidden_one_is_not() {
    for (code, passes) in [("ThrottlingException", true), ("InternalFailure", true), ("AccessDenied", false)] {
        assert_eq!(matches!(by_code(code, code.into()), SinkError::Passing(_)), passes, "{code}");
    }
}

#[test]
fn a_topic_is_looked_for_in_its_own_region() {
    let account = || SdkConfig::builder().region(Region::new("us-east-1")).build();
    let region = |arn| in_region_of(arn, account()).region().unwrap().to_string();
    assert_eq!(region("arn:aws:sns:eu-west-1:1:t"), "eu-west-1");
    assert_eq!(region("default"), "us-east-1");
}
