//! The drawing of one tile: colours multiplied by how much they cover.

use super::simd::vectorised;
use super::stroke::Stroke;
use super::tile::TILE;

const PIXELS: usize = TILE * TILE;

/// Colours and coverage of a tile's pixels, in rows.
pub(super) struct Layer {
    /// Red, green and blue times alpha; after [`Layer::turn_to_yuv`] luma and colour differences times alpha.
    pub colour: [Vec<f32>; 3],
    /// How much of what lies under it each pixel hides, 0 to 1.
    pub alpha: Vec<f32>,
}

impl Layer {
    pub(super) fn new() -> Layer {
        let plane = || vec![0.0; PIXELS];
        Layer { colour: [plane(), plane(), plane()], alpha: plane() }
    }

    pub(super) fn clear(&mut self) {
        self.colour.iter_mut().chain([&mut self.alpha]).for_each(|plane| plane.fill(0.0));
    }

    /// Adds a part of a pixel that nothing else covers; the colour is already times alpha.
    #[inline(always)]
    pub(super) fn add(&mut self, pixel: usize, colour: [f32; 3], alpha: f32) {
        self.colour[0][pixel] += colour[0];
        self.colour[1][pixel] += colour[1];
        self.colour[2][pixel] += colour[2];
        self.alpha[pixel] += alpha;
    }

    /// Lays a stroke over what there is, in the tile whose upper left pixel is `corner`.
    pub(super) fn lay(&mut self, stroke: &Stroke, corner: [usize; 2]) {
        let corner = [corner[0] as f32, corner[1] as f32];
        let (columns, rows) = stroke.pixels_in(corner, TILE);
        let [red, green, blue] = &mut self.colour;
        for row in rows {
            let row_at = row * TILE;
            let range = row_at + columns.start..row_at + columns.end;
            let first = [corner[0] + columns.start as f32 + 0.5, corner[1] + row as f32 + 0.5];
            over(
                [&mut red[range.clone()], &mut green[range.clone()], &mut blue[range.clone()]],
                &mut self.alpha[range],
                stroke,
                first,
            );
        }
    }

    /// From red, green and blue to luma and colour differences of -0.5 to 0.5. `factors` are luma's weights of the
    /// three, and what turns B-Y and R-Y into Cb and Cr.
    pub(super) fn turn_to_yuv(&mut self, factors: [f32; 5]) {
        let [red, green, blue] = &mut self.colour;
        to_yuv(red, green, blue, factors);
    }
}

vectorised! {
    /// Part of a row of a stroke.
    fn over(colours: [&mut [f32]; 3], alpha: &mut [f32], stroke: &Stroke, first: [f32; 2]) {
        let [red, green, blue] = colours;
        for (x, (((r, g), b), a)) in red.iter_mut().zip(green).zip(blue).zip(alpha).enumerate() {
            let cover = stroke.coverage(first[0] + x as f32, first[1]);
            let keep = 1.0 - cover;
            *r = *r * keep + stroke.colour.x * cover;
            *g = *g * keep + stroke.colour.y * cover;
            *b = *b * keep + stroke.colour.z * cover;
            *a = *a * keep + cover;
        }
    }
}

vectorised! {
    fn to_yuv(red: &mut [f32], green: &mut [f32], blue: &mut [f32], k: [f32; 5]) {
        for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
            let luma = k[0] * *r + k[1] * *g + k[2] * *b;
            (*r, *g, *b) = (luma, (*b - luma) * k[3], (*r - luma) * k[4]);
        }
    }
}
