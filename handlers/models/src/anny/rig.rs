//! Bones, and how much each moves a vertex.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::mesh::Mesh;

/// Bones that move one vertex, in the file.
const INFLUENCES: usize = 4;
const MAX_BONES: usize = 256;
/// Bones whose skin no suit covers.
const BARE: [&str; 8] = ["head", "neck", "hand", "thumb", "index", "middle", "ring", "pinky"];

/// A bone in metres, y up.
#[derive(Debug)]
pub struct Bone {
    pub name: String,
    /// Index of a bone before this one; -1 for the root.
    pub parent: i32,
    pub head: [f64; 3],
    pub tail: [f64; 3],
}

/// A skeleton with the weights as the rig's authors give them.
#[derive(Debug)]
pub struct Rig {
    pub bones: Vec<Bone>,
    weights: BTreeMap<String, Vec<(usize, f64)>>,
}

#[derive(Deserialize)]
struct BoneRow {
    parent: String,
    head: Place,
    tail: Place,
}

/// Where a joint is, told by vertices so that it follows the shape.
#[derive(Deserialize)]
#[serde(tag = "strategy", rename_all = "UPPERCASE")]
enum Place {
    Cube { cube_name: String },
    Vertex { vertex_index: usize },
    Mean { vertex_indices: Vec<usize> },
}

impl Place {
    fn on(&self, mesh: &Mesh) -> Result<[f64; 3], String> {
        match self {
            Place::Cube { cube_name } => mesh.middle(cube_name),
            Place::Vertex { vertex_index } => mesh.mean(&[*vertex_index]),
            Place::Mean { vertex_indices } => mesh.mean(vertex_indices),
        }
    }
}

#[derive(Deserialize)]
struct WeightsPage {
    weights: BTreeMap<String, Vec<(usize, f64)>>,
}

impl Rig {
    /// Reads the two pages; joints are placed on the mesh as it is.
    pub fn parse(rig: &[u8], weights: &[u8], mesh: &Mesh) -> Result<Rig, String> {
        let rows: BTreeMap<String, BoneRow> =
            serde_json::from_slice(rig).map_err(|e| format!("its rig cannot be read: {e}"))?;
        let page: WeightsPage =
            serde_json::from_slice(weights).map_err(|e| format!("its weights cannot be read: {e}"))?;
        if rows.len() > MAX_BONES {
            return Err(format!("its rig has {} bones, more than {MAX_BONES}", rows.len()));
        }
        let mut bones: Vec<Bone> = Vec::new();
        for name in in_order(&rows)? {
            let row = &rows[name];
            let parent = bones.iter().position(|bone| bone.name == row.parent);
            bones.push(Bone {
                name: name.to_owned(),
                parent: parent.and_then(|i| i32::try_from(i).ok()).unwrap_or(-1),
                head: row.head.on(mesh)?,
                tail: row.tail.on(mesh)?,
            });
        }
        Ok(Rig { bones, weights: page.weights })
    }

    /// The strongest bones of some vertices, weights summing to 1.
    #[allow(clippy::cast_possible_truncation, reason = "single precision is what the file holds")]
    pub fn skin(&self, vertices: &[usize]) -> Result<Vec<[(u16, f32); INFLUENCES]>, String> {
        let mut all: BTreeMap<usize, BTreeMap<u16, f64>> = vertices.iter().map(|v| (*v, BTreeMap::new())).collect();
        for (index, bone) in (0u16..).zip(&self.bones) {
            for (vertex, weight) in self.weights.get(&bone.name).into_iter().flatten() {
                if let Some(found) = all.get_mut(vertex)
                    && *weight > 0.0
                {
                    found.insert(index, *weight);
                }
            }
        }
        let strongest = |vertex: &usize| {
            let mut found: Vec<(u16, f64)> = all[vertex].iter().map(|(bone, weight)| (*bone, *weight)).collect();
            found.sort_by(|a, b| b.1.total_cmp(&a.1));
            found.truncate(INFLUENCES);
            let sum: f64 = found.iter().map(|(_, weight)| weight).sum();
            if sum <= 0.0 {
                return Err(format!("no bone moves vertex {vertex}"));
            }
            let mut four = [(0, 0.0); INFLUENCES];
            for (slot, (bone, weight)) in four.iter_mut().zip(found) {
                *slot = (bone, (weight / sum) as f32);
            }
            Ok(four)
        };
        vertices.iter().map(strongest).collect()
    }

    /// Whether the skin of a bone is bare.
    pub fn is_bare(&self, bone: u16) -> bool {
        self.bones.get(usize::from(bone)).is_some_and(|b| BARE.iter().any(|start| b.name.starts_with(start)))
    }
}

/// Names, each after its parent.
fn in_order(rows: &BTreeMap<String, BoneRow>) -> Result<Vec<&str>, String> {
    let mut order: Vec<&str> = Vec::new();
    for name in rows.keys() {
        let (mut chain, mut next) = (Vec::new(), name.as_str());
        while !next.is_empty() && !order.contains(&next) {
            if chain.contains(&next) {
                return Err(format!("bone `{next}` is its own ancestor"));
            }
            chain.push(next);
            next = &rows.get(next).ok_or_else(|| format!("its rig has no bone `{next}`"))?.parent;
        }
        order.extend(chain.into_iter().rev());
    }
    match rows.values().filter(|row| row.parent.is_empty()).count() {
        1 => Ok(order),
        roots => Err(format!("its rig has {roots} roots")),
    }
}
