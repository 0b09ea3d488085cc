//! The parts of glTF 2.0 that an animated body needs, by the names of its specification.

use serde::Serialize;

/// `componentType` and `target` numbers.
pub(super) const FLOAT: u32 = 5126;
pub(super) const UNSIGNED_INT: u32 = 5125;
pub(super) const UNSIGNED_SHORT: u32 = 5123;
const ARRAY_BUFFER: u32 = 34962;
const ELEMENT_ARRAY_BUFFER: u32 = 34963;

/// What an accessor's bytes are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Vertices,
    Indices,
    Other,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    buffer: u32,
    byte_offset: u64,
    byte_length: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<u32>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Accessor {
    buffer_view: usize,
    component_type: u32,
    count: usize,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<Vec<f32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<Vec<f32>>,
}

/// Accessors, each with a view of its own, one after the other in one buffer.
#[derive(Debug, Default)]
pub(super) struct Layout {
    views: Vec<View>,
    accessors: Vec<Accessor>,
    /// So far; always a multiple of four.
    pub bytes: u64,
}

impl Layout {
    /// Adds an accessor of `count` elements of `kind` (`SCALAR`, `VEC3`, ...), and returns its index. `bounds` are the least
    /// and greatest of each component.
    pub(super) fn add(
        &mut self,
        kind: &'static str,
        component_type: u32,
        count: usize,
        purpose: Use,
        bounds: Option<[Vec<f32>; 2]>,
    ) -> usize {
        let components = match kind {
            "SCALAR" => 1,
            "VEC3" => 3,
            "VEC4" => 4,
            _ => 16,
        };
        let bytes = (components * count * if component_type == UNSIGNED_SHORT { 2 } else { 4 }) as u64;
        let target = match purpose {
            Use::Vertices => Some(ARRAY_BUFFER),
            Use::Indices => Some(ELEMENT_ARRAY_BUFFER),
            Use::Other => None,
        };
        let [min, max] = bounds.map_or([None, None], |b| b.map(Some));
        self.accessors.push(Accessor { buffer_view: self.views.len(), component_type, count, kind, min, max });
        self.views.push(View { buffer: 0, byte_offset: self.bytes, byte_length: bytes, target });
        self.bytes += bytes;
        self.accessors.len() - 1
    }

    /// The three lists, for the document.
    pub(super) fn json(&self) -> [serde_json::Value; 3] {
        [
            serde_json::json!([{ "byteLength": self.bytes }]),
            serde_json::json!(self.views),
            serde_json::json!(self.accessors),
        ]
    }
}
