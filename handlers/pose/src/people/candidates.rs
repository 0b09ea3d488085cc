//! What becomes of a detector's candidates: a pose, or nothing.

use darkroom_api::Result;
use darkroom_media::Frame;
use glam::Vec2;

use super::bounds::Bounds;
use super::detect::Candidate;
use super::model::{Estimate, PoseModel};
use super::roi::Roi;
use super::similar::keypoint_similarity;
use crate::view::Landmarks;

/// A model that is less sure sees nobody (MediaPipe's `min_tracking_confidence`).
pub const MIN_SCORE: f32 = 0.5;
/// Somebody new is believed only from here on: of those who were looked at, people had 0.9 and more.
const MIN_NEW: f32 = 0.8;
/// Somebody lost is back only from here on, where no detector tells so: a search in the wrong place sees things.
pub const MIN_BACK: f32 = 0.9;
/// From this quality on no other direction of the head is tried.
const SURE: f32 = 0.6;
/// A pose of less quality is somebody else's, or nobody's.
const LEAST: f32 = 0.3;
/// A second look may be as much worse than the first.
const WORSE: f32 = 0.7;
/// How often the square is moved to where the model saw the person, to see better.
const REFINEMENTS: usize = 2;
/// Boxes that share more than this are of one person.
const SAME_BOX: f32 = 0.5;
/// Poses more alike than this are of one person: two who hold each other are less alike.
const SAME_POSE: f32 = 0.5;
/// Somebody new must share less than this with those who are known, and be less inside of them, or they of them.
const SAME_PLACE: f32 = 0.4;
const INSIDE: f32 = 0.75;
/// Poses of one box of which one is less sure are of one person.
const DOUBTFUL: f32 = 0.9;
/// Points less visible than this do not count for a person's box.
const MIN_VISIBILITY: f32 = 0.3;

/// A person's box; it may reach out of the picture.
pub fn bounds(landmarks: &Landmarks) -> Option<Bounds> {
    let points = landmarks.image.iter().zip(landmarks.visibility);
    let visible = points.filter(|(_, visibility)| *visibility > MIN_VISIBILITY).map(|(point, _)| *point);
    Bounds::around(visible).or_else(|| Bounds::around(landmarks.image))
}

/// Whether two poses of one frame are of one person: they are alike, or in one place and one of them is doubtful.
pub fn is_same(a: &Landmarks, b: &Landmarks) -> bool {
    let (Some(x), Some(y)) = (bounds(a), bounds(b)) else { return false };
    let doubtful = a.score.min(b.score) < DOUBTFUL;
    (doubtful && x.iou(&y) > SAME_BOX) || keypoint_similarity(a, b, Vec2::ZERO, x.area().max(y.area())) > SAME_POSE
}

/// Whether somebody new is, by the box, where somebody who is known is. Who stands right behind somebody is found when they part:
/// otherwise wrong poses of one person become people.
pub fn is_hidden_by(new: &Landmarks, known: &Landmarks) -> bool {
    let (Some(x), Some(y)) = (bounds(new), bounds(known)) else { return true };
    x.iou(&y) > SAME_PLACE || x.shared(&y) > INSIDE * x.area().min(y.area())
}

/// Candidates of several detectors, surest first; those of one person have all their squares.
pub fn union(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        match kept.iter_mut().find(|other| other.bounds.iou(&candidate.bounds) > SAME_BOX) {
            Some(same) => same.regions.extend(candidate.regions),
            None => kept.push(candidate),
        }
    }
    // A square that a detector has turned comes before guesses, which come several at a time.
    for candidate in &mut kept {
        candidate.regions.sort_by_key(|region| region.angle == 0.0 || region.angle.abs() > 1.5);
    }
    kept
}

/// Whether a candidate is somebody who is known already.
pub fn is_known(candidate: &Candidate, known: &Landmarks) -> bool {
    let Some(bounds) = bounds(known) else { return false };
    let hips = (known.image[23] + known.image[24]) / 2.0;
    let close = candidate.regions.first().is_some_and(|region| (region.centre - hips).length() < 0.1 * region.side);
    // A detector's box may be a square around somebody thin: their heights are comparable.
    let ratio = candidate.bounds.size().max_element() / bounds.size().max_element().max(1.0);
    candidate.bounds.iou(&bounds) > SAME_BOX || (close && (0.7..1.4).contains(&ratio))
}

/// Looks at a candidate; `None` where nobody is there, or somebody who is `known`. Counts the squares that were looked at.
///
/// # Errors
/// Those of the model.
pub fn confirm(
    model: &mut dyn PoseModel,
    frame: &Frame,
    candidate: &Candidate,
    known: &dyn Fn(&Landmarks) -> bool,
    looks: &mut u64,
) -> Result<Option<Estimate>> {
    #[allow(clippy::cast_precision_loss, reason = "sides of pictures")]
    let size = Vec2::new(frame.width() as f32, frame.height() as f32);
    let mut best: Option<(f32, Estimate)> = None;
    let mut look = |region: Roi| -> Result<Option<(f32, Estimate)>> {
        *looks += 1;
        let estimate = model.estimate(frame, &[region])?.pop();
        Ok(estimate.map(|estimate| (quality(&estimate.landmarks, candidate, size), estimate)))
    };
    for region in candidate.regions.iter().filter(|region| region.is_usable(size)) {
        let Some(found) = look(*region)? else { continue };
        if found.1.landmarks.score >= MIN_NEW && known(&found.1.landmarks) {
            return Ok(None);
        }
        if best.as_ref().is_none_or(|best| found.0 > best.0) {
            best = Some(found);
        }
        if best.as_ref().is_some_and(|best| best.0 > SURE) {
            break;
        }
    }
    for _ in 0..REFINEMENTS {
        let Some((quality, estimate)) = &best else { break };
        if estimate.landmarks.score < MIN_SCORE || !estimate.next.is_usable(size) {
            break;
        }
        let least = WORSE * quality;
        let Some(found) = look(estimate.next)? else { break };
        // People are seen better at a second look, where they are to be by the first; what is none is often gone.
        if found.1.landmarks.score < MIN_NEW {
            return Ok(None);
        }
        // Unless it looks at somebody else.
        if found.0 <= least {
            break;
        }
        best = Some(found);
    }
    let found = best.filter(|(quality, estimate)| estimate.landmarks.score >= MIN_NEW && *quality > LEAST);
    Ok(found.map(|(_, estimate)| estimate).filter(|estimate| !known(&estimate.landmarks)))
}

/// How much a pose is that of a candidate: how sure it is, times what the two boxes share as a part of their geometric mean.
/// A detector's box may be a square around somebody thin.
fn quality(landmarks: &Landmarks, candidate: &Candidate, size: Vec2) -> f32 {
    let Some(found) = bounds(landmarks) else { return 0.0 };
    let (found, wanted) = (found.clipped(size), candidate.bounds.clipped(size));
    landmarks.score * found.shared(&wanted) / (found.area() * wanted.area()).sqrt().max(1.0)
}
