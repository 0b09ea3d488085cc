//! What people are drawn as: the CC0 body, or SMPL's own mesh where the user has its file and a model told its rotations.

use glam::{Mat3, Vec3};

use super::fit::Person;
use crate::body::{Body, Region, Smpl, normals};
use crate::render::Mesh;
use crate::view::BodyPose;

/// The surfaces that there are.
pub struct Surfaces<'a> {
    body: &'a Body,
    /// Index of the body's bone.
    pelvis: usize,
    /// Of each vertex of the body.
    parts: Vec<u8>,
    smpl: Option<&'a Smpl>,
}

/// A person in a frame.
pub struct Posed<'a> {
    /// Stable name, from 1 on.
    pub id: u32,
    /// The body.
    pub pose: &'a BodyPose,
    /// What a model told in the terms of SMPL, and SMPL's shape.
    pub smpl: Option<(&'a BodyPose, &'a [f32])>,
}

impl<'a> Posed<'a> {
    /// A person in a frame of the video; none where no body is fitted.
    pub fn of(person: &'a Person, frame: usize) -> Option<Posed<'a>> {
        let told = || {
            let track = person.fitted.smpl.as_ref()?;
            Some((track.poses.get(person.at(frame)?)?.as_ref()?, track.betas.as_slice()))
        };
        Some(Posed { id: person.id, pose: person.pose(frame)?, smpl: told() })
    }
}

/// A posed surface; its memory is kept from frame to frame.
#[derive(Default)]
pub struct Skin {
    positions: Vec<Vec3>,
    normals: Vec<Vec3>,
    is_smpl: bool,
}

impl<'a> Surfaces<'a> {
    /// Of the body, and of SMPL where it is there.
    pub fn new(body: &'a Body, smpl: Option<&'a Smpl>) -> Surfaces<'a> {
        let part = |region: &Region| match region {
            Region::Suit => 0,
            Region::Bare => 1,
            Region::Eye => 2,
        };
        let parts = body.regions().iter().map(part).collect();
        Surfaces { body, pelvis: body.bone("pelvis").unwrap_or(0), parts, smpl }
    }

    /// Poses a person's surface. SMPL's pelvis is put where the fitted body's is: that one is where the person is seen.
    pub fn pose(&self, person: &Posed<'_>, skin: &mut Skin) {
        let smpl = self.smpl.zip(person.smpl);
        skin.is_smpl = smpl.is_some();
        if let Some((smpl, (told, betas))) = smpl {
            let rotations: Vec<Mat3> = told.rotations.iter().map(|turn| Mat3::from_quat(*turn)).collect();
            let posed = smpl.pose(betas, &rotations, Vec3::ZERO);
            let shift = self.body.joints(person.pose).heads[self.pelvis] - posed.joints[0];
            skin.positions.clear();
            skin.positions.extend(posed.vertices.iter().map(|vertex| *vertex + shift));
        } else {
            self.body.skin(person.pose, &mut skin.positions);
        }
        normals(&skin.positions, self.triangles(skin), &mut skin.normals);
    }

    /// A posed surface as it is drawn. SMPL's file tells no parts: all of it has the first colour.
    pub fn mesh<'b>(&'b self, skin: &'b Skin, colours: &'b [Vec3]) -> Mesh<'b> {
        Mesh {
            positions: &skin.positions,
            normals: &skin.normals,
            triangles: self.triangles(skin),
            colours,
            parts: if skin.is_smpl { &[] } else { &self.parts },
        }
    }

    fn triangles(&self, skin: &Skin) -> &'a [[u32; 3]] {
        match self.smpl {
            Some(smpl) if skin.is_smpl => smpl.triangles(),
            _ => self.body.triangles(),
        }
    }
}

#[cfg(test)]
mod tests {
    use darkroom_api::{ErrorCode, parse_params};
    use glam::Quat;
    use serde_json::json;

    use super::super::Setup;
    use super::super::fit::tests::{person, seen};
    use super::*;
    use crate::body::SMPL_JOINTS;
    use crate::body::sample::sample;
    use crate::fit::SmplTrack;
    use crate::people::testing::{constants, with};

    /// Four joints and ten vertices in the form of SMPL's file: `testdata/smpl.py`.
    const TINY: &[u8] = include_bytes!("../../testdata/smpl.safetensors");
    const SUIT: [Vec3; 3] = [Vec3::X, Vec3::Y, Vec3::Z];

    #[test]
    fn smpl_is_drawn_where_it_is_there_and_told_and_the_body_elsewhere() {
        let (body, smpl) = (sample(), Smpl::parse(TINY).unwrap());
        let pose = BodyPose { translation: Vec3::new(0.3, 1.0, 4.0), ..body.rest() };
        let mut told = BodyPose {
            rotations: vec![Quat::from_rotation_y(0.2); SMPL_JOINTS],
            translation: Vec3::new(7.0, 7.0, 7.0),
            scales: vec![1.0; SMPL_JOINTS],
        };
        told.rotations[0] = Quat::from_rotation_x(3.0);
        let mut person = person(5, vec![Some(seen(9.0)); 2], vec![Some(pose.clone()), Some(pose.clone())]);
        person.fitted.smpl = Some(SmplTrack { poses: vec![Some(told.clone()), None], betas: [0.5; 10] });
        let skinned = |file, frame| {
            let (surfaces, mut skin) = (Surfaces::new(&body, file), Skin::default());
            surfaces.pose(&Posed::of(&person, frame).unwrap(), &mut skin);
            let mesh = surfaces.mesh(&skin, &SUIT);
            assert_eq!(mesh.normals.len(), mesh.positions.len());
            (mesh.positions.to_vec(), mesh.triangles.to_vec(), mesh.parts.to_vec())
        };
        let (positions, triangles, parts) = skinned(Some(&smpl), 5);
        let rotations: Vec<Mat3> = told.rotations.iter().map(|turn| Mat3::from_quat(*turn)).collect();
        let alone = smpl.pose(&[0.5; 10], &rotations, Vec3::ZERO);
        let pelvis = body.joints(&pose).heads[body.bone("pelvis").unwrap()];
        for (vertex, alone_at) in positions.iter().zip(&alone.vertices) {
            assert!((*vertex - pelvis).distance(*alone_at - alone.joints[0]) < 1e-5, "{vertex}");
        }
        assert_eq!((positions.len(), triangles, parts), (10, smpl.triangles().to_vec(), vec![]));

        let mut body_at = Vec::new();
        body.skin(&pose, &mut body_at);
        for other in [skinned(Some(&smpl), 6), skinned(None, 5)] {
            assert_eq!((&other.0, &other.1[..]), (&body_at, body.triangles()));
            assert_eq!(other.2.len(), body_at.len());
        }
        assert!(Posed::of(&person, 7).is_none());
    }

    #[test]
    fn a_file_that_is_no_smpl_is_refused_where_it_would_be_drawn() {
        let (_dir, runtime) = with("pose/smpl", constants(vec![], &[]));
        let setup = |params| Setup::new(&runtime, &parse_params(&params).unwrap());
        let error = setup(json!({ "model": "hmr2" })).err().unwrap();
        assert!(error.code == ErrorCode::ModelInvalid && error.message.contains("smpl_to_safetensors.py"), "{error}");
        for other in [json!({}), json!({ "model": "hmr2", "render": "skeleton" })] {
            let setup = setup(other).unwrap();
            assert!(setup.smpl.is_none() && setup.files.len() == 1);
        }
    }
}
