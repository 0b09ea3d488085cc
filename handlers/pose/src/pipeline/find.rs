//! The first pass: who is where in each frame.

use darkroom_api::{ErrorCode, JobContext, JobError, ModelUse, Result};
use darkroom_inference::{PooledSession, Precision, Runtime, Setup};
use darkroom_media::pipeline::{self, PipelineOptions, ReadReport};
use darkroom_media::{Reader, VideoInfo};

use crate::people::{Counts, Finder, Schedule, Track};
use crate::{FINDING, Params};

/// Poses of a video, one a person and frame, whether seen or filled in. They are all in memory, with 2 kB each.
pub const MAX_POSES: usize = 200_000;

/// What the first pass found.
pub struct Found {
    /// What the frames are.
    pub info: VideoInfo,
    /// When each frame is shown, in the video's time base.
    pub times: Vec<i64>,
    /// The people.
    pub tracks: Vec<Track>,
    /// What it took.
    pub counts: Counts,
    /// Most people in a frame.
    pub at_once: usize,
    /// How it went.
    pub report: ReadReport,
}

/// A finder for a video of that rate, with the models of the parameters and the names of those.
///
/// # Errors
/// Those of loading the models, and of models that are others.
pub fn finder<'a>(runtime: &'a Runtime, params: &Params, fps: f64) -> Result<(Finder<'a>, Vec<ModelUse>)> {
    // Small pictures: more threads than this wait for one another.
    let threads = runtime.intra_threads().div_ceil(2).min(4);
    let mut used = Vec::new();
    let mut open = |name: &str| -> Result<PooledSession<'a>> {
        // A user's file may have gigabytes, and all threads enough to do: it is run as it is.
        let session = if runtime.registry().custom().contains_key(name) {
            runtime.session(name, Precision::Full)?
        } else {
            runtime.session_with(name, Setup { precision: Precision::Full, threads, own_convolutions: true })?
        };
        used.push(ModelUse { name: session.name().to_owned(), sha256: session.sha256().to_owned() });
        Ok(session)
    };
    let finder = params.choice()?.finder(&params.detector, Schedule::for_fps(fps), &mut open)?;
    Ok((finder.with_most(params.max_people.get() as usize), used))
}

/// Looks at all frames.
///
/// # Errors
/// Those of reading and of the models; [`ErrorCode::InputTooLarge`] for more poses than there is room for.
pub fn find(reader: Reader, mut finder: Finder<'_>, ctx: &JobContext) -> Result<Found> {
    let info = reader.info().clone();
    let options = PipelineOptions { stage: FINDING.to_owned(), ..PipelineOptions::default() };
    let (mut times, mut at_once) = (Vec::new(), 0);
    finder = finder.with_cancel(ctx.cancel.clone());
    let report = pipeline::read(reader, ctx, &options, |frame| {
        let people = finder.push(&frame)?;
        times.push(frame.pts());
        at_once = at_once.max(people);
        if finder.poses() > MAX_POSES { Err(too_many(times.len())) } else { Ok(()) }
    })?;
    let (tracks, counts) = finder.finish();
    Ok(Found { info, times, tracks, counts, at_once, report })
}

fn too_many(frames: usize) -> JobError {
    let why = format!(
        "The video has more than {MAX_POSES} poses (one a person and frame), the limit, in its first {frames} frames: choose parts \
         of it with `start_secs` and `end_secs`, or follow fewer people with `max_people`."
    );
    JobError::new(ErrorCode::InputTooLarge, why)
        .with_detail(serde_json::json!({ "max_poses": MAX_POSES, "frames": frames }))
}
