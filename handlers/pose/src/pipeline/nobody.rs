//! A video in which nobody is: it comes back as it was.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::Path;

use darkroom_api::{JobContext, Limits, MediaKind, OutputFile, Result};
use darkroom_media::probe::probe;

use super::files::unwritable;

/// FFmpeg's names of containers, the endings that their files have (the usual one first), and their media types.
const CONTAINERS: [(&str, &[&str], &str); 20] = [
    ("mov,mp4,m4a,3gp,3g2,mj2", &["mp4", "mov", "m4v", "3gp", "3g2", "heic", "heif", "avif"], "video/mp4"),
    ("matroska,webm", &["mkv", "webm"], "video/x-matroska"),
    ("avi", &["avi"], "video/x-msvideo"),
    ("mpegts", &["ts", "mts", "m2ts"], "video/mp2t"),
    ("mpeg", &["mpg", "mpeg", "vob"], "video/mpeg"),
    ("mpegvideo", &["mpg", "m1v", "m2v"], "video/mpeg"),
    ("flv", &["flv"], "video/x-flv"),
    ("live_flv", &["flv"], "video/x-flv"),
    ("ogg", &["ogv", "ogg"], "video/ogg"),
    ("asf", &["wmv", "asf"], "video/x-ms-asf"),
    ("mxf", &["mxf"], "application/mxf"),
    ("gif", &["gif"], "image/gif"),
    ("apng", &["png", "apng"], "image/apng"),
    ("png_pipe", &["png"], "image/png"),
    ("jpeg_pipe", &["jpg", "jpeg"], "image/jpeg"),
    ("webp_pipe", &["webp"], "image/webp"),
    ("bmp_pipe", &["bmp"], "image/bmp"),
    ("tiff_pipe", &["tif", "tiff"], "image/tiff"),
    ("jpegxl_pipe", &["jxl"], "image/jxl"),
    ("j2k_pipe", &["jp2", "j2k"], "image/jp2"),
];
/// Endings that say more than their container does.
const OWN_TYPES: [(&str, &str); 5] = [
    ("webm", "video/webm"),
    ("mov", "video/quicktime"),
    ("heic", "image/heic"),
    ("heif", "image/heif"),
    ("avif", "image/avif"),
];

/// Copies the input to the outputs, under its own ending where that fits what it is.
///
/// # Errors
/// Those of [`probe`], and [`darkroom_api::ErrorCode::ScratchFull`].
pub fn give_back(ctx: &JobContext, input: &Path) -> Result<OutputFile> {
    let container = probe(input, &[MediaKind::Video, MediaKind::Image], &Limits::default())?.container;
    let (ending, media_type) = ending(&container, input);
    let name = format!("overlay.{ending}");
    // Not `fs::copy`: that sets permissions, which the worker's sandbox denies.
    let copy = || io::copy(&mut File::open(input)?, &mut File::create(ctx.output_dir.join(&name))?);
    copy().map_err(|e| unwritable(&name, &e))?;
    Ok(OutputFile { name, media_type: media_type.to_owned() })
}

fn ending(container: &str, input: &Path) -> (&'static str, &'static str) {
    let Some((_, endings, media_type)) = CONTAINERS.iter().find(|(name, ..)| *name == container) else {
        return ("bin", "application/octet-stream");
    };
    let own = input.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
    let ending = endings.iter().find(|ending| Some(**ending) == own.as_deref()).unwrap_or(&endings[0]);
    let own_type = OWN_TYPES.iter().find(|(own, _)| own == ending).map(|(_, media_type)| *media_type);
    (ending, own_type.unwrap_or(media_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_is_the_files_own_where_it_is_true() {
        let told = |container, name: &str| ending(container, Path::new(name));
        assert_eq!(told("mov,mp4,m4a,3gp,3g2,mj2", "a/b.MOV"), ("mov", "video/quicktime"));
        assert_eq!(told("mov,mp4,m4a,3gp,3g2,mj2", "b.avi"), ("mp4", "video/mp4"));
        assert_eq!(told("matroska,webm", "b.webm"), ("webm", "video/webm"));
        assert_eq!(told("jpeg_pipe", "b"), ("jpg", "image/jpeg"));
        assert_eq!(told("nut", "b.nut"), ("bin", "application/octet-stream"));
    }
}
