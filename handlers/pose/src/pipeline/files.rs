//! The files of a run beside the video.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};

use darkroom_api::{ErrorCode, JobContext, JobError, OutputFile, Result};
use darkroom_media::VideoInfo;
use glam::Vec3;

use super::draw::colours;
use super::fit::Person;
use super::progress::tell;
use crate::body::{Body, SMPL_NAMES};
use crate::output::{
    Amass, BoneFacts, FramePoses, Motion, PosedFrame, Poses, PosesWriter, RigPose, Schema, Shaped, Summary, TrackFacts,
    VideoFacts, write_bvh, write_glb, write_npz,
};
use crate::params::Extra;
use crate::view::{BodyPose, Camera};
use crate::{Params, WRITING, output};

/// Names of the files that are always there.
const POSES: &str = "poses.json";
const SUMMARY: &str = "summary.json";
/// All motions as arrays.
const ARRAYS: &str = "poses.npz";
/// Most people who get files of their own: those seen longest.
pub const MAX_ANIMATIONS: usize = 64;
/// Frames between two words of progress.
const TELL_EVERY: usize = 256;

/// What all files tell of the video.
pub struct Facts<'a> {
    /// What the frames are.
    pub info: &'a VideoInfo,
    /// When each frame is shown, in the video's time base.
    pub times: &'a [i64],
    /// The camera that the bodies are seen by.
    pub camera: Camera,
    /// The body.
    pub body: &'a Body,
}

impl Facts<'_> {
    /// When a frame is shown, in seconds from the first one.
    #[allow(clippy::cast_precision_loss, reason = "seconds fit a float")]
    fn secs(&self, frame: usize) -> f64 {
        let ticks = self.times.get(frame).map_or(0, |pts| pts.saturating_sub(self.info.start_pts));
        (ticks as f64 * f64::from(self.info.time_base)).max(0.0)
    }
}

/// Writes `poses.json`.
///
/// # Errors
/// [`ErrorCode::ScratchFull`]; [`ErrorCode::Cancelled`].
pub fn poses(ctx: &JobContext, params: &Params, facts: &Facts<'_>, people: &[Person]) -> Result<OutputFile> {
    let head = Poses {
        schema: Schema::V1,
        video: VideoFacts { width_px: facts.info.width_px, height_px: facts.info.height_px, fps: facts.info.fps() },
        model: params.model.clone(),
        bones: BoneFacts::of(facts.body),
        tracks: people.iter().map(track).collect(),
        frames: Vec::new(),
    };
    write(ctx, POSES, |file| {
        let mut writer = PosesWriter::new(file, &head)?;
        for frame in 0..facts.times.len() {
            if frame % TELL_EVERY == 0 {
                ctx.check_cancelled().map_err(io::Error::other)?;
                tell(ctx, WRITING, frame, facts.times.len());
            }
            let seen = people.iter().filter_map(|person| somebody(person, frame)).collect();
            writer.frame(&FramePoses::new(frame as u64, facts.secs(frame), &facts.camera, seen))?;
        }
        writer.finish().map(drop)
    })?;
    ctx.check_cancelled()?;
    Ok(file(POSES, "application/json"))
}

fn track(person: &Person) -> TrackFacts {
    let scales = person.fitted.poses.iter().flatten().next().map(|pose| pose.scales.clone());
    TrackFacts { track: person.id, scales: scales.unwrap_or_default() }
}

/// A person in a frame.
fn somebody(person: &Person, frame: usize) -> Option<output::Person> {
    let (at, landmarks) = (person.at(frame)?, person.landmarks(frame)?);
    let bounds = &person.boxes[at];
    let box_px = [bounds.min.x, bounds.min.y, bounds.size().x, bounds.size().y];
    let size = crate::people::Bounds::around(landmarks.image)?.size().max_element();
    #[allow(clippy::cast_possible_truncation, reason = "pixels")]
    let error_px = person.fitted.errors[at].map(|error| error as f32 * size);
    let rig = person.pose(frame).map(|pose| RigPose::new(pose, error_px));
    Some(output::Person { filled: person.filled[at], rig, ..output::Person::new(person.id, box_px, landmarks) })
}

/// Writes `summary.json`.
///
/// # Errors
/// [`ErrorCode::ScratchFull`].
pub fn summary(ctx: &JobContext, summary: &Summary) -> Result<OutputFile> {
    write(ctx, SUMMARY, |file| summary.write(file))?;
    Ok(file(SUMMARY, "application/json"))
}

/// Writes arrays and animations as far as they are asked for; takes the poses, which nobody needs any more. Adds what the user
/// should know.
///
/// # Errors
/// [`ErrorCode::ScratchFull`]; [`ErrorCode::Cancelled`].
pub fn motions(
    ctx: &JobContext,
    params: &Params,
    facts: &Facts<'_>,
    people: Vec<Person>,
    warnings: &mut Vec<String>,
) -> Result<Vec<OutputFile>> {
    if params.outputs.is_empty() {
        return Ok(Vec::new());
    }
    let (seen_longest, others) = seen_longest(&people);
    if others > 0 {
        warnings.push(format!(
            "There are {} people: the {MAX_ANIMATIONS} who are seen longest have files of their own (`tracks/`), all are in \
             `{POSES}`.",
            seen_longest.len() + others
        ));
    }
    let told = people.iter().filter(|person| seen_longest.contains(&person.id));
    let mut files = if params.outputs.contains(&Extra::Npz) { smpl(ctx, facts, told)? } else { Vec::new() };
    let mut motions: Vec<(u32, Vec<PosedFrame>)> = people.into_iter().map(|person| posed(facts, person)).collect();
    motions.retain(|(_, frames)| !frames.is_empty());
    if motions.is_empty() {
        return Ok(files);
    }
    let fps = facts.info.fps();
    if params.outputs.contains(&Extra::Npz) {
        let names: Vec<&str> = facts.body.bones().iter().map(|bone| bone.name.as_str()).collect();
        let amass = Amass { betas: &[], gender: "neutral", bones: &names };
        let all: Vec<_> = motions.iter().map(|(id, frames)| (*id, Motion { frames, fps })).collect();
        write(ctx, ARRAYS, |file| write_npz(file, &all, &amass).and_then(std::io::Write::flush))?;
        files.push(file(ARRAYS, "application/zip"));
    }
    let (glb, bvh) = (params.outputs.contains(&Extra::Glb), params.outputs.contains(&Extra::Bvh));
    if !glb && !bvh {
        return Ok(files);
    }
    motions.retain(|(id, _)| seen_longest.contains(id));
    make_tracks(ctx)?;
    for (done, (id, frames)) in motions.iter().enumerate() {
        ctx.check_cancelled()?;
        tell(ctx, WRITING, done, motions.len());
        let (motion, shape) = (Motion { frames, fps }, Shaped::new(facts.body, &frames[0].pose.scales));
        if glb {
            let name = format!("tracks/{id}.glb");
            write(ctx, &name, |file| write_glb(file, &shape, &motion, colours(*id).map(linear)))?;
            files.push(file(&name, "model/gltf-binary"));
        }
        if bvh {
            let name = format!("tracks/{id}.bvh");
            write(ctx, &name, |file| write_bvh(file, &shape, &motion))?;
            files.push(file(&name, "text/plain"));
        }
    }
    Ok(files)
}

/// The names of those who get files of their own, and how many others have poses as well.
fn seen_longest(people: &[Person]) -> (BTreeSet<u32>, usize) {
    let posed = |person: &Person| person.fitted.poses.iter().flatten().count();
    let mut posed: Vec<(usize, u32)> = people.iter().map(|person| (posed(person), person.id)).collect();
    posed.retain(|(poses, _)| *poses > 0);
    posed.sort_by_key(|(poses, _)| std::cmp::Reverse(*poses));
    let others = posed.len().saturating_sub(MAX_ANIMATIONS);
    (posed.into_iter().take(MAX_ANIMATIONS).map(|(_, id)| id).collect(), others)
}

/// A file as AMASS has them of each of these people of whom a model told SMPL's pose.
fn smpl<'a>(ctx: &JobContext, facts: &Facts<'_>, people: impl Iterator<Item = &'a Person>) -> Result<Vec<OutputFile>> {
    let told = people.filter_map(|person| Some((person, person.fitted.smpl.as_ref()?)));
    let mut files = Vec::new();
    for (person, smpl) in told {
        ctx.check_cancelled()?;
        let frames = timed(facts, person.first, smpl.poses.clone());
        if frames.is_empty() {
            continue;
        }
        make_tracks(ctx)?;
        let name = format!("tracks/{}.npz", person.id);
        let motion = Motion { frames: &frames, fps: facts.info.fps() };
        let amass = Amass { betas: &smpl.betas, gender: "neutral", bones: &SMPL_NAMES };
        write(ctx, &name, |file| write_npz(file, &[(person.id, motion)], &amass).and_then(std::io::Write::flush))?;
        files.push(file(&name, "application/zip"));
    }
    Ok(files)
}

fn make_tracks(ctx: &JobContext) -> Result<()> {
    std::fs::create_dir_all(ctx.output_dir.join("tracks")).map_err(|e| unwritable("tracks", &e))
}

fn posed(facts: &Facts<'_>, person: Person) -> (u32, Vec<PosedFrame>) {
    (person.id, timed(facts, person.first, person.fitted.poses))
}

fn timed(facts: &Facts<'_>, first: usize, poses: Vec<Option<BodyPose>>) -> Vec<PosedFrame> {
    let frames = poses.into_iter().enumerate().filter_map(|(at, pose)| {
        let index = first + at;
        Some(PosedFrame { index: index as u64, time_secs: facts.secs(index), pose: pose? })
    });
    frames.collect()
}

/// Linear light of a signal.
fn linear(colour: Vec3) -> Vec3 {
    colour.powf(2.2)
}

fn file(name: &str, media_type: &str) -> OutputFile {
    OutputFile { name: name.to_owned(), media_type: media_type.to_owned() }
}

fn write(ctx: &JobContext, name: &str, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<()> {
    let written = File::create(ctx.output_dir.join(name)).and_then(|file| {
        let mut file = BufWriter::new(file);
        fill(&mut file)?;
        file.flush()
    });
    // A run that is cancelled while it writes says that it was cancelled.
    ctx.check_cancelled()?;
    written.map_err(|e| unwritable(name, &e))
}

/// The error for a file that cannot be written.
pub fn unwritable(name: &str, e: &io::Error) -> JobError {
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => JobError::new(
            ErrorCode::ScratchFull,
            "The scratch disk is full: free some space or give the worker a larger one.",
        ),
        _ => JobError::new(ErrorCode::Internal, format!("`{name}` cannot be written: {e}.")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fit::tests::{person, seen};
    use super::*;
    use crate::body::sample::sample;

    #[test]
    fn those_seen_longest_have_files_of_their_own() {
        let body = sample();
        let posed = |id: u32, poses: usize| {
            let poses = (0..3).map(|at| (at < poses).then(|| body.rest())).collect();
            Person { id, ..person(0, vec![Some(seen(9.0)); 3], poses) }
        };
        // The first is seen shortest, the second has no body.
        let people: Vec<Person> = (1..=66).map(|id| posed(id, if id < 3 { 2 - id as usize } else { 2 })).collect();
        let (names, others) = seen_longest(&people);
        assert_eq!((names.len(), names.first(), names.last(), others), (64, Some(&3), Some(&66), 1));
        assert_eq!(seen_longest(&people[..4]).1, 0);
    }
}
