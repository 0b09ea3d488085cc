//! Pictures to draw on: planes of a decoded frame.

use darkroom_api::{ErrorCode, JobError, Result};
use darkroom_media::PlaneMut;

/// How luma and colour differences are coded: ITU-T H.273's numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coding {
    /// Luma's weight of red, e.g. 0.2126.
    pub kr: f32,
    /// Luma's weight of blue, e.g. 0.0722.
    pub kb: f32,
    /// Whether black is 0 and white the highest code.
    pub full_range: bool,
    /// Bits of a sample, 8 to 16; above 8 they are words with the lower byte first.
    pub depth: u32,
    /// Halvings of the colour planes' width: 1 for 4:2:0 and 4:2:2.
    pub log2_chroma_w: u32,
    /// Halvings of their height: 1 for 4:2:0.
    pub log2_chroma_h: u32,
    /// Whether colour samples stand at every even column (MPEG-2 and later), not between two (JPEG). Between rows they
    /// are taken to stand in the middle.
    pub cosited: bool,
    /// What a drawn white is as a signal: 1, or where diffuse white lies in HDR (0.58 for PQ, 0.75 for HLG).
    pub white: f32,
}

/// Where the samples are.
#[derive(Debug)]
pub enum Pixels<'a> {
    /// Luma and, unless the picture is grey, two colour differences, each a plane.
    Yuv {
        /// Luma.
        luma: PlaneMut<'a>,
        /// Cb and Cr.
        chroma: Option<[PlaneMut<'a>; 2]>,
        /// Their coding.
        coding: Coding,
    },
    /// Red, green, blue and maybe alpha (left alone), 8 bits each, one after the other.
    Rgb {
        /// The pixels.
        plane: PlaneMut<'a>,
        /// 3 or 4.
        channels: usize,
    },
}

/// A picture to draw on.
#[derive(Debug)]
pub struct Canvas<'a> {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) pixels: Pixels<'a>,
}

impl<'a> Canvas<'a> {
    /// A picture of that size.
    ///
    /// # Errors
    /// `internal` when the planes are too short for it or the coding is none that can be drawn on.
    pub fn new(width: usize, height: usize, pixels: Pixels<'a>) -> Result<Canvas<'a>> {
        let fits = |plane: &PlaneMut<'_>, bytes: usize, rows: usize| {
            plane.stride >= bytes && plane.data.len() >= plane.stride * rows.saturating_sub(1) + bytes.min(rows * bytes)
        };
        let sound = match &pixels {
            Pixels::Rgb { plane, channels } => (3..=4).contains(channels) && fits(plane, width * channels, height),
            Pixels::Yuv { luma, chroma, coding } => {
                let bytes = coding.sample_bytes();
                let (w, h) = (coding.chroma_width(width), coding.chroma_height(height));
                coding.is_sound()
                    && fits(luma, width * bytes, height)
                    && chroma.iter().flatten().all(|plane| fits(plane, w * bytes, h))
            }
        };
        if sound {
            Ok(Canvas { width, height, pixels })
        } else {
            Err(JobError::new(ErrorCode::Internal, format!("A frame of {width}x{height} pixels cannot be drawn on.")))
        }
    }

    /// The columns from an even one on, as a picture of its own: the drawn half of two pictures side by side.
    ///
    /// # Errors
    /// `internal` when it does not begin at a whole colour sample inside the picture.
    pub fn from_column(self, column: usize) -> Result<Canvas<'a>> {
        if column >= self.width {
            return Err(JobError::new(ErrorCode::Internal, "A picture ends before its drawn half."));
        }
        let skip = |plane: PlaneMut<'a>, bytes: usize| {
            let bytes = bytes.min(plane.data.len());
            PlaneMut { data: &mut plane.data[bytes..], stride: plane.stride }
        };
        let pixels = match self.pixels {
            Pixels::Rgb { plane, channels } => Pixels::Rgb { plane: skip(plane, column * channels), channels },
            Pixels::Yuv { luma, chroma, coding } => {
                if !column.is_multiple_of(1 << coding.log2_chroma_w) {
                    return Err(JobError::new(ErrorCode::Internal, "A drawn half begins within a colour sample."));
                }
                let bytes = column * coding.sample_bytes();
                let chroma = chroma.map(|planes| planes.map(|plane| skip(plane, bytes >> coding.log2_chroma_w)));
                Pixels::Yuv { luma: skip(luma, bytes), chroma, coding }
            }
        };
        Ok(Canvas { width: self.width - column, height: self.height, pixels })
    }

    /// Pictures of `rows` rows each (an even number; fewer in the last), from the top: they share no byte, so that threads
    /// can draw on them at once.
    pub(super) fn bands(&mut self, rows: usize) -> Vec<Canvas<'_>> {
        let (width, height) = (self.width, self.height);
        let heights = (0..height.div_ceil(rows)).map(|band| rows.min(height - band * rows));
        match &mut self.pixels {
            Pixels::Rgb { plane, channels } => {
                let (stride, channels) = (plane.stride, *channels);
                let planes = plane.data.chunks_mut((stride * rows).max(1));
                let pixels = planes.map(|data| Pixels::Rgb { plane: PlaneMut { data, stride }, channels });
                heights.zip(pixels).map(|(height, pixels)| Canvas { width, height, pixels }).collect()
            }
            Pixels::Yuv { luma, chroma, coding } => {
                let coding = *coding;
                let chroma_rows = rows >> coding.log2_chroma_h;
                let mut chroma = chroma.as_mut().map(|planes| {
                    let [u, v] = planes.each_mut();
                    let (u_stride, v_stride) = (u.stride, v.stride);
                    let u = u.data.chunks_mut((u_stride * chroma_rows).max(1));
                    let v = v.data.chunks_mut((v_stride * chroma_rows).max(1));
                    u.zip(v).map(move |(u, v)| {
                        [PlaneMut { data: u, stride: u_stride }, PlaneMut { data: v, stride: v_stride }]
                    })
                });
                let stride = luma.stride;
                let lumas = luma.data.chunks_mut((stride * rows).max(1));
                let pixels = lumas.map(|data| Pixels::Yuv {
                    luma: PlaneMut { data, stride },
                    chroma: chroma.as_mut().and_then(Iterator::next),
                    coding,
                });
                heights.zip(pixels).map(|(height, pixels)| Canvas { width, height, pixels }).collect()
            }
        }
    }
}

impl Coding {
    fn is_sound(&self) -> bool {
        let weights = self.kr > 0.0 && self.kb > 0.0 && self.kr + self.kb < 1.0;
        weights && (8..=16).contains(&self.depth) && self.log2_chroma_w <= 1 && self.log2_chroma_h <= 1
    }

    /// Bytes of a sample.
    pub(super) fn sample_bytes(&self) -> usize {
        if self.depth > 8 { 2 } else { 1 }
    }

    /// Columns of the colour planes of a picture.
    pub(super) fn chroma_width(&self, width: usize) -> usize {
        width.div_ceil(1 << self.log2_chroma_w)
    }

    /// Rows of the colour planes of a picture.
    pub(super) fn chroma_height(&self, height: usize) -> usize {
        height.div_ceil(1 << self.log2_chroma_h)
    }

    /// Luma's weights of red, green and blue, and what turns B-Y and R-Y into Cb and Cr.
    pub(super) fn factors(&self) -> [f32; 5] {
        [self.kr, 1.0 - self.kr - self.kb, self.kb, 0.5 / (1.0 - self.kb), 0.5 / (1.0 - self.kr)]
    }

    /// Code of a luma of 0 to 1: factor and what is added.
    pub(super) fn luma_codes(&self) -> [f32; 2] {
        let unit = (1_u32 << (self.depth - 8)) as f32;
        if self.full_range { [self.highest(), 0.0] } else { [219.0 * unit, 16.0 * unit] }
    }

    /// Code of a colour difference of -0.5 to 0.5.
    pub(super) fn chroma_codes(&self) -> [f32; 2] {
        let unit = (1_u32 << (self.depth - 8)) as f32;
        [if self.full_range { self.highest() } else { 224.0 * unit }, 128.0 * unit]
    }

    /// The highest code.
    pub(super) fn highest(&self) -> f32 {
        ((1_u32 << self.depth) - 1) as f32
    }
}
