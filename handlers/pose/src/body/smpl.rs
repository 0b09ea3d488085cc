//! SMPL (Loper et al., "SMPL: a skinned multi-person linear model", 2015), for users who have its file.
//!
//! It is drawn in place of the CC0 body for people of whom a model told SMPL's rotations (`pipeline/surface.rs`).

use glam::{Mat3, Mat4, Vec3, Vec3A};

use super::smpl_file::points;

/// What moves a vertex, or tells a joint: indices and weights.
pub(super) type Weights = Vec<(usize, f32)>;

/// The model. SMPL's own frame is y up, facing +z; rotations decide the frame of what comes out.
#[derive(Debug, Clone, PartialEq)]
pub struct Smpl {
    /// Coordinates, three a vertex.
    pub(super) template: Vec<f32>,
    /// What one unit of a shape adds to the coordinates.
    pub(super) shape_dirs: Vec<Vec<f32>>,
    /// What one unit of an element of the rotations adds.
    pub(super) pose_dirs: Vec<Vec<f32>>,
    pub(super) regressor: Vec<Weights>,
    pub(super) weights: Vec<Weights>,
    pub(super) parents: Vec<Option<usize>>,
    pub(super) triangles: Vec<[u32; 3]>,
}

/// A person of SMPL, in metres.
#[derive(Debug, Clone, PartialEq)]
pub struct SmplPosed {
    /// Where the vertices are.
    pub vertices: Vec<Vec3>,
    /// Where the joints are.
    pub joints: Vec<Vec3>,
}

impl Smpl {
    /// How many joints there are; 24 in SMPL.
    pub fn joints(&self) -> usize {
        self.parents.len()
    }

    /// Corners of the triangles as indices of vertices.
    pub fn triangles(&self) -> &[[u32; 3]] {
        &self.triangles
    }

    /// Shapes and poses the model: `betas` are amounts of its shapes, `rotations` turn each joint against its parent, the
    /// first one everything. Missing betas count as 0 and missing rotations as none, what is too much is left out.
    pub fn pose(&self, betas: &[f32], rotations: &[Mat3], translation: Vec3) -> SmplPosed {
        let mut flat = self.template.clone();
        for (column, beta) in self.shape_dirs.iter().zip(betas) {
            add(&mut flat, column, *beta);
        }
        let shaped: Vec<Vec3> = points(&flat).collect();
        let at_rest: Vec<Vec3> =
            self.regressor.iter().map(|row| row.iter().map(|(i, w)| shaped[*i] * *w).sum()).collect();
        let turn = |joint: usize| rotations.get(joint).copied().unwrap_or(Mat3::IDENTITY);
        for joint in 1..self.joints() {
            // SMPL counts the elements of a rotation by rows.
            let elements = (turn(joint) - Mat3::IDENTITY).transpose().to_cols_array();
            for (column, element) in self.pose_dirs[9 * (joint - 1)..].iter().zip(elements) {
                add(&mut flat, column, element);
            }
        }
        let mut globals: Vec<Mat4> = Vec::with_capacity(self.joints());
        for (joint, parent) in self.parents.iter().enumerate() {
            let way = at_rest[joint] - parent.map_or(Vec3::ZERO, |parent| at_rest[parent]);
            let local = Mat4::from_mat3_translation(turn(joint), way);
            globals.push(parent.map_or(local, |parent| globals[parent] * local));
        }
        let carry: Vec<Mat4> =
            globals.iter().zip(&at_rest).map(|(global, rest)| *global * Mat4::from_translation(-*rest)).collect();
        let blend = |(point, by): (Vec3, &Weights)| {
            let blended: Mat4 = by.iter().map(|(joint, weight)| carry[*joint] * *weight).sum();
            Vec3::from(blended.transform_point3a(Vec3A::from(point))) + translation
        };
        SmplPosed {
            vertices: points(&flat).zip(&self.weights).map(blend).collect(),
            joints: globals.iter().map(|global| global.w_axis.truncate() + translation).collect(),
        }
    }
}

fn add(sum: &mut [f32], column: &[f32], amount: f32) {
    if amount != 0.0 {
        sum.iter_mut().zip(column).for_each(|(sum, x)| *sum += x * amount);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use darkroom_api::ErrorCode;
    use safetensors::SafeTensors;

    use super::*;

    /// A model of 4 joints and 10 vertices, with a pose and what numpy makes of it: `testdata/smpl.py`.
    const FIXTURE: &[u8] = include_bytes!("../../testdata/smpl.safetensors");

    fn floats(name: &str) -> Vec<f32> {
        let file = SafeTensors::deserialize(FIXTURE).unwrap();
        file.tensor(name).unwrap().data().as_chunks().0.iter().map(|c| f64::from_le_bytes(*c) as f32).collect()
    }

    #[test]
    fn a_pose_is_what_numpy_computes() {
        let smpl = Smpl::parse(FIXTURE).unwrap();
        let rotations: Vec<Mat3> =
            floats("expected.rotations").as_chunks().0.iter().map(|m| Mat3::from_cols_array(m).transpose()).collect();
        let translation = Vec3::from_slice(&floats("expected.translation"));
        let posed = smpl.pose(&floats("expected.betas"), &rotations, translation);
        for (found, name) in [(&posed.vertices, "expected.vertices"), (&posed.joints, "expected.joints")] {
            let expected: Vec<Vec3> = points(&floats(name)).collect();
            assert_eq!(found.len(), expected.len());
            let off = found.iter().zip(&expected).map(|(a, b)| a.distance(*b)).fold(0.0, f32::max);
            assert!(off < 2e-6, "{name} {off} m off");
        }
        assert_eq!(smpl.triangles().len(), 3);
    }

    #[test]
    fn too_few_and_too_many_amounts_are_no_panic() {
        let smpl = Smpl::parse(FIXTURE).unwrap();
        assert_eq!(smpl.pose(&[], &[], Vec3::ZERO), smpl.pose(&[0.0; 40], &[Mat3::IDENTITY; 90], Vec3::ZERO));
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let mut cut = FIXTURE.to_vec();
        cut.truncate(FIXTURE.len() - 1);
        assert_eq!(Smpl::parse(&cut).unwrap_err().code, ErrorCode::ModelInvalid);
        let text = String::from_utf8_lossy(FIXTURE).find("\"posedirs\"").unwrap();
        let mut renamed = FIXTURE.to_vec();
        renamed[text + 1] = b'q';
        assert!(Smpl::parse(&renamed).unwrap_err().message.contains("no tensor `posedirs`"));
        let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/smpl.safetensors");
        assert!(Smpl::load(&tiny).unwrap_err().message.contains("4 joints, where SMPL has 24"));
    }
}
