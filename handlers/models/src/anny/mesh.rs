//! The base mesh: a Wavefront file whose groups are the body, its eyes and many helpers.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use super::METRES;

const MAX_VERTICES: usize = 1 << 16;
const MAX_TARGET_BYTES: u64 = 8 << 20;
/// The groups that are seen: the rest are clothes, hair and joints for other purposes.
const BODY: &str = "body";
const EYES: [&str; 2] = ["helper-l-eye", "helper-r-eye"];

/// Vertices in metres, y up, and the faces of each group.
#[derive(Debug)]
pub struct Mesh {
    pub vertices: Vec<[f64; 3]>,
    faces: BTreeMap<String, Vec<Vec<usize>>>,
    eyes: BTreeSet<usize>,
}

/// The part of a mesh that is seen.
#[derive(Debug)]
pub struct Body {
    /// Which vertices of the mesh, in order.
    pub kept: Vec<usize>,
    /// Indices among those.
    pub triangles: Vec<[u32; 3]>,
}

impl Mesh {
    /// Reads `v`, `g` and `f` lines; what else the format has is not needed.
    pub fn parse(text: &[u8]) -> Result<Mesh, String> {
        let text = std::str::from_utf8(text).map_err(|_| "its mesh is no text")?;
        let mut vertices: Vec<[f64; 3]> = Vec::new();
        let mut faces: BTreeMap<String, Vec<Vec<usize>>> = BTreeMap::new();
        let mut group = String::new();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("v") => vertices.push(point(words)?.map(|decimetres| decimetres * METRES)),
                Some("g") => group = words.next().unwrap_or_default().to_owned(),
                Some("f") => faces.entry(group.clone()).or_default().push(face(words)?),
                _ => {}
            }
        }
        if vertices.is_empty() || vertices.len() > MAX_VERTICES {
            return Err(format!("its mesh has {} vertices, not 1 to {MAX_VERTICES}", vertices.len()));
        }
        if let Some(outside) = faces.values().flatten().flatten().find(|i| **i >= vertices.len()) {
            return Err(format!("a face has vertex {outside} of {}", vertices.len()));
        }
        let eyes = EYES.iter().filter_map(|eye| faces.get(*eye)).flatten().flatten().copied().collect();
        Ok(Mesh { vertices, faces, eyes })
    }

    /// Adds a share of a gzipped shape: lines of a vertex and its offset.
    pub fn deform(&mut self, gzipped: &[u8], share: f64) -> Result<(), String> {
        let mut text = String::new();
        flate2::read::GzDecoder::new(gzipped)
            .take(MAX_TARGET_BYTES)
            .read_to_string(&mut text)
            .map_err(|e| format!("a shape cannot be unpacked: {e}"))?;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split_ascii_whitespace();
            let Some(index) = words.next() else { continue };
            let index: usize = index.parse().map_err(|_| format!("a shape has the vertex `{index}`"))?;
            let vertex = self.vertices.get_mut(index).ok_or_else(|| format!("a shape moves vertex {index}"))?;
            for (axis, offset) in vertex.iter_mut().zip(point(words)?) {
                *axis += share * offset * METRES;
            }
        }
        Ok(())
    }

    /// The mean of the vertices of a group, each counted once.
    pub fn middle(&self, group: &str) -> Result<[f64; 3], String> {
        let faces = self.faces.get(group).ok_or_else(|| format!("its mesh has no group `{group}`"))?;
        let members: BTreeSet<usize> = faces.iter().flatten().copied().collect();
        self.mean(&members.into_iter().collect::<Vec<_>>())
    }

    /// The mean of some vertices.
    #[allow(clippy::cast_precision_loss, reason = "there are at most 2^16 vertices")]
    pub fn mean(&self, members: &[usize]) -> Result<[f64; 3], String> {
        let mut sum = [0.0; 3];
        for member in members {
            let vertex = self.vertices.get(*member).ok_or_else(|| format!("a joint stands at vertex {member}"))?;
            for (sum, axis) in sum.iter_mut().zip(vertex) {
                *sum += axis;
            }
        }
        if members.is_empty() {
            Err("a joint has no vertices".into())
        } else {
            Ok(sum.map(|s| s / members.len() as f64))
        }
    }

    /// Whether a vertex is of an eye.
    pub fn is_eye(&self, vertex: usize) -> bool {
        self.eyes.contains(&vertex)
    }

    /// What is seen, in triangles.
    pub fn body(&self) -> Result<Body, String> {
        let seen: Vec<&Vec<usize>> =
            std::iter::once(BODY).chain(EYES).filter_map(|group| self.faces.get(group)).flatten().collect();
        let kept: Vec<usize> =
            seen.iter().flat_map(|face| face.iter().copied()).collect::<BTreeSet<_>>().into_iter().collect();
        if kept.is_empty() {
            return Err(format!("its mesh has no group `{BODY}`"));
        }
        let new = |old: usize| kept.binary_search(&old).ok().and_then(|i| u32::try_from(i).ok()).unwrap_or(0);
        // A face is cut as a fan: MakeHuman's are nearly flat.
        let fan = |face: &&Vec<usize>| {
            face.windows(2).skip(1).map(|edge| [new(face[0]), new(edge[0]), new(edge[1])]).collect::<Vec<_>>()
        };
        let triangles = seen.iter().flat_map(fan).collect();
        Ok(Body { kept, triangles })
    }
}

fn point<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<[f64; 3], String> {
    let mut axis = || -> Option<f64> { words.next()?.parse().ok().filter(|x: &f64| x.is_finite()) };
    match (axis(), axis(), axis()) {
        (Some(x), Some(y), Some(z)) => Ok([x, y, z]),
        _ => Err("a vertex is not three numbers".into()),
    }
}

/// Corners are `vertex/texture` and count from 1.
fn face<'a>(words: impl Iterator<Item = &'a str>) -> Result<Vec<usize>, String> {
    let corner = |word: &str| word.split('/').next()?.parse::<usize>().ok()?.checked_sub(1);
    let corners: Option<Vec<usize>> = words.map(corner).collect();
    corners.filter(|c| (3..=4).contains(&c.len())).ok_or_else(|| "a face is not three or four vertices".into())
}
