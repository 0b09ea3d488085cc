//! HMR2 (4D-Humans) as an ONNX file of the user's: what goes in is prepared as its `ViTDetDataset` does, what comes out is
//! found by shape, and its camera becomes one of the whole picture.

use darkroom_api::Result;
use darkroom_inference::PooledSession;
use darkroom_media::Frame;
use glam::{Mat3, Quat, Vec2, Vec3};

use super::bounds::Bounds;
use super::filter::{Axis, Filter};
use super::model::{BodyModel, Detail, Person};
use super::user::{Feed, Made, UserModel};
use crate::body::SMPL_JOINTS;
use crate::view::SmplPose;

const WHAT: &str = "HMR2";
/// Side of the square that it sees.
const SIDE: usize = 256;
/// Columns at the left and at the right that the network cuts off; an export may begin behind that.
const CUT: usize = 32;
/// Focal length that it was trained with, for a picture of [`SIDE`].
const FOCAL: f32 = 5000.0;
/// Width and height of a person's box are at least as 3 to 4 (`BBOX_SHAPE`).
const SHAPE: f32 = 192.0 / 256.0;
/// A square this much larger than what the network sees is blurred first.
const BLURRED_FROM: f64 = 1.1;
/// Mean and spread of red, green and blue in its training data.
pub(super) const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
pub(super) const SPREAD: [f32; 3] = [0.229, 0.224, 0.225];
/// Fewer pixels a metre are no person.
const LEAST_PX_PER_METRE: f32 = 0.1;

/// The model.
pub struct Hmr2<'a> {
    model: UserModel<'a>,
    input: String,
    /// Columns of its input.
    width: usize,
    outputs: Outputs,
    filter: Filter,
    crop: Vec<f32>,
}

/// Which of its results are what.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Outputs {
    camera: usize,
    betas: Option<usize>,
    turns: Turns,
}

/// In what form joints are turned.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Turns {
    /// 24 matrices.
    All(usize),
    /// The first matrix, and 23 others.
    Parts(usize, usize),
    /// The first two columns of 24 matrices.
    Columns(usize),
    /// 24 axes times angles.
    Axes(usize),
}

impl<'a> Hmr2<'a> {
    /// The model of a session, tried on a grey picture.
    ///
    /// # Errors
    /// [`darkroom_api::ErrorCode::ModelInvalid`] where it is another one, with what was found.
    pub fn new(session: PooledSession<'a>) -> Result<Hmr2<'a>> {
        let mut model = UserModel::new(session);
        let input = model.input(4, WHAT)?;
        let open = |dim: usize, sides: &[u64]| input.dims[dim].is_none_or(|side| sides.contains(&side));
        let (side, narrow) = (SIDE as u64, (SIDE - 2 * CUT) as u64);
        if !(open(0, &[1]) && open(1, &[3]) && open(2, &[side]) && open(3, &[side, narrow])) {
            let why = format!("it takes no picture of 1x3x{SIDE}x{SIDE} or 1x3x{SIDE}x{narrow}");
            return Err(model.refuse(WHAT, &why, &[]));
        }
        let mut width = if input.dims[3] == Some(narrow) { SIDE - 2 * CUT } else { SIDE };
        let grey = vec![0.0; 3 * SIDE * SIDE];
        let mut tried = model.run(&[(&input.name, &[1, 3, SIDE, width], Feed::Floats(&grey[..3 * SIDE * width]))]);
        if tried.is_err() && input.dims[3].is_none() {
            width = SIDE - 2 * CUT;
            tried = model.run(&[(&input.name, &[1, 3, SIDE, width], Feed::Floats(&grey[..3 * SIDE * width]))]);
        }
        let made = tried.map_err(|error| model.untried(WHAT, error))?;
        let outputs = Outputs::of(&made).map_err(|why| model.refuse(WHAT, &why, &made))?;
        let crop = vec![0.0; 3 * SIDE * width];
        Ok(Hmr2 { model, input: input.name, width, outputs, filter: Filter::default(), crop })
    }
}

impl BodyModel for Hmr2<'_> {
    fn look(&mut self, frame: &Frame, people: &[Person]) -> Result<Vec<Detail>> {
        let look = |person: &Person| {
            let square = Square::around(&person.bounds);
            square.crop(&mut self.filter, frame, self.width, &mut self.crop)?;
            let made = self.model.run(&[(&self.input, &[1, 3, SIDE, self.width], Feed::Floats(&self.crop))])?;
            Ok(Detail { landmarks: person.landmarks.clone(), smpl: self.outputs.read(&made, &square) })
        };
        people.iter().map(look).collect()
    }
}

/// The focal length of 4D-Humans' camera of the whole picture, in pixels.
#[allow(clippy::cast_precision_loss, reason = "256")]
pub fn focal_px(width_px: u32, height_px: u32) -> f64 {
    f64::from(FOCAL) / SIDE as f64 * f64::from(width_px.max(height_px))
}

/// The part of the picture that the network sees.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Square {
    centre: Vec2,
    side: f32,
}

impl Square {
    /// A box is made as wide or as high as 3 to 4 asks, then square.
    fn around(bounds: &Bounds) -> Square {
        let size = bounds.size();
        let wanted = size.max(Vec2::new(size.y * SHAPE, size.x / SHAPE));
        Square { centre: bounds.centre(), side: wanted.max_element().max(1.0) }
    }

    fn crop(&self, filter: &mut Filter, frame: &Frame, width: usize, out: &mut [f32]) -> Result<()> {
        #[allow(clippy::cast_precision_loss, reason = "256")]
        let (side, cut) = (SIDE as f64, ((SIDE - width) / 2) as f64);
        let step = f64::from(self.side) / side;
        let start = |centre: f32| f64::from(centre) - side / 2.0 * step;
        let axes =
            [Axis { start: start(self.centre.x) + cut * step, step }, Axis { start: start(self.centre.y), step }];
        let sigma = if step / 2.0 > BLURRED_FROM { (step / 2.0 - 1.0) / 2.0 } else { 0.0 };
        filter.crop(frame, axes, [width, SIDE], sigma, out)?;
        for ((plane, mean), spread) in out.chunks_exact_mut(SIDE * width).zip(MEAN).zip(SPREAD) {
            plane.iter_mut().for_each(|value| *value = (*value - mean) / spread);
        }
        Ok(())
    }
}

impl Outputs {
    /// Finds them by their shapes; what is missing, where something is.
    fn of(made: &[Made]) -> Result<Outputs, String> {
        let with = |fits: &dyn Fn(&[usize]) -> bool| {
            made.iter()
                .enumerate()
                .filter(move |(_, made)| fits(&made.dims))
                .map(|(index, _)| index)
                .collect::<Vec<_>>()
        };
        let matrices = |count: usize| {
            with(&move |dims| dims.ends_with(&[3, 3]) && dims.iter().product::<usize>() == 9 * count).first().copied()
        };
        let flat = |count: usize| with(&move |dims| *dims == [1, count]).first().copied();
        let columns = with(&|dims| *dims == [1, 6 * SMPL_JOINTS] || *dims == [1, SMPL_JOINTS, 6]).first().copied();
        let turns = (matrices(SMPL_JOINTS).map(Turns::All))
            .or_else(|| Some(Turns::Parts(matrices(1)?, matrices(SMPL_JOINTS - 1)?)))
            .or_else(|| columns.map(Turns::Columns))
            .or_else(|| flat(3 * SMPL_JOINTS).map(Turns::Axes));
        let turns = turns
            .ok_or("no result turns 24 joints ([1,24,3,3]; [1,1,3,3] and [1,23,3,3]; [1,144] or [1,24,6]; [1,72])")?;
        let camera = match with(&|dims| *dims == [1, 3])[..] {
            [camera] => camera,
            // The camera, and where that puts the person: the second follows from the first.
            [a, b] if is_place_of(&made[b].numbers, &made[a].numbers) => a,
            [a, b] if is_place_of(&made[a].numbers, &made[b].numbers) => b,
            [] => return Err("no result is a camera ([1,3])".into()),
            _ => return Err("several results may be the camera ([1,3])".into()),
        };
        Ok(Outputs { camera, betas: flat(10), turns })
    }

    /// The person; none where the numbers tell none.
    fn read(&self, made: &[Made], square: &Square) -> Option<SmplPose> {
        let numbers = |index: usize| made.get(index).map(|made| &made.numbers[..]);
        let [scale, x, y] = *numbers(self.camera)? else { return None };
        // As `cam_crop_to_full`, before it is told in metres.
        let px_per_metre = (square.side * scale + 1e-9) / 2.0;
        let origin_px = square.centre + Vec2::new(x, y) * px_per_metre;
        let sound = px_per_metre > LEAST_PX_PER_METRE && px_per_metre.is_finite() && origin_px.is_finite();
        let rotations = self.rotations(made).filter(|_| sound)?;
        let mut betas = [0.0; 10];
        if let Some(told) = self.betas.and_then(numbers) {
            betas.iter_mut().zip(told).for_each(|(beta, told)| *beta = if told.is_finite() { *told } else { 0.0 });
        }
        Some(SmplPose { rotations, betas, origin_px, px_per_metre })
    }

    fn rotations(&self, made: &[Made]) -> Option<[Quat; SMPL_JOINTS]> {
        // A turn may be finite though a number that it is made of is not: such a result is none.
        let sound = |made: &&Made| made.numbers.iter().all(|number| number.is_finite());
        let numbers = |index: usize| made.get(index).filter(sound).map_or(&[][..], |made| &made.numbers);
        let by_rows = |m: &[f32; 9]| Quat::from_mat3(&Mat3::from_cols_array(m).transpose());
        let turns: Vec<Quat> = match self.turns {
            Turns::All(all) => numbers(all).as_chunks().0.iter().map(by_rows).collect(),
            Turns::Parts(first, others) => {
                let parts = [numbers(first), numbers(others)];
                parts.iter().flat_map(|part| part.as_chunks().0).map(by_rows).collect()
            }
            Turns::Columns(columns) => numbers(columns).as_chunks().0.iter().map(of_columns).collect(),
            Turns::Axes(axes) => {
                let axes = numbers(axes).as_chunks().0.iter();
                axes.map(|axis| Quat::from_scaled_axis(Vec3::from_array(*axis))).collect()
            }
        };
        let sound = turns.iter().all(|turn| turn.is_finite() && turn.length_squared() > 0.25);
        let turns: [Quat; SMPL_JOINTS] = turns.try_into().ok().filter(|_| sound)?;
        Some(turns.map(Quat::normalize))
    }
}

/// 4D-Humans' `rot6d_to_rotmat`: two columns one after the other, made square to each other. Not finite where they have no
/// direction.
fn of_columns(six: &[f32; 6]) -> Quat {
    let [a, b] = [Vec3::from_slice(&six[..3]), Vec3::from_slice(&six[3..])];
    let x = a.normalize();
    let y = (b - x * x.dot(b)).normalize();
    Quat::from_mat3(&Mat3::from_cols(x, y, x.cross(y)))
}

/// Whether a place in space is where a camera `(s, x, y)` of the crop puts the person (`pred_cam_t`).
fn is_place_of(place: &[f32], camera: &[f32]) -> bool {
    let ([tx, ty, tz], [s, x, y]) = (place, camera) else { return false };
    #[allow(clippy::cast_precision_loss, reason = "256")]
    let far = 2.0 * FOCAL / (SIDE as f32 * s + 1e-9);
    let near = |a: f32, b: f32| (a - b).abs() <= 1e-3 * b.abs().max(1.0);
    near(*tx, *x) && near(*ty, *y) && near(*tz, far)
}

#[cfg(test)]
mod tests;
