//! BlazePose: its detector, and its landmark model as a [`PoseModel`]. After MediaPipe's graphs `pose_detection` and
//! `pose_landmark`.

use darkroom_api::{ErrorCode, JobError, Result};
use darkroom_inference::ort::value::TensorRef;
use darkroom_inference::{PooledSession, TensorInfo, ort, signature};
use darkroom_media::Frame;
use darkroom_media::colour::Sampler;
use glam::{Vec2, Vec3};

use super::detect::{Candidate, Detector, Letterbox, MAX_CANDIDATES, Placed};
use super::model::{Estimate, PoseModel};
use super::roi::Roi;
use crate::view::Landmarks;

/// Side of the detector's picture.
const DETECTOR_PX: usize = 224;
/// Anchors of the detector: for each layer how far they are apart, and how many stand on one spot.
const LAYERS: [(usize, usize); 3] = [(8, 2), (16, 2), (32, 6)];
/// Numbers of each anchor: the face's box, and four points of which the first are the hips and the body's reach.
const NUMBERS: usize = 12;
const MIN_SCORE: f32 = 0.5;
/// Boxes that share more than this are of one person.
const SAME: f32 = 0.3;

/// Side of the landmark model's picture.
const LANDMARK_PX: usize = 256;
/// Landmarks, of which the last six are not of the body: the first two of them tell the next square.
const POINTS: usize = 39;
const HIPS: usize = 33;
const REACH: usize = 34;
/// Squares a call.
const BATCH: usize = 8;

/// Finds people by their faces and hips, also many who are small or far from upright, but not crowds.
pub struct BlazePoseDetector<'a> {
    session: PooledSession<'a>,
    input: String,
    boxes: String,
    scores: String,
    anchors: Vec<Vec2>,
    letterbox: Letterbox,
}

impl<'a> BlazePoseDetector<'a> {
    /// The detector of a session.
    ///
    /// # Errors
    /// [`ErrorCode::ModelInvalid`] where the model is another one.
    pub fn new(session: PooledSession<'a>) -> Result<BlazePoseDetector<'a>> {
        let anchors = anchors();
        let count = anchors.len() as u64;
        let input = input(&session)?;
        let boxes = output(&session, "BlazePose's detector", &[count, NUMBERS as u64])?;
        let scores = output(&session, "BlazePose's detector", &[count, 1])?;
        Ok(BlazePoseDetector { session, input, boxes, scores, anchors, letterbox: Letterbox::new() })
    }
}

impl Detector for BlazePoseDetector<'_> {
    fn detect(&mut self, frame: &Frame) -> Result<Vec<Candidate>> {
        let side = DETECTOR_PX;
        let placed = self.letterbox.fill(frame, (side, side), true, |_, value| 2.0 * value - 1.0)?;
        let shape = [1, 3, side, side];
        let found = self.session.call(|session| {
            let picture = TensorRef::from_array_view((shape, &self.letterbox.picture[..]))?;
            let outputs = session.run(ort::inputs![self.input.as_str() => picture])?;
            let (_, boxes) = outputs[self.boxes.as_str()].try_extract_tensor::<f32>()?;
            let (_, scores) = outputs[self.scores.as_str()].try_extract_tensor::<f32>()?;
            Ok(decode(boxes, scores, &self.anchors))
        })?;
        Ok(found.into_iter().map(|found| found.candidate(placed)).collect())
    }
}

/// Where anchors stand, in units of the picture.
#[allow(clippy::cast_precision_loss, reason = "at most 28")]
fn anchors() -> Vec<Vec2> {
    let layer = |(apart, count): (usize, usize)| {
        let side = DETECTOR_PX / apart;
        let at = move |index: usize| (index as f32 + 0.5) / side as f32;
        (0..side * side * count).map(move |index| Vec2::new(at(index / count % side), at(index / count / side)))
    };
    LAYERS.into_iter().flat_map(layer).collect()
}

/// Somebody in the detector's picture, in pixels of it.
struct Found {
    score: f32,
    /// The box's middle and size, then the points.
    numbers: [Vec2; NUMBERS / 2],
}

/// People of the detector's numbers: those of one person count by their scores.
fn decode(boxes: &[f32], scores: &[f32], anchors: &[Vec2]) -> Vec<Found> {
    #[allow(clippy::cast_precision_loss, reason = "224")]
    let side = DETECTOR_PX as f32;
    let mut all: Vec<Found> = (boxes.chunks_exact(NUMBERS).zip(scores).zip(anchors))
        .map(|((numbers, logit), anchor)| (numbers, sigmoid(*logit), *anchor * side))
        .filter(|(_, score, _)| *score > MIN_SCORE)
        .map(|(numbers, score, anchor)| {
            let mut pairs = [Vec2::ZERO; NUMBERS / 2];
            for (index, (pair, numbers)) in pairs.iter_mut().zip(numbers.chunks_exact(2)).enumerate() {
                // All but the size count from the anchor.
                *pair = Vec2::new(numbers[0], numbers[1]) + if index == 1 { Vec2::ZERO } else { anchor };
            }
            Found { score, numbers: pairs }
        })
        .collect();
    all.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut people = Vec::new();
    while let Some(first) = all.first() {
        let bounds = first.bounds();
        let score = first.score;
        let (same, others): (Vec<_>, Vec<_>) =
            all.into_iter().enumerate().partition(|(index, found)| *index == 0 || bounds.iou(&found.bounds()) > SAME);
        let total: f32 = same.iter().map(|(_, found)| found.score).sum();
        let mut numbers = [Vec2::ZERO; NUMBERS / 2];
        for (_, found) in &same {
            for (sum, pair) in numbers.iter_mut().zip(found.numbers) {
                *sum += pair * (found.score / total);
            }
        }
        people.push(Found { score, numbers });
        if people.len() == MAX_CANDIDATES {
            break;
        }
        all = others.into_iter().map(|(_, found)| found).collect();
    }
    people
}

impl Found {
    fn bounds(&self) -> super::Bounds {
        let half = self.numbers[1] / 2.0;
        super::Bounds { min: self.numbers[0] - half, max: self.numbers[0] + half }
    }

    fn candidate(&self, placed: Placed) -> Candidate {
        let [_, _, hips, reach, ..] = self.numbers.map(|point| placed.in_frame(point));
        let region = Roi::from_points(hips, reach);
        Candidate { score: self.score, bounds: region.bounds(), regions: vec![region] }
    }
}

/// The landmark model: 33 points of one person, in the picture and in metres.
pub struct BlazePose<'a> {
    session: PooledSession<'a>,
    input: String,
    /// Points in the crop; whether there is a person; points in metres.
    outputs: [String; 3],
    sampler: Sampler,
    crops: Vec<f32>,
}

impl<'a> BlazePose<'a> {
    /// The model of a session: lite, full or heavy.
    ///
    /// # Errors
    /// [`ErrorCode::ModelInvalid`] where the model is another one.
    pub fn new(session: PooledSession<'a>) -> Result<BlazePose<'a>> {
        let input = input(&session)?;
        let output = |dims: &[u64]| output(&session, "BlazePose", dims);
        let outputs = [output(&[5 * POINTS as u64])?, output(&[1])?, output(&[3 * POINTS as u64])?];
        Ok(BlazePose { session, input, outputs, sampler: Sampler::new(), crops: Vec::new() })
    }
}

impl PoseModel for BlazePose<'_> {
    fn estimate(&mut self, frame: &Frame, regions: &[Roi]) -> Result<Vec<Estimate>> {
        let mut estimates = Vec::with_capacity(regions.len());
        for regions in regions.chunks(BATCH) {
            let numbers = 3 * LANDMARK_PX * LANDMARK_PX;
            self.crops.resize(regions.len() * numbers, 0.0);
            for (region, crop) in regions.iter().zip(self.crops.chunks_exact_mut(numbers)) {
                self.sampler.warp(frame, &region.to_picture(LANDMARK_PX), LANDMARK_PX, crop)?;
            }
            let shape = [regions.len(), 3, LANDMARK_PX, LANDMARK_PX];
            let seen = self.session.call(|session| {
                let crops = TensorRef::from_array_view((shape, &self.crops[..]))?;
                let outputs = session.run(ort::inputs![self.input.as_str() => crops])?;
                let [points, flags, world] = &self.outputs;
                let (_, points) = outputs[points.as_str()].try_extract_tensor::<f32>()?;
                let (_, flags) = outputs[flags.as_str()].try_extract_tensor::<f32>()?;
                let (_, world) = outputs[world.as_str()].try_extract_tensor::<f32>()?;
                let parts = points.chunks_exact(5 * POINTS).zip(world.chunks_exact(3 * POINTS)).zip(flags);
                let seen = regions.iter().zip(parts);
                Ok(seen.map(|(roi, ((points, world), flag))| read(roi, points, world, *flag)).collect::<Vec<_>>())
            })?;
            estimates.extend(seen);
        }
        Ok(estimates)
    }
}

/// The model's numbers of one square; of sureness 0 where one of them is none.
fn read(roi: &Roi, points: &[f32], world: &[f32], score: f32) -> Estimate {
    #[allow(clippy::cast_precision_loss, reason = "256")]
    let pixels = LANDMARK_PX as f32;
    let (turn, scale) = (roi.turn(), roi.side / pixels);
    let place = |index: usize| {
        let crop = Vec2::new(points[5 * index], points[5 * index + 1]);
        roi.centre + turn * (crop - pixels / 2.0) * scale
    };
    let metres = |index: usize| {
        let flat = turn * Vec2::new(world[3 * index], world[3 * index + 1]);
        Vec3::new(flat.x, flat.y, world[3 * index + 2])
    };
    let mut landmarks = Landmarks {
        image: std::array::from_fn(place),
        visibility: std::array::from_fn(|index| sigmoid(points[5 * index + 3])),
        world: std::array::from_fn(metres),
        score,
    };
    let Landmarks { image, visibility, world, .. } = &landmarks;
    let places = image.iter().all(|p| p.is_finite()) && world.iter().all(|p| p.is_finite());
    if !(places && score.is_finite() && visibility.iter().all(|v| v.is_finite())) {
        landmarks.score = 0.0;
    }
    Estimate { landmarks, next: Roi::from_points(place(HIPS), place(REACH)) }
}

fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

/// The name of a model's only input.
pub(super) fn input(session: &PooledSession<'_>) -> Result<String> {
    match session.inputs() {
        [input] => Ok(input.name().to_owned()),
        _ => Err(refuse(session, "a model of one picture")),
    }
}

/// The name of the output whose dimensions, after the first, are `dims`.
fn output(session: &PooledSession<'_>, what: &str, dims: &[u64]) -> Result<String> {
    let outputs = session.outputs().iter().map(TensorInfo::from);
    let mut fits = outputs
        .filter(|info| info.dims.get(1..).is_some_and(|rest| rest.iter().copied().eq(dims.iter().map(|d| Some(*d)))));
    fits.next().map(|info| info.name).ok_or_else(|| refuse(session, what))
}

/// The error for a model that is another one than it should be.
pub(super) fn refuse(session: &PooledSession<'_>, what: &str) -> JobError {
    let found = signature(session);
    let message = format!(
        "The model `{}` is not {what}. Found: {found}. Remove it from `models.custom`, or register the right file.",
        session.name()
    );
    JobError::new(ErrorCode::ModelInvalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_stand_in_the_middle_of_their_cells() {
        let anchors = anchors();
        assert_eq!(anchors.len(), 2254);
        assert_eq!(anchors[0], anchors[1]);
        assert!((anchors[2] - Vec2::new(1.5 / 28.0, 0.5 / 28.0)).length() < 1e-6);
        assert!((anchors[1568] - Vec2::splat(0.5 / 14.0)).length() < 1e-6);
        assert!((anchors[2253] - Vec2::splat(6.5 / 7.0)).length() < 1e-6);
    }

    #[test]
    fn numbers_of_one_person_count_by_their_scores() {
        let anchors = [Vec2::splat(0.5), Vec2::splat(0.5), Vec2::new(0.1, 0.1), Vec2::splat(0.5)];
        let numbers = |dx: f32| [dx, 0.0, 40.0, 40.0, dx, 50.0, dx, -30.0, 0.0, 0.0, 0.0, 0.0];
        let boxes = [numbers(0.0), numbers(4.0), numbers(0.0), numbers(90.0)].concat();
        // 0.8, 0.6, 0.7, and one that is none.
        let found = decode(&boxes, &[1.386_294_4, 0.405_465_1, 0.847_297_9, -1.0], &anchors);
        assert_eq!(found.len(), 2);
        assert!((found[0].score - 0.8).abs() < 1e-5 && (found[1].score - 0.7).abs() < 1e-5);
        let x = 112.0 + 4.0 * 0.6 / 1.4;
        assert!((found[0].numbers[2] - Vec2::new(x, 162.0)).length() < 1e-3, "{:?}", found[0].numbers);
        let placed = Placed { offset: Vec2::new(0.0, 12.0), scale: 2.0 };
        let candidate = found[0].candidate(placed);
        assert!((candidate.regions[0].centre - Vec2::new(2.0 * x, 300.0)).length() < 1e-3);
        assert!((candidate.regions[0].side - 400.0).abs() < 1e-2 && candidate.regions[0].angle.abs() < 1e-5);
    }

    #[test]
    fn landmarks_are_turned_back() {
        let roi = Roi { centre: Vec2::new(300.0, 200.0), side: 512.0, angle: std::f32::consts::FRAC_PI_2 };
        let mut points = vec![0.0; 5 * POINTS];
        points[..5].copy_from_slice(&[128.0, 28.0, 0.0, 2.0, 0.0]);
        points[5 * HIPS..5 * HIPS + 2].copy_from_slice(&[128.0, 128.0]);
        points[5 * REACH..5 * REACH + 2].copy_from_slice(&[128.0, 48.0]);
        let mut world = vec![0.0; 3 * POINTS];
        world[..3].copy_from_slice(&[0.0, -0.6, 0.1]);
        let seen = read(&roi, &points, &world, 0.9);
        assert!((seen.landmarks.image[0] - Vec2::new(500.0, 200.0)).length() < 1e-3);
        assert!((seen.landmarks.world[0] - Vec3::new(0.6, 0.0, 0.1)).length() < 1e-6);
        assert!((seen.landmarks.visibility[0] - 0.880_797).abs() < 1e-5);
        assert!((seen.next.side - 400.0).abs() < 1e-2 && (seen.next.angle - roi.angle).abs() < 1e-5);
        assert_eq!(seen.landmarks.score, 0.9);
        // One number that is none, and there is nobody.
        points[1] = f32::INFINITY;
        assert_eq!(read(&roi, &points, &world, 0.9).landmarks.score, 0.0);
        points[1] = 28.0;
        world[5] = f32::NAN;
        assert_eq!(read(&roi, &points, &world, 0.9).landmarks.score, 0.0);
        world[5] = 0.0;
        assert_eq!(read(&roi, &points, &world, f32::NAN).landmarks.score, 0.0);
    }
}
