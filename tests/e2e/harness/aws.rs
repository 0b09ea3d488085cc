//! Emulators of AWS: S3 that notifies SQS.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use aws_credential_types::Credentials;
use aws_sdk_s3::types::{Event, NotificationConfiguration, QueueConfiguration};
use aws_sdk_sqs::config::{BehaviorVersion, Region};
use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use darkroom::config::{AwsConfig, Secret, SqsConfig};
use darkroom::queue::sqs::{Options, SqsQueue};
use serde_json::{Value, json};

use super::{Bucket, poll, wait_for};

/// The only keys whose signatures it checks.
const KEY: &str = "test";

/// What stands in for AWS. They disagree where consumers break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Emulator {
    Moto,
    Ministack,
}

impl Emulator {
    /// The one that tests share; it runs while any of them does.
    pub(crate) fn shared(self) -> Arc<Aws> {
        static SHARED: [Mutex<Weak<Aws>>; 2] = [const { Mutex::new(Weak::new()) }; 2];
        let mut shared = SHARED[self as usize].lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let aws = Arc::new(Aws::start(self));
            *shared = Arc::downgrade(&aws);
            aws
        })
    }
}

/// A running one, ended when dropped.
pub(crate) struct Aws {
    child: Child,
    endpoint: String,
}

impl Aws {
    fn start(emulator: Emulator) -> Aws {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (name, port) = (["moto_server", "ministack"][emulator as usize], address.port().to_string());
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.darkroom/tools/aws-emulators/bin");
        let mut command = Command::new(tools.join(name));
        match emulator {
            Emulator::Moto => command.args(["-H", "127.0.0.1", "-p", &port]),
            Emulator::Ministack => {
                command.envs([("BIND_HOST", "127.0.0.1"), ("SERVICES", "s3,sqs"), ("GATEWAY_PORT", &port)])
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("an emulator of AWS: install it with infra/setup --dev");
        // From here on it is ended whatever happens.
        let aws = Aws { child, endpoint: format!("http://{address}") };
        poll("the emulator of AWS", || TcpStream::connect(address).ok());
        aws
    }

    /// Its address.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What [`Bucket::of`] has to know.
    fn facts(&self) -> Value {
        json!({ "s3": self.endpoint, "region": "us-east-1", "access_key": KEY, "secret_key": KEY })
    }

    /// A bucket of it.
    pub(crate) fn bucket(&self, name: &str) -> Bucket {
        Bucket::of(&self.facts(), name)
    }

    /// Makes a queue with its dead letters; its ARN.
    pub(crate) fn create_queue(&self, name: &str) -> String {
        self.create_patient_queue(name, 20)
    }

    /// The same, of which messages are taken away that were received so often.
    pub(crate) fn create_patient_queue(&self, name: &str, max_receives: u32) -> String {
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&self.endpoint)
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new(KEY, KEY, None, None, "tests"))
            .build();
        let client = aws_sdk_sqs::Client::from_conf(config);
        let arn = async |name: &str, policy: Option<String>| {
            let mut create = client.create_queue().queue_name(name);
            if let Some(policy) = policy {
                create = create.attributes(Attribute::RedrivePolicy, policy);
            }
            let url = create.send().await.unwrap().queue_url.unwrap();
            let get = client.get_queue_attributes().queue_url(url).attribute_names(Attribute::QueueArn);
            get.send().await.unwrap().attributes.unwrap().remove(&Attribute::QueueArn).unwrap()
        };
        wait_for(async {
            let dead = arn(&format!("{name}-dead"), None).await;
            let policy = json!({ "deadLetterTargetArn": dead, "maxReceiveCount": max_receives });
            arn(name, Some(policy.to_string())).await
        })
    }

    /// Has the bucket tell the queue of uploads.
    pub(crate) fn notify(bucket: &Bucket, queue_arn: &str) {
        let created = Event::from("s3:ObjectCreated:*");
        let queue = QueueConfiguration::builder().queue_arn(queue_arn).events(created).build().unwrap();
        let all = NotificationConfiguration::builder().queue_configurations(queue).build();
        let put = bucket.client().put_bucket_notification_configuration().bucket(bucket.name());
        wait_for(put.notification_configuration(all).send()).unwrap();
    }

    /// Opens a queue as the worker does.
    pub(crate) fn queue(&self, name: &str) -> SqsQueue {
        let key = || Some(Secret::new(KEY));
        let endpoint = Some(self.endpoint.clone());
        let aws = AwsConfig { endpoint, access_key: key(), secret_key: key(), ..AwsConfig::default() };
        let config = SqsConfig { queue: Some(name.into()), ..SqsConfig::default() };
        wait_for(SqsQueue::open(&aws, &config, Options::default())).unwrap()
    }
}

impl Drop for Aws {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
