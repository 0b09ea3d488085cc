//! One run: two files in, a report out.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use darkroom_api::{ErrorCode, Inputs, JobContext, JobError, ModelUse, OutputFile, Outputs, Progress, Result};
use darkroom_inference::Runtime;
use darkroom_media::compare::{self, CompareOptions, Comparison, FrameScores, Seen, VMAF_TOOL, VmafOptions};
use serde::Serialize;
use serde_json::json;

use crate::page::{self, Figure};
use crate::picks::{Pick, Picks};
use crate::picture::Rgb8;
use crate::sheet::{self, Row};
use crate::{Params, REFERENCE, STAGE, VIDEO};

/// All numbers.
const REPORT: &str = "compare.json";
/// Crops.
const SHEET: &str = "side-by-side.png";
/// The page.
const PAGE: &str = "compare.html";

/// `compare.json`.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    #[serde(flatten)]
    comparison: &'a Comparison,
}

/// Runs the handler.
///
/// # Errors
/// Codes of [`compare::compare`] and of writing.
pub fn run(runtime: &Runtime, ctx: &JobContext, inputs: &Inputs, params: &Params) -> Result<Outputs> {
    let (video, reference) = (inputs.one(VIDEO)?, inputs.one(REFERENCE)?);
    let mut tool = Tool::find(runtime, ctx, params)?;
    let options = CompareOptions {
        // Two decoders share what there is.
        threads: runtime.intra_threads().div_ceil(2),
        vmaf: tool.options.take(),
        cancel: ctx.cancel.clone(),
    };
    let (started, mut picks) = (Instant::now(), Picks::default());
    let mut comparison = compare::compare(video, reference, &options, &mut |seen| {
        ctx.reporter.progress(progress(seen, started));
        picks.offer(seen)
    })?;
    comparison.warnings.extend(tool.warning);
    let wall_secs = started.elapsed().as_secs_f64();

    let names = [video, reference].map(|path| path.file_name().unwrap_or_default().to_string_lossy());
    write(ctx, REPORT, |file| {
        let report = Report { schema: "darkroom.compare.v1", comparison: &comparison };
        Ok(serde_json::to_writer(file, &report)?)
    })?;
    let (rows, figures) = shown(ctx, picks.take(), &comparison)?;
    let sheet = sheet::png(&rows)?;
    write(ctx, SHEET, |file| file.write_all(&sheet))?;
    let html = page::html([&names[0], &names[1]], &comparison, &comparison.warnings, &figures);
    write(ctx, PAGE, |file| file.write_all(html.as_bytes()))?;
    outputs(params, comparison, tool.used, wall_secs)
}

/// VMAF's tool, or why there is none.
struct Tool {
    options: Option<VmafOptions>,
    used: Option<ModelUse>,
    warning: Option<String>,
}

impl Tool {
    fn find(runtime: &Runtime, ctx: &JobContext, params: &Params) -> Result<Tool> {
        let none = |warning| Tool { options: None, used: None, warning };
        if !params.vmaf {
            return Ok(none(None));
        }
        let found = match runtime.registry().resolve(VMAF_TOOL) {
            Ok(found) => found,
            Err(missing) => return Ok(none(Some(compare::without_vmaf(missing)?))),
        };
        let options = VmafOptions {
            tool: found.path,
            scratch_dir: ctx.scratch_dir.clone(),
            threads: runtime.intra_threads(),
            model: params.vmaf_model.name(),
        };
        let used = ModelUse { name: found.name, sha256: found.sha256 };
        Ok(Tool { options: Some(options), used: Some(used), warning: None })
    }
}

fn progress(seen: &Seen<'_>, started: Instant) -> Progress {
    let done = seen.scores.frame + 1;
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a rate for people")]
    let fps = (done as f64 / started.elapsed().as_secs_f64().max(1e-3)) as f32;
    #[allow(clippy::cast_precision_loss, reason = "percent for people")]
    let percent = seen.total.map(|total| (100.0 * done as f32 / total.max(1) as f32).min(99.0));
    Progress { stage: STAGE.into(), percent, done, total: seen.total, fps: Some(fps) }
}

/// The chosen frames, for the sheet and for the page.
fn shown(ctx: &JobContext, picks: Vec<Pick>, comparison: &Comparison) -> Result<(Vec<Row>, Vec<Figure>)> {
    let (mut rows, mut figures) = (Vec::new(), Vec::new());
    for pick in picks {
        ctx.check_cancelled()?;
        let (video, reference) = (Rgb8::of(&pick.video)?, Rgb8::of(&pick.reference)?);
        // Complete now, with VMAF; of frames that are too many to be listed what was known of them at once.
        let listed = usize::try_from(pick.scores.frame).ok().and_then(|index| comparison.frames.get(index));
        let scores: &FrameScores = listed.unwrap_or(&pick.scores);
        rows.push(Row::new(page::headline(pick.title, scores), &video, &reference));
        figures.push(Figure::new(pick.title, scores, &video, &reference)?);
    }
    Ok((rows, figures))
}

fn outputs(params: &Params, comparison: Comparison, used: Option<ModelUse>, wall_secs: f64) -> Result<Outputs> {
    let file = |name: &str, media_type: &str| OutputFile { name: name.into(), media_type: media_type.into() };
    #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
    let fps = comparison.compared as f64 / wall_secs.max(1e-9);
    let metrics = json!({
        "frames": comparison.compared,
        "fps": fps,
        "wall_secs": wall_secs,
        "width_px": comparison.video.width_px,
        "height_px": comparison.video.height_px,
        "pixel_format": comparison.pixel_format,
        "identical": comparison.identical,
        "psnr": comparison.psnr,
        "ssim": comparison.ssim,
        "vmaf": comparison.vmaf,
        "unmatched_video": comparison.video.unmatched,
        "unmatched_reference": comparison.reference.unmatched,
    });
    Ok(Outputs {
        files: vec![file(REPORT, "application/json"), file(SHEET, "image/png"), file(PAGE, "text/html")],
        params: serde_json::to_value(params).map_err(|e| JobError::new(ErrorCode::Internal, e.to_string()))?,
        models: used.into_iter().collect(),
        metrics: metrics.as_object().cloned().unwrap_or_default(),
        stages: Vec::new(),
        warnings: comparison.warnings,
    })
}

fn write(ctx: &JobContext, name: &str, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<()> {
    let path: &Path = &ctx.output_dir.join(name);
    let write = || {
        let mut file = BufWriter::new(File::create(path)?);
        fill(&mut file)?;
        file.flush()
    };
    write().map_err(|e| match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => JobError::new(
            ErrorCode::ScratchFull,
            "The scratch disk is full: free some space or give the worker a larger one.",
        ),
        _ => JobError::new(ErrorCode::Internal, format!("`{name}` cannot be written: {e}.")),
    })
}
