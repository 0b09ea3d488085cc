use std::path::{Path, PathBuf};
use std::process::Command;

use darkroom_api::ErrorCode;

use super::*;
use crate::testing::{Scratch, man};

fn measured(video: &Path, reference: &Path) -> Result<Comparison> {
    compare(video, reference, &CompareOptions { threads: 1, ..CompareOptions::default() }, &mut |_| Ok(()))
}

/// A short real clip, and the same encoded so that it is easily told apart.
fn clips(scratch: &Scratch, format: &str) -> (PathBuf, PathBuf) {
    let encode = "-c:v libx264 -preset ultrafast -frames:v 8 -vf crop=720:1200:180:240,scale=198:330";
    let reference = scratch.make(&man(), &format!("{encode} -pix_fmt {format} -crf 4"), "reference.mkv");
    let worse = format!("-c:v libx264 -preset ultrafast -pix_fmt {format} -crf 36");
    (scratch.make(&reference, &worse, "video.mkv"), reference)
}

/// Numbers of FFmpeg's filters, both inputs in one format: for each frame y, u, v, all, and over all frames.
fn ffmpeg(filter: &str, format: &str, video: &Path, reference: &Path) -> (Vec<[f32; 4]>, [f32; 4]) {
    let names = match filter {
        "psnr" => ["psnr_y:", "psnr_u:", "psnr_v:", "psnr_avg:"],
        _ => [" Y:", " U:", " V:", " All:"],
    };
    let graph = format!("[0:v]format={format}[a];[1:v]format={format}[b];[a][b]{filter}=stats_file=-");
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-nostats", "-i"]).arg(video).arg("-i").arg(reference);
    let output = command.args(["-lavfi", &graph, "-f", "null", "-"]).output().unwrap();
    let (said, told) = (String::from_utf8(output.stderr).unwrap(), String::from_utf8(output.stdout).unwrap());
    assert!(output.status.success(), "{said}");
    let numbers = |line: &str, names: [&str; 4]| {
        names.map(|name| {
            let rest = line.split(name).nth(1).unwrap_or_else(|| panic!("{name} in {line}"));
            rest.split_whitespace().next().unwrap().parse().unwrap()
        })
    };
    let frames = told.lines().map(|line| numbers(line, names)).collect();
    let summary = match filter {
        "psnr" => {
            numbers(said.lines().find(|line| line.contains(" PSNR ")).unwrap(), [" y:", " u:", " v:", "average:"])
        }
        _ => numbers(said.lines().find(|line| line.contains(" SSIM ")).unwrap(), [" Y:", " U:", " V:", "All:"]),
    };
    (frames, summary)
}

fn assert_near(ours: Planes, theirs: [f32; 4], tolerance: f32, what: &str) {
    for (ours, theirs) in [ours.y, ours.u, ours.v, ours.all].into_iter().zip(theirs) {
        let equal = ours.is_infinite() && theirs.is_infinite();
        assert!(equal || (ours - theirs).abs() <= tolerance, "{what}: {ours} is not FFmpeg's {theirs}");
    }
}

#[test]
fn numbers_are_those_of_ffmpegs_filters() {
    let scratch = Scratch::new();
    // Odd chroma sizes, all subsamplings, more than eight bits.
    for format in ["yuv420p", "yuv422p10le", "yuv444p"] {
        let (video, reference) = clips(&scratch, format);
        let ours = measured(&video, &reference).unwrap();
        let (psnr, psnr_mean) = ffmpeg("psnr", format, &video, &reference);
        let (ssim, ssim_mean) = ffmpeg("ssim", format, &video, &reference);
        assert_eq!((ours.compared, psnr.len(), ssim.len(), ours.pixel_format.as_str()), (8, 8, 8, format));
        for (frame, (psnr, ssim)) in ours.frames.iter().zip(psnr.into_iter().zip(ssim)) {
            assert_near(frame.psnr, psnr, 0.01, format);
            assert_near(frame.ssim, ssim, 1e-4, format);
        }
        assert_near(ours.psnr.mean, psnr_mean, 0.01, format);
        assert_near(ours.ssim.mean, ssim_mean, 1e-4, format);
        println!(
            "{format}: PSNR {:?} (FFmpeg {psnr_mean:?}), SSIM {:?} ({ssim_mean:?})",
            ours.psnr.mean, ours.ssim.mean
        );
        let worst = ours.frames.iter().map(|frame| frame.psnr.y).fold(f32::INFINITY, f32::min);
        assert_eq!(ours.psnr.min.y, worst);
        assert!(!ours.identical && ours.warnings.is_empty() && worst < 40.0, "{:?}", ours.warnings);
    }
}

#[test]
fn the_deeper_of_two_depths_counts() {
    let scratch = Scratch::new();
    let (_, reference) = clips(&scratch, "yuv420p10le");
    let video = scratch.make(&reference, "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -crf 30", "eight.mkv");
    let (ours, theirs) = (measured(&video, &reference).unwrap(), ffmpeg("psnr", "yuv420p10le", &video, &reference));
    assert_eq!(ours.pixel_format, "yuv420p10le");
    assert_near(ours.psnr.mean, theirs.1, 0.01, "8 against 10 bits");
}

#[test]
fn equal_files_are_told_to_be_and_have_no_number_for_infinity() {
    let scratch = Scratch::new();
    let (video, reference) = clips(&scratch, "yuv420p");
    let picture = scratch.make(&video, "-frames:v 1", "picture.png");
    for file in [&reference, &picture] {
        let equal = measured(file, file).unwrap();
        assert!(equal.identical && equal.psnr.min.all.is_infinite());
        assert_eq!((equal.ssim.mean.all, equal.ssim.min.y), (1.0, 1.0));
        let json = serde_json::to_value(&equal).unwrap();
        assert_eq!((&json["psnr"]["mean"]["y"], &json["identical"]), (&serde_json::Value::Null, &true.into()));
    }
    let tiny = scratch.make(&picture, "-vf crop=64:20,format=rgba", "tiny.png");
    let vmaf = compare(&tiny, &tiny, &tool(&scratch, "exit 1"), &mut |_| Ok(())).unwrap();
    let said = vmaf.warnings.join(" ");
    assert!(vmaf.vmaf.is_none() && said.contains("32 pixels or more") && said.contains("Alpha"), "{said}");
    // A picture of the video is nearly its first frame: what differs is rounded colour.
    let near = measured(&picture, &video).unwrap();
    assert!(near.psnr.mean.y > 45.0 && near.compared == 1 && !near.identical, "{:?}", near.psnr);
    assert!(near.warnings.iter().any(|w| w.contains("video is coded as rgb24")), "{:?}", near.warnings);
    assert!(near.warnings.iter().any(|w| w.contains("reference goes on")), "{:?}", near.warnings);
}

#[test]
fn frames_are_compared_by_their_times() {
    let scratch = Scratch::new();
    let (_, reference) = clips(&scratch, "yuv420p");
    let less = "-vf select=not(eq(n\\,3)) -fps_mode passthrough -c:v libx264 -preset ultrafast -qp 0";
    let video = scratch.make(&reference, less, "less.mkv");
    let ours = measured(&video, &reference).unwrap();
    assert_eq!((ours.compared, ours.video.unmatched, ours.reference.unmatched), (7, 0, 1));
    assert!(ours.identical, "paired by number they would not be");
    assert!(ours.warnings[0].contains("7 frames were compared by their times"), "{:?}", ours.warnings);
}

#[test]
fn what_cannot_be_compared_is_refused_with_both_told() {
    let scratch = Scratch::new();
    let (video, reference) = clips(&scratch, "yuv420p");
    let small = scratch.make(&reference, "-vf scale=100:166 -c:v libx264 -preset ultrafast", "small.mkv");
    let error = measured(&small, &reference).unwrap_err();
    assert_eq!(error.code, ErrorCode::InputsInvalid);
    assert!(error.message.contains("100x166") && error.message.contains("198x330"), "{error}");
    let hdr = scratch.make(&video, "-c copy -bsf:v h264_metadata=transfer_characteristics=16", "hdr.mkv");
    let error = measured(&hdr, &reference).unwrap_err();
    assert_eq!(error.code, ErrorCode::InputHdr);
    assert!(error.message.contains("smpte2084"), "{error}");
    let text = scratch.path("text.mp4");
    std::fs::write(&text, "no film").unwrap();
    let error = measured(&video, &text).unwrap_err();
    assert_eq!(error.code, ErrorCode::InputNotMedia);
    assert!(error.message.starts_with("The reference: "), "{error}");
}

/// A tool that does what a line of shell says.
fn tool(scratch: &Scratch, line: &str) -> CompareOptions {
    use std::os::unix::fs::PermissionsExt;
    let path = scratch.path("tool");
    std::fs::write(&path, format!("#!/bin/sh\n{line}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let scratch_dir = scratch.0.path().to_owned();
    let vmaf = VmafOptions { tool: path, scratch_dir, threads: 1, model: VmafOptions::MODEL };
    CompareOptions { threads: 1, vmaf: Some(vmaf), ..CompareOptions::default() }
}

#[test]
fn a_tool_that_fails_is_told_with_its_last_words() {
    let scratch = Scratch::new();
    let (video, reference) = clips(&scratch, "yuv420p");
    for (line, word) in [
        ("echo could not load the model >&2; exit 3", "could not load"),
        ("/bin/cat >/dev/null", "its log cannot be read"),
        (
            "/bin/cat >/dev/null; echo '{\"frames\":[],\"pooled_metrics\":{\"vmaf\":{\"min\":1,\"mean\":1,\"harmonic_mean\":1}}}' >vmaf.json",
            "0 frames of 8",
        ),
    ] {
        let error = compare(&video, &reference, &tool(&scratch, line), &mut |_| Ok(())).unwrap_err();
        assert_eq!(error.code, ErrorCode::Internal);
        assert!(error.message.contains(VMAF_TOOL), "{error}");
        assert!(error.detail.unwrap()["stderr"].as_str().unwrap().contains(word), "{word}");
    }
    let mut missing = tool(&scratch, "");
    missing.vmaf.as_mut().unwrap().tool = scratch.path("nothing");
    let error = compare(&video, &reference, &missing, &mut |_| Ok(())).unwrap_err();
    assert_eq!(error.code, ErrorCode::RuntimeMissing);
    assert!(error.message.contains("darkroom models fetch ffmpeg-vmaf"), "{error}");
}

#[test]
fn a_tool_that_hangs_does_not_hold_a_cancelled_comparison() {
    let scratch = Scratch::new();
    let (video, reference) = clips(&scratch, "yuv420p");
    let options = tool(&scratch, "exec /bin/sleep 1000");
    let (cancel, (tell, told)) = (options.cancel.clone(), crossbeam_channel::bounded(1));
    let canceller = std::thread::spawn(move || {
        told.recv().unwrap();
        cancel.cancel();
    });
    // Two frames wait in the pipe and before it: the next ones cannot go.
    let mut watch = |seen: &Seen<'_>| {
        if seen.scores.frame == 1 {
            tell.send(()).unwrap();
        }
        Ok(())
    };
    assert_eq!(compare(&video, &reference, &options, &mut watch).unwrap_err().code, ErrorCode::Cancelled);
    canceller.join().unwrap();
}

#[test]
fn without_a_pair_there_is_nothing_to_tell() {
    let scratch = Scratch::new();
    let (video, reference) = clips(&scratch, "yuv420p");
    let open = |path: &Path| Reader::open(path, &ReadOptions::default()).unwrap();
    let mut ended = open(&video);
    while ended.next().unwrap().is_some() {}
    // A tool that is not there is not even looked for.
    let nowhere = VmafOptions {
        tool: scratch.path("none"),
        scratch_dir: scratch.path(""),
        threads: 1,
        model: VmafOptions::MODEL,
    };
    let options = CompareOptions { threads: 1, vmaf: Some(nowhere), ..CompareOptions::default() };
    let error = std::thread::scope(|scope| Run::start(scope, ended, open(&reference), &options).err().unwrap());
    assert!(error.code == ErrorCode::InputsInvalid && error.message.contains("same length"), "{error}");
}
