//! NanoDet, a general detector of which we use the people: it finds those whose face is hidden, and some in groups.

use std::f32::consts::{FRAC_PI_2, PI};

use darkroom_api::Result;
use darkroom_inference::ort::value::TensorRef;
use darkroom_inference::{PooledSession, ort};
use darkroom_media::Frame;
use glam::Vec2;

use super::blazepose::{input, refuse};
use super::bounds::Bounds;
use super::detect::{Candidate, Detector, Letterbox, MAX_CANDIDATES, Placed};
use super::roi::Roi;

/// Longer side of its picture; the shorter one is as long as is needed.
const LONG_PX: usize = 416;
/// Sides must be multiples of it.
const GRAIN: usize = 32;
const CLASSES: usize = 80;
const PERSON: usize = 0;
/// Each edge of a box is the mean of these distances from an anchor, in strides, by how likely they are.
const DISTANCES: usize = 11;
const STRIDES: [usize; 3] = [8, 16, 32];
const MIN_SCORE: f32 = 0.4;
/// Boxes that share more than this are of one person.
const SAME: f32 = 0.5;
/// Mean and spread of red, green and blue in its training data, of 255.
const MEAN: [f32; 3] = [123.675, 116.28, 103.53];
const SPREAD: [f32; 3] = [58.395, 57.12, 57.375];
/// Where heads are tried: up first.
const TURNS: [f32; 4] = [0.0, FRAC_PI_2, -FRAC_PI_2, PI];

/// The detector of a session.
pub struct NanoDet<'a> {
    session: PooledSession<'a>,
    input: String,
    letterbox: Letterbox,
}

impl<'a> NanoDet<'a> {
    /// The detector of a session.
    ///
    /// # Errors
    /// [`darkroom_api::ErrorCode::ModelInvalid`] where the model is another one.
    pub fn new(session: PooledSession<'a>) -> Result<NanoDet<'a>> {
        let input = input(&session)?;
        let has = |name: &str| session.outputs().iter().any(|output| output.name() == name);
        if STRIDES.iter().all(|stride| has(&format!("class{stride}")) && has(&format!("edge{stride}"))) {
            Ok(NanoDet { session, input, letterbox: Letterbox::new() })
        } else {
            Err(refuse(&session, "NanoDet"))
        }
    }
}

impl Detector for NanoDet<'_> {
    fn detect(&mut self, frame: &Frame) -> Result<Vec<Candidate>> {
        let (width, height) = size(frame.width() as usize, frame.height() as usize);
        let value = |channel: usize, value: f32| (255.0 * value - MEAN[channel]) / SPREAD[channel];
        let placed = self.letterbox.fill(frame, (width, height), false, value)?;
        // It wants blue first.
        let (red, rest) = self.letterbox.picture.split_at_mut(width * height);
        red.swap_with_slice(&mut rest[width * height..]);
        let boxes = self.session.call(|session| {
            let picture = TensorRef::from_array_view(([1, 3, height, width], &self.letterbox.picture[..]))?;
            let outputs = session.run(ort::inputs![self.input.as_str() => picture])?;
            let mut boxes = Vec::new();
            for stride in STRIDES {
                let (_, classes) = outputs[format!("class{stride}").as_str()].try_extract_tensor::<f32>()?;
                let (_, edges) = outputs[format!("edge{stride}").as_str()].try_extract_tensor::<f32>()?;
                boxes.extend(decode(classes, edges, stride, width.div_ceil(stride)));
            }
            Ok(boxes)
        })?;
        Ok(distinct(boxes).into_iter().map(|found| candidate(found, placed, frame)).collect())
    }
}

/// The picture's size for a frame's.
fn size(width: usize, height: usize) -> (usize, usize) {
    let short = |short: usize, long: usize| {
        (LONG_PX * short).div_ceil(long.max(1)).next_multiple_of(GRAIN).clamp(GRAIN, LONG_PX)
    };
    if width >= height { (LONG_PX, short(height, width)) } else { (short(width, height), LONG_PX) }
}

/// Scores and boxes of the people that one layer sees.
#[allow(clippy::cast_precision_loss, reason = "at most 416")]
fn decode(classes: &[f32], edges: &[f32], stride: usize, columns: usize) -> Vec<(f32, Bounds)> {
    let cells = classes.chunks_exact(CLASSES).zip(edges.chunks_exact(4 * DISTANCES)).enumerate();
    let people = cells.filter(|(_, (classes, _))| classes[PERSON] > MIN_SCORE);
    let boxes = people.map(|(index, (classes, edges))| {
        let centre = Vec2::new((index % columns) as f32 + 0.5, (index / columns) as f32 + 0.5);
        let mut mean = [0.0; 4];
        for (mean, logits) in mean.iter_mut().zip(edges.chunks_exact(DISTANCES)) {
            let most = logits.iter().copied().fold(f32::MIN, f32::max);
            let (sum, total) = logits.iter().enumerate().fold((0.0, 0.0), |(sum, total), (distance, logit)| {
                let weight = (logit - most).exp();
                (sum + weight * distance as f32, total + weight)
            });
            *mean = sum / total;
        }
        let [left, top, right, bottom] = mean;
        let bounds = Bounds { min: centre - Vec2::new(left, top), max: centre + Vec2::new(right, bottom) };
        let scale = stride as f32;
        (classes[PERSON], Bounds { min: bounds.min * scale, max: bounds.max * scale })
    });
    boxes.collect()
}

/// One box a person, surest first.
pub(super) fn distinct(mut boxes: Vec<(f32, Bounds)>) -> Vec<(f32, Bounds)> {
    boxes.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut kept: Vec<(f32, Bounds)> = Vec::new();
    for found in boxes {
        if kept.len() < MAX_CANDIDATES && kept.iter().all(|(_, other)| other.iou(&found.1) <= SAME) {
            kept.push(found);
        }
    }
    kept
}

#[allow(clippy::cast_precision_loss, reason = "sides of pictures")]
pub(super) fn candidate((score, bounds): (f32, Bounds), placed: Placed, frame: &Frame) -> Candidate {
    let size = Vec2::new(frame.width() as f32, frame.height() as f32);
    let bounds = Bounds { min: placed.in_frame(bounds.min), max: placed.in_frame(bounds.max) }.clipped(size);
    Candidate { score, bounds, regions: TURNS.map(|angle| Roi::around(&bounds, angle)).to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_keep_their_shape_as_far_as_the_network_can() {
        assert_eq!(size(1920, 1080), (416, 256));
        assert_eq!(size(1080, 1920), (256, 416));
        assert_eq!(size(500, 500), (416, 416));
        assert_eq!(size(8000, 10), (416, 32));
    }

    #[test]
    fn edges_are_means_of_distances() {
        // Two cells a row; the second cell of the second row has a person.
        let mut classes = vec![0.0; 4 * CLASSES];
        classes[3 * CLASSES + PERSON] = 0.9;
        classes[CLASSES + 1] = 0.9;
        let mut edges = vec![-50.0; 16 * DISTANCES];
        for (edge, distance) in [1, 2, 3, 4].into_iter().enumerate() {
            edges[(12 + edge) * DISTANCES + distance] = 0.0;
        }
        // The last edge lies between two distances.
        edges[15 * DISTANCES + 5] = 0.0;
        let boxes = decode(&classes, &edges, 8, 2);
        assert_eq!(boxes.len(), 1);
        let Bounds { min, max } = boxes[0].1;
        assert!((min - Vec2::new(4.0, -4.0)).length() < 1e-3 && (max - Vec2::new(36.0, 48.0)).length() < 1e-3);
    }

    #[test]
    fn overlapping_boxes_are_of_one_person() {
        let at = |x: f32| Bounds { min: Vec2::new(x, 0.0), max: Vec2::new(x + 10.0, 20.0) };
        let kept = distinct(vec![(0.5, at(1.0)), (0.9, at(0.0)), (0.6, at(8.0))]);
        assert_eq!(kept, [(0.9, at(0.0)), (0.6, at(8.0))]);
    }
}
