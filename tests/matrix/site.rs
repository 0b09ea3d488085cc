//! One case's buckets, queue, workers and submissions.

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use darkroom::queue::{Depth, Queue, SendOptions};
use darkroom_tests::rabbitmq::{PASSWORD, USER};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::check::{self, Outcome};
use crate::ground::{Amqp, Backend, Ground, LEASE_SECS};
use crate::harness::{Bucket, Running, Workplace, binary, wait_for};
use crate::sink::Sink;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// Workers that have a message in hand are heard of more often.
const QUIET: Duration = Duration::from_secs(10);
/// Failing attempts never end a job here: what a case allows is in [`Site::allow`].
const MAX_ATTEMPTS: u32 = 100;
/// Key of webhooks' signatures.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Something that a case asked for.
pub(crate) struct Submission {
    pub(crate) key: String,
    pub(crate) content: Vec<u8>,
    /// It is no media file: the job is to fail, for good.
    pub(crate) fails: bool,
}

/// See the module.
pub(crate) struct Site {
    pub(crate) name: String,
    pub(crate) workers: Vec<Running>,
    pub(crate) place: Workplace,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) sink: Sink,
    pub(crate) submitted: Vec<Submission>,
    /// Copies of messages beyond the first.
    pub(crate) copies: u64,
    pub(crate) kills: u64,
    /// Attempts of one job that may fail or go silent beyond those that were killed.
    pub(crate) allowance: u64,
    uploads: Bucket,
    pub(crate) results: Bucket,
    pub(crate) state: Bucket,
    deadline: Instant,
}

impl Site {
    /// With these variables for its workers.
    pub(crate) fn new(ground: &Ground<'_>, env: &[(&str, &str)]) -> Site {
        Site::on(ground, &Amqp::SHARED, env)
    }

    /// The same on a certain broker.
    pub(crate) fn on(ground: &Ground<'_>, amqp: &Amqp<'_>, env: &[(&str, &str)]) -> Site {
        let (world, name, backend) = (ground.world, ground.name.clone(), ground.backend);
        let executor = binary("darkroom-executor-fault");
        let own = [("DARKROOM_EXECUTOR", executor.to_str().unwrap()), ("DARKROOM__AMQP__PASSWORD", PASSWORD)];
        let own = &own[..if backend == Backend::Amqp { 2 } else { 1 }];
        let place = Workplace::new(&[own, env].concat());
        let [uploads, results, state] =
            ["in", "out", "state"].map(|part| world.store().bucket(&format!("{name}-{part}")));
        [&uploads, &results, &state].into_iter().for_each(Bucket::create);
        let queue = world.queue(backend, &name, &place, amqp);
        place.configure(&configuration(ground, &place, amqp));
        Site {
            workers: Vec::new(),
            place,
            queue,
            sink: world.sink().clone(),
            submitted: Vec::new(),
            copies: 0,
            kills: 0,
            allowance: 0,
            uploads,
            results,
            state,
            deadline: Instant::now() + ground.limit,
            name,
        }
    }

    /// Lets so many attempts of each job fail, beyond those that a kill ends.
    pub(crate) fn allow(&mut self, attempts: u64) {
        self.allowance = attempts;
    }

    /// Uploads so many small sounds, each another, and sends their messages.
    pub(crate) fn submit(&mut self, count: usize, params: Value) {
        let messages = self.prepare(count, 2000, &params);
        messages.iter().for_each(|message| self.send(message));
    }

    /// One job with an input of this size.
    pub(crate) fn submit_large(&mut self, bytes: usize) {
        let messages = self.prepare(1, bytes, &json!({"action": "ok"}));
        messages.iter().for_each(|message| self.send(message));
    }

    /// A job that is to fail for good.
    pub(crate) fn submit_bad(&mut self) {
        let (key, content) = (format!("{}.bad", self.submitted.len()), b"no sound at all".to_vec());
        self.uploads.put(&key, content.clone());
        let message = self.message(&key, &json!({"action": "ok"}));
        self.submitted.push(Submission { key, content, fails: true });
        self.send(&message);
    }

    /// The uploads of [`Site::submit`], and the messages that are to be sent.
    pub(crate) fn prepare(&mut self, count: usize, bytes: usize, params: &Value) -> Vec<String> {
        let first = self.submitted.len();
        let inputs = (first..first + count).map(|n| (format!("{n}.wav"), noise(n, bytes)));
        let inputs: Vec<(String, Vec<u8>)> = inputs.collect();
        wait_for(async {
            let mut puts = JoinSet::new();
            for (key, content) in &inputs {
                let put = self.uploads.client().put_object().bucket(self.uploads.name()).key(key);
                puts.spawn(put.body(content.clone().into()).send());
                if puts.len() == 8 {
                    puts.join_next().await.unwrap().unwrap().unwrap();
                }
            }
            puts.join_all().await.into_iter().for_each(|put| drop(put.unwrap()));
        });
        let messages = inputs.iter().map(|(key, _)| self.message(key, params)).collect();
        self.submitted.extend(inputs.into_iter().map(|(key, content)| Submission { key, content, fails: false }));
        messages
    }

    fn message(&self, key: &str, params: &Value) -> String {
        let output = format!("s3://{}/", self.results.name());
        json!({"schema": "darkroom.job.v1", "handler": "fault", "input": self.subject(key), "output": output, "params": params})
            .to_string()
    }

    /// Sends one message.
    pub(crate) fn send(&self, message: &str) {
        wait_for(self.queue.send(message, SendOptions::default())).unwrap();
    }

    /// What events call an input.
    pub(crate) fn subject(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.uploads.name())
    }

    /// Starts so many workers.
    pub(crate) fn start(&mut self, count: usize) {
        (0..count).for_each(|_| self.workers.push(self.place.start::<&str>(&[])));
    }

    /// Starts a worker that kills itself as it comes to this step for the nth time, and waits for that.
    pub(crate) fn start_dying(&mut self, step: &str, nth: u32) {
        let mut worker = self.place.start(&[("DARKROOM_FAILPOINT", format!("{step}=kill@{nth}"))]);
        let ended = self.until(&format!("the worker to come to `{step}` {nth} times"), || worker.ended());
        assert_eq!(ended.signal(), Some(Signal::KILL.as_raw()), "it was to be killed: {ended}");
        self.kills += 1;
    }

    /// Kills a worker, from outside.
    pub(crate) fn kill(&mut self, index: usize) {
        self.workers.swap_remove(index).end(Signal::KILL);
        self.kills += 1;
    }

    /// Looks until there is something; the case breaks when its time is up.
    #[track_caller]
    pub(crate) fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < self.deadline, "waited in vain for {what}\n{}", self.log_tail());
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until the workers have said this so often.
    #[track_caller]
    pub(crate) fn until_said(&self, text: &str, times: usize) {
        let said = || (self.place.log().matches(text).count() >= times).then_some(());
        self.until(&format!("{times} x `{text}` in the log"), said);
    }

    /// The last lines of the workers' log.
    pub(crate) fn log_tail(&self) -> String {
        let log = self.place.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }

    /// Waits for the end of all work, ends the workers, and checks what is left.
    pub(crate) fn finish(mut self) -> Outcome {
        let mut wrong = Vec::new();
        loop {
            let told = self.work_is_done();
            for worker in std::mem::take(&mut self.workers) {
                let status = worker.end(Signal::TERM);
                if !status.success() {
                    wrong.push(format!("a worker that was told to stop ended with {status}"));
                }
            }
            // A worker that stops hands back what waits, such as a message that had come twice.
            let rest = self.depth();
            if !told || rest.visible + rest.delayed + rest.in_flight == 0 {
                break;
            }
            self.start(1);
        }
        check::check(&self, wrong)
    }

    /// Waits until all is told and the queue is empty, or until nothing happens any more; false when time is up.
    fn work_is_done(&self) -> bool {
        let (mut last, mut since) = ((0, 0), Instant::now());
        while Instant::now() < self.deadline {
            let all_told = self.sink.count(&self.name) >= self.submitted.len() && check::untold(self).is_empty();
            let now = (self.sink.count(&self.name), self.place.log().len());
            if now != last {
                (last, since) = (now, Instant::now());
            }
            if all_told || since.elapsed() > QUIET {
                let Depth { visible, delayed, in_flight, .. } = self.depth();
                if visible + delayed + in_flight == 0 {
                    return true;
                }
            }
            std::thread::sleep(LOOK);
        }
        false
    }

    /// The broker's own answer.
    pub(crate) fn depth(&self) -> Depth {
        wait_for(async {
            loop {
                match self.queue.depth().await {
                    Ok(depth) => return depth,
                    // Our own link to a broker that a case has harmed.
                    Err(error) => assert!(Instant::now() < self.deadline, "no depth: {error}"),
                }
                tokio::time::sleep(LOOK).await;
            }
        })
    }
}

fn configuration(ground: &Ground<'_>, place: &Workplace, amqp: &Amqp<'_>) -> String {
    let (world, name) = (ground.world, &ground.name);
    let fact = |field| world.store().fact(field);
    let queue = match ground.backend {
        Backend::Sqlite => format!("kind = \"sqlite\"\npath = {:?}\n", place.path("queue.sqlite")),
        Backend::Amqp => format!(
            "kind = \"amqp\"\n[queue.amqp]\nqueue = \"{name}\"\n[amqp]\nurl = \"{}\"\nusername = \"{USER}\"\n",
            amqp.url()
        ),
        Backend::Moto | Backend::Ministack => format!(
            "kind = \"sqs\"\n[queue.sqs]\nqueue = \"{name}\"\n\
             [aws]\nendpoint = \"http://{}\"\naccess_key = \"test\"\nsecret_key = \"test\"\n",
            world.address(ground.backend).unwrap()
        ),
    };
    format!(
        "event_retry_secs = 2\nworker.state = \"s3://{name}-state/\"\nworker.max_attempts = {MAX_ATTEMPTS}\n\
         worker.backoff_min_secs = 0\nworker.backoff_max_secs = 1\n\
         [log]\nlevel = \"info,darkroom::step=debug,darkroom::queue::lease=debug\"\n\
         [executor]\nstall_secs = 30\n\
         [[stores]]\nname = \"main\"\nendpoint = \"{}\"\naccess_key = \"{}\"\nsecret_key = \"{}\"\n\
         [[sources]]\nbucket = \"{name}-in\"\n[[destinations]]\nbucket = \"{name}-out\"\n\
         [[sinks]]\nkind = \"webhook\"\nrequired = true\nurl = \"{}\"\nsecret = \"{SECRET}\"\nallow_private = true\n\
         types = [\"completed\", \"failed\", \"cancelled\"]\n\
         [queue]\nlease_secs = {LEASE_SECS}\n{queue}",
        fact("s3"),
        fact("access_key"),
        fact("secret_key"),
        world.sink().url(name),
    )
}

/// A WAV file of so many bytes of noise, another one for each number.
fn noise(number: usize, bytes: usize) -> Vec<u8> {
    let size = u32::try_from(bytes & !1).unwrap();
    let words = |numbers: &[u32]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
    let format = words(&[16, 1 | 1 << 16, 8000, 16000, 2 | 16 << 16]);
    let mut state = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(number as u64 + 1);
    let sample = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    let samples: Vec<u8> = std::iter::repeat_with(sample).take(size as usize).collect();
    [b"RIFF".to_vec(), words(&[36 + size]), b"WAVEfmt ".to_vec(), format, b"data".to_vec(), words(&[size]), samples]
        .concat()
}
