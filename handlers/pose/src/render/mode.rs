//! What of a pose is drawn, and how the picture is laid out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use darkroom_media::PlaneMut;

/// What is drawn over the video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The body.
    #[default]
    Mesh,
    /// Lines between the joints.
    Skeleton,
    /// Lines over the body.
    Both,
    /// The original at the left, the body over it at the right.
    SideBySide,
    /// Nothing: no video is written.
    None,
}

impl Mode {
    /// Whether bodies are drawn.
    pub fn draws_mesh(self) -> bool {
        matches!(self, Mode::Mesh | Mode::Both | Mode::SideBySide)
    }

    /// Whether lines are.
    pub fn draws_skeleton(self) -> bool {
        matches!(self, Mode::Skeleton | Mode::Both)
    }

    /// Column at which the drawn picture begins. Even, as colour samples may be shared by two columns.
    pub fn drawn_from_px(self, width_px: u32) -> u32 {
        if self == Mode::SideBySide { width_px.next_multiple_of(2) } else { 0 }
    }

    /// Width of the video that comes out.
    pub fn output_width_px(self, width_px: u32) -> u32 {
        self.drawn_from_px(width_px) + width_px
    }
}

/// Puts a plane twice beside itself. `bytes` are those of a row of the original, `right` where in a row of `out` the
/// second copy begins; a gap before it is filled with the pixel left of it, of `pixel` bytes. Rows that either plane lacks
/// are left out.
pub fn put_side_by_side(
    original: &[u8],
    original_stride: usize,
    out: &mut PlaneMut<'_>,
    bytes: usize,
    right: usize,
    pixel: usize,
) {
    let rows = original.chunks(original_stride.max(1)).zip(out.data.chunks_mut(out.stride.max(1)));
    for (from, to) in rows {
        let (Some(from), true) = (from.get(..bytes), to.len() >= right + bytes && right >= bytes) else { continue };
        to[..bytes].copy_from_slice(from);
        to[right..right + bytes].copy_from_slice(from);
        for at in bytes..right {
            to[at] = to[at - pixel.min(at)];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odd_picture_side_by_side_begins_at_a_whole_colour_sample() {
        assert_eq!(Mode::SideBySide.drawn_from_px(5), 6);
        assert_eq!(Mode::SideBySide.output_width_px(5), 11);
        assert_eq!(Mode::Mesh.output_width_px(5), 5);
        assert_eq!(serde_json::to_string(&Mode::SideBySide).unwrap(), "\"side-by-side\"");

        let original = [1, 2, 3, 99, 4, 5, 6];
        let mut bytes = [0; 8 + 7];
        put_side_by_side(&original, 4, &mut PlaneMut { data: &mut bytes, stride: 8 }, 3, 4, 1);
        assert_eq!(bytes, [1, 2, 3, 3, 1, 2, 3, 0, 4, 5, 6, 6, 4, 5, 6]);
    }
}
