//! What a run costs, or a part of it alone: one measurement a process, within the same walls as a job.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use darkroom_api::{
    Alone, CancelToken, DynHandler, ErrorCode, Inputs, JobContext, JobError, LogLevel, Measured, Progress, Reporter,
    Result, StageReport,
};
use darkroom_inference::Runtime;
use rustix::time::{ClockId, clock_gettime};

use crate::handlers::Table;
use crate::options::Bench;
use crate::serve;

/// Measures and prints.
///
/// # Errors
/// A sentence, where it cannot start, the work fails, or nobody reads.
pub fn bench(options: &Bench, table: fn(&Arc<Runtime>) -> Table) -> Result<(), String> {
    let output_dir = options.serve.scratch.join("out");
    std::fs::create_dir_all(&output_dir).map_err(|e| format!("{}: {e}", output_dir.display()))?;
    // While it can still be opened.
    let memory = Memory::open();
    let (runtime, _confinement) = serve::enclose(&options.serve)?;
    let ctx = JobContext {
        scratch_dir: options.serve.scratch.clone(),
        output_dir,
        resume: None,
        cancel: CancelToken::default(),
        reporter: Arc::new(Silent),
    };
    let table = table(&runtime);
    let measured = measure(options, &table, &ctx, memory).map_err(|error| error.to_string())?;
    let line = serde_json::to_string(&measured).map_err(|e| e.to_string())?;
    writeln!(std::io::stdout().lock(), "{line}").map_err(|e| e.to_string())
}

fn measure(options: &Bench, table: &Table, ctx: &JobContext, memory: Memory) -> Result<Measured> {
    let handler = table.iter().find(|handler| handler.describe().name == options.handler).ok_or_else(|| {
        JobError::new(ErrorCode::HandlerUnknown, format!("There is no handler `{}`.", options.handler))
    })?;
    let role = handler.describe().inputs.first().map(|role| role.name.clone()).unwrap_or_default();
    let inputs = Inputs([(role, vec![options.clip.clone()])].into());
    match options.part {
        Some(part) => {
            let Alone { work, held_bytes } = handler.alone(part, ctx, &inputs, &options.params)?;
            clocked(memory, held_bytes, || Ok((work()?, Vec::new())))
        }
        None => {
            handler.warm(&options.params)?;
            clocked(memory, 0, || whole(handler.as_ref(), ctx, &inputs, &options.params))
        }
    }
}

fn whole(
    handler: &dyn DynHandler,
    ctx: &JobContext,
    inputs: &Inputs,
    params: &serde_json::Value,
) -> Result<(u64, Vec<StageReport>)> {
    let outputs = handler.run(ctx, inputs, params)?;
    let frames = outputs.metrics.get("frames").and_then(serde_json::Value::as_u64).unwrap_or(0);
    Ok((frames, outputs.stages))
}

/// Runs `work` and tells what it cost; what was done before is not counted, but for the memory it still holds.
fn clocked(
    memory: Memory,
    held_bytes: u64,
    work: impl FnOnce() -> Result<(u64, Vec<StageReport>)>,
) -> Result<Measured> {
    memory.forget_peak();
    let (cpu_before, started) = (cpu_secs(), Instant::now());
    let (frames, stages) = work()?;
    let (wall_secs, cpu_secs) = (started.elapsed().as_secs_f64(), cpu_secs() - cpu_before);
    let peak_bytes = peak_bytes()?.saturating_sub(held_bytes);
    #[allow(clippy::cast_precision_loss, reason = "a size for people")]
    let peak_rss_mib = peak_bytes as f64 / f64::from(1 << 20);
    Ok(Measured { frames, wall_secs, cpu_secs, peak_rss_mib, stages })
}

/// CPU time of all threads that this process has or had.
fn cpu_secs() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    #[allow(clippy::cast_precision_loss, reason = "seconds fit a float")]
    let (whole, rest) = (time.tv_sec as f64, time.tv_nsec as f64);
    whole + rest * 1e-9
}

/// The kernel's own count of the most memory that was resident.
fn peak_bytes() -> Result<u64> {
    let status = std::fs::read_to_string(Path::new("/proc/self/status")).unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse().ok());
    kib.map(|kib: u64| kib << 10)
        .ok_or_else(|| JobError::new(ErrorCode::Internal, "The kernel does not tell this process's peak of memory."))
}

/// Starts the count of memory anew: what was needed to prepare is not part of the work.
struct Memory(Option<File>);

impl Memory {
    fn open() -> Memory {
        Memory(File::options().write(true).open("/proc/self/clear_refs").ok())
    }

    fn forget_peak(mut self) {
        // SAFETY: only returns unused memory of the allocator to the system; it may be called at any time.
        unsafe { libc::malloc_trim(0) };
        // proc(5): 5 sets the peak to what is resident now. Where the kernel has not that, preparing counts too.
        if let Some(file) = &mut self.0 {
            file.write_all(b"5").ok();
        }
    }
}

/// Nobody watches a measurement.
struct Silent;

impl Reporter for Silent {
    fn progress(&self, _: Progress) {}

    fn log(&self, level: LogLevel, message: &str) {
        if matches!(level, LogLevel::Warn | LogLevel::Error) {
            eprintln!("{message}");
        }
    }

    fn checkpoint(&self, _: &Path) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_measured_and_its_preparation_is_not() {
        let prepared = vec![1_u8; 200 << 20];
        let touched: u64 = prepared.iter().map(|byte| u64::from(*byte)).sum();
        drop(prepared);
        let held = vec![1_u8; 40 << 20];
        let spin = || {
            let before = cpu_secs();
            while cpu_secs() - before < 0.05 {
                std::hint::black_box(&held);
            }
            Ok((touched >> 20, Vec::new()))
        };
        let measured = clocked(Memory::open(), held.len() as u64, spin).unwrap();
        assert_eq!(measured.frames, 200);
        assert!(measured.cpu_secs >= 0.05 && measured.wall_secs >= 0.04, "{measured:?}");
        assert!(measured.peak_rss_mib > 1.0, "{measured:?}");
    }
}
