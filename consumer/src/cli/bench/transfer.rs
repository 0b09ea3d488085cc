//! `darkroom bench transfer`: how fast a file goes into a bucket and comes back, beside boto3's transfer manager.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rand::RngCore;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::config::Config;
use crate::job::executor;
use crate::store::{ObjectRef, Store, StoreConfig};

use super::super::{Failure, Global, open, print_line};

/// What each direction should reach of boto3's throughput.
const TARGET: f64 = 0.9;
const MIB: u64 = 1 << 20;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Bucket of the default store to write to; the object is removed again.
    #[arg(long)]
    bucket: String,
    /// Size of the file.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    mib: u32,
    /// How often it goes up and down; medians are shown.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Compare with this Python (with boto3), in the same rounds.
    #[arg(long, value_name = "PYTHON")]
    python: Option<PathBuf>,
    /// Where the Python scripts are.
    #[arg(long, value_name = "DIR", default_value = "tests/bench", requires = "python")]
    scripts: PathBuf,
    /// Directory on the disk to use; the system's one for temporary files if absent.
    #[arg(long, value_name = "DIR")]
    disk: Option<PathBuf>,
}

/// Seconds up and down.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Times {
    up_secs: f64,
    down_secs: f64,
}

/// Measures until done, and takes its object away.
pub(super) async fn transfer(global: &Global, args: &Args) -> Result<(), Failure> {
    let config = global.running()?;
    let store = open::stores(&config).await?.default_store().clone();
    let dir = match &args.disk {
        Some(disk) => tempfile::tempdir_in(disk),
        None => tempfile::tempdir(),
    };
    let dir = dir.map_err(|e| Failure::Usage(format!("No directory can be made to measure in: {e}.")))?;
    let bytes = u64::from(args.mib) * MIB;
    let file = dir.path().join("file");
    random(&file, bytes).map_err(|e| Failure::Failed(format!("{} cannot be written: {e}.", file.display())))?;
    let key = format!("darkroom-bench-{}", uuid::Uuid::now_v7());
    let measured = rounds(global, args, &config, &store, dir.path(), &key).await;
    let removed = store.delete(&args.bucket, &key).await;
    let (ours, theirs) = measured?;
    removed?;
    let report = Report::new(args.mib, &ours, &theirs);
    if global.json {
        return print_line(&serde_json::json!(report).to_string());
    }
    print_line(&report.text())
}

type Rounds = (Vec<Times>, Vec<Times>);

async fn rounds(
    global: &Global,
    args: &Args,
    config: &Config,
    store: &Store,
    dir: &Path,
    key: &str,
) -> Result<Rounds, Failure> {
    let (file, back) = (dir.join("file"), dir.join("back"));
    let gone = |e: std::io::Error| Failure::Failed(format!("{} cannot be removed: {e}.", back.display()));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // The first round of each counts for nothing: it makes connections and fills caches.
    for number in 0..=args.rounds {
        global.note(&format!("round {number} of {}", args.rounds));
        let begun = Instant::now();
        store.put_file(&file, &args.bucket, key, "application/octet-stream", &|_| {}).await?;
        let up_secs = begun.elapsed().as_secs_f64();
        let object = ObjectRef::new(store.name(), &args.bucket, key);
        let begun = Instant::now();
        store.get_to_file(&object, &back, u64::MAX, &|_| {}).await?;
        ours.push(Times { up_secs, down_secs: begun.elapsed().as_secs_f64() });
        std::fs::remove_file(&back).map_err(gone)?;
        let (Some(python), Some(store)) = (&args.python, config.stores.first()) else { continue };
        let mut command = Command::new(python);
        command.arg(args.scripts.join("transfer.py")).arg(&file).arg(&back).arg(&args.bucket).arg(key);
        settings(&mut command, store)?;
        theirs.push(executor::last_line(command).await?);
        std::fs::remove_file(&back).map_err(gone)?;
    }
    ours.remove(0);
    if !theirs.is_empty() {
        theirs.remove(0);
    }
    Ok((ours, theirs))
}

/// The store, as the script knows it; without keys it looks for them where we do.
fn settings(command: &mut Command, store: &StoreConfig) -> Result<(), Failure> {
    command.env("REGION", store.region.as_deref().unwrap_or("us-east-1"));
    if let Some(endpoint) = &store.endpoint {
        command.env("ENDPOINT", endpoint);
    }
    if let Some((access, secret)) = store.keys().map_err(Failure::Usage)? {
        command.env("ACCESS_KEY", access).env("SECRET_KEY", secret);
    }
    Ok(())
}

/// Bytes that nothing on the way can make shorter.
fn random(path: &Path, bytes: u64) -> std::io::Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create_new(path)?);
    let mut block = vec![0; 1 << 20];
    for _ in 0..bytes / MIB {
        rand::rng().fill_bytes(&mut block);
        std::io::Write::write_all(&mut file, &block)?;
    }
    std::io::Write::flush(&mut file)
}

/// All that was found, in MiB a second.
#[derive(Debug, Serialize)]
struct Report {
    mib: u32,
    rounds: usize,
    up: Way,
    down: Way,
    target: f64,
}

/// One direction.
#[derive(Debug, Serialize)]
struct Way {
    mib_per_sec: f64,
    boto3_mib_per_sec: Option<f64>,
    ratio: Option<f64>,
}

impl Way {
    fn new(mib: u32, ours: Vec<f64>, theirs: Vec<f64>) -> Way {
        let mib_per_sec = f64::from(mib) / median(ours);
        let boto3 = (!theirs.is_empty()).then(|| f64::from(mib) / median(theirs));
        Way { mib_per_sec, boto3_mib_per_sec: boto3, ratio: boto3.map(|theirs| mib_per_sec / theirs) }
    }

    fn line(&self, name: &str) -> String {
        let mut line = format!("{name:<10}{:>10.1}", self.mib_per_sec);
        if let (Some(theirs), Some(ratio)) = (self.boto3_mib_per_sec, self.ratio) {
            let verdict = if ratio >= TARGET { "met" } else { "MISSED" };
            let _infallible = write!(line, "{theirs:>10.1}{ratio:>8.2}  aim at least {TARGET}: {verdict}");
        }
        line
    }
}

impl Report {
    fn new(mib: u32, ours: &[Times], theirs: &[Times]) -> Report {
        let all = |times: &[Times], way: fn(&Times) -> f64| times.iter().map(way).collect();
        let way = |of: fn(&Times) -> f64| Way::new(mib, all(ours, of), all(theirs, of));
        Report { mib, rounds: ours.len(), up: way(|t| t.up_secs), down: way(|t| t.down_secs), target: TARGET }
    }

    fn text(&self) -> String {
        let title = format!("{} MiB, {} rounds, one file at a time", self.mib, self.rounds);
        let head = format!("{:<10}{:>10}{:>10}{:>8}", "MiB/s", "darkroom", "boto3", "ratio");
        [title, head, self.up.line("upload"), self.down.line("download")].join("\n")
    }
}

/// Of at least one value; the lower one of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get((values.len().max(1) - 1) / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throughput_is_told_by_medians_and_a_miss_is_said() {
        let times = |secs: [f64; 3]| secs.map(|secs| Times { up_secs: secs, down_secs: secs / 2.0 });
        let report = Report::new(64, &times([2.0, 64.0, 1.0]), &times([1.0, 1.9, 9.0]));
        let text = report.text();
        assert!(text.contains("upload          32.0      33.7    0.95  aim at least 0.9: met"), "{text}");
        let alone = Report::new(64, &times([4.0; 3]), &[]).text();
        assert!(alone.ends_with("download        32.0"), "{alone}");
        let slow = Report::new(64, &times([4.0; 3]), &times([2.0; 3])).text();
        assert!(slow.contains("0.50  aim at least 0.9: MISSED"), "{slow}");
    }
}
