//! What `model` and `detector` may be.

use darkroom_api::{ErrorCode, JobError, Result};
use darkroom_inference::PooledSession;

use super::detect::Detector;
use super::finder::{Finder, Schedule};
use super::hmr2::{self, Hmr2};
use super::instanthmr::InstantHmr;
use super::movenet::MoveNet;
use super::own::OwnDetector;
use super::{BlazePose, BlazePoseDetector, NanoDet};

/// Finds and follows people for models that do not: they tell a pose whether there is somebody or not.
const FOLLOWER: &str = "pose/blazepose-full";
const FACES: &str = "pose/blazepose-detector";
const BODIES: &str = "pose/person-detector";
/// What `detector` is for both of ours together.
pub const AUTO: &str = "auto";

/// A pose model that can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// What parameters call it.
    pub name: &'static str,
    /// What the registry calls it.
    pub entry: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    BlazePose,
    MoveNet,
    Hmr2,
    InstantHmr,
}

const fn choice(name: &'static str, entry: &'static str, kind: Kind) -> Choice {
    Choice { name, entry, kind }
}

/// All of them, the usual one first.
pub const CHOICES: [Choice; 9] = [
    choice("blazepose", "pose/blazepose-full", Kind::BlazePose),
    choice("blazepose-lite", "pose/blazepose-lite", Kind::BlazePose),
    choice("blazepose-full", "pose/blazepose-full", Kind::BlazePose),
    choice("blazepose-heavy", "pose/blazepose-heavy", Kind::BlazePose),
    choice("movenet", "pose/movenet-lightning", Kind::MoveNet),
    choice("movenet-lightning", "pose/movenet-lightning", Kind::MoveNet),
    choice("movenet-thunder", "pose/movenet-thunder", Kind::MoveNet),
    choice("hmr2", "pose/hmr2", Kind::Hmr2),
    choice("instanthmr", "pose/instanthmr", Kind::InstantHmr),
];

impl Choice {
    /// The choice of that name, short or the registry's.
    ///
    /// # Errors
    /// [`ErrorCode::ModelMissing`] with those that there are.
    pub fn named(name: &str) -> Result<Choice> {
        CHOICES.into_iter().find(|choice| [choice.name, choice.entry].contains(&name)).ok_or_else(|| {
            let names: Vec<String> = CHOICES.iter().map(|choice| format!("`{}`", choice.name)).collect();
            let why = format!("There is no pose model `{name}`: `model` may be {}.", names.join(", "));
            JobError::new(ErrorCode::ModelMissing, why)
        })
    }

    /// Whether it tells where people are in space. Without that there is no body: no mesh, and no file of motion.
    pub fn has_space(self) -> bool {
        self.kind != Kind::MoveNet
    }

    /// Whether it tells SMPL's rotations and shape.
    pub fn tells_smpl(self) -> bool {
        self.kind == Kind::Hmr2
    }

    /// The focal length that its authors take for a picture of which nothing is known, in pixels.
    pub fn focal_px(self, width_px: u32, height_px: u32) -> f64 {
        match self.kind {
            Kind::Hmr2 => hmr2::focal_px(width_px, height_px),
            Kind::BlazePose | Kind::MoveNet | Kind::InstantHmr => f64::from(width_px).hypot(f64::from(height_px)),
        }
    }

    /// Memory that a run takes more than with BlazePose, for the files that are known.
    pub fn more_mib(self) -> u64 {
        match self.kind {
            // 670 million weights of four bytes, and as much again for a moment while they are loaded from two.
            Kind::Hmr2 => 4096,
            Kind::InstantHmr => 512,
            Kind::BlazePose | Kind::MoveNet => 0,
        }
    }

    /// What the registry calls all that a run needs; `detector` is [`AUTO`], or what the registry calls one.
    pub fn needs(self, detector: &str) -> Vec<&str> {
        let mut names = if detector == AUTO { vec![FACES, BODIES] } else { vec![detector] };
        if matches!(self.kind, Kind::Hmr2 | Kind::InstantHmr) {
            names.push(FOLLOWER);
        }
        names.push(self.entry);
        names
    }

    /// A finder of people; `open` lends sessions by the registry's names.
    ///
    /// # Errors
    /// Those of `open`, and [`ErrorCode::ModelInvalid`] for models that are others, with what was found.
    pub fn finder<'a>(
        self,
        detector: &str,
        schedule: Schedule,
        open: &mut dyn FnMut(&str) -> Result<PooledSession<'a>>,
    ) -> Result<Finder<'a>> {
        let detectors: Vec<Box<dyn Detector + 'a>> = match detector {
            AUTO => vec![Box::new(BlazePoseDetector::new(open(FACES)?)?), Box::new(NanoDet::new(open(BODIES)?)?)],
            FACES => vec![Box::new(BlazePoseDetector::new(open(FACES)?)?)],
            BODIES => vec![Box::new(NanoDet::new(open(BODIES)?)?)],
            own => vec![Box::new(OwnDetector::new(open(own)?)?)],
        };
        let mut follower = |entry: &str| BlazePose::new(open(entry)?).map(Box::new);
        Ok(match self.kind {
            Kind::BlazePose => Finder::new(detectors, follower(self.entry)?, schedule),
            Kind::MoveNet => Finder::new(detectors, Box::new(MoveNet::new(open(self.entry)?)?), schedule),
            Kind::Hmr2 => {
                let follower = follower(FOLLOWER)?;
                Finder::new(detectors, follower, schedule).with_body(Box::new(Hmr2::new(open(self.entry)?)?))
            }
            Kind::InstantHmr => {
                let follower = follower(FOLLOWER)?;
                Finder::new(detectors, follower, schedule).with_body(Box::new(InstantHmr::new(open(self.entry)?)?))
            }
        })
    }
}

#[cfg(test)]
mod tests;
