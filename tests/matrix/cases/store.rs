//! A store that fails, stutters, lies, or whose answers are lost.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::{Case, run};
use crate::check::Outcome;
use crate::ground::{Backend, Ground};
use crate::http::Request;
use crate::s3_proxy::{Fault, S3Proxy};
use crate::site::Site;

/// An output of this size goes in parts.
const LARGE: usize = 17 << 20;
/// Without end.
const ALWAYS: usize = usize::MAX;

/// A store that does this to so many of these requests, while four small jobs are done.
struct Harm {
    title: &'static str,
    times: usize,
    fault: Fault,
    wants: fn(&Request) -> bool,
}

const HARMS: [Harm; 12] = [
    Harm { title: "500", times: 50, fault: Fault::Status(500), wants: any },
    Harm { title: "503", times: 50, fault: Fault::Status(503), wants: any },
    Harm { title: "slow", times: ALWAYS, fault: Fault::Slow(400, Duration::from_millis(40)), wants: any },
    Harm { title: "truncated-input", times: 3, fault: Fault::CutAnswer, wants: get_input },
    Harm { title: "truncated-record", times: 3, fault: Fault::CutAnswer, wants: get_record },
    Harm { title: "wrong-checksum-up", times: 3, fault: Fault::FlipRequest, wants: put_output },
    Harm { title: "wrong-checksum-down", times: 3, fault: Fault::FlipAnswer, wants: get_input },
    Harm { title: "lost-answer-claim", times: 3, fault: Fault::LoseAnswer, wants: put_claim },
    Harm { title: "lost-answer-output", times: 3, fault: Fault::LoseAnswer, wants: put_output },
    Harm { title: "lost-answer-manifest", times: 3, fault: Fault::LoseAnswer, wants: put_manifest },
    Harm { title: "lost-answer-end", times: 3, fault: Fault::LoseAnswer, wants: put_end },
    Harm { title: "manifest-503", times: 3, fault: Fault::Status(503), wants: put_manifest },
];

pub(super) fn all(backend: Backend) -> Vec<Case> {
    let harmed = HARMS.into_iter().map(|harm| (format!("s3/{}", harm.title), run(move |ground| harmed(ground, &harm))));
    let others = [
        ("s3/outage", run(outage)),
        ("s3/lost-answer-manifests-then-outage", run(manifest_unknown)),
        ("s3/lost-answer-complete", run(|ground| large(ground, 1, Fault::LoseAnswer, complete))),
        ("s3/part-500", run(|ground| large(ground, 2, Fault::Status(500), part))),
        ("s3/part-lost-answer", run(|ground| large(ground, 1, Fault::LoseAnswer, part))),
        ("s3/part-wrong-checksum", run(|ground| large(ground, 1, Fault::FlipRequest, part))),
        ("s3/kill-in-part", run(killed_in_part)),
        ("s3/zombie-commits", run(zombie)),
    ];
    let others = others.into_iter().map(|(title, plan)| (title.to_owned(), plan));
    harmed.chain(others).map(|(title, plan)| Case::new(backend, title, plan)).collect()
}

/// A worker that sees its store through a proxy.
fn behind(ground: &Ground<'_>) -> (Site, S3Proxy) {
    let proxy = S3Proxy::before(ground.world.store().fact("s3"));
    // As AWS has it; custom endpoints are not asked for checksums unless they are known to support them.
    let checksums = ("DARKROOM__STORES__0__CHECKSUMS", "supported");
    (Site::new(ground, &[("DARKROOM__STORES__0__ENDPOINT", &proxy.endpoint()), checksums]), proxy)
}

fn harmed(ground: &Ground<'_>, harm: &Harm) -> Outcome {
    let (mut site, proxy) = behind(ground);
    let wants = harm.wants;
    let hits = match harm.fault {
        Fault::Status(_) => proxy.harm(harm.times, harm.fault, twice(wants)),
        _ => proxy.harm(harm.times, harm.fault, wants),
    };
    site.submit(4, json!({"action": "ok"}));
    site.start(1);
    let mut outcome = site.finish();
    if hits.count() < harm.times.min(3) {
        outcome.wrong.push(format!("the fault struck {} times only", hits.count()));
    }
    outcome
}

/// The first two tries of each request that is wanted: a request is tried four times.
fn twice(wants: fn(&Request) -> bool) -> impl Fn(&Request) -> bool + Send + Sync {
    let tries: Mutex<HashMap<String, u32>> = Mutex::default();
    move |request| {
        let mut tries = tries.lock().unwrap();
        let tries = tries.entry(format!("{} {}", request.method(), request.target())).or_default();
        *tries += 1;
        *tries <= 2 && wants(request)
    }
}

/// All requests fail for longer than one request is repeated. An attempt that meets this counts, as `DESIGN` wants it for
/// what passes; deliveries that cannot even be claimed do not.
fn outage(ground: &Ground<'_>) -> Outcome {
    let (mut site, proxy) = behind(ground);
    site.allow(3);
    site.submit(1, json!({"action": "slow", "secs": 1.0}));
    site.start(1);
    site.until_said("job running", 1);
    site.submit(2, json!({"action": "ok"}));
    proxy.harm(ALWAYS, Fault::Status(503), any);
    site.until_said("nothing could be attempted", 2);
    proxy.heal();
    site.finish()
}

/// The manifest is written, the answer lost, and then the store is gone for a while: nobody knows that there is a result.
fn manifest_unknown(ground: &Ground<'_>) -> Outcome {
    let (mut site, proxy) = behind(ground);
    site.allow(3);
    site.submit(1, json!({"action": "ok"}));
    let lost = proxy.harm(1, Fault::LoseAnswer, put_manifest);
    site.start(1);
    site.until("the manifest", || (lost.count() == 1).then_some(()));
    let gone = proxy.harm(ALWAYS, Fault::Status(503), any);
    site.until("the outage to be felt", || (gone.count() >= 8).then_some(()));
    proxy.heal();
    site.finish()
}

fn large(ground: &Ground<'_>, times: usize, fault: Fault, wants: fn(&Request) -> bool) -> Outcome {
    let (mut site, proxy) = behind(ground);
    let hits = proxy.harm(times, fault, wants);
    site.submit_large(LARGE);
    site.start(1);
    let mut outcome = site.finish();
    if hits.count() < times {
        outcome.wrong.push(format!("the fault struck {} times only", hits.count()));
    }
    outcome
}

/// An upload in parts that its worker's death leaves unfinished: whoever makes the result ends it too.
fn killed_in_part(ground: &Ground<'_>) -> Outcome {
    let (mut site, proxy) = behind(ground);
    let held = proxy.harm(1, Fault::Hold, |request| part(request) && request.target().contains("partNumber=2"));
    site.submit_large(LARGE);
    site.start(1);
    site.until("the second part", || (held.count() == 1).then_some(()));
    assert_eq!(site.results.unfinished().len(), 1, "an upload is under way");
    site.kill(0);
    site.start(1);
    site.finish()
}

/// A worker sleeps while its manifest is on the way, for so long that another one makes the result; then its request
/// arrives, and it wakes up.
fn zombie(ground: &Ground<'_>) -> Outcome {
    let (mut site, proxy) = behind(ground);
    // The sleeper finds the other's result and takes it for its own: two attempts have ended well.
    site.allow(1);
    let held = proxy.harm(1, Fault::Hold, put_manifest);
    site.submit(1, json!({"action": "ok"}));
    site.start(1);
    site.until("the manifest to be under way", || (held.count() == 1).then_some(()));
    let sleeper = site.workers.remove(0);
    sleeper.signal(Signal::STOP);
    // RabbitMQ knows the sleeper by its link alone, and takes the message back when that has been silent for long.
    site.start(1);
    site.until("the other worker's result", || (site.sink.count(&site.name) == 1).then_some(()));
    proxy.release();
    sleeper.signal(Signal::CONT);
    site.workers.push(sleeper);
    site.until_said("step=\"settled\"", 2);
    site.finish()
}

fn any(_: &Request) -> bool {
    true
}

/// A request of this method for a key of the bucket whose name ends so, that ends so without its query.
fn is(request: &Request, method: &str, bucket: &str, key: &str) -> bool {
    let path = request.target().split('?').next().unwrap_or_default();
    let name = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    request.method() == method && name.ends_with(bucket) && path.ends_with(key)
}

fn get_input(request: &Request) -> bool {
    is(request, "GET", "-in", ".wav")
}

fn get_record(request: &Request) -> bool {
    is(request, "GET", "-state", "") && request.target().contains("list-type")
}

fn put_claim(request: &Request) -> bool {
    is(request, "PUT", "-state", "attempt-1.json")
}

fn put_end(request: &Request) -> bool {
    is(request, "PUT", "-state", "end-1.json")
}

fn put_output(request: &Request) -> bool {
    is(request, "PUT", "-out", ".copy")
}

fn put_manifest(request: &Request) -> bool {
    is(request, "PUT", "-out", "manifest.json")
}

fn part(request: &Request) -> bool {
    put_output(request) && request.target().contains("uploadId=")
}

fn complete(request: &Request) -> bool {
    is(request, "POST", "-out", ".copy") && request.target().contains("uploadId=")
}
