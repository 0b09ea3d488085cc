//! The second pass: bodies and skeletons onto the video.

use darkroom_api::{JobContext, Result};
use darkroom_media::pipeline::{self, Emitter, PipelineOptions, PipelineReport};
use darkroom_media::{Frame, Reader, VideoInfo, Writer};
use glam::Vec3;
use rayon::prelude::*;

use super::fit::Person;
use super::paint::{Painter, canvas};
use super::surface::{Posed, Skin, Surfaces};
use crate::body::{Body, Smpl};
use crate::look::Look;
use crate::render::{BLAZEPOSE, Mesh, Mode, Renderer, Scene, Stroke};
use crate::view::Camera;
use crate::{DRAWING, Params};

/// Colours of suits, in turn: people who stand side by side differ.
const SUITS: [Vec3; 8] = [
    Vec3::new(0.65, 0.74, 0.86),
    Vec3::new(0.95, 0.66, 0.42),
    Vec3::new(0.56, 0.80, 0.56),
    Vec3::new(0.86, 0.56, 0.68),
    Vec3::new(0.72, 0.62, 0.88),
    Vec3::new(0.90, 0.82, 0.46),
    Vec3::new(0.46, 0.78, 0.80),
    Vec3::new(0.78, 0.68, 0.58),
];
const SKIN: Vec3 = Vec3::new(0.87, 0.74, 0.65);
const EYES: Vec3 = Vec3::new(0.95, 0.95, 0.95);

/// Colours of a person's suit, skin and eyes, as signals.
pub fn colours(id: u32) -> [Vec3; 3] {
    [SUITS[id.saturating_sub(1) as usize % SUITS.len()], SKIN, EYES]
}

/// Draws the people of one video, frame after frame.
pub struct Drawer<'a> {
    surfaces: Surfaces<'a>,
    people: &'a [Person],
    camera: Camera,
    mode: Mode,
    opacity: f32,
    /// Width of the smoothing in frames.
    sigma: f64,
    renderer: Renderer,
    painter: Painter,
    skins: Vec<Skin>,
    strokes: Vec<Stroke>,
    threads: &'a rayon::ThreadPool,
    times: &'a [i64],
    /// Frames that kept their pixels though somebody is in them, or may be.
    pub fallback: u64,
    /// Frames of the second pass.
    frames: u64,
    /// Of those, the ones that the first did not see.
    strangers: u64,
}

/// What is drawn, and over what.
pub struct Cast<'a> {
    /// The body.
    pub body: &'a Body,
    /// SMPL, which is drawn instead of it where a model told its rotations.
    pub smpl: Option<&'a Smpl>,
    /// The people.
    pub people: &'a [Person],
    /// When each frame is shown, as the first pass saw them.
    pub times: &'a [i64],
    /// The camera that they are seen by.
    pub camera: Camera,
    /// Who draws.
    pub threads: &'a rayon::ThreadPool,
}

impl<'a> Drawer<'a> {
    /// For a run.
    #[allow(clippy::cast_possible_truncation, reason = "0 to 1")]
    pub fn new(cast: &Cast<'a>, params: &Params, look: &Look, info: &VideoInfo) -> Drawer<'a> {
        Drawer {
            surfaces: Surfaces::new(cast.body, cast.smpl),
            people: cast.people,
            camera: cast.camera,
            mode: params.render,
            opacity: params.opacity.get() as f32,
            sigma: params.smooth_secs.get() * info.fps(),
            renderer: Renderer::default(),
            painter: Painter::new(params.render, look.hdr, info.bit_depth > look.options.bit_depth),
            skins: Vec::new(),
            strokes: Vec::new(),
            threads: cast.threads,
            times: cast.times,
            fallback: 0,
            frames: 0,
            strangers: 0,
        }
    }

    /// Makes a frame of the result of a frame of the video.
    ///
    /// # Errors
    /// Those of [`Painter::lay`]. What cannot be drawn is not drawn, and counted.
    pub fn draw(&mut self, original: &Frame, result: &mut Frame) -> Result<()> {
        self.painter.lay(original, result)?;
        self.frames += 1;
        // A damaged file might be decoded differently the second time: who is in a frame that nobody saw is not known.
        let Ok(index) = self.times.binary_search(&original.pts()) else {
            self.strangers += 1;
            self.fallback += u64::from(!self.people.is_empty());
            return Ok(());
        };
        let (poses, seen) = (self.poses(index), self.seen(index));
        if poses.is_empty() && self.strokes.is_empty() {
            self.fallback += u64::from(seen);
            return Ok(());
        }
        let mut canvas = canvas(result, self.mode, original.width())?;
        let drawn = self.threads.install(|| {
            self.skins.resize_with(poses.len().max(self.skins.len()), Skin::default);
            let surfaces = &self.surfaces;
            self.skins.par_iter_mut().zip(&poses).for_each(|(skin, person)| surfaces.pose(person, skin));
            let colours: Vec<[Vec3; 3]> = poses.iter().map(|person| colours(person.id)).collect();
            let meshes: Vec<Mesh<'_>> =
                self.skins.iter().zip(&colours).map(|(skin, colours)| surfaces.mesh(skin, colours)).collect();
            let scene = Scene { camera: self.camera, meshes: &meshes, opacity: self.opacity, strokes: &self.strokes };
            self.renderer.draw(&mut canvas, &scene)
        });
        // On an error the picture is as it was.
        self.fallback += u64::from(drawn.is_err());
        Ok(())
    }

    /// What the user should know where the second pass saw other frames than the first.
    pub fn differs(&self) -> Option<String> {
        let seen = self.times.len() as u64;
        (self.strangers > 0 || self.frames != seen).then(|| {
            format!(
                "The video was decoded differently the second time, as damaged ones can be: {} frames where there had been {seen}, \
                 {} of them unknown. Those are not drawn on.",
                self.frames, self.strangers
            )
        })
    }

    /// The bodies to draw, and into `strokes` the skeletons.
    fn poses(&mut self, index: usize) -> Vec<Posed<'a>> {
        self.strokes.clear();
        let people = self.people;
        if self.mode.draws_skeleton() {
            for person in people {
                let Some(landmarks) = person.landmarks(index) else { continue };
                let points = person.steady_points(index, self.sigma).unwrap_or(landmarks.image);
                BLAZEPOSE.draw(&points, &landmarks.visibility, self.opacity, &mut self.strokes);
            }
        }
        let posed = people.iter().filter_map(|person| Posed::of(person, index));
        posed.filter(|_| self.mode.draws_mesh()).collect()
    }

    /// Whether somebody is in a frame.
    fn seen(&self, index: usize) -> bool {
        self.people.iter().any(|person| person.landmarks(index).is_some())
    }
}

/// Decodes once more, draws, encodes.
///
/// # Errors
/// Those of reading and writing.
pub fn run(reader: Reader, writer: Writer, ctx: &JobContext, drawer: &mut Drawer<'_>) -> Result<PipelineReport> {
    let options = PipelineOptions { stage: DRAWING.to_owned(), ..PipelineOptions::default() };
    pipeline::run(reader, writer, ctx, &options, |frames: &mut Vec<Frame>, out: &mut Emitter<'_>| {
        for frame in frames.drain(..) {
            let mut result = out.blank(&frame)?;
            drawer.draw(&frame, &mut result)?;
            out.send(result)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use darkroom_api::parse_params;
    use darkroom_media::testing::jump;
    use darkroom_media::{ReadOptions, Traits};
    use glam::Vec2;
    use serde_json::json;

    use super::super::fit::tests::{person, seen};
    use super::*;
    use crate::body::sample::sample;
    use crate::view::BodyPose;

    #[test]
    fn a_frame_without_a_fit_keeps_its_pixels_and_is_counted() {
        let mut reader = Reader::open(&jump(), &ReadOptions::default()).unwrap();
        let (info, body) = (reader.info().clone(), sample());
        let frames: Vec<Frame> = (0..3).map(|_| reader.next().unwrap().unwrap()).collect();
        let times: Vec<i64> = frames.iter().map(Frame::pts).collect();
        let pose = BodyPose { translation: Vec3::new(0.0, 1.0, 4.0), ..body.rest() };
        let people = [person(0, vec![Some(seen(9.0)), Some(seen(9.0)), None], vec![Some(pose), None, None])];
        let threads = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let centre_px = Vec2::new(info.width_px as f32, info.height_px as f32) / 2.0;
        let camera = Camera { focal_px: 1500.0, centre_px };
        let cast = Cast { body: &body, smpl: None, people: &people, times: &times, camera, threads: &threads };
        for (mode, drawn_from) in [("mesh", 0), ("side-by-side", info.width_px as usize)] {
            let params: Params = parse_params(&json!({ "render": mode })).unwrap();
            let look = Look::of(&params, Traits::from(&info), 1).unwrap();
            let pool = look.pool(&info, &params);
            let mut drawer = Drawer::new(&cast, &params, &look, &info);
            let changed: Vec<bool> = (frames.iter())
                .map(|frame| {
                    let mut result = pool.take().unwrap();
                    drawer.draw(frame, &mut result).unwrap();
                    let (before, after) = (frame.plane(0).unwrap(), result.plane(0).unwrap());
                    let width = info.width_px as usize;
                    let rows = || before.data.chunks(before.stride).zip(after.data.chunks(after.stride));
                    assert!(
                        drawn_from == 0 || rows().all(|(a, b)| a[..width] == b[..width]),
                        "the left is the original"
                    );
                    rows().any(|(a, b)| a[..width] != b[drawn_from..drawn_from + width])
                })
                .collect();
            assert_eq!((changed, drawer.fallback), (vec![true, false, false], 1), "{mode}");
            assert_eq!(drawer.differs(), None);
        }
    }

    #[test]
    fn frames_that_the_first_pass_did_not_see_are_counted_and_told() {
        let mut reader = Reader::open(&jump(), &ReadOptions::default()).unwrap();
        let (info, body) = (reader.info().clone(), sample());
        let frames: Vec<Frame> = (0..2).map(|_| reader.next().unwrap().unwrap()).collect();
        // The second frame was shown a tick later when the people were found.
        let times = [frames[0].pts(), frames[1].pts() + 1];
        let pose = BodyPose { translation: Vec3::new(0.0, 1.0, 4.0), ..body.rest() };
        let people = [person(0, vec![Some(seen(9.0)); 2], vec![Some(pose.clone()), Some(pose)])];
        let threads = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let centre_px = Vec2::new(info.width_px as f32, info.height_px as f32) / 2.0;
        let camera = Camera { focal_px: 1500.0, centre_px };
        let params = Params::default();
        let look = Look::of(&params, Traits::from(&info), 1).unwrap();
        let pool = look.pool(&info, &params);
        for (people, fallback) in [(&people[..], 1), (&[], 0)] {
            let cast = Cast { body: &body, smpl: None, people, times: &times, camera, threads: &threads };
            let mut drawer = Drawer::new(&cast, &params, &look, &info);
            for frame in &frames {
                drawer.draw(frame, &mut pool.take().unwrap()).unwrap();
            }
            assert_eq!(drawer.fallback, fallback, "where nobody is nobody is missed");
            assert!(drawer.differs().unwrap().contains("1 of them unknown"), "{:?}", drawer.differs());
        }
    }
}
