//! Person detectors that users bring: YOLOX, RTMDet and those of Detectron2 (ViTDet), told apart by the shapes of what they
//! make. All count persons first among their classes, as COCO does.

use darkroom_api::Result;
use darkroom_inference::PooledSession;
use darkroom_media::Frame;
use glam::Vec2;

use super::bounds::Bounds;
use super::detect::{Candidate, Detector, Letterbox, Placed};
use super::nanodet::{candidate, distinct};
use super::user::{Feed, Made, UserModel};

const WHAT: &str = "a person detector";
/// Class of persons.
const PERSON: f32 = 0.0;
const MIN_SCORE: f32 = 0.4;
/// Side of the picture where a model takes any: what YOLOX and RTMDet are trained with, and what ViTDet is.
const SIDE: usize = 640;
const SIDE_OF_THREE: usize = 1024;
/// Pictures may have at most such sides.
const MAX_SIDE: u64 = 4096;
/// What is around a frame in training, of 255.
const AROUND: f32 = 114.0;
/// RTMDet's mean and spread of blue, green and red, of 255.
const MEAN: [f32; 3] = [103.53, 116.28, 123.675];
const SPREAD: [f32; 3] = [57.375, 57.12, 58.395];
const STRIDES: [usize; 3] = [8, 16, 32];

/// The detector of a session.
pub struct OwnDetector<'a> {
    model: UserModel<'a>,
    input: String,
    dims: Vec<usize>,
    outputs: Outputs,
    letterbox: Letterbox,
}

/// Which results tell boxes, and in what form.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Outputs {
    /// YOLOX: [1,n,5+classes]. Middle and size, whether anything is there, and of which class; `raw` ones are in cells.
    Cells { result: usize, raw: bool },
    /// RTMDet as its authors deploy it: [1,n,5] with corners and sureness, [1,n] with classes.
    Rows { boxes: usize, classes: usize },
    /// Detectron2: [n,4] with corners, [n] with sureness, [n] with classes.
    Apart { boxes: usize, scores: usize, classes: usize },
}

impl<'a> OwnDetector<'a> {
    /// The detector of a session, tried on a grey picture.
    ///
    /// # Errors
    /// [`darkroom_api::ErrorCode::ModelInvalid`] where it is another one, with what was found.
    pub fn new(session: PooledSession<'a>) -> Result<OwnDetector<'a>> {
        let mut model = UserModel::new(session);
        let three = model.inputs.iter().all(|input| input.dims.len() == 3);
        let input = model.input(if three { 3 } else { 4 }, WHAT)?;
        let [channels, height, width] = *input.dims.last_chunk().unwrap_or(&[None; 3]);
        let one = three || input.dims[0].is_none_or(|count| count == 1);
        if !one || channels != Some(3) || [height, width].into_iter().flatten().any(|side| side == 0 || side > MAX_SIDE)
        {
            return Err(model.refuse(WHAT, "it takes no single picture in planes ([1,3,h,w] or [3,h,w])", &[]));
        }
        let any = if three { SIDE_OF_THREE } else { SIDE };
        let side = |side: Option<u64>| side.and_then(|side| usize::try_from(side).ok()).unwrap_or(any);
        let mut dims = vec![1, 3, side(height), side(width)];
        if three {
            dims.remove(0);
        }
        let grey = vec![AROUND; dims.iter().product()];
        let made = model.run(&[(&input.name, &dims, Feed::Floats(&grey))]);
        let made = made.map_err(|error| model.untried(WHAT, error))?;
        let outputs = Outputs::of(&made, side(width), side(height));
        let outputs = outputs.ok_or_else(|| {
            let forms = "YOLOX [1,n,5+classes], RTMDet [1,n,5] and [1,n], Detectron2 [n,4], [n] and [n]";
            model.refuse(WHAT, &format!("its boxes are in no form that is known ({forms})"), &made)
        })?;
        Ok(OwnDetector { model, input: input.name, dims, outputs, letterbox: Letterbox::new() })
    }
}

impl Detector for OwnDetector<'_> {
    fn detect(&mut self, frame: &Frame) -> Result<Vec<Candidate>> {
        let (height, width) = (self.dims[self.dims.len() - 2], self.dims[self.dims.len() - 1]);
        let normal = matches!(self.outputs, Outputs::Rows { .. });
        let placed = self.letterbox.fill(frame, (width, height), false, |_, value| 255.0 * value)?;
        let picture = &mut self.letterbox.picture;
        surround(picture, (width, height), frame, placed);
        // All of them want blue first.
        let (red, rest) = picture.split_at_mut(width * height);
        red.swap_with_slice(&mut rest[width * height..]);
        if normal {
            for ((plane, mean), spread) in picture.chunks_exact_mut(width * height).zip(MEAN).zip(SPREAD) {
                plane.iter_mut().for_each(|value| *value = (*value - mean) / spread);
            }
        }
        let made = self.model.run(&[(&self.input, &self.dims, Feed::Floats(&self.letterbox.picture))])?;
        let people = self.outputs.people(&made, width, height);
        Ok(distinct(people).into_iter().map(|found| candidate(found, placed, frame)).collect())
    }
}

/// Fills what of a letterbox is not of the frame.
#[allow(clippy::cast_precision_loss, reason = "sides of pictures")]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most the letterbox's side")]
fn surround(picture: &mut [f32], (width, height): (usize, usize), frame: &Frame, placed: Placed) {
    let side = |side: u32, most: usize| ((side as f32 / placed.scale).round() as usize).clamp(1, most);
    let (columns, rows) = (side(frame.width(), width), side(frame.height(), height));
    for (index, line) in picture.chunks_exact_mut(width).enumerate() {
        let from = if index % height < rows { columns } else { 0 };
        line[from..].fill(AROUND);
    }
}

impl Outputs {
    /// Finds them by their shapes.
    #[allow(clippy::cast_precision_loss, reason = "sides of pictures")]
    fn of(made: &[Made], width: usize, height: usize) -> Option<Outputs> {
        let with = |fits: &dyn Fn(&Made) -> bool| made.iter().position(fits);
        let cells: usize = STRIDES.iter().map(|stride| (width / stride) * (height / stride)).sum();
        if let Some(result) = with(&|made| matches!(made.dims[..], [1, n, values] if n == cells && values > 5)) {
            let values = made[result].dims[2];
            let mean = made[result].numbers.iter().step_by(values).sum::<f32>() / cells as f32;
            // In pixels, middles are in the mean in the middle of the picture.
            return Some(Outputs::Cells { result, raw: mean < width as f32 / 4.0 });
        }
        if let Some(boxes) = with(&|made| matches!(made.dims[..], [1, _, 5])) {
            let count = made[boxes].dims[1];
            let classes = with(&|made| made.whole && made.dims == [1, count])?;
            return Some(Outputs::Rows { boxes, classes });
        }
        let boxes = with(&|made| !made.whole && matches!(made.dims[..], [_, 4]))?;
        let count = made[boxes].dims[0];
        let scores = with(&|made| !made.whole && made.dims == [count])?;
        let classes = with(&|made| made.whole && made.dims == [count])?;
        Some(Outputs::Apart { boxes, scores, classes })
    }

    /// Sureness and box of each person, in pixels of the picture.
    fn people(&self, made: &[Made], width: usize, height: usize) -> Vec<(f32, Bounds)> {
        let numbers = |index: usize| made.get(index).map_or(&[][..], |made| &made.numbers);
        let corners = |b: &[f32]| Bounds { min: Vec2::new(b[0], b[1]), max: Vec2::new(b[2], b[3]) };
        let found: Vec<(f32, Bounds)> = match *self {
            Outputs::Cells { result, raw } => {
                // What was tried had more; what a later picture gets may be another shape.
                let values = made.get(result).and_then(|made| made.dims.last().copied()).unwrap_or(0);
                if values < 6 {
                    return Vec::new();
                }
                let rows = numbers(result).chunks_exact(values).zip(grid(width, height));
                let rows = rows.map(|(row, (cell, stride))| {
                    let (middle, size) = (Vec2::new(row[0], row[1]), Vec2::new(row[2], row[3]));
                    let (middle, size) =
                        if raw { ((middle + cell) * stride, size.exp() * stride) } else { (middle, size) };
                    (row[4] * row[5], Bounds { min: middle - size / 2.0, max: middle + size / 2.0 })
                });
                rows.collect()
            }
            Outputs::Rows { boxes, classes } => {
                let rows = numbers(boxes).as_chunks::<5>().0.iter().zip(numbers(classes));
                rows.filter(|(_, class)| **class == PERSON).map(|(row, _)| (row[4], corners(row))).collect()
            }
            Outputs::Apart { boxes, scores, classes } => {
                let rows = numbers(boxes).as_chunks::<4>().0.iter().zip(numbers(scores)).zip(numbers(classes));
                rows.filter(|(_, class)| **class == PERSON).map(|((b, score), _)| (*score, corners(b))).collect()
            }
        };
        let sound = |(score, b): &(f32, Bounds)| *score > MIN_SCORE && b.min.is_finite() && b.max.is_finite();
        found.into_iter().filter(sound).collect()
    }
}

/// YOLOX's cells in their order: column and row, and pixels of each.
#[allow(clippy::cast_precision_loss, reason = "at most 512")]
fn grid(width: usize, height: usize) -> impl Iterator<Item = (Vec2, f32)> {
    STRIDES.into_iter().flat_map(move |stride| {
        let (columns, rows) = (width / stride, height / stride);
        (0..columns * rows)
            .map(move |cell| (Vec2::new((cell % columns) as f32, (cell / columns) as f32), stride as f32))
    })
}

#[cfg(test)]
mod tests;
