//! What a composite lies over: a colour, a picture or a video.

use std::ops::Range;
use std::path::Path;

use darkroom_api::{CancelToken, ErrorCode, JobError, Result};
use darkroom_media::colour::{Hdr, ToRgb};
use darkroom_media::{ReadOptions, Reader, VideoInfo};
use fast_image_resize::images::TypedImage;
use fast_image_resize::pixels::F32;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

use crate::Rgb;

const CHANNELS: usize = 3;
/// Times of the two files are in different units: what is due within this is due now.
const ROUNDING_SECS: f64 = 0.0005;

/// A background at the size of the frames that lie over it.
pub enum Background {
    /// One colour.
    Colour([f32; CHANNELS]),
    /// A picture or a video.
    Moving(Box<Moving>),
}

/// A video behind a video: the frame that is due, filling the picture (what sticks out is cut off), from the start again
/// when it ends. A picture is a video of one frame.
pub struct Moving {
    reader: Reader,
    reopen: Box<dyn FnMut() -> Result<Reader> + Send>,
    /// Seconds of the foreground at which this round of the background began.
    round_secs: f64,
    /// The frame after the one in `planes`, with the seconds of its round at which it is due.
    next: Option<(f64, darkroom_media::Frame)>,
    still: bool,
    last_secs: f64,
    to_rgb: ToRgb,
    fit: Fit,
    planes: Vec<f32>,
}

impl Background {
    /// A colour.
    pub fn colour(Rgb(rgb): Rgb) -> Background {
        Background::Colour(rgb.map(|value| f32::from(value) / 255.0))
    }

    /// A file, fitted to frames of that size.
    ///
    /// # Errors
    /// The `input-*` codes of reading it.
    pub fn file(path: &Path, size: &VideoInfo, hdr: Hdr, cancel: &CancelToken) -> Result<Background> {
        let path = path.to_owned();
        let options = ReadOptions { cancel: cancel.clone(), ..ReadOptions::default() };
        let reopen = Box::new(move || Reader::open(&path, &options));
        let reader = reopen()?;
        let fit = Fit::new(reader.info(), size.width_px, size.height_px);
        let mut moving = Moving {
            reader,
            reopen,
            round_secs: 0.0,
            next: None,
            still: false,
            last_secs: 0.0,
            to_rgb: ToRgb::new(hdr),
            planes: vec![0.0; CHANNELS * size.width_px as usize * size.height_px as usize],
            fit,
        };
        let Some(first) = moving.reader.next()? else {
            return Err(JobError::new(ErrorCode::InputCorrupt, "The background has no picture: name another file."));
        };
        moving.show(&first)?;
        moving.still = !moving.look_ahead()?;
        Ok(Background::Moving(Box::new(moving)))
    }

    /// Lays rows of a matte over the background as it is at that moment, in place of their foreground.
    ///
    /// # Errors
    /// Those of reading the background.
    pub fn under(&mut self, secs: f64, rows: Range<usize>, foreground: &mut [f32], alpha: &[f32]) -> Result<()> {
        let (pixels, width) = (alpha.len(), alpha.len() / rows.len().max(1));
        match self {
            Background::Colour(colour) => {
                for (plane, value) in foreground.chunks_exact_mut(pixels).zip(*colour) {
                    for (front, a) in plane.iter_mut().zip(alpha) {
                        *front = *front * a + value * (1.0 - a);
                    }
                }
            }
            Background::Moving(moving) => {
                moving.advance(secs)?;
                let behind = moving.planes.chunks_exact(moving.planes.len() / CHANNELS);
                for (plane, behind) in foreground.chunks_exact_mut(pixels).zip(behind) {
                    let behind = &behind[rows.start * width..rows.end * width];
                    for ((front, back), a) in plane.iter_mut().zip(behind).zip(alpha) {
                        *front = *front * a + back * (1.0 - a);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Moving {
    /// Shows the last frame that is due at `secs` of the foreground.
    fn advance(&mut self, secs: f64) -> Result<()> {
        if self.still {
            return Ok(());
        }
        let mut due = None;
        loop {
            match self.next.take() {
                Some((at, frame)) if self.round_secs + at <= secs + ROUNDING_SECS => {
                    due = Some(frame);
                    if !self.look_ahead()? {
                        self.restart()?;
                    }
                }
                other => {
                    self.next = other;
                    break;
                }
            }
        }
        due.map_or(Ok(()), |frame| self.show(&frame))
    }

    /// Reads the next frame of this round; `false` at its end.
    fn look_ahead(&mut self) -> Result<bool> {
        let Some(frame) = self.reader.next()? else { return Ok(false) };
        let info = self.reader.info();
        #[allow(clippy::cast_precision_loss, reason = "seconds fit a float")]
        let secs = (frame.pts() - info.start_pts) as f64 * f64::from(info.time_base);
        self.last_secs = secs;
        self.next = Some((secs, frame));
        Ok(true)
    }

    /// Begins the next round, one frame's time after the last frame.
    fn restart(&mut self) -> Result<()> {
        // Bounded, so that a file of absurd times cannot make a frame of ours cost thousands of rounds.
        self.round_secs += self.last_secs + (1.0 / self.reader.info().fps()).clamp(1.0 / 240.0, 1.0);
        self.reader = (self.reopen)()?;
        self.look_ahead().map(drop)
    }

    fn show(&mut self, frame: &darkroom_media::Frame) -> Result<()> {
        let values = CHANNELS * frame.width() as usize * frame.height() as usize;
        self.fit.colour.resize(values, 0.0);
        self.to_rgb.convert(frame, &mut self.fit.colour)?;
        self.fit.fill(&mut self.planes)
    }
}

/// Scales planes to fill another size.
struct Fit {
    colour: Vec<f32>,
    from: TypedImage<'static, F32>,
    to: TypedImage<'static, F32>,
    resizer: Resizer,
}

impl Fit {
    fn new(from: &VideoInfo, width_px: u32, height_px: u32) -> Fit {
        Fit {
            colour: Vec::new(),
            from: TypedImage::new(from.width_px, from.height_px),
            to: TypedImage::new(width_px, height_px),
            resizer: Resizer::new(),
        }
    }

    fn fill(&mut self, planes: &mut [f32]) -> Result<()> {
        let options =
            ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).fit_into_destination(None);
        let (from_pixels, to_pixels) = (self.colour.len() / CHANNELS, planes.len() / CHANNELS);
        for (source, target) in self.colour.chunks_exact(from_pixels).zip(planes.chunks_exact_mut(to_pixels)) {
            for (pixel, value) in self.from.pixels_mut().iter_mut().zip(source) {
                pixel.0 = *value;
            }
            self.resizer
                .resize_typed(&self.from, &mut self.to, &options)
                .map_err(|e| JobError::new(ErrorCode::Internal, format!("The background cannot be scaled: {e}.")))?;
            for (value, pixel) in target.iter_mut().zip(self.to.pixels()) {
                *value = pixel.0;
            }
        }
        Ok(())
    }
}
