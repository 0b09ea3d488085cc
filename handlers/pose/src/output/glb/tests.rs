//! Files are evaluated as the specification of glTF says, from their bytes alone.

use std::collections::BTreeMap;

use glam::{DMat4, DQuat, DVec3};

use super::super::motion::tests::{moving, posed};
use super::*;

struct File {
    json: Value,
    data: Vec<u8>,
}

fn word(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

impl File {
    fn parse(bytes: &[u8]) -> File {
        assert_eq!((&bytes[..4], word(bytes, 4), word(bytes, 8)), (&b"glTF"[..], 2, bytes.len()));
        let text = word(bytes, 12);
        assert_eq!((&bytes[16..20], text % 4), (&b"JSON"[..], 0));
        let data = &bytes[20 + text..];
        assert_eq!((&data[4..8], word(data, 0)), (&b"BIN\0"[..], data.len() - 8));
        File { json: serde_json::from_slice(&bytes[20..20 + text]).unwrap(), data: data[8..].to_vec() }
    }

    fn number(&self, path: &str) -> usize {
        self.json.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path}")) as usize
    }

    /// Rows of an accessor.
    fn read(&self, accessor: usize) -> Vec<Vec<f64>> {
        let a = &self.json["accessors"][accessor];
        let view = &self.json["bufferViews"][a["bufferView"].as_u64().unwrap() as usize];
        let width = match a["type"].as_str().unwrap() {
            "SCALAR" => 1,
            "VEC3" => 3,
            "VEC4" => 4,
            "MAT4" => 16,
            other => panic!("{other}"),
        };
        let size = if a["componentType"] == 5123 { 2 } else { 4 };
        let (start, bytes) =
            (view["byteOffset"].as_u64().unwrap() as usize, view["byteLength"].as_u64().unwrap() as usize);
        let count = a["count"].as_u64().unwrap() as usize;
        assert!(start % 4 == 0 && bytes == count * width * size);
        let number = |b: &[u8]| match a["componentType"].as_u64().unwrap() {
            5126 => f64::from(f32::from_le_bytes(b.try_into().unwrap())),
            5125 => f64::from(u32::from_le_bytes(b.try_into().unwrap())),
            5123 => f64::from(u16::from_le_bytes(b.try_into().unwrap())),
            other => panic!("{other}"),
        };
        let numbers: Vec<f64> = self.data[start..start + bytes].chunks(size).map(number).collect();
        numbers.chunks(width).map(<[f64]>::to_vec).collect()
    }

    /// Vertices at a key of the animation.
    fn skinned(&self, key: usize) -> Vec<DVec3> {
        let nodes = self.json["nodes"].as_array().unwrap();
        let mut turns: BTreeMap<usize, DQuat> = BTreeMap::new();
        let mut places: BTreeMap<usize, DVec3> = BTreeMap::new();
        let numbers = |v: &Value| -> Vec<f64> { v.as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect() };
        for (index, node) in nodes.iter().enumerate().filter(|(_, n)| n.get("translation").is_some()) {
            places.insert(index, DVec3::from_slice(&numbers(&node["translation"])));
            turns.insert(index, DQuat::from_slice(&numbers(&node["rotation"])));
        }
        let animation = &self.json["animations"][0];
        for channel in animation["channels"].as_array().unwrap() {
            let sampler = &animation["samplers"][channel["sampler"].as_u64().unwrap() as usize];
            let value = &self.read(sampler["output"].as_u64().unwrap() as usize)[key];
            let node = channel["target"]["node"].as_u64().unwrap() as usize;
            match channel["target"]["path"].as_str().unwrap() {
                "translation" => drop(places.insert(node, DVec3::from_slice(value))),
                _ => drop(turns.insert(node, DQuat::from_slice(value))),
            }
        }
        let mut worlds = vec![DMat4::IDENTITY; nodes.len()];
        let mut open: Vec<(usize, DMat4)> = vec![(self.number("/scenes/0/nodes/0"), DMat4::IDENTITY)];
        while let Some((node, parent)) = open.pop() {
            worlds[node] = parent * DMat4::from_rotation_translation(turns[&node], places[&node]);
            let children = nodes[node].get("children").and_then(Value::as_array);
            open.extend(children.into_iter().flatten().map(|c| (c.as_u64().unwrap() as usize, worlds[node])));
        }
        let binds = self.read(self.number("/skins/0/inverseBindMatrices"));
        let joints: Vec<DMat4> = (0..binds.len())
            .map(|j| worlds[self.number(&format!("/skins/0/joints/{j}"))] * DMat4::from_cols_slice(&binds[j]))
            .collect();
        let of = |name: &str| self.read(self.number(&format!("/meshes/0/primitives/0/attributes/{name}")));
        let (positions, bones, weights) = (of("POSITION"), of("JOINTS_0"), of("WEIGHTS_0"));
        let vertex = |i: usize| {
            let at = DVec3::from_slice(&positions[i]);
            (0..4).map(|k| joints[bones[i][k] as usize].transform_point3(at) * weights[i][k]).sum::<DVec3>()
        };
        (0..positions.len()).map(vertex).collect()
    }
}

fn written() -> (Shaped, Vec<super::super::PosedFrame>, Vec<u8>) {
    let (_, mut shape, frames) = moving();
    for (i, region) in shape.regions.iter_mut().enumerate() {
        *region = [Region::Suit, Region::Bare][i / 8 % 2];
    }
    let mut bytes = Vec::new();
    let motion = Motion { frames: &frames, fps: 25.0 };
    write_glb(&mut bytes, &shape, &motion, [Vec3::X, Vec3::Y, Vec3::Z]).unwrap();
    (shape, frames, bytes)
}

#[test]
fn a_file_evaluated_by_the_specification_is_where_skinning_puts_it() {
    let (shape, frames, bytes) = written();
    let file = File::parse(&bytes);
    for key in [0, 1, 11, 24] {
        let (_, want) = posed(&shape, &frames[key].pose);
        let found = file.skinned(key);
        assert_eq!(found.len(), want.len());
        let off = found.iter().zip(&want).map(|(a, b)| a.distance(turned(*b).as_dvec3())).fold(0.0, f64::max);
        assert!(off < 1e-5, "{key}: {off} m");
    }
}

#[test]
fn a_file_has_names_times_and_parts_and_no_curve_for_what_is_still() {
    let (shape, frames, bytes) = written();
    let file = File::parse(&bytes);
    for (bone, node) in shape.bones.iter().zip(file.json["nodes"].as_array().unwrap()) {
        assert_eq!(node["name"], bone.name.as_str());
    }
    let samplers = file.json["animations"][0]["samplers"].as_array().unwrap();
    // All bones' rotations but one, and one translation.
    assert_eq!(samplers.len(), shape.bones.len());
    let times = file.read(samplers[0]["input"].as_u64().unwrap() as usize);
    assert!(times.iter().zip(&frames).all(|(t, f)| (t[0] - f.time_secs).abs() < 1e-6));
    let input = &file.json["accessors"][samplers[0]["input"].as_u64().unwrap() as usize];
    assert_eq!((input["min"][0].as_f64(), input["max"][0].as_f64()), (Some(times[0][0]), Some(times[24][0])));
    for sampler in &samplers[1..] {
        let turns = file.read(sampler["output"].as_u64().unwrap() as usize);
        let turns: Vec<DQuat> = turns.iter().map(|t| DQuat::from_slice(t)).collect();
        assert!(turns.iter().all(|t| t.is_normalized()) && turns.windows(2).all(|w| w[0].dot(w[1]) >= 0.0));
    }
    // Two regions, all triangles.
    let primitives = file.json["meshes"][0]["primitives"].as_array().unwrap();
    assert_eq!(primitives.len(), 2);
    let corners: usize = primitives.iter().map(|p| file.read(p["indices"].as_u64().unwrap() as usize).len()).sum();
    assert_eq!(corners, 3 * shape.triangles.len());
    for weights in file.read(file.number("/meshes/0/primitives/0/attributes/WEIGHTS_0")) {
        assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-6);
    }
}

#[test]
fn frames_one_tick_apart_late_in_a_video_have_times_that_rise() {
    let (_, shape, mut frames) = moving();
    frames.truncate(3);
    for (tick, frame) in frames.iter_mut().enumerate() {
        frame.time_secs = 200.0 + tick as f64 / 90_000.0;
    }
    let mut bytes = Vec::new();
    let motion = Motion { frames: &frames, fps: 25.0 };
    write_glb(&mut bytes, &shape, &motion, [Vec3::ONE; 3]).unwrap();
    let file = File::parse(&bytes);
    let input = file.number("/animations/0/samplers/0/input");
    let times: Vec<f64> = file.read(input).concat();
    assert!(times.is_sorted_by(|a, b| a < b) && (times[2] - 200.0).abs() < 1e-4, "{times:?}");
    let bounds = &file.json["accessors"][input];
    assert_eq!((bounds["min"][0].as_f64(), bounds["max"][0].as_f64()), (Some(times[0]), Some(times[2])));
    // At the same time there is but one pose.
    frames[2].time_secs = frames[1].time_secs;
    let motion = Motion { frames: &frames, fps: 25.0 };
    assert!(write_glb(&mut bytes, &shape, &motion, [Vec3::ONE; 3]).is_err());
}
