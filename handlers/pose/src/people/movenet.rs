//! MoveNet (single pose): 17 points in the picture, none in space. Lightning and Thunder of the registry tell heat maps, which
//! are read here; files of users do that themselves.

use darkroom_api::Result;
use darkroom_inference::PooledSession;
use darkroom_inference::ort::value::TensorElementType;

use darkroom_media::Frame;
use darkroom_media::colour::Sampler;
use glam::{Vec2, Vec3};

use super::bounds::Bounds;
use super::model::{Estimate, PoseModel};
use super::roi::Roi;
use super::user::{Feed, Made, UserModel};
use crate::view::Landmarks;

const WHAT: &str = "MoveNet (single pose)";
/// Points, as COCO counts them.
const POINTS: usize = 17;
/// Where they are among BlazePose's 33.
const IN_BLAZEPOSE: [usize; POINTS] = [0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28];
/// For each of BlazePose's points that of COCO's that is nearest.
#[rustfmt::skip]
const NEAREST: [usize; 33] = [
    0, 1, 1, 1, 2, 2, 2, 3, 4, 0, 0, 5, 6, 7, 8, 9, 10, 9, 10, 9, 10, 9, 10, 11, 12, 13, 14, 15, 16, 15, 16, 15, 16,
];
/// Sides of the picture: Lightning's and Thunder's.
const SIDES: [u64; 2] = [192, 256];
/// Sureness of the points in the mean at which as likely nobody is there, and how steeply that changes: of those who were
/// looked at, people had 0.4 and more, other things 0.25 and less.
const DOUBTFUL: f32 = 0.31;
const STEEP: f32 = 30.0;
/// Points of limbs and torso, which tell whether somebody is there: a face may be turned away.
const BODY: std::ops::Range<usize> = 5..17;
/// Points less sure than this do not tell where to look next.
const SEEN: f32 = 0.2;
/// How much larger than torso and body the next square is: after the authors' `determine_crop_region`.
const TORSO: f32 = 1.9;
const REACH: f32 = 1.2;
/// How the distance to the middle counts against heat: in cells.
const SPREAD: f32 = 1.8;

/// The model.
pub struct MoveNet<'a> {
    model: UserModel<'a>,
    input: String,
    element: Option<TensorElementType>,
    /// Whether channels come last.
    interleaved: bool,
    side: usize,
    outputs: Outputs,
    sampler: Sampler,
    crop: Vec<f32>,
}

/// Which of its results are what.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Outputs {
    /// [1,1,17,3]: row, column, sureness, as parts of the picture.
    Points(usize),
    /// Heat of points, heat of people, where their points are, where in a cell a point is.
    Heat([usize; 4]),
}

impl<'a> MoveNet<'a> {
    /// The model of a session, tried on a grey picture.
    ///
    /// # Errors
    /// [`darkroom_api::ErrorCode::ModelInvalid`] where it is another one, with what was found.
    pub fn new(session: PooledSession<'a>) -> Result<MoveNet<'a>> {
        let mut model = UserModel::new(session);
        let input = model.input(4, WHAT)?;
        let interleaved = input.dims[3] == Some(3);
        let sides = if interleaved { [input.dims[1], input.dims[2]] } else { [input.dims[2], input.dims[3]] };
        let side = match sides {
            [Some(height), Some(width)] if height == width && SIDES.contains(&height) => height,
            // The registry's take any, and see best what they were trained with.
            [None, None] => SIDES[usize::from(model.name().contains("thunder"))],
            _ => return Err(model.refuse(WHAT, "it takes no picture of 192x192 or 256x256", &[])),
        };
        let side = usize::try_from(side).unwrap_or_default();
        let crop = vec![0.0; 3 * side * side];
        let made = run(&mut model, &input.name, input.element, interleaved, side, &crop);
        let made = made.map_err(|error| model.untried(WHAT, error))?;
        let outputs = Outputs::of(&made, side).map_err(|why| model.refuse(WHAT, why, &made))?;
        let (input, element) = (input.name, input.element);
        Ok(MoveNet { model, input, element, interleaved, side, outputs, sampler: Sampler::new(), crop })
    }
}

/// Runs it on `[3, side, side]`, 0 to 255.
fn run(
    model: &mut UserModel<'_>,
    input: &str,
    element: Option<TensorElementType>,
    interleaved: bool,
    side: usize,
    crop: &[f32],
) -> Result<Vec<Made>> {
    let turned: Vec<f32>;
    let (dims, numbers) = if interleaved {
        turned = (0..crop.len()).map(|index| crop[index % 3 * side * side + index / 3]).collect();
        ([1, side, side, 3], &turned[..])
    } else {
        ([1, 3, side, side], crop)
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 255")]
    match element {
        Some(TensorElementType::Int32) => {
            let numbers: Vec<i32> = numbers.iter().map(|value| value.round() as i32).collect();
            model.run(&[(input, &dims, Feed::Ints(&numbers))])
        }
        Some(TensorElementType::Uint8) => {
            let numbers: Vec<u8> = numbers.iter().map(|value| value.round() as u8).collect();
            model.run(&[(input, &dims, Feed::Bytes(&numbers))])
        }
        _ => model.run(&[(input, &dims, Feed::Floats(numbers))]),
    }
}

impl PoseModel for MoveNet<'_> {
    fn estimate(&mut self, frame: &Frame, regions: &[Roi]) -> Result<Vec<Estimate>> {
        let mut estimates = Vec::with_capacity(regions.len());
        for region in regions {
            self.sampler.warp(frame, &region.to_picture(self.side), self.side, &mut self.crop)?;
            self.crop.iter_mut().for_each(|value| *value *= 255.0);
            let made = run(&mut self.model, &self.input, self.element, self.interleaved, self.side, &self.crop)?;
            estimates.push(estimate(region, &self.outputs.read(&made)));
        }
        Ok(estimates)
    }
}

/// A point: where in the crop, as parts of its side, and how sure.
type Point = (Vec2, f32);

impl Outputs {
    fn of(made: &[Made], side: usize) -> Result<Outputs, &'static str> {
        let with = |dims: &[usize]| made.iter().position(|made| made.dims == dims);
        if let Some(points) = with(&[1, 1, POINTS, 3]) {
            return Ok(Outputs::Points(points));
        }
        let cells = side / 4;
        let named = |name: &str, channels: usize| {
            made.iter().position(|made| made.name == name && made.dims == [1, channels, cells, cells])
        };
        let heat = (|| {
            Some([
                named("heat", POINTS)?,
                named("people", 1)?,
                named("away", 2 * POINTS)?,
                named("inside", 2 * POINTS)?,
            ])
        })();
        heat.map(Outputs::Heat).ok_or("no result has 17 points ([1,1,17,3])")
    }

    /// The points; of sureness 0 where numbers are none.
    fn read(&self, made: &[Made]) -> [Point; POINTS] {
        let numbers = |index: usize| made.get(index).map_or(&[][..], |made| &made.numbers);
        let points = match *self {
            Outputs::Points(points) => {
                let points = numbers(points).as_chunks::<3>().0.iter();
                points.map(|[y, x, sure]| (Vec2::new(*x, *y), *sure)).collect()
            }
            Outputs::Heat(maps) => of_heat(maps.map(numbers)).unwrap_or_default(),
        };
        let sound = |(at, sure): &Point| at.is_finite() && sure.is_finite();
        std::array::from_fn(|index| points.get(index).copied().filter(sound).unwrap_or((Vec2::splat(0.5), 0.0)))
    }
}

/// What the authors' graph does with its heat maps: the person nearest to the middle, and each of their points where it is hot
/// near to where they think it is. None where the maps are of other sizes.
#[allow(clippy::cast_precision_loss, reason = "at most 64 cells")]
fn of_heat([heat, people, away, inside]: [&[f32]; 4]) -> Option<Vec<Point>> {
    let cells = people.len();
    let side = cells.isqrt();
    let at = |cell: usize| Vec2::new((cell % side) as f32, (cell / side) as f32);
    let nearest = |map: &[f32], middle: Vec2| {
        let value = |cell: usize| map[cell] / (at(cell).distance(middle) + SPREAD);
        (0..cells).max_by(|a, b| value(*a).total_cmp(&value(*b)))
    };
    if heat.len() != POINTS * cells || away.len() != 2 * POINTS * cells || inside.len() != 2 * POINTS * cells {
        return None;
    }
    let person = nearest(people, Vec2::splat((side / 2) as f32))?;
    let pair = |maps: &[f32], point: usize, cell: usize| {
        Vec2::new(maps[(2 * point + 1) * cells + cell], maps[2 * point * cells + cell])
    };
    let point = |point: usize| {
        let map = &heat[point * cells..(point + 1) * cells];
        let cell = nearest(map, at(person) + pair(away, point, person))?;
        Some(((at(cell) + pair(inside, point, cell)) / side as f32, map[cell]))
    };
    (0..POINTS).map(point).collect()
}

/// A person of the points of one square. What MoveNet does not tell is invisible, and nowhere in space.
#[allow(clippy::cast_precision_loss, reason = "12 points")]
fn estimate(region: &Roi, points: &[Point; POINTS]) -> Estimate {
    let turn = region.turn();
    let places = points.map(|(at, _)| region.centre + turn * (at - 0.5) * region.side);
    let mut visibility = [0.0; 33];
    for (landmark, (_, sure)) in IN_BLAZEPOSE.iter().zip(points) {
        visibility[*landmark] = sure.clamp(0.0, 1.0);
    }
    let mean = points[BODY].iter().map(|(_, sure)| sure).sum::<f32>() / BODY.len() as f32;
    let landmarks = Landmarks {
        image: NEAREST.map(|point| places[point]),
        visibility,
        world: [Vec3::NAN; 33],
        score: 1.0 / (1.0 + (-STEEP * (mean - DOUBTFUL)).exp()),
    };
    Estimate { next: next(region, &places, points), landmarks }
}

/// Around the hips, the shoulders up, as large as torso and body ask; around what is seen, where the torso is not.
fn next(region: &Roi, places: &[Vec2; POINTS], points: &[Point; POINTS]) -> Roi {
    let seen = |point: usize| points[point].1 > SEEN;
    let visible = || (0..POINTS).filter(|point| seen(*point)).map(|point| places[point]);
    let middle = |a: usize, b: usize| (seen(a) && seen(b)).then(|| (places[a] + places[b]) / 2.0);
    match (middle(11, 12), middle(5, 6)) {
        (Some(hips), Some(shoulders)) if hips != shoulders => {
            let furthest =
                |points: &mut dyn Iterator<Item = Vec2>| points.map(|point| point.distance(hips)).fold(0.0, f32::max);
            let torso = furthest(&mut [5, 6, 11, 12].into_iter().map(|point| places[point]));
            let half = (TORSO * torso).max(REACH * furthest(&mut visible()));
            let upright = Roi::from_points(hips, shoulders);
            Roi { side: 2.0 * half, ..upright }
        }
        _ => match Bounds::around(visible()) {
            Some(bounds) if bounds.size().max_element() > 0.0 => Roi::around(&bounds, region.angle),
            _ => *region,
        },
    }
}

#[cfg(test)]
mod tests;
