//! SMPL's file, converted by `infra/models/smpl_to_safetensors.py`, checked.

use std::path::Path;

use darkroom_api::Result;
use glam::Vec3;

use super::file::{self, Tensors, invalid};
use super::retarget::SMPL_JOINTS;
use super::smpl::{Smpl, Weights};

const MAX_VERTICES: usize = 1 << 16;
const MAX_JOINTS: usize = 64;
const MAX_SHAPES: usize = 512;

impl Smpl {
    /// Reads SMPL's file with its 24 joints: `v_template` [v,3], `shapedirs` [v,3,s], `posedirs` [v,3,9(j-1)], `J_regressor` [j,v], `weights`
    /// [v,j], `kintree_table` [2,j], `f` [t,3], named and shaped as its authors do.
    ///
    /// # Errors
    /// [`darkroom_api::ErrorCode::ModelInvalid`] where it cannot be read or does not hold.
    pub fn load(path: &Path) -> Result<Smpl> {
        match Smpl::parse(&file::read(path)?)? {
            smpl if smpl.joints() == SMPL_JOINTS => Ok(smpl),
            other => Err(invalid(&format!("has {} joints, where SMPL has {SMPL_JOINTS}", other.joints()))),
        }
    }

    /// SMPL, or something smaller in its form, from the bytes of its file.
    ///
    /// # Errors
    /// [`darkroom_api::ErrorCode::ModelInvalid`] where they do not hold.
    pub fn parse(bytes: &[u8]) -> Result<Smpl> {
        let file = Tensors::open(bytes)?;
        let [v, _, s] = file.shape("shapedirs")?;
        let [_, j] = file.shape("kintree_table")?;
        let [t, _] = file.shape("f")?;
        let counts = [("vertices", v, MAX_VERTICES), ("joints", j, MAX_JOINTS), ("shapes", s, MAX_SHAPES)];
        for (what, count, most) in counts.into_iter().chain([("triangles", t, 4 * MAX_VERTICES)]) {
            if !(1..=most).contains(&count) {
                return Err(invalid(&format!("has {count} {what}, not 1 to {most}")));
            }
        }
        let coefficients = 9 * (j - 1);
        #[allow(clippy::cast_possible_truncation, reason = "there are at most 2^16 vertices")]
        let corners = |t: &[usize; 3]| t.map(|i| i as u32);
        let template = file.floats("v_template", &[v, 3])?;
        Ok(Smpl {
            shape_dirs: columns(&file.floats("shapedirs", &[v, 3, s])?, s),
            // A skeleton of one joint has no correctives.
            pose_dirs: if j == 1 {
                vec![]
            } else {
                columns(&file.floats("posedirs", &[v, 3, coefficients])?, coefficients)
            },
            template,
            regressor: sparse(&file.floats("J_regressor", &[j, v])?, v),
            weights: skin(&file.floats("weights", &[v, j])?, j)?,
            parents: parents(&file.integers("kintree_table", &[2, j])?, j)?,
            triangles: file.indices("f", &[t, 3], v)?.as_chunks().0.iter().map(corners).collect(),
        })
    }
}

/// A matrix by rows as its columns: a blend adds whole columns.
fn columns(rows: &[f32], width: usize) -> Vec<Vec<f32>> {
    (0..width).map(|column| rows.iter().skip(column).step_by(width).copied().collect()).collect()
}

fn sparse(rows: &[f32], width: usize) -> Vec<Weights> {
    rows.chunks(width)
        .map(|row| row.iter().enumerate().filter(|(_, w)| **w != 0.0).map(|(i, w)| (i, *w)).collect())
        .collect()
}

fn skin(rows: &[f32], joints: usize) -> Result<Vec<Weights>> {
    let skin = sparse(rows, joints);
    let whole = |weights: &Weights| {
        weights.iter().all(|(_, w)| *w > 0.0) && (weights.iter().map(|(_, w)| w).sum::<f32>() - 1.0).abs() < 1e-3
    };
    match skin.iter().find(|weights| !whole(weights)) {
        Some(weights) => Err(invalid(&format!("has the weights {weights:?} for a vertex"))),
        None => Ok(skin),
    }
}

/// The first row has the parents; what the root has there differs between files.
fn parents(table: &[i64], joints: usize) -> Result<Vec<Option<usize>>> {
    let parent = |(joint, parent): (usize, &i64)| match usize::try_from(*parent) {
        _ if joint == 0 => Ok(None),
        Ok(parent) if parent < joint => Ok(Some(parent)),
        _ => Err(invalid(&format!("has {parent} as the parent of joint {joint}"))),
    };
    table[..joints].iter().enumerate().map(parent).collect()
}

/// The vertices of a flat list.
pub(super) fn points(floats: &[f32]) -> impl Iterator<Item = Vec3> {
    floats.as_chunks().0.iter().map(|p| Vec3::from_array(*p))
}
