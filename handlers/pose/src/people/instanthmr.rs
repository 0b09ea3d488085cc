//! InstantHMR, and what else has its interface, as an ONNX file of the user's: 70 points of Meta's MHR body in the picture and
//! in space. After its `InstantHMR.predict`.

use darkroom_api::Result;
use darkroom_inference::PooledSession;
use darkroom_media::Frame;
use glam::{Vec2, Vec3};

use super::bounds::Bounds;
use super::filter::{Axis, Filter};
use super::hmr2::{MEAN, SPREAD};
use super::model::{BodyModel, Detail, Person};
use super::user::{Feed, Made, UserModel};
use crate::view::Landmarks;

const WHAT: &str = "InstantHMR";
/// Side of the square that it sees.
const SIDE: usize = 224;
/// How much larger that is than the person's box.
const MARGIN: f64 = 1.2;
/// Points of MHR (`mhr70`).
const POINTS: usize = 70;
/// Where BlazePose's 33 points are among them. It has no corners of the eyes and of the mouth: the eye and the nose stand in.
#[rustfmt::skip]
const OF_BLAZEPOSE: [usize; 33] = [
    0, 1, 1, 1, 2, 2, 2, 3, 4, 0, 0, // nose, eyes, ears, mouth
    5, 6, 7, 8, 62, 41, // shoulders, elbows, wrists
    61, 40, 49, 28, 44, 23, // knuckles of little fingers, forefingers and thumbs
    9, 10, 11, 12, 13, 14, // hips, knees, ankles
    17, 20, 15, 18, // heels, big toes
];
const HIPS: [usize; 2] = [9, 10];

/// The model.
pub struct InstantHmr<'a> {
    model: UserModel<'a>,
    /// The picture, and where in the frame it is.
    inputs: [String; 2],
    outputs: Outputs,
    filter: Filter,
    crop: Vec<f32>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Outputs {
    picture: usize,
    space: usize,
}

/// The part of the frame that the network sees, in whole pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Square {
    /// Exactly, as its answers count.
    start: [f64; 2],
    side: f64,
    /// Where the box is and how large, as parts of the frame (`cliff_cond`).
    place: [f32; 3],
}

impl<'a> InstantHmr<'a> {
    /// The model of a session, tried on a grey picture.
    ///
    /// # Errors
    /// [`darkroom_api::ErrorCode::ModelInvalid`] where it is another one, with what was found.
    pub fn new(session: PooledSession<'a>) -> Result<InstantHmr<'a>> {
        let mut model = UserModel::new(session);
        let inputs = [model.input(4, WHAT)?.name, model.input(2, WHAT)?.name];
        let crop = vec![0.0; 3 * SIDE * SIDE];
        let made = run(&mut model, &inputs, &crop, &[0.0; 3]).map_err(|error| model.untried(WHAT, error))?;
        let outputs = Outputs::of(&made).map_err(|why| model.refuse(WHAT, why, &made))?;
        Ok(InstantHmr { model, inputs, outputs, filter: Filter::default(), crop })
    }
}

fn run(model: &mut UserModel<'_>, inputs: &[String; 2], crop: &[f32], place: &[f32; 3]) -> Result<Vec<Made>> {
    let picture = (inputs[0].as_str(), &[1, 3, SIDE, SIDE][..], Feed::Floats(crop));
    model.run(&[picture, (&inputs[1], &[1, 3], Feed::Floats(place))])
}

impl BodyModel for InstantHmr<'_> {
    fn look(&mut self, frame: &Frame, people: &[Person]) -> Result<Vec<Detail>> {
        let look = |person: &Person| {
            let square = Square::around(&person.bounds, frame);
            square.crop(&mut self.filter, frame, &mut self.crop)?;
            let made = run(&mut self.model, &self.inputs, &self.crop, &square.place)?;
            let landmarks = self.outputs.read(&made, &square, &person.landmarks);
            Ok(Detail { landmarks: landmarks.unwrap_or_else(|| person.landmarks.clone()), smpl: None })
        };
        people.iter().map(look).collect()
    }
}

impl Square {
    #[allow(clippy::cast_precision_loss, reason = "sides of pictures")]
    fn around(bounds: &Bounds, frame: &Frame) -> Square {
        let (centre, size) = (bounds.centre(), bounds.size().max_element().max(1.0));
        let frame = Vec2::new(frame.width() as f32, frame.height() as f32);
        let at = 2.0 * centre / frame - 1.0;
        let side = f64::from(size) * MARGIN;
        let start = [centre.x, centre.y].map(|middle| f64::from(middle) - side / 2.0);
        Square { start, side, place: [at.x, at.y, size / frame.max_element()] }
    }

    /// Whole pixels around the square are made as large as the network wants them.
    fn crop(&self, filter: &mut Filter, frame: &Frame, out: &mut [f32]) -> Result<()> {
        let axes = self.start.map(|start| {
            let (first, end) = (start.floor(), (start + self.side).ceil());
            #[allow(clippy::cast_precision_loss, reason = "224")]
            let step = (end - first) / SIDE as f64;
            Axis { start: first + step / 2.0 - 0.5, step }
        });
        filter.crop(frame, axes, [SIDE, SIDE], 0.0, out)?;
        for ((plane, mean), spread) in out.chunks_exact_mut(SIDE * SIDE).zip(MEAN).zip(SPREAD) {
            plane.iter_mut().for_each(|value| *value = (*value - mean) / spread);
        }
        Ok(())
    }

    /// A point of the network's, -1 to 1, in the frame.
    #[allow(clippy::cast_possible_truncation, reason = "pixels")]
    fn in_frame(&self, point: &[f32; 2]) -> Vec2 {
        let at = |axis: usize| (self.start[axis] + (f64::from(point[axis]) + 1.0) / 2.0 * self.side) as f32;
        Vec2::new(at(0), at(1))
    }
}

impl Outputs {
    fn of(made: &[Made]) -> Result<Outputs, &'static str> {
        let with = |dims: [usize; 3]| made.iter().position(|made| made.dims == dims);
        let picture = with([1, POINTS, 2]).ok_or("no result has 70 points in the picture ([1,70,2])")?;
        let space = with([1, POINTS, 3]).ok_or("no result has 70 points in space ([1,70,3])")?;
        Ok(Outputs { picture, space })
    }

    /// The points, as visible as they were found before; none where they are no numbers.
    fn read(&self, made: &[Made], square: &Square, found: &Landmarks) -> Option<Landmarks> {
        let flat = made.get(self.picture)?.numbers.as_chunks::<2>().0;
        let space = made.get(self.space)?.numbers.as_chunks::<3>().0;
        if flat.len() < POINTS || space.len() < POINTS {
            return None;
        }
        let at = |point: usize| Vec3::from_array(space[point]);
        let middle = (at(HIPS[0]) + at(HIPS[1])) / 2.0;
        let landmarks = Landmarks {
            image: OF_BLAZEPOSE.map(|point| square.in_frame(&flat[point])),
            visibility: found.visibility,
            world: OF_BLAZEPOSE.map(|point| at(point) - middle),
            score: found.score,
        };
        let sound = landmarks.image.iter().all(|p| p.is_finite()) && landmarks.world.iter().all(|p| p.is_finite());
        sound.then_some(landmarks)
    }
}

#[cfg(test)]
mod tests;
