use std::io::Write;

use safetensors::SafeTensors;

use super::*;

/// A quad and a triangle of body, an eye, a helper, and cubes of one face for two joints.
const MESH_TEXT: &str =
    "v 0 0 0\nv 10 0 0\nv 10 10 0\nv 0 10 0\nv 5 20 1\nv 0 30 0\nv 1 30 0\nv 0 31 0\nv 9 9 9\nv 9 9 8\nv 9 8 8
g body\nf 1/1 2/2 3/3 4/4\nf 4 3 5\ng helper-l-eye\nf 6 7 8\ng helper-tights\nf 9 10 11
g joint-low\nf 1 2 1 2\ng joint-high\nf 3 4 3\n";
const RIG_TEXT: &str = r#"{
  "head": {"parent": "pelvis", "head": {"strategy": "CUBE", "cube_name": "joint-high"}, "tail": {"strategy": "VERTEX", "vertex_index": 4}},
  "pelvis": {"parent": "", "head": {"strategy": "MEAN", "vertex_indices": [0, 1, 2, 3]}, "tail": {"strategy": "CUBE", "cube_name": "joint-high"}},
  "ring_01_l": {"parent": "head", "head": {"strategy": "VERTEX", "vertex_index": 4}, "tail": {"strategy": "VERTEX", "vertex_index": 5}}}"#;
const WEIGHTS_TEXT: &str = r#"{"name": "w", "weights": {
  "pelvis": [[0, 1.0], [1, 1.0], [2, 0.75], [3, 2.0], [8, 1.0]],
  "head": [[2, 0.25], [3, 1.0], [4, 1.0], [5, 1.0], [6, 1.0], [7, 1.0]], "ring_01_l": [[3, 1.0]]}}"#;

fn gz(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn file(path: &str, mesh: &str, target: &str, rig: &str) -> Vec<u8> {
    match path {
        MESH => mesh.into(),
        RIG => rig.into(),
        WEIGHTS => WEIGHTS_TEXT.into(),
        "targets/macrodetails/african-female-young.target.gz" => gz(target),
        _ => gz("# nothing moves\n\n"),
    }
}

fn sources(mesh: &str, target: &str, rig: &str) -> Sources {
    Sources::read(|path, _| Ok::<_, String>(file(path, mesh, target, rig))).unwrap()
}

/// The files of a small body by their paths, as an archive has them, and the body.
pub fn small() -> (Vec<(String, Vec<u8>)>, Vec<u8>) {
    let mut files = Vec::new();
    let read = |path: &str, _: u64| {
        let bytes = file(path, MESH_TEXT, "1 6 12 -6\n", RIG_TEXT);
        files.push((path.to_owned(), bytes.clone()));
        Ok::<_, String>(bytes)
    };
    let body = bake(&Sources::read(read).unwrap()).unwrap();
    (files, body)
}

fn floats(file: &SafeTensors, name: &str) -> Vec<f32> {
    file.tensor(name).unwrap().data().chunks(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect()
}

#[test]
fn a_body_is_its_shape_its_bones_and_their_strongest_weights() {
    let from = sources(MESH_TEXT, "1 6 12 -6\n", RIG_TEXT);
    let bytes = bake(&from).unwrap();
    assert_eq!(bytes, bake(&from).unwrap(), "the same bytes each time");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let vertices = floats(&file, "vertices");
    assert_eq!(vertices.len(), 8 * 3, "body and eye, no helper");
    // 10 and a sixth of 6 decimetres; y and z turned round.
    assert_eq!(vertices[3..6], [1.1, -0.2, 0.1]);
    let triangles: Vec<u8> = file.tensor("triangles").unwrap().data().iter().step_by(4).copied().collect();
    assert_eq!(triangles, [0, 1, 2, 0, 2, 3, 3, 2, 4, 5, 6, 7]);
    assert_eq!(file.tensor("regions").unwrap().data(), [0, 0, 0, 0, 1, 2, 2, 2]);
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["bones"], "pelvis,head,ring_01_l");
    let parents: Vec<i32> =
        file.tensor("parents").unwrap().data().chunks(4).map(|c| i32::from_le_bytes(c.try_into().unwrap())).collect();
    assert_eq!(parents, [-1, 0, 1]);
    // The joint of `pelvis` follows the shape: its mean has the moved vertex.
    assert_eq!(floats(&file, "joints"), [0.525, -0.55, 0.025, 0.5, -1.0, 0.0, 0.5, -2.0, -0.1]);
    assert_eq!(floats(&file, "tails")[..3], [0.5, -1.0, 0.0]);
    let weights = floats(&file, "weights");
    assert_eq!(weights[8..12], [0.75, 0.25, 0.0, 0.0]);
    assert_eq!(weights[12..16], [0.5, 0.25, 0.25, 0.0]);
}

#[test]
fn sources_that_do_not_fit_together_are_refused() {
    let refused = |mesh: &str, target: &str, rig: &str| bake(&sources(mesh, target, rig)).unwrap_err();
    assert!(refused("v 0 0\n", "", RIG_TEXT).contains("three numbers"));
    assert!(refused("v 0 0 nan\n", "", RIG_TEXT).contains("three numbers"));
    assert!(refused(&MESH_TEXT.replace("4 3 5", "4 3 99"), "", RIG_TEXT).contains("vertex 98 of 11"));
    assert!(refused(MESH_TEXT, "99 0 0 0\n", RIG_TEXT).contains("moves vertex 99"));
    assert!(refused(MESH_TEXT, "", &RIG_TEXT.replace("joint-high", "joint-no")).contains("joint-no"));
    let circle = RIG_TEXT.replace(r#""parent": "pelvis""#, r#""parent": "ring_01_l""#);
    assert!(refused(MESH_TEXT, "", &circle).contains("its own ancestor"));
    let unmoved = MESH_TEXT.replace("f 6 7 8", "f 6 7 11");
    assert!(refused(&unmoved, "", RIG_TEXT).contains("no bone moves vertex 10"));
}
