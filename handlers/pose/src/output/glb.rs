//! GLB: a skinned body and its motion in one file, for Blender and all else that reads glTF 2.0.

use std::io::{self, Write};

use glam::{Quat, Vec3};
use serde_json::{Value, json};

use super::gltf::{FLOAT, Layout, UNSIGNED_INT, UNSIGNED_SHORT, Use};
use super::motion::{Motion, Shaped, invalid, turned, turned_rotation};
use crate::body::{Influences, Region};

/// The parts of a body that have colours of their own.
const REGIONS: [(Region, &str); 3] = [(Region::Suit, "suit"), (Region::Bare, "skin"), (Region::Eye, "eyes")];

/// Writes one person's body and motion. `colours` (red, green, blue of 0 to 1, in linear light) are of suit, skin and eyes.
///
/// Bones have no rotation at rest and are named as the body's. Times are the video's, so that several people's files
/// play together. A bone that never turns has no curve.
///
/// # Errors
/// Those of `out`; `InvalidData` for poses of another body or not finite, or beyond the format's 4 GiB.
pub fn write_glb(mut out: impl Write, shape: &Shaped, motion: &Motion<'_>, colours: [Vec3; 3]) -> io::Result<()> {
    motion.check(shape.bones.len())?;
    let plan = Plan::new(shape, motion);
    let mut text = serde_json::to_vec(&plan.document(shape, motion, colours))?;
    text.resize(text.len().next_multiple_of(4), b' ');
    let total = 12 + 8 + text.len() as u64 + 8 + plan.layout.bytes;
    let words = [total, text.len() as u64, plan.layout.bytes].map(u32::try_from);
    let [Ok(total), Ok(text_bytes), Ok(data_bytes)] = words else {
        return Err(invalid("a motion too long for one file"));
    };
    out.write_all(b"glTF")?;
    out.write_all(&2_u32.to_le_bytes())?;
    out.write_all(&total.to_le_bytes())?;
    out.write_all(&text_bytes.to_le_bytes())?;
    out.write_all(b"JSON")?;
    out.write_all(&text)?;
    out.write_all(&data_bytes.to_le_bytes())?;
    out.write_all(b"BIN\0")?;
    plan.data(&mut out, shape, motion)?;
    out.flush()
}

/// Which accessors there are, in the order of their data.
struct Plan {
    layout: Layout,
    /// Positions, normals, joints, weights.
    vertices: [usize; 4],
    /// Triangles of each region that has any.
    parts: Vec<(usize, usize)>,
    binds: usize,
    times: usize,
    /// What stands in `times`.
    seconds: Vec<f32>,
    translation: usize,
    /// Bones that turn, and their curves.
    turning: Vec<(usize, usize)>,
}

impl Plan {
    fn new(shape: &Shaped, motion: &Motion<'_>) -> Plan {
        let mut layout = Layout::default();
        let points = shape.vertices.iter().map(|v| turned(*v));
        let (low, high) = points.fold((Vec3::INFINITY, Vec3::NEG_INFINITY), |(low, high), p| (low.min(p), high.max(p)));
        let bounds = Some([low.to_array().to_vec(), high.to_array().to_vec()]);
        let count = shape.vertices.len();
        let vertices = [
            layout.add("VEC3", FLOAT, count, Use::Vertices, bounds),
            layout.add("VEC3", FLOAT, count, Use::Vertices, None),
            layout.add("VEC4", UNSIGNED_SHORT, count, Use::Vertices, None),
            layout.add("VEC4", FLOAT, count, Use::Vertices, None),
        ];
        let mut parts = vec![];
        for index in 0..REGIONS.len() {
            let corners = 3 * part(shape, index).count();
            if corners > 0 {
                parts.push((index, layout.add("SCALAR", UNSIGNED_INT, corners, Use::Indices, None)));
            }
        }
        let binds = layout.add("MAT4", FLOAT, shape.bones.len(), Use::Other, None);
        let frames = motion.frames;
        let seconds = rising(frames.iter().map(|f| f.time_secs));
        let ends = [seconds[0], seconds[frames.len() - 1]].map(|time| vec![time]);
        let times = layout.add("SCALAR", FLOAT, frames.len(), Use::Other, Some(ends));
        let translation = layout.add("VEC3", FLOAT, frames.len(), Use::Other, None);
        let turns = |bone: &usize| frames.iter().any(|f| f.pose.rotations[*bone] != frames[0].pose.rotations[*bone]);
        let turning = (0..shape.bones.len()).filter(turns);
        let turning = turning.map(|bone| (bone, layout.add("VEC4", FLOAT, frames.len(), Use::Other, None))).collect();
        Plan { layout, vertices, parts, binds, times, seconds, translation, turning }
    }

    fn document(&self, shape: &Shaped, motion: &Motion<'_>, colours: [Vec3; 3]) -> Value {
        let bones = shape.bones.len();
        let mut nodes: Vec<Value> = (0..bones).map(|bone| node(shape, motion, bone)).collect();
        nodes.push(json!({ "name": "body", "mesh": 0, "skin": 0 }));
        let [positions, normals, joints, weights] = self.vertices;
        let attributes = json!({ "POSITION": positions, "NORMAL": normals, "JOINTS_0": joints, "WEIGHTS_0": weights });
        let primitives = self.parts.iter().enumerate().map(
            |(material, (_, indices))| json!({ "attributes": attributes, "indices": indices, "material": material }),
        );
        let materials = self.parts.iter().map(|(region, _)| {
            let [r, g, b] = colours[*region].to_array();
            let surface = json!({ "baseColorFactor": [r, g, b, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.8 });
            json!({ "name": REGIONS[*region].1, "pbrMetallicRoughness": surface })
        });
        let curves: Vec<(usize, &str, usize)> = [(0, "translation", self.translation)]
            .into_iter()
            .chain(self.turning.iter().map(|(bone, accessor)| (*bone, "rotation", *accessor)))
            .collect();
        let samplers = curves.iter().map(|(_, _, output)| json!({ "input": self.times, "output": output }));
        let channels = curves
            .iter()
            .enumerate()
            .map(|(sampler, (bone, path, _))| json!({ "sampler": sampler, "target": { "node": bone, "path": path } }));
        let animation = json!({
            "name": "motion",
            "samplers": samplers.collect::<Vec<_>>(),
            "channels": channels.collect::<Vec<_>>(),
        });
        let skin = json!({
            "name": "skeleton",
            "joints": (0..bones).collect::<Vec<_>>(),
            "skeleton": 0,
            "inverseBindMatrices": self.binds,
        });
        let [buffers, buffer_views, accessors] = self.layout.json();
        json!({
            "asset": { "version": "2.0", "generator": "Darkroom" },
            "scene": 0,
            "scenes": [{ "nodes": [0, bones] }],
            "nodes": nodes,
            "meshes": [{ "name": "body", "primitives": primitives.collect::<Vec<_>>() }],
            "materials": materials.collect::<Vec<_>>(),
            "skins": [skin],
            "animations": [animation],
            "buffers": buffers,
            "bufferViews": buffer_views,
            "accessors": accessors,
        })
    }

    /// The data of the accessors, in their order.
    fn data(&self, out: &mut impl Write, shape: &Shaped, motion: &Motion<'_>) -> io::Result<()> {
        floats(out, shape.vertices.iter().flat_map(|v| turned(*v).to_array()))?;
        floats(out, shape.normals.iter().flat_map(|n| turned(*n).normalize_or(Vec3::Z).to_array()))?;
        let distinct: Vec<Influences> = shape.influences.iter().map(distinct).collect();
        pieces(out, distinct.iter().flat_map(|i| i.bones).map(u16::to_le_bytes))?;
        floats(out, distinct.iter().flat_map(|i| i.weights))?;
        for (region, _) in &self.parts {
            pieces(out, part(shape, *region).flatten().map(|i| i.to_le_bytes()))?;
        }
        let binds = shape.bones.iter().flat_map(|bone| {
            let at = -turned(bone.head);
            [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, at.x, at.y, at.z, 1.0]
        });
        floats(out, binds)?;
        floats(out, self.seconds.iter().copied())?;
        floats(out, motion.frames.iter().flat_map(|f| turned(f.pose.translation).to_array()))?;
        for (bone, _) in &self.turning {
            let mut last = Quat::IDENTITY;
            let turns = motion.frames.iter().flat_map(|frame| {
                let turn = turned_rotation(frame.pose.rotations[*bone]);
                // Of a rotation's two quaternions the one that blending does not take the long way round to.
                last = if last.dot(turn) < 0.0 { -turn } else { turn };
                last.to_array()
            });
            floats(out, turns)?;
        }
        Ok(())
    }
}

/// Times in single precision, each after the one before as the format asks: late in a long video a tick of its clock is less
/// than single precision tells apart.
fn rising(times: impl Iterator<Item = f64>) -> Vec<f32> {
    let mut last = None;
    times
        .map(|time| {
            let time = last.map_or(time as f32, |last: f32| (time as f32).max(last.next_up()));
            last = Some(time);
            time
        })
        .collect()
}

/// A bone, as it is in the first frame.
fn node(shape: &Shaped, motion: &Motion<'_>, bone: usize) -> Value {
    let first = &motion.frames[0].pose;
    let at = turned(if bone == 0 { first.translation } else { shape.offset(bone) }).to_array();
    let turn = turned_rotation(first.rotations[bone]).to_array();
    let mut node = json!({ "name": shape.bones[bone].name, "translation": at, "rotation": turn });
    let children: Vec<usize> = (0..shape.bones.len()).filter(|c| shape.bones[*c].parent == Some(bone)).collect();
    if !children.is_empty() {
        node["children"] = json!(children);
    }
    node
}

/// The triangles of a region: those of which most corners are of it.
fn part(shape: &Shaped, region: usize) -> impl Iterator<Item = [u32; 3]> {
    let of = move |t: &&[u32; 3]| {
        let [a, b, c] = t.map(|corner| shape.regions[corner as usize]);
        (if b == c { b } else { a }) == REGIONS[region].0
    };
    shape.triangles.iter().filter(of).copied()
}

/// The same with each bone once, none named without weight, and weights that sum to one: what the format asks for.
fn distinct(influences: &Influences) -> Influences {
    let mut merged = Influences { bones: [0; 4], weights: [0.0; 4] };
    let mut count = 0;
    for (bone, weight) in influences.bones.into_iter().zip(influences.weights) {
        if weight <= 0.0 {
            continue;
        }
        let at = merged.bones[..count].iter().position(|b| *b == bone).unwrap_or(count);
        count = count.max(at + 1);
        merged.bones[at] = bone;
        merged.weights[at] += weight;
    }
    let sum: f32 = merged.weights.iter().sum();
    merged.weights = merged.weights.map(|w| w / sum.max(f32::MIN_POSITIVE));
    merged
}

fn floats(out: &mut impl Write, values: impl Iterator<Item = f32>) -> io::Result<()> {
    pieces(out, values.map(f32::to_le_bytes))
}

/// Writes small arrays of bytes through a buffer.
fn pieces<const N: usize>(out: &mut impl Write, values: impl Iterator<Item = [u8; N]>) -> io::Result<()> {
    let mut piece = Vec::with_capacity(1 << 14);
    for value in values {
        piece.extend_from_slice(&value);
        if piece.len() >= (1 << 14) - N {
            out.write_all(&piece)?;
            piece.clear();
        }
    }
    out.write_all(&piece)
}

#[cfg(test)]
mod tests;
