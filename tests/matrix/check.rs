//! What must hold after every case.
//!
//! * Every submission has one visible result (one manifest, the outputs that it names, their bytes those of the input) or
//!   the failure that was expected of it, and one terminal event: one id, one run. The same id may come again.
//! * Nothing waits, is delayed or in flight in the queue; no dead letters but those of expected failures, each
//!   under one id.
//! * No multipart upload is unfinished, no file is on a scratch disk, no process of a worker lives.
//! * Objects that no manifest names belong to a run that lost, whose attempt is on record: those are left for
//!   `reconcile --gc`, and are counted.
//! * Attempts that neither completed nor were interrupted in order are the kills', and those that the case allows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use tokio::task::JoinSet;

use crate::harness::{Bucket, media, wait_for};
use crate::site::{Site, Submission};

/// What was done, and what was found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    pub(crate) submissions: u64,
    /// Claimed attempts.
    pub(crate) runs: u64,
    pub(crate) kills: u64,
    pub(crate) redeliveries: u64,
    /// Repeats of an event, and copies of a message, that came to nothing.
    pub(crate) suppressed: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    /// Objects of runs that lost.
    pub(crate) orphans: u64,
    /// Requirements that are broken.
    pub(crate) wrong: Vec<String>,
}

/// Submissions of which no terminal event tells.
pub(crate) fn untold(site: &Site) -> Vec<&Submission> {
    let events = site.sink.events(&site.name);
    let told: BTreeSet<&str> = events.iter().filter_map(|event| event["subject"].as_str()).collect();
    site.submitted.iter().filter(|submission| !told.contains(site.subject(&submission.key).as_str())).collect()
}

/// All of the above.
pub(crate) fn check(site: &Site, wrong: Vec<String>) -> Outcome {
    let mut outcome =
        Outcome { submissions: site.submitted.len() as u64, kills: site.kills, wrong, ..Outcome::default() };
    let (results, states) = (contents(&site.results, is_any), contents(&site.state, |key| key.ends_with(".json")));
    let attempts = Attempts::of(&states);
    results_and_events(site, &results, &mut outcome);
    orphans(&results, &attempts, &mut outcome);
    outcome.runs = attempts.runs();
    attempts.check(site, &mut outcome);
    deliveries(site, &mut outcome);
    leftovers(site, &mut outcome);
    outcome
}

fn is_any(_: &str) -> bool {
    true
}

/// All objects of a bucket that are wanted.
fn contents(bucket: &Bucket, wanted: fn(&str) -> bool) -> BTreeMap<String, Vec<u8>> {
    let keys = bucket.keys("").into_iter().filter(|key| wanted(key));
    wait_for(async {
        let (mut gets, mut found) = (JoinSet::new(), BTreeMap::new());
        for key in keys {
            let get = bucket.client().get_object().bucket(bucket.name()).key(&key);
            gets.spawn(async move { (key, get.send().await.unwrap().body.collect().await.unwrap().to_vec()) });
            if gets.len() == 8 {
                found.extend(gets.join_next().await.map(Result::unwrap));
            }
        }
        found.extend(gets.join_all().await);
        found
    })
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_default()
}

fn manifests(results: &BTreeMap<String, Vec<u8>>) -> impl Iterator<Item = Value> {
    results.iter().filter(|(key, _)| key.ends_with("/manifest.json")).map(|(_, bytes)| json(bytes))
}

fn results_and_events(site: &Site, results: &BTreeMap<String, Vec<u8>>, outcome: &mut Outcome) {
    let mut events: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for event in site.sink.events(&site.name) {
        events.entry(event["subject"].as_str().unwrap_or("no subject").to_owned()).or_default().push(event);
    }
    let mut made: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for manifest in manifests(results) {
        let input = manifest["inputs"][0]["object"]["key"].as_str().unwrap_or("no input").to_owned();
        made.entry(input).or_default().push(manifest);
    }
    for submission in &site.submitted {
        let told = events.remove(&site.subject(&submission.key)).unwrap_or_default();
        let made = made.remove(&submission.key).unwrap_or_default();
        let ids: BTreeSet<String> = told.iter().map(|event| event["id"].to_string()).collect();
        let runs: BTreeSet<String> = told.iter().map(|event| event["data"]["run_id"].to_string()).collect();
        outcome.suppressed += told.len().saturating_sub(ids.len()) as u64;
        if ids.is_empty() || made.is_empty() != submission.fails {
            outcome.lost += 1;
            outcome.wrong.push(format!("{} is lost: {} events, {} manifests", submission.key, told.len(), made.len()));
        } else if ids.len() > 1 || runs.len() > 1 || made.len() > 1 {
            outcome.doubled += 1;
            outcome.wrong.push(format!(
                "{} is doubled: ids {ids:?}, runs {runs:?}, {} manifests",
                submission.key,
                made.len()
            ));
        }
        let expected = if submission.fails { "dev.darkroom.job.failed.v1" } else { "dev.darkroom.job.completed.v1" };
        if let Some(other) = told.iter().find(|event| event["type"] != expected) {
            outcome.wrong.push(format!("{}: {other:#}", submission.key));
        }
        let wrong = made.iter().flat_map(|manifest| result(submission, manifest, &told, results));
        outcome.wrong.extend(wrong.collect::<Vec<_>>());
    }
    let strangers = events.keys().chain(made.keys());
    outcome.wrong.extend(strangers.map(|what| format!("{what} was not asked for")));
}

/// What is wrong with a result.
fn result(
    submission: &Submission,
    manifest: &Value,
    told: &[Value],
    results: &BTreeMap<String, Vec<u8>>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let outputs = manifest["outputs"].as_array().map(Vec::as_slice).unwrap_or_default();
    if outputs.len() != 1 {
        wrong.push(format!("{} has {} outputs", submission.key, outputs.len()));
    }
    for output in outputs {
        let stored = output["key"].as_str().and_then(|key| results.get(key));
        match stored {
            None => wrong.push(format!("{}: {output} is not there", submission.key)),
            Some(bytes) if *bytes != submission.content || output["sha256"] != *media::sha256(bytes) => {
                wrong.push(format!("{}: {output} has other bytes", submission.key));
            }
            Some(_) => {}
        }
    }
    if let Some(event) = told.iter().find(|event| event["data"]["run_id"] != manifest["run_id"]) {
        wrong.push(format!(
            "{}: told of run {}, made by {}",
            submission.key, event["data"]["run_id"], manifest["run_id"]
        ));
    }
    wrong
}

/// Objects that no manifest names.
fn orphans(results: &BTreeMap<String, Vec<u8>>, attempts: &Attempts, outcome: &mut Outcome) {
    let named: BTreeSet<String> = manifests(results)
        .flat_map(|manifest| manifest["outputs"].as_array().cloned().unwrap_or_default())
        .filter_map(|output| Some(output["key"].as_str()?.to_owned()))
        .collect();
    for key in results.keys().filter(|key| !key.ends_with("/manifest.json") && !named.contains(*key)) {
        let mut parts = key.split('/');
        let of_a_run = parts.next().zip(parts.next()).is_some_and(|(job, run)| attempts.has(job, run));
        match of_a_run {
            true => outcome.orphans += 1,
            false => outcome.wrong.push(format!("{key} belongs to nobody")),
        }
    }
}

/// What the records say: attempts by job, each with its run, and how it ended.
struct Attempts(BTreeMap<String, BTreeMap<u64, (String, Option<String>)>>);

impl Attempts {
    fn of(states: &BTreeMap<String, Vec<u8>>) -> Attempts {
        let mut jobs: BTreeMap<String, BTreeMap<u64, (String, Option<String>)>> = BTreeMap::new();
        let objects = |prefix: &'static str| {
            states.iter().filter_map(move |(key, bytes)| {
                let (job, name) = key.split_once('/')?;
                let number = name.strip_prefix(prefix)?.strip_suffix(".json")?.parse().ok()?;
                Some((job.to_owned(), number, json(bytes)))
            })
        };
        for (job, number, attempt) in objects("attempt-") {
            let run = attempt["run_id"].as_str().unwrap_or_default().to_owned();
            jobs.entry(job).or_default().insert(number, (run, None));
        }
        for (job, number, end) in objects("end-") {
            if let Some(attempt) = jobs.get_mut(&job).and_then(|attempts| attempts.get_mut(&number)) {
                attempt.1 = end["outcome"].as_str().map(str::to_owned);
            }
        }
        Attempts(jobs)
    }

    fn runs(&self) -> u64 {
        self.0.values().map(|attempts| attempts.len() as u64).sum()
    }

    fn has(&self, job: &str, run: &str) -> bool {
        self.0.get(job).is_some_and(|attempts| attempts.values().any(|(id, _)| id == run))
    }

    /// Interruptions and outages use up no attempts; a kill uses up one of each job that was in hand.
    fn check(&self, site: &Site, outcome: &mut Outcome) {
        for (job, attempts) in &self.0 {
            let last = attempts.keys().last();
            let used = attempts.iter().filter(|(number, _)| Some(*number) != last);
            let used = used.filter(|(_, (_, end))| end.as_deref() != Some("interrupted")).count() as u64;
            if used > site.kills + site.allowance {
                outcome.wrong.push(format!("job {job} has used up {used} attempts: {attempts:?}"));
            }
        }
    }
}

/// The queue, and how often it handed messages over.
fn deliveries(site: &Site, outcome: &mut Outcome) {
    let log = site.place.log();
    let received = log.lines().filter(|line| line.contains("step=\"received\"")).count() as u64;
    let sent = outcome.submissions + site.copies;
    outcome.redeliveries = received.saturating_sub(sent);
    outcome.suppressed += site.copies;
    let (depth, bad) = (site.depth(), site.submitted.iter().filter(|submission| submission.fails).count());
    if depth.visible + depth.delayed + depth.in_flight > 0 {
        outcome.wrong.push(format!("the queue holds {depth:?}"));
    }
    // Brokers that have no transactions keep a letter twice when the worker dies between its copy and its end.
    let letters = wait_for(site.queue.dead_letters(100, None)).unwrap();
    let dead: BTreeSet<&str> = letters.iter().map(|letter| letter.message_id.0.as_str()).collect();
    outcome.suppressed += letters.len().saturating_sub(dead.len()) as u64;
    if dead.len() != bad {
        outcome.wrong.push(format!("{} dead letters where {bad} are expected: {letters:?}", dead.len()));
    }
}

/// What must be gone.
fn leftovers(site: &Site, outcome: &mut Outcome) {
    for bucket in [&site.results, &site.state] {
        let unfinished = bucket.unfinished();
        outcome.wrong.extend(unfinished.iter().map(|key| format!("the upload of {key} is unfinished")));
    }
    let scratch = fs::read_dir(site.place.path("scratch")).into_iter().flatten().map(|entry| entry.unwrap().path());
    let scratch = scratch.filter(|path| path.is_dir());
    outcome.wrong.extend(scratch.map(|path| format!("{} is left", path.display())));
    let place = site.place.path("").display().to_string();
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    let ours =
        processes.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(&place));
    outcome.wrong.extend(ours.map(|line| format!("a process lives: {line}")));
}
