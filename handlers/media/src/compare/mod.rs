//! How close two videos are: PSNR and SSIM, measured here as FFmpeg's filters define them, and VMAF by a tool.
//!
//! Frames belong together by their times ([`pairs`]) and are compared in the reference's layout at the deeper depth
//! ([`levels`]). Nothing is scaled. Memory does not grow with length but for 64 bytes a frame, of [`MAX_LISTED`] at most,
//! and VMAF's log on the scratch disk.

mod levels;
mod pairs;
mod psnr;
mod scores;
mod ssim;
#[cfg(test)]
mod tests;
mod vmaf;

use std::path::Path;
use std::thread::Scope;

use darkroom_api::{CancelToken, ErrorCode, JobError, Result};

use crate::{Frame, ReadOptions, Reader, VideoInfo};
use levels::{Common, Levels};
use pairs::{Pair, Pairs, about};
use psnr::Psnr;
pub use scores::{Comparison, FrameScores, Planes, Side, Summary, VmafScores};
use ssim::Ssim;
use vmaf::Vmaf;
pub use vmaf::{VMAF_TOOL, VmafOptions, without_vmaf};

/// Frames that are told one by one; the numbers over all of them count every one.
pub const MAX_LISTED: usize = 1_000_000;
/// Shortest side that can be compared: SSIM's windows have 8 samples, of halved colour differences too.
const MIN_SIDE_PX: u32 = 16;
/// The same for VMAF, which halves pictures four times: libvmaf crashes on 16 pixels.
const MIN_VMAF_SIDE_PX: u32 = 32;

/// How to compare.
#[derive(Debug, Clone, Default)]
pub struct CompareOptions {
    /// Threads of each of the two decoders.
    pub threads: usize,
    /// The tool for VMAF; without it there is none.
    pub vmaf: Option<VmafOptions>,
    /// Ends the work.
    pub cancel: CancelToken,
}

/// A pair of frames that was just compared.
pub struct Seen<'a> {
    /// The video's frame.
    pub video: &'a Frame,
    /// The reference's.
    pub reference: &'a Frame,
    /// What was found; VMAF comes only at the end.
    pub scores: FrameScores,
    /// How many pairs there will be, by the containers' word.
    pub total: Option<u64>,
}

/// Compares a video (or picture) with its reference. `watch` sees each pair, for progress or for pictures of it.
///
/// # Errors
/// `inputs-invalid` where sizes differ, or no frame of one is at the time of one of the other; `input-hdr` where one alone is HDR, or both in different ways; `input-too-small`;
/// the codes of [`Reader::open`], with a message that says which file is meant; `runtime-missing` and `internal` where VMAF's
/// tool does not start or fails, with its last words in the detail; `cancelled`; those of `watch`.
pub fn compare(
    video: &Path,
    reference: &Path,
    options: &CompareOptions,
    watch: &mut dyn FnMut(&Seen<'_>) -> Result<()>,
) -> Result<Comparison> {
    let read = ReadOptions { threads: options.threads, cancel: options.cancel.clone(), ..ReadOptions::default() };
    let video = Reader::open(video, &read).map_err(about("video"))?;
    let reference = Reader::open(reference, &read).map_err(about("reference"))?;
    check(video.info(), reference.info())?;
    std::thread::scope(|scope| Run::start(scope, video, reference, options)?.finish(watch))
}

/// Refuses what cannot be compared.
fn check(video: &VideoInfo, reference: &VideoInfo) -> Result<()> {
    let size = |info: &VideoInfo| (info.width_px, info.height_px);
    check_sizes(size(video), size(reference))?;
    let (ours, theirs) = (video.colour, reference.colour);
    if (ours.is_hdr() || theirs.is_hdr()) && ours.names().transfer != theirs.names().transfer {
        let why = format!(
            "The video's brightness is coded as `{}` and the reference's as `{}`: numbers would mean nothing. Convert one of \
             them first.",
            ours.names().transfer,
            theirs.names().transfer
        );
        return Err(JobError::new(ErrorCode::InputHdr, why));
    }
    Ok(())
}

/// Refuses two pictures, given as width and height in pixels, that are not of one size or too small.
///
/// # Errors
/// `inputs-invalid`, `input-too-small`.
pub fn check_sizes(video: (u32, u32), reference: (u32, u32)) -> Result<()> {
    let ((width, height), (other_width, other_height)) = (video, reference);
    if video != reference {
        let why = format!(
            "The video has {width}x{height} pixels and the reference {other_width}x{other_height}: nothing is scaled without \
             being asked for. Scale one of them to the other's size first."
        );
        return Err(JobError::new(ErrorCode::InputsInvalid, why));
    }
    if width.min(height) < MIN_SIDE_PX {
        let why = format!("Pictures of {width}x{height} pixels cannot be compared: each side needs {MIN_SIDE_PX}.");
        return Err(JobError::new(ErrorCode::InputTooSmall, why));
    }
    Ok(())
}

/// A comparison under way.
struct Run<'scope, 'a> {
    infos: [VideoInfo; 2],
    common: Common,
    /// The pair that showed that there is something to compare.
    first: Option<Pair>,
    pairs: Pairs<'scope>,
    levels: [Levels; 2],
    psnr: Psnr,
    ssim: Ssim,
    vmaf: Option<Vmaf<'a>>,
    /// It was wanted, but pictures are too small for it.
    without_vmaf: bool,
    cancel: &'a CancelToken,
    frames: Vec<FrameScores>,
    compared: u64,
}

impl<'scope, 'a> Run<'scope, 'a> {
    fn start(
        scope: &'scope Scope<'scope, '_>,
        video: Reader,
        reference: Reader,
        options: &'a CompareOptions,
    ) -> Result<Run<'scope, 'a>> {
        let infos = [video.info().clone(), reference.info().clone()];
        let common = Common::of(&infos[0], &infos[1]);
        let size = (infos[0].width_px, infos[0].height_px);
        let large = size.0.min(size.1) >= MIN_VMAF_SIDE_PX;
        let without_vmaf = options.vmaf.is_some() && !large;
        let mut pairs = Pairs::start(scope, video, reference);
        let Some(first) = pairs.next()? else {
            let why = "No frame of the video is at the time of one of the reference, times counted from each one's first: \
                       compare videos of the same length and rate.";
            return Err(JobError::new(ErrorCode::InputsInvalid, why));
        };
        let vmaf = options.vmaf.as_ref().filter(|_| large);
        let vmaf = vmaf.map(|vmaf| Vmaf::start(vmaf, &options.cancel, common, size)).transpose()?;
        Ok(Run {
            levels: [Levels::new(&infos[0], common), Levels::new(&infos[1], common)],
            infos,
            common,
            vmaf,
            without_vmaf,
            first: Some(first),
            pairs,
            psnr: Psnr::new(common.depth),
            ssim: Ssim::new(common.depth),
            cancel: &options.cancel,
            frames: Vec::new(),
            compared: 0,
        })
    }

    fn finish(mut self, watch: &mut dyn FnMut(&Seen<'_>) -> Result<()>) -> Result<Comparison> {
        let frames = |info: &VideoInfo| info.frames.unwrap_or(u64::MAX);
        let total = Some(frames(&self.infos[0]).min(frames(&self.infos[1]))).filter(|total| *total < u64::MAX);
        while let Some(pair) = self.first.take().map_or_else(|| self.pairs.next(), |first| Ok(Some(first)))? {
            if self.cancel.is_cancelled() {
                return Err(JobError::new(ErrorCode::Cancelled, "The job was cancelled."));
            }
            let scores = self.measure(&pair)?;
            watch(&Seen { video: &pair.video, reference: &pair.reference, scores, total })?;
            self.compared += 1;
            if self.frames.len() < MAX_LISTED {
                self.frames.push(scores);
            }
        }
        let vmaf = self.vmaf.take().map(Vmaf::finish).transpose()?;
        let vmaf = vmaf.map(|(scores, frames)| {
            self.frames.iter_mut().zip(frames).for_each(|(frame, vmaf)| frame.vmaf = Some(vmaf));
            scores
        });
        let (video, reference) = self.pairs.unmatched();
        let [info, reference_info] = &self.infos;
        Ok(Comparison {
            video: Side::new(info, video),
            reference: Side::new(reference_info, reference),
            compared: self.compared,
            pixel_format: levels::name(self.common.format),
            identical: self.psnr.identical(),
            psnr: self.psnr.summary(),
            ssim: self.ssim.summary(),
            vmaf,
            frames: std::mem::take(&mut self.frames),
            warnings: self.warnings(),
        })
    }

    fn measure(&mut self, pair: &Pair) -> Result<FrameScores> {
        let [video, reference] = &mut self.levels;
        let (a, b) = (video.load(&pair.video)?, reference.load(&pair.reference)?);
        let (psnr, ssim) = (self.psnr.add(a, b), self.ssim.add(a, b));
        if let Some(vmaf) = &mut self.vmaf {
            vmaf.push(&a.planes[0], &b.planes[0])?;
        }
        Ok(FrameScores { frame: self.compared, secs: pair.secs, psnr, ssim, vmaf: None })
    }

    /// What the user should know of the numbers.
    fn warnings(self) -> Vec<String> {
        let mut warnings = Vec::new();
        let (video, reference) = self.pairs.unmatched();
        if video + reference > 0 {
            warnings.push(format!(
                "{} frames were compared by their times; {video} of the video and {reference} of the reference have no \
                 counterpart and were left out.",
                self.compared
            ));
        }
        if let Some(longer) = self.pairs.longer() {
            let compared = self.compared;
            warnings.push(format!("The {longer} goes on after the end of the other: {compared} frames were compared."));
        }
        for ((levels, info), role) in self.levels.iter().zip(&self.infos).zip(["video", "reference"]) {
            if levels.converted() {
                let (coded, format) = (levels::name(info.pixel_format), levels::name(self.common.format));
                let names = info.colour.names();
                let coded = format!("{coded} ({}, {})", names.matrix, names.range);
                warnings.push(format!("The {role} is coded as {coded} and was converted to {format} to be compared."));
            }
        }
        if self.without_vmaf {
            warnings.push(format!("VMAF was not measured: it needs pictures of {MIN_VMAF_SIDE_PX} pixels or more."));
        }
        if self.infos.iter().any(|info| info.has_alpha) {
            warnings.push("Alpha was not compared, only what lies under it.".into());
        }
        if self.infos[1].colour.is_hdr() {
            warnings.push("HDR was compared as it is coded; VMAF's models know standard range only.".into());
        }
        if self.compared > MAX_LISTED as u64 {
            warnings.push(format!("Only the first {MAX_LISTED} frames are told one by one."));
        }
        for (role, read) in self.pairs.end() {
            if read.corrupt_packets > 0 {
                let count = read.corrupt_packets;
                warnings.push(format!("{count} packets of the {role} are damaged: what they hold was not compared."));
            }
            if read.deinterlaced {
                warnings.push(format!("The {role} is interlaced and was compared deinterlaced."));
            }
        }
        warnings
    }
}
