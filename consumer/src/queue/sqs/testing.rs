//! Emulators of SQS, on free ports of loopback, one of each for all tests of the binary.

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::QueueAttributeName as Attribute;

use super::*;
use crate::config::{AwsConfig, Secret, SqsConfig};

/// What stands in for SQS. They differ from it, and from each other, in what the methods name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Emulator {
    Moto,
    Ministack,
}

impl Emulator {
    pub(crate) const BOTH: [Emulator; 2] = [Emulator::Moto, Emulator::Ministack];

    /// Whether the receipt handle of an earlier delivery is refused when there is a later one. SQS refuses it in FIFO
    /// queues, and may accept it in others.
    pub(crate) fn refuses_earlier_handles(self) -> bool {
        self == Emulator::Ministack
    }

    /// Whether a message lives no longer than 12 hours from its receipt, as in SQS.
    pub(crate) fn ends_deliveries(self) -> bool {
        self == Emulator::Moto
    }

    /// Where it listens; it is started by the first call and ends with this process.
    pub(crate) fn endpoint(self) -> &'static str {
        static RUNNING: [OnceLock<(String, Child)>; 2] = [const { OnceLock::new() }; 2];
        &RUNNING[self as usize].get_or_init(|| self.start()).0
    }

    fn start(self) -> (String, Child) {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (name, port) = (["moto_server", "ministack"][self as usize], address.port().to_string());
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.darkroom/tools/aws-emulators/bin");
        let mut command = Command::new(tools.join(name));
        match self {
            Emulator::Moto => command.args(["-H", "127.0.0.1", "-p", &port]),
            Emulator::Ministack => {
                command.envs([("BIND_HOST", "127.0.0.1"), ("GATEWAY_PORT", &port), ("SERVICES", "s3,sqs,sns,events")])
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: only a system call between fork and exec.
        unsafe {
            command.pre_exec(|| {
                let signal = Some(rustix::process::Signal::KILL);
                rustix::process::set_parent_process_death_signal(signal).map_err(Into::into)
            });
        }
        let mut child = spawn_for_life(command)
            .unwrap_or_else(|e| panic!("{name} cannot be started: {e}; install it with infra/setup --dev"));
        let deadline = Instant::now() + Duration::from_secs(90);
        while TcpStream::connect(address).is_err() {
            assert_eq!(child.try_wait().unwrap(), None, "{name} ended");
            assert!(Instant::now() < deadline, "{name} does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        (format!("http://{address}"), child)
    }

    /// How to reach it.
    pub(crate) fn aws(self) -> AwsConfig {
        aws(self.endpoint())
    }

    /// The same for other clients than ours.
    pub(crate) async fn account(self) -> aws_config::SdkConfig {
        crate::aws::account(&self.aws(), Duration::from_secs(30)).await
    }

    /// Opens a queue that it has.
    pub(crate) async fn open(self, name: &str, options: Options) -> Result<SqsQueue> {
        SqsQueue::open(&self.aws(), &named(name), options).await
    }

    /// Creates a queue and returns its ARN.
    pub(crate) async fn create(self, name: &str, attributes: &[(Attribute, &str)]) -> String {
        let client = Client::new(&self.account().await);
        let mut create = client.create_queue().queue_name(name);
        for (name, value) in attributes {
            create = create.attributes(name.clone(), *value);
        }
        create.send().await.unwrap();
        self.arn(name).await
    }

    /// The ARN of a queue.
    pub(crate) async fn arn(self, name: &str) -> String {
        let client = Client::new(&self.account().await);
        let url = client.get_queue_url().queue_name(name).send().await.unwrap().queue_url.unwrap();
        let get = client.get_queue_attributes().queue_url(url).attribute_names(Attribute::QueueArn);
        get.send().await.unwrap().attributes.unwrap().remove(&Attribute::QueueArn).unwrap()
    }

    /// A topic to which the queue is subscribed; its ARN.
    pub(crate) async fn topic(self, name: &str, queue: &str, raw: bool) -> String {
        let sns = aws_sdk_sns::Client::new(&self.account().await);
        let topic = sns.create_topic().name(name).send().await.unwrap().topic_arn.unwrap();
        let subscribe = sns.subscribe().topic_arn(&topic).protocol("sqs").endpoint(self.arn(queue).await);
        subscribe.attributes("RawMessageDelivery", raw.to_string()).send().await.unwrap();
        topic
    }

    /// A rule of the default bus that sends what matches to the queue.
    pub(crate) async fn rule(self, name: &str, queue: &str, pattern: &serde_json::Value) {
        let bus = aws_sdk_eventbridge::Client::new(&self.account().await);
        bus.put_rule().name(name).event_pattern(pattern.to_string()).send().await.unwrap();
        let target = aws_sdk_eventbridge::types::Target::builder().id("queue").arn(self.arn(queue).await);
        bus.put_targets().rule(name).targets(target.build().unwrap()).send().await.unwrap();
    }

    /// A new pair of queues, the second for the dead letters of the first; returns the first one's name.
    pub(crate) async fn pair(self, fifo: bool, max_receive_count: u32) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (suffix, mut attributes) = match fifo {
            true => (".fifo", vec![(Attribute::FifoQueue, "true")]),
            false => ("", vec![]),
        };
        let dead = self.create(&format!("dead-{number}{suffix}"), &attributes).await;
        let policy =
            serde_json::json!({ "deadLetterTargetArn": dead, "maxReceiveCount": max_receive_count }).to_string();
        attributes.push((Attribute::RedrivePolicy, &policy));
        let name = format!("jobs-{number}{suffix}");
        self.create(&name, &attributes).await;
        name
    }

    /// A new queue with leases of two seconds.
    pub(crate) async fn queue(self, fifo: bool, options: Options) -> SqsQueue {
        let name = self.pair(fifo, 20).await;
        self.open(&name, options).await.unwrap()
    }
}

/// How to reach what listens at this address.
pub(crate) fn aws(endpoint: &str) -> AwsConfig {
    let key = || Some(Secret::new("test"));
    AwsConfig { endpoint: Some(endpoint.into()), access_key: key(), secret_key: key(), ..AwsConfig::default() }
}

/// A queue by its name or URL.
pub(crate) fn named(queue: &str) -> SqsConfig {
    SqsConfig { queue: Some(queue.into()), ..SqsConfig::default() }
}

/// Leases of two seconds.
pub(crate) fn short() -> Options {
    Options { lease: Duration::from_secs(2), ..Options::default() }
}

/// Starts a child that the kernel ends with this process, whatever ends it. The signal comes when the thread that
/// started the child ends, so that one stays.
fn spawn_for_life(mut command: Command) -> std::io::Result<Child> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        drop(sender.send(command.spawn()));
        loop {
            std::thread::park();
        }
    });
    receiver.recv().unwrap()
}
