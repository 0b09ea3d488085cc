//! From decoded frames to frames of the result that can be drawn on.

use darkroom_api::{ErrorCode, JobError, Result};
use darkroom_media::colour::{FromRgb, Hdr, ToRgb, alpha_of};
use darkroom_media::{Frame, Pixel, PlaneMut};

use crate::render::{Canvas, Coding, Mode, Pixels, put_side_by_side};

/// How white a drawing is in HDR, as a signal: where diffuse white lies.
const PQ_WHITE: f32 = 0.58;
const HLG_WHITE: f32 = 0.75;

/// How the samples of a format that results have lie in its planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    planes: usize,
    /// Bytes of a pixel in its plane.
    bytes: usize,
    /// Bits of a sample.
    depth: u32,
    /// Halvings of the sides of the second and third plane.
    log2_chroma: u32,
}

impl Layout {
    /// `None` for formats that no result has.
    fn of(format: Pixel) -> Option<Layout> {
        let yuv = |bytes, depth, log2_chroma| Some(Layout { planes: 3, bytes, depth, log2_chroma });
        match format {
            Pixel::YUV420P | Pixel::YUVJ420P => yuv(1, 8, 1),
            Pixel::YUV444P | Pixel::YUVJ444P => yuv(1, 8, 0),
            Pixel::YUV420P10LE => yuv(2, 10, 1),
            Pixel::YUV444P10LE => yuv(2, 10, 0),
            Pixel::RGB24 => Some(Layout { planes: 1, bytes: 3, depth: 8, log2_chroma: 0 }),
            Pixel::RGBA => Some(Layout { planes: 1, bytes: 4, depth: 8, log2_chroma: 0 }),
            _ => None,
        }
    }

    /// Columns or rows of a plane.
    fn side(self, plane: usize, side: usize) -> usize {
        if plane == 0 { side } else { side.div_ceil(1 << self.log2_chroma) }
    }
}

/// Makes frames of the result, with the original in them, for one run.
pub struct Painter {
    mode: Mode,
    to_rgb: ToRgb,
    from_rgb: FromRgb,
    /// A frame's colour, and its alpha, on their way from one format to another.
    colour: Vec<f32>,
    alpha: Vec<f32>,
    /// The original in the result's format, where it stands beside the drawn one.
    narrow: Option<Frame>,
}

impl Painter {
    /// For frames of so many bits a component.
    pub fn new(mode: Mode, hdr: Hdr, dither: bool) -> Painter {
        Painter {
            mode,
            to_rgb: ToRgb::new(hdr),
            from_rgb: FromRgb::new(dither),
            colour: Vec::new(),
            alpha: Vec::new(),
            narrow: None,
        }
    }

    /// Puts a decoded frame into one of the result's kind, once or, side by side, twice. Samples are copied where the kinds are
    /// alike.
    ///
    /// # Errors
    /// Those of [`ToRgb::convert`] and [`FromRgb::convert`].
    pub fn lay(&mut self, original: &Frame, result: &mut Frame) -> Result<()> {
        let layout = layout(result)?;
        let alike = Layout::of(original.format()) == Some(layout) && original.colour() == result.colour();
        if alike {
            return self.copy(original, result, layout);
        }
        if self.mode != Mode::SideBySide {
            return self.convert(original, result);
        }
        let mut narrow = match self.narrow.take() {
            Some(narrow) => narrow,
            None => Frame::new(result.format(), original.width(), original.height())?,
        };
        narrow.set_colour(result.colour());
        self.convert(original, &mut narrow)?;
        self.copy(&narrow, result, layout)?;
        self.narrow = Some(narrow);
        Ok(())
    }

    fn copy(&self, from: &Frame, to: &mut Frame, layout: Layout) -> Result<()> {
        let (width, drawn_from) = (from.width() as usize, self.mode.drawn_from_px(from.width()) as usize);
        let mut planes = to.planes_mut();
        for (index, to) in planes.iter_mut().enumerate().take(layout.planes) {
            let from = from.plane(index).ok_or_else(|| unpaintable("has too few planes"))?;
            let bytes = layout.side(index, width) * layout.bytes;
            if self.mode == Mode::SideBySide {
                let right = layout.side(index, drawn_from) * layout.bytes;
                put_side_by_side(from.data, from.stride, to, bytes, right, layout.bytes);
                continue;
            }
            for (from, to) in from.data.chunks(from.stride).zip(to.data.chunks_mut(to.stride)) {
                let bytes = bytes.min(from.len()).min(to.len());
                to[..bytes].copy_from_slice(&from[..bytes]);
            }
        }
        Ok(())
    }

    fn convert(&mut self, from: &Frame, to: &mut Frame) -> Result<()> {
        let pixels = from.width() as usize * from.height() as usize;
        self.colour.resize(3 * pixels, 0.0);
        self.to_rgb.convert(from, &mut self.colour)?;
        let mut alpha = None;
        if to.format() == Pixel::RGBA {
            self.alpha.resize(pixels, 1.0);
            alpha = alpha_of(from, &mut self.alpha).then_some(&self.alpha[..]);
        }
        self.from_rgb.convert(&self.colour, alpha, to)
    }
}

/// What is drawn on of a result's frame: all of it or, side by side, its right half.
///
/// # Errors
/// `internal` for frames that no result has.
pub fn canvas(frame: &mut Frame, mode: Mode, original_width_px: u32) -> Result<Canvas<'_>> {
    let layout = layout(frame)?;
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    let coding = coding(frame, layout)?;
    let mut planes = frame.planes_mut().into_iter();
    let mut next = || planes.next().ok_or_else(|| unpaintable("has too few planes"));
    let pixels = if layout.planes == 1 {
        Pixels::Rgb { plane: next()?, channels: layout.bytes }
    } else {
        let luma = next()?;
        let chroma: [PlaneMut<'_>; 2] = [next()?, next()?];
        Pixels::Yuv { luma, chroma: Some(chroma), coding }
    };
    let canvas = Canvas::new(width, height, pixels)?;
    let from = mode.drawn_from_px(original_width_px) as usize;
    if from == 0 { Ok(canvas) } else { canvas.from_column(from) }
}

fn coding(frame: &Frame, layout: Layout) -> Result<Coding> {
    let colour = frame.colour();
    let (kr, kb) = colour.luma_weights()?;
    let white = match colour.names().transfer.as_str() {
        "smpte2084" => PQ_WHITE,
        "arib-std-b67" => HLG_WHITE,
        _ => 1.0,
    };
    Ok(Coding {
        kr,
        kb,
        full_range: colour.is_full_range(),
        depth: layout.depth,
        log2_chroma_w: layout.log2_chroma,
        log2_chroma_h: layout.log2_chroma,
        // Where a writer's frames have it.
        cosited: true,
        white,
    })
}

fn layout(frame: &Frame) -> Result<Layout> {
    Layout::of(frame.format()).ok_or_else(|| unpaintable("is of a kind that is not drawn on"))
}

fn unpaintable(why: &str) -> JobError {
    JobError::new(ErrorCode::Internal, format!("A frame of the result {why}. This is a fault: report it."))
}
