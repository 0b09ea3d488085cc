//! How large the result becomes, and how often a model is applied on the way.

use darkroom_api::{ErrorCode, JobError, Result};

use crate::{Aim, Params};

/// Most that the final resampling may enlarge: beyond, the model is applied once more and the result made smaller. The
/// replaced service's own table asks 1.125 of it (854x480 to 1920x1080 with a model that doubles).
const MAX_STRETCH: f64 = 1.25;
/// The same from four times on, where another pass would cost many times what there was before, and show nothing.
const MAX_LATE_STRETCH: f64 = 1.5;
/// Most that a video may grow to a side.
const MAX_FACTOR: f64 = 16.0;
/// Longest side that the encoders take.
const MAX_SIDE_PX: u32 = 16_384;
/// Most pixels of a result: 8K with room for other shapes.
const MAX_PIXELS: u64 = 8192 * 8192;
/// Most pixels of a picture as the model leaves it, before it is fitted: 1.2 GB of floats.
const MAX_PICTURE_PIXELS: u64 = 100_000_000;
/// From here on encoder and pictures need most of 4 GB.
const LARGE_PIXELS: u64 = 16 << 20;

/// The size of the result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Goal {
    /// Width in pixels, even.
    pub width_px: u32,
    /// Height in pixels, even.
    pub height_px: u32,
    /// How much longer a side becomes.
    pub factor: f64,
}

impl Goal {
    /// What the parameters ask of a video of this size. Its shape is kept: it fills the box in one direction. The box of a task
    /// type lies down or stands as the video does.
    ///
    /// # Errors
    /// [`ErrorCode::InputTooLarge`] for a video that already fills the box, or whose result no encoder takes;
    /// [`ErrorCode::ParamsInvalid`] for more than 16 times.
    pub fn of(params: &Params, width_px: u32, height_px: u32) -> Result<Goal> {
        let (w, h) = (f64::from(width_px), f64::from(height_px));
        let (bounds, factor) = match params.aim()? {
            Aim::Scale(scale) => (None, f64::from(scale)),
            Aim::Size(width, height) => (Some((width, height)), fit(w, h, width, height)),
            Aim::Task(task) => {
                let (long, short) = task.target();
                let (width, height) = if height_px > width_px { (short, long) } else { (long, short) };
                (Some((width, height)), fit(w, h, width, height))
            }
        };
        if factor <= 1.0 {
            let (width, height) = bounds.unwrap_or_default();
            let why = format!(
                "The video is {width_px}x{height_px}, which {} ({width}x{height}) would not enlarge: choose a larger \
                 `task_type` or `size`, or set `scale`.",
                params.aim()?
            );
            return Err(JobError::new(ErrorCode::InputTooLarge, why));
        }
        if factor > MAX_FACTOR {
            let why =
                format!("From {width_px}x{height_px} the video would grow {factor:.1} times: 16 times is the most.");
            return Err(JobError::new(ErrorCode::ParamsInvalid, why));
        }
        let (max_width, max_height) = bounds.unwrap_or((MAX_SIDE_PX, MAX_SIDE_PX));
        let grown = |side: f64, max: u32| even(nearly(side * factor, max, factor), max);
        let goal = Goal { width_px: grown(w, max_width), height_px: grown(h, max_height), factor };
        if goal.width_px.max(goal.height_px) > MAX_SIDE_PX || goal.pixels() > MAX_PIXELS {
            let why = format!(
                "The result would be {:.0}x{:.0} pixels, which encoders do not take: choose a smaller `scale` or `size`.",
                w * factor,
                h * factor
            );
            return Err(JobError::new(ErrorCode::InputTooLarge, why));
        }
        Ok(goal)
    }

    /// Pixels of the result.
    pub fn pixels(&self) -> u64 {
        u64::from(self.width_px) * u64::from(self.height_px)
    }

    /// Whether the result is so large that memory is short.
    pub fn is_large(&self) -> bool {
        self.pixels() > LARGE_PIXELS
    }

    /// Pixels of a picture that a model of this scale leaves.
    pub fn picture_pixels(&self, width_px: u32, height_px: u32, scale: usize) -> u64 {
        let growth = (scale as u64).saturating_pow(2 * self.passes(scale));
        (u64::from(width_px) * u64::from(height_px)).saturating_mul(growth)
    }

    /// Refuses a model that would overshoot by far.
    ///
    /// # Errors
    /// [`ErrorCode::ParamsInvalid`].
    pub fn check_picture(&self, width_px: u32, height_px: u32, scale: usize) -> Result<()> {
        if self.picture_pixels(width_px, height_px, scale) <= MAX_PICTURE_PIXELS {
            return Ok(());
        }
        let why = format!(
            "The model makes sides {scale} times as long, {} times in a row here: pictures on the way would be far larger than \
             the result. Choose a model of a smaller scale (`span` has one of two).",
            self.passes(scale)
        );
        Err(JobError::new(ErrorCode::ParamsInvalid, why))
    }

    /// How often a model of this scale is applied.
    pub fn passes(&self, scale: usize) -> u32 {
        let (mut passes, mut reached) = (0, 1.0);
        let stretch = |reached: f64| if reached < 4.0 { MAX_STRETCH } else { MAX_LATE_STRETCH };
        while reached * stretch(reached) < self.factor {
            #[allow(clippy::cast_precision_loss, reason = "a small number")]
            let scale = scale.max(2) as f64;
            (passes, reached) = (passes + 1, reached * scale);
        }
        passes.max(1)
    }

    /// The scale that a model would do all with in one pass.
    pub fn wanted_scale(&self) -> f64 {
        self.factor / MAX_STRETCH
    }
}

/// How much a picture grows until it touches its box.
fn fit(w: f64, h: f64, width_px: u32, height_px: u32) -> f64 {
    (f64::from(width_px) / w).min(f64::from(height_px) / h)
}

/// A side that misses its box by less than a pixel of the video fills it: 854x480 stands for 16:9.
fn nearly(length: f64, max: u32, factor: f64) -> f64 {
    let max = f64::from(max);
    if (max - length).abs() < factor { max } else { length }
}

/// The nearest even number, at most `max`: chroma counts pixels in pairs.
fn even(length: f64, max: u32) -> u32 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
    let pairs = (length / 2.0).round() as u32;
    (pairs.saturating_mul(2)).min(max / 2 * 2).max(2)
}

#[cfg(test)]
mod tests {
    use darkroom_api::parse_params;
    use serde_json::json;

    use super::*;

    fn goal(params: serde_json::Value, width: u32, height: u32) -> Result<Goal> {
        Goal::of(&parse_params::<Params>(&params).unwrap(), width, height)
    }

    fn size(params: serde_json::Value, width: u32, height: u32) -> (u32, u32) {
        let goal = goal(params, width, height).unwrap();
        (goal.width_px, goal.height_px)
    }

    #[test]
    fn the_tasks_reach_their_sizes_from_what_they_expect() {
        for (task, passes_by_two) in [("SD2HD", 1), ("SD24K", 2), ("HD24K", 1), ("4K28K", 1)] {
            let params = parse_params::<Params>(&json!({ "task_type": task })).unwrap();
            let Ok(Aim::Task(task)) = params.aim() else { panic!("{task}") };
            let (width, height) = task.expects();
            let goal = Goal::of(&params, width, height).unwrap();
            assert_eq!((goal.width_px, goal.height_px), task.target());
            assert_eq!(goal.passes(2), passes_by_two, "{task:?}");
            assert_eq!(goal.passes(4), 1);
        }
    }

    #[test]
    fn shapes_are_kept_inside_the_box_and_the_box_turns() {
        let task = json!({ "task_type": "SD2HD" });
        assert_eq!(size(task.clone(), 640, 480), (1440, 1080));
        assert_eq!(size(task.clone(), 480, 854), (1080, 1920));
        assert_eq!(size(task.clone(), 854, 360), (1920, 810));
        assert_eq!(size(task, 853, 480), (1920, 1080));
        assert_eq!(size(json!({ "size": "1000x1000" }), 320, 180), (1000, 562));
        assert_eq!(size(json!({ "size": "1080x1920" }), 854, 480), (1080, 608));
        assert_eq!(size(json!({ "scale": 3 }), 33, 17), (100, 52), "even sizes only");
        assert_eq!(size(json!({}), 320, 180), (640, 360), "twice by default");
    }

    #[test]
    fn passes_are_as_few_as_reach_it() {
        for (scale, model, passes) in [(2, 2, 1), (3, 2, 2), (4, 2, 2), (3, 4, 1), (4, 3, 2), (3, 3, 1)] {
            assert_eq!(goal(json!({ "scale": scale }), 320, 180).unwrap().passes(model), passes, "{scale} by {model}");
        }
    }

    #[test]
    fn from_four_times_on_another_pass_is_not_worth_it() {
        assert_eq!(goal(json!({ "task_type": "SD2HD" }), 320, 180).unwrap().passes(4), 1, "six times");
        assert_eq!(goal(json!({ "size": "3200x1800" }), 320, 180).unwrap().passes(4), 2, "ten times");
    }

    #[test]
    fn what_would_not_grow_or_grow_too_far_is_refused() {
        let error = goal(json!({ "task_type": "SD2HD" }), 1920, 1080).unwrap_err();
        assert_eq!(error.code, ErrorCode::InputTooLarge);
        assert!(error.message.contains("1920x1080") && error.message.contains("SD2HD"), "{}", error.message);
        assert_eq!(goal(json!({ "size": "64x64" }), 100, 64).unwrap_err().code, ErrorCode::InputTooLarge);
        assert_eq!(goal(json!({ "size": "8000x8000" }), 64, 64).unwrap_err().code, ErrorCode::ParamsInvalid);
        assert_eq!(goal(json!({ "scale": 4 }), 4096, 4096).unwrap_err().code, ErrorCode::InputTooLarge);
    }
}
