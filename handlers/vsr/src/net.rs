//! What a model is, found out by looking at its description and by trying it.
//!
//! Any ONNX file that makes a larger picture of a picture will do: one input `[n, c, h, w]`, c being 3 (red, green, blue) or 1
//! (luma), in f32 or f16, of a fixed size or any. What the file does not say is tried on small pictures: the scale, the sizes it
//! takes, whether white is 1 or 255, and the memory it needs.

use std::time::{Duration, Instant};

use darkroom_api::{CancelToken, ErrorCode, JobError, Result};
use darkroom_inference::ort::session::{Session, SessionInputValue};
use darkroom_inference::ort::value::{TensorElementType, TensorRef};
use darkroom_inference::{Device, PooledSession, TensorInfo, ort, peak_bytes, signature};
use half::f16;
use half::slice::HalfFloatSliceExt;
use half::vec::HalfFloatVecExt;

/// Sides must be multiples of one of these.
const GRAINS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
/// Shortest side of a picture that is tried.
const TRIAL_PX: usize = 64;
/// A longer trial tells the memory more exactly; it is made where the short one took less than this.
const QUICK: Duration = Duration::from_millis(60);
/// Largest scale.
const MAX_SCALE: usize = 8;
/// Mean difference of the trial's result and its enlarged picture from which on they are different pictures.
const MAX_ERROR: f32 = 0.2;
/// Less than this a pixel no model takes: its input and its result.
const MIN_BYTES_A_PIXEL: u64 = 64;
/// Assumed where ONNX Runtime does not count: three times SPAN's, as deeper networks need.
const UNCOUNTED_BYTES_A_PIXEL: u64 = 3000;
/// How a refusal begins.
const REFUSED: &str = "The model does not enlarge pictures";

/// A model that enlarges pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct Net {
    pub(crate) input: String,
    pub(crate) output: String,
    pub(crate) half_in: bool,
    pub(crate) half_out: bool,
    /// 3 for red, green and blue, 1 for luma.
    pub channels: usize,
    /// How many times longer each side becomes.
    pub scale: usize,
    /// Sides must be multiples of it.
    pub grain: usize,
    /// The only size it takes: width and height.
    pub fixed: Option<(usize, usize)>,
    /// Whether it takes several pictures a call.
    pub takes_several: bool,
    /// What it takes for white.
    pub white: f32,
    /// Memory of a call, per pixel of its input.
    pub bytes_a_pixel: u64,
    /// Time of a call, per pixel of its input.
    pub secs_a_pixel: f64,
}

impl Net {
    /// Looks at a model and tries it, in a session that has done nothing yet: what it needs shows in its memory.
    ///
    /// # Errors
    /// [`ErrorCode::ModelInvalid`] with what was found, for a model that does something else; `cancelled`.
    pub fn inspect(session: &mut PooledSession<'_>, cancel: &CancelToken) -> Result<Net> {
        let mut net = Net::described(session).map_err(|why| refuse(session, &why))?;
        net.try_sizes(session, cancel)?;
        cancel.check()?;
        net.find_white(session)?;
        Ok(net)
    }

    /// What the file says.
    fn described(session: &Session) -> Result<Net, String> {
        let [input] = session.inputs() else {
            return Err(format!("it has {} inputs where a picture is the only one", session.inputs().len()));
        };
        let input = TensorInfo::from(input);
        let half_in = is_half(&input).ok_or("its input is neither f32 nor f16")?;
        let [batch, channels, height, width] = input.dims[..] else {
            return Err("its input has not the four dimensions [n, c, h, w]".into());
        };
        let channels = match channels {
            Some(3) | None => 3,
            Some(1) => 1,
            Some(other) => return Err(format!("its input has {other} channels in place of 3 or 1")),
        };
        let usize_of = |side: u64| usize::try_from(side).ok().filter(|side| (1..=16_384).contains(side));
        let fixed = match (width, height) {
            (None, None) => None,
            (Some(width), Some(height)) => {
                let sides = usize_of(width).zip(usize_of(height));
                Some(sides.ok_or_else(|| format!("its input is {width}x{height}"))?)
            }
            _ => return Err("one side of its input is fixed and the other is not".into()),
        };
        if batch.is_some_and(|batch| batch != 1) {
            return Err("it takes several pictures a call and no fewer".into());
        }
        let output = session.outputs().iter().map(TensorInfo::from).find(|output| output.dims.len() == 4);
        let output = output.ok_or("no output is a picture [n, c, h, w]")?;
        let half_out = is_half(&output).ok_or("its output is neither f32 nor f16")?;
        let (input, output) = (input.name, output.name);
        let takes_several = batch.is_none();
        Ok(Net {
            input,
            output,
            half_in,
            half_out,
            channels,
            scale: 1,
            grain: 1,
            fixed,
            takes_several,
            white: 1.0,
            bytes_a_pixel: MIN_BYTES_A_PIXEL,
            secs_a_pixel: 0.0,
        })
    }

    /// Finds the scale, the sizes it takes and the memory it needs.
    fn try_sizes(&mut self, session: &mut PooledSession<'_>, cancel: &CancelToken) -> Result<()> {
        let in_use = |session: &PooledSession<'_>| peak_bytes(session, session.device());
        // Read once: what a size that failed has needed counts for those that come after it.
        let before = in_use(session).unwrap_or(0);
        let grains = if self.fixed.is_some() { &GRAINS[..1] } else { &GRAINS[..] };
        let mut failure = None;
        for &grain in grains {
            cancel.check()?;
            // Multiples of the grain and of nothing larger.
            let size = self.fixed.unwrap_or((TRIAL_PX + grain, TRIAL_PX + 3 * grain));
            match self.try_size(session, size) {
                Ok(pixels) => {
                    self.grain = grain;
                    let grown = in_use(session).map(|peak| peak.saturating_sub(before) / pixels as u64);
                    self.bytes_a_pixel = grown.unwrap_or(UNCOUNTED_BYTES_A_PIXEL).max(MIN_BYTES_A_PIXEL);
                    // Of no use on a CPU, and of a large fixed size long.
                    let of_use = self.fixed.is_none() || session.device() != Device::Cpu;
                    self.takes_several &= of_use && self.try_two(session, size);
                    let Net { scale, bytes_a_pixel, secs_a_pixel, .. } = self;
                    tracing::debug!(scale, grain, bytes_a_pixel, secs_a_pixel, "tried a model");
                    return Ok(());
                }
                Err(error) if error.code == ErrorCode::ModelInvalid || error.code == ErrorCode::Internal => {
                    failure = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        let failure = failure.map_or_else(|| "it takes no size that was tried".to_owned(), |error| error.message);
        if failure.starts_with(REFUSED) {
            return Err(JobError::new(ErrorCode::ModelInvalid, failure));
        }
        Err(refuse(session, &format!("it runs on no picture that was tried ({failure})")))
    }

    /// Whether it takes two pictures a call: a file's word for it is often wrong.
    fn try_two(&self, session: &mut PooledSession<'_>, (width, height): (usize, usize)) -> bool {
        let two = vec![0.5; 2 * self.channels * width * height];
        let shape = self.run(session, 2, (width, height), &two, |shape, _| shape);
        shape.is_ok_and(|shape| shape == (2, self.channels, height * self.scale, width * self.scale))
    }

    /// Tries a size, and a longer one where that is quick; tells the pixels of the longest.
    fn try_size(&mut self, session: &mut PooledSession<'_>, size: (usize, usize)) -> Result<usize> {
        let (width, height) = size;
        let mut started = Instant::now();
        let shape = self.trial(session, size, 0.5)?;
        let mut pixels = width * height;
        let scale = (shape.3 / width, shape.2 / height);
        if (shape.2, shape.3) != (scale.0 * height, scale.0 * width) || shape.1 != self.channels || scale.0 != scale.1 {
            let why =
                format!("of {width}x{height} it makes {}x{}x{}: no whole-number scale", shape.3, shape.2, shape.1);
            return Err(refuse(session, &why));
        }
        if !(2..=MAX_SCALE).contains(&scale.0) {
            let why = format!("of {width}x{height} it makes {}x{}, which is {} times", shape.3, shape.2, scale.0);
            return Err(refuse(session, &format!("{why}: 2 to {MAX_SCALE} times is what is asked")));
        }
        self.scale = scale.0;
        if self.fixed.is_none() && started.elapsed() < QUICK {
            let longer = (2 * width, 2 * height);
            started = Instant::now();
            self.trial(session, longer, 0.5)?;
            pixels = longer.0 * longer.1;
        }
        #[allow(clippy::cast_precision_loss, reason = "a rate")]
        let secs = started.elapsed().as_secs_f64() / pixels as f64;
        self.secs_a_pixel = secs;
        Ok(pixels)
    }

    /// Runs it on a grey picture and tells the shape of what comes out: n, c, h, w.
    fn trial(
        &self,
        session: &mut PooledSession<'_>,
        (width, height): (usize, usize),
        grey: f32,
    ) -> Result<(usize, usize, usize, usize)> {
        let picture = vec![grey; self.channels * width * height];
        self.run(session, 1, (width, height), &picture, |shape, _| shape)
    }

    /// Finds out whether white is 1 or 255: a net of residuals adds what is small in its own range, and makes noise of a
    /// picture in the other one.
    fn find_white(&mut self, session: &mut PooledSession<'_>) -> Result<()> {
        let side = TRIAL_PX.next_multiple_of(self.grain);
        let (width, height) = self.fixed.unwrap_or((side, side));
        let mut error = |white: f32| -> Result<f32> {
            let picture: Vec<f32> = pattern(self.channels, (width, height), 1.0).map(|v| v * white).collect();
            self.run(session, 1, (width, height), &picture, |_, out| {
                #[allow(clippy::cast_precision_loss, reason = "small numbers")]
                let (scale, count) = (self.scale as f32, out.len() as f32);
                let size = (self.scale * width, self.scale * height);
                let wanted = pattern(self.channels, size, scale);
                let sum: f32 = wanted.zip(out).map(|(wanted, found)| (found / white - wanted).abs()).sum();
                sum / count
            })
        };
        let (unit, byte) = (error(1.0)?, error(255.0)?);
        // A clear vote only: nearly all nets take 1.
        let (white, error) = if byte < 0.5 * unit { (255.0, byte) } else { (1.0, unit) };
        if error.is_nan() || error > MAX_ERROR {
            let why = format!("its output does not look like its input (mean difference {error:.2})");
            return Err(refuse(session, &why));
        }
        self.white = white;
        Ok(())
    }

    /// One call: `count` pictures of `[c, h, w]`, one after the other, to `read` with their shape and values.
    ///
    /// # Errors
    /// [`ErrorCode::OutOfMemory`], and those of ONNX Runtime.
    pub fn run<T>(
        &self,
        session: &mut PooledSession<'_>,
        count: usize,
        (width, height): (usize, usize),
        pictures: &[f32],
        read: impl FnOnce((usize, usize, usize, usize), &[f32]) -> T,
    ) -> Result<T> {
        let shape = [count, self.channels, height, width];
        let halves: Vec<f16> = if self.half_in { Vec::from_f32_slice(pictures) } else { Vec::new() };
        session.call(|session| {
            let input: SessionInputValue<'_> = if self.half_in {
                TensorRef::from_array_view((shape, &halves[..]))?.into()
            } else {
                TensorRef::from_array_view((shape, pictures))?.into()
            };
            let outputs = session.run(vec![(self.input.as_str(), input)])?;
            let lacks = || ort::Error::new(format!("no output `{}`", self.output));
            let output = outputs.get(&self.output).ok_or_else(lacks)?;
            if self.half_out {
                let (shape, values) = output.try_extract_tensor::<f16>()?;
                return Ok(read(four(shape), &values.to_f32_vec()));
            }
            let (shape, values) = output.try_extract_tensor::<f32>()?;
            Ok(read(four(shape), values))
        })
    }

    /// How far, in pixels of the input, a change reaches into the result: how much neighbouring tiles must overlap to be
    /// as one. Measured where noise is cut that goes on, or ends in black, or in white, for that shows a model which looks at
    /// the whole picture; `None` where it reaches further than `most`.
    ///
    /// # Errors
    /// As [`Net::run`]; `cancelled`.
    pub fn reach(&self, session: &mut PooledSession<'_>, most: usize, cancel: &CancelToken) -> Result<Option<usize>> {
        let mut furthest = 0;
        for across in [true, false] {
            let strip = Strip::new(self, most, across);
            let (cut, cut_out) = strip.through(self, session, None)?;
            for rest in [Rest::Noise, Rest::Grey(0.0), Rest::Grey(1.0)] {
                cancel.check()?;
                let (whole, whole_out) = strip.through(self, session, Some(rest))?;
                let first = strip.first_difference(self, (whole, &whole_out), (cut, &cut_out));
                let reach = strip.cut - first;
                if reach == strip.cut {
                    return Ok(None);
                }
                furthest = furthest.max(reach);
            }
        }
        Ok(Some(furthest))
    }
}

/// What a picture goes on with where another is cut.
#[derive(Debug, Clone, Copy)]
enum Rest {
    Noise,
    Grey(f32),
}

/// Noise in a strip, to be cut in the middle.
struct Strip {
    /// The same noise each time, plane by plane.
    noise: Vec<f32>,
    length: usize,
    breadth: usize,
    cut: usize,
    /// Whether it lies, or stands.
    across: bool,
}

impl Strip {
    fn new(net: &Net, most: usize, across: bool) -> Strip {
        let [length, cut, breadth] = [2 * most, most, TRIAL_PX].map(|side| side.next_multiple_of(net.grain));
        Strip { noise: noise(net.channels * length * breadth), length, breadth, cut, across }
    }

    /// Runs it, cut or with a rest; tells its width and what comes out.
    fn through(&self, net: &Net, session: &mut PooledSession<'_>, rest: Option<Rest>) -> Result<(usize, Vec<f32>)> {
        let along = if rest.is_some() { self.length } else { self.cut };
        let (width, height) = if self.across { (along, self.breadth) } else { (self.breadth, along) };
        let value = |channel: usize, x: usize, y: usize| {
            let (along, beside) = if self.across { (x, y) } else { (y, x) };
            let noise = self.noise[(channel * self.breadth + beside) * self.length + along];
            net.white * if let Some(Rest::Grey(grey)) = rest.filter(|_| along >= self.cut) { grey } else { noise }
        };
        let rows = (0..net.channels).flat_map(|channel| (0..height).map(move |y| (channel, y)));
        let value = &value;
        let picture: Vec<f32> = rows.flat_map(|(c, y)| (0..width).map(move |x| value(c, x, y))).collect();
        Ok((width, net.run(session, 1, (width, height), &picture, |_, out| out.to_vec())?))
    }

    /// Where what came out begins to differ, in pixels of the input.
    fn first_difference(&self, net: &Net, whole: (usize, &[f32]), cut: (usize, &[f32])) -> usize {
        let (scale, limit) = (net.scale, SEAM * net.white);
        let [whole, cut] = [(whole, self.length), (cut, self.cut)].map(|((width, out), along)| {
            let plane = along * self.breadth * scale * scale;
            out.chunks_exact(plane).map(move |plane| plane.chunks_exact(width * scale))
        });
        let mut first = self.cut * scale;
        for (whole, cut) in whole.zip(cut) {
            for (y, (whole, cut)) in whole.zip(cut).enumerate() {
                let differs = cut.iter().zip(whole).position(|(a, b)| (a - b).abs() > limit);
                first = differs.map_or(first, |x| first.min(if self.across { x } else { y }));
            }
        }
        first / scale
    }
}

/// Difference that nobody sees: a quarter of a step of 8 bits.
const SEAM: f32 = 0.25 / 255.0;

fn is_half(info: &TensorInfo) -> Option<bool> {
    match info.element {
        Some(TensorElementType::Float32) => Some(false),
        Some(TensorElementType::Float16) => Some(true),
        _ => None,
    }
}

fn four(shape: &[i64]) -> (usize, usize, usize, usize) {
    let side = |index: usize| shape.get(index).and_then(|side| usize::try_from(*side).ok()).unwrap_or(0);
    (side(0), side(1), side(2), side(3))
}

/// A smooth picture in 0..=1 seen `scale` times as large.
fn pattern(channels: usize, (width, height): (usize, usize), scale: f32) -> impl Iterator<Item = f32> {
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    let at = move |index: usize| (index as f32 + 0.5) / scale;
    (0..channels).flat_map(move |c| {
        (0..height).flat_map(move |y| {
            (0..width).map(move |x| {
                let phase = at(c) * scale;
                0.5 + 0.2 * (at(x) / 9.0 + phase).sin() + 0.2 * (at(y) / 7.0 - phase).cos()
            })
        })
    })
}

/// The same noise in 0..=1 each time (a linear congruential generator).
fn noise(count: usize) -> Vec<f32> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        #[allow(clippy::cast_precision_loss, reason = "24 bits fit a float")]
        let value = (state >> 8) as f32 / 16_777_216.0;
        value
    };
    (0..count).map(|_| next()).collect()
}

/// The error for a model that does something else, with what it has.
fn refuse(session: &Session, why: &str) -> JobError {
    let message = format!(
        "{REFUSED}: {why}. Found: {}. Register a file that makes [n,c,s*h,s*w] of [n,c,h,w].",
        signature(session)
    );
    JobError::new(ErrorCode::ModelInvalid, message)
}

#[cfg(test)]
impl Net {
    /// One that doubles pictures of any size.
    pub fn for_tests() -> Net {
        Net {
            input: "input".into(),
            output: "output".into(),
            half_in: false,
            half_out: false,
            channels: 3,
            scale: 2,
            grain: 1,
            fixed: None,
            takes_several: true,
            white: 1.0,
            bytes_a_pixel: MIN_BYTES_A_PIXEL,
            secs_a_pixel: 0.0,
        }
    }
}
