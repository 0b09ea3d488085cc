//! How close a result is to what it should have been, where somebody has that: `--input reference=file`.

use std::path::Path;

use darkroom_api::{JobContext, Progress, Result};
use darkroom_inference::Runtime;
use darkroom_media::compare::{CompareOptions, VMAF_TOOL, VmafOptions, compare, without_vmaf};
use serde_json::{Value, json};

use crate::COMPARING;

/// Compares; returns the numbers for the metrics, and what the user should know.
///
/// # Errors
/// As [`compare`].
pub fn metrics(
    runtime: &Runtime,
    ctx: &JobContext,
    result: &Path,
    reference: &Path,
    threads: usize,
) -> Result<(Value, Vec<String>)> {
    let mut warnings = Vec::new();
    let vmaf = match runtime.registry().resolve(VMAF_TOOL) {
        Ok(tool) => Some(VmafOptions {
            tool: tool.path,
            scratch_dir: ctx.scratch_dir.clone(),
            threads,
            model: VmafOptions::MODEL,
        }),
        Err(error) => {
            warnings.push(without_vmaf(error)?);
            None
        }
    };
    let options = CompareOptions { threads, vmaf, cancel: ctx.cancel.clone() };
    let mut done = 0;
    let comparison = compare(result, reference, &options, &mut |seen| {
        ctx.check_cancelled()?;
        done += 1;
        #[allow(clippy::cast_precision_loss, reason = "a percentage for people")]
        let percent = seen.total.map(|total| (100.0 * done as f32 / total.max(1) as f32).min(100.0));
        ctx.reporter.progress(Progress { stage: COMPARING.to_owned(), percent, done, total: seen.total, fps: None });
        Ok(())
    })?;
    warnings.extend(comparison.warnings.iter().cloned());
    let value = json!({
        "frames": comparison.compared,
        "identical": comparison.identical,
        "psnr": comparison.psnr,
        "ssim": comparison.ssim,
        "vmaf": comparison.vmaf,
    });
    Ok((value, warnings))
}
