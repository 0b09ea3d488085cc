//! The interface of a session's model.

use darkroom_inference::TensorInfo;
use darkroom_inference::ort::session::Session;
use darkroom_inference::ort::value::{Outlet, TensorElementType};

use super::refiner::{OFFSET, SLOPE};

/// State before a frame.
pub const STATE_IN: [&str; 4] = ["r1i", "r2i", "r3i", "r4i"];
/// State after it.
pub const STATE_OUT: [&str; 4] = ["r1o", "r2o", "r3o", "r4o"];
/// Sides of the picture in which the network looks for people, to the frame's.
pub const RATIO: &str = "downsample_ratio";
/// Red, green and blue.
pub const CHANNELS: usize = 3;

/// What a session's model takes and gives, read from its inputs and outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Whether `src` has a time axis.
    pub takes_several: bool,
    /// Whether pictures and state are f16.
    pub half: bool,
    /// Whether the ratio is an input; TensorRT exports have it folded in.
    pub takes_ratio: bool,
    /// Whether it gives the refiner's coefficients in place of colour and alpha.
    pub detached: bool,
}

impl Layout {
    /// Reads the interface of a model, of which `second_half` may be in a session of its own, or says what is missing.
    ///
    /// # Errors
    /// What is missing, as the end of a sentence.
    pub fn of(session: &Session, second_half: Option<&Session>) -> Result<Layout, String> {
        let list = |outlets: &[Outlet]| outlets.iter().map(TensorInfo::from).collect::<Vec<_>>();
        let (inputs, mut outputs) = (list(session.inputs()), list(session.outputs()));
        outputs.extend(second_half.into_iter().flat_map(|half| list(half.outputs())));
        let find = |list: &[TensorInfo], name: &str| list.iter().find(|info| info.name == name).cloned();
        let src = find(&inputs, "src").ok_or("it has no input `src`")?;
        let half = match src.element {
            Some(TensorElementType::Float32) => false,
            Some(TensorElementType::Float16) => true,
            _ => return Err("its input `src` is neither f32 nor f16".into()),
        };
        let takes_several = match src.dims.len() {
            4 => false,
            5 => true,
            rank => return Err(format!("its input `src` has {rank} dimensions instead of 4 or 5")),
        };
        let channels = src.dims[src.dims.len() - 3];
        if channels.is_some_and(|count| count != CHANNELS as u64) {
            return Err("its input `src` does not take red, green and blue".into());
        }
        for name in STATE_IN {
            let state = find(&inputs, name).ok_or_else(|| format!("it has no input `{name}`"))?;
            if state.element != src.element {
                return Err(format!("its input `{name}` is of another type than `src`"));
            }
        }
        let detached = find(&outputs, SLOPE).is_some();
        let layout = Layout { takes_several, half, takes_ratio: find(&inputs, RATIO).is_some(), detached };
        for name in layout.results().iter().chain(&STATE_OUT) {
            let output = find(&outputs, name).ok_or_else(|| format!("it has no output `{name}`"))?;
            if output.element != src.element {
                return Err(format!("its output `{name}` is of another type than `src`"));
            }
        }
        let known = |name: &str| ["src", RATIO].contains(&name) || STATE_IN.contains(&name);
        if let Some(other) = inputs.iter().find(|info| !known(&info.name)) {
            return Err(format!("it has an input `{}` that nobody fills", other.name));
        }
        Ok(layout)
    }

    /// Names of the two outputs beside the state.
    pub fn results(self) -> [&'static str; 2] {
        if self.detached { [SLOPE, OFFSET] } else { ["fgr", "pha"] }
    }

    /// Values a pixel in each of them.
    pub fn result_channels(self) -> [usize; 2] {
        if self.detached { [CHANNELS + 1; 2] } else { [CHANNELS, 1] }
    }
}
