//! The CC0 body's file (its form: `handlers/models/src/anny`), checked.

use std::collections::BTreeSet;
use std::path::Path;

use darkroom_api::Result;
use glam::Vec3;

use super::file::{self, Tensors, invalid};

const MAX_VERTICES: usize = 1 << 18;
const MAX_TRIANGLES: usize = 1 << 19;
const MAX_BONES: usize = 512;
/// A bone whose tail is this near to a child's head, in metres, is stretched with the way to that child.
const JOINED: f32 = 1e-4;

/// One bone at rest.
#[derive(Debug, Clone, PartialEq)]
pub struct Bone {
    /// E.g. `upperarm_l`; unique in a body.
    pub name: String,
    /// Index of a bone before this one; none for the first bone alone.
    pub parent: Option<usize>,
    /// Where it begins, in metres: it turns about this.
    pub head: Vec3,
    /// Where it ends, in metres.
    pub tail: Vec3,
}

/// What a part of the surface is, for its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Region {
    /// Covered by a suit.
    Suit,
    /// Head, neck, hands.
    Bare,
    /// An eye.
    Eye,
}

/// The bones that move a vertex, strongest first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Influences {
    /// Indices of bones.
    pub bones: [u16; 4],
    /// At least 0; the sum is 1.
    pub weights: [f32; 4],
}

/// A body with named bones, in metres; x right, y down, z away from the camera that it faces at rest.
#[derive(Debug, Clone, PartialEq)]
pub struct Body {
    pub(super) bones: Vec<Bone>,
    pub(super) vertices: Vec<Vec3>,
    pub(super) triangles: Vec<[u32; 3]>,
    pub(super) regions: Vec<Region>,
    pub(super) skin: Vec<Influences>,
    /// The child that a bone is stretched towards.
    pub(super) stretch: Vec<Option<usize>>,
}

impl Body {
    /// Reads a body's file.
    ///
    /// # Errors
    /// [`darkroom_api::ErrorCode::ModelInvalid`] where it cannot be read or does not hold.
    pub fn load(path: &Path) -> Result<Body> {
        Body::parse(&file::read(path)?)
    }

    /// A body from the bytes of its file.
    ///
    /// # Errors
    /// [`darkroom_api::ErrorCode::ModelInvalid`] where they do not hold.
    pub fn parse(bytes: &[u8]) -> Result<Body> {
        let file = Tensors::open(bytes)?;
        let [v, _] = file.shape("vertices")?;
        let [t, _] = file.shape("triangles")?;
        let b = file.bones.len();
        for (what, count, most) in
            [("vertices", v, MAX_VERTICES), ("triangles", t, MAX_TRIANGLES), ("bones", b, MAX_BONES)]
        {
            if !(1..=most).contains(&count) {
                return Err(invalid(&format!("has {count} {what}, not 1 to {most}")));
            }
        }
        let bones = bones(&file)?;
        let region = |index: &usize| [Region::Suit, Region::Bare, Region::Eye][*index];
        #[allow(clippy::cast_possible_truncation, reason = "there are at most 2^18 vertices")]
        let corners = |t: &[usize; 3]| t.map(|i| i as u32);
        Ok(Body {
            stretch: stretch(&bones),
            bones,
            vertices: points(&file.floats("vertices", &[v, 3])?),
            triangles: file.indices("triangles", &[t, 3], v)?.as_chunks().0.iter().map(corners).collect(),
            regions: file.indices("regions", &[v], 3)?.iter().map(region).collect(),
            skin: skin(&file, v)?,
        })
    }

    /// The bones, each after its parent.
    pub fn bones(&self) -> &[Bone] {
        &self.bones
    }

    /// The index of the bone of that name.
    pub fn bone(&self, name: &str) -> Option<usize> {
        self.bones.iter().position(|bone| bone.name == name)
    }

    /// Vertices at rest, in metres.
    pub fn vertices(&self) -> &[Vec3] {
        &self.vertices
    }

    /// Corners of the triangles as indices of vertices.
    pub fn triangles(&self) -> &[[u32; 3]] {
        &self.triangles
    }

    /// What each vertex is a part of.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// What moves each vertex.
    pub fn influences(&self) -> &[Influences] {
        &self.skin
    }
}

fn points(floats: &[f32]) -> Vec<Vec3> {
    floats.as_chunks().0.iter().map(|p| Vec3::from_array(*p)).collect()
}

fn bones(file: &Tensors<'_>) -> Result<Vec<Bone>> {
    let b = file.bones.len();
    let heads = points(&file.floats("joints", &[b, 3])?);
    let tails = points(&file.floats("tails", &[b, 3])?);
    if file.bones.iter().collect::<BTreeSet<_>>().len() < b {
        return Err(invalid("has two bones of one name"));
    }
    let mut bones = Vec::with_capacity(b);
    for (index, parent) in file.integers("parents", &[b])?.into_iter().enumerate() {
        let parent = match usize::try_from(parent) {
            Ok(parent) if parent < index => Some(parent),
            Err(_) if parent == -1 && index == 0 => None,
            _ => return Err(invalid(&format!("has {parent} as the parent of bone {index}"))),
        };
        bones.push(Bone { name: file.bones[index].clone(), parent, head: heads[index], tail: tails[index] });
    }
    Ok(bones)
}

fn skin(file: &Tensors<'_>, v: usize) -> Result<Vec<Influences>> {
    let bones = file.indices("influences", &[v, 4], file.bones.len())?;
    let weights = file.floats("weights", &[v, 4])?;
    let pairs = bones.as_chunks::<4>().0.iter().zip(weights.as_chunks::<4>().0);
    let checked = |(bones, weights): (&[usize; 4], &[f32; 4])| {
        if weights.iter().any(|w| *w < 0.0) || (weights.iter().sum::<f32>() - 1.0).abs() > 1e-3 {
            return Err(invalid(&format!("has the weights {weights:?} for a vertex")));
        }
        #[allow(clippy::cast_possible_truncation, reason = "there are at most 512 bones")]
        Ok(Influences { bones: bones.map(|b| b as u16), weights: *weights })
    };
    pairs.map(checked).collect()
}

/// Bones that end where a child begins follow that child's distance.
pub(super) fn stretch(bones: &[Bone]) -> Vec<Option<usize>> {
    let child = |index: usize| {
        let joined = |c: &Bone| c.parent == Some(index) && c.head.distance(bones[index].tail) < JOINED;
        let child = bones.iter().position(joined)?;
        // A bone without length has no direction to be stretched in.
        (bones[child].head.distance(bones[index].head) > JOINED).then_some(child)
    };
    (0..bones.len()).map(child).collect()
}

#[cfg(test)]
mod tests;
