//! A picture in overlapping tiles of one size.

use std::ops::Range;

use crate::Net;

/// Planes of floats.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Picture {
    /// Pixels a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Plane after plane.
    pub values: Vec<f32>,
}

impl Picture {
    /// A black one.
    pub fn new(channels: usize, width: usize, height: usize) -> Picture {
        Picture { width, height, values: vec![0.0; channels * width * height] }
    }

    /// The planes.
    pub fn planes(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact((self.width * self.height).max(1))
    }

    /// The planes, to change them.
    pub fn planes_mut(&mut self) -> std::slice::ChunksExactMut<'_, f32> {
        self.values.chunks_exact_mut((self.width * self.height).max(1))
    }
}

/// How a picture is cut. All tiles have one size, so that models are set up for one, and calls can hold several.
#[derive(Debug, Clone, PartialEq)]
pub struct Tiling {
    /// Pixels a row of a tile.
    pub width: usize,
    /// Rows of a tile.
    pub height: usize,
    /// Where they lie along a row.
    columns: Vec<Span>,
    /// Where they lie from top to bottom.
    rows: Vec<Span>,
}

/// One tile in one direction.
#[derive(Debug, Clone, PartialEq)]
struct Span {
    /// Its first pixel; a tile may stick out of the picture at its end.
    start: usize,
    /// What it gives to the result.
    gives: Range<usize>,
    /// Pixels over which it fades into the tile before, and into the one after.
    fades: (usize, usize),
}

/// How much tiles overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overlap {
    /// Pixels at the edge of a tile that are not used.
    pub margin: usize,
    /// Pixels beside them that fade into the neighbour: where the model sees further than the margin.
    pub fade: usize,
}

impl Overlap {
    /// The same, or what a tile of the model's own size has room for.
    fn within(self, net: &Net) -> Overlap {
        let Some((width, height)) = net.fixed else { return self };
        let most = width.min(height) / 8;
        Overlap { margin: self.margin.min(most), fade: self.fade.min(most) }
    }

    /// Shortest side of one tile of several: no more than two may fade into one another.
    fn least(self) -> usize {
        2 * self.margin + 6 * self.fade
    }
}

impl Tiling {
    /// The whole picture in one tile.
    pub fn whole(net: &Net, width: usize, height: usize) -> Tiling {
        let (tile_width, tile_height) =
            net.fixed.unwrap_or((width.next_multiple_of(net.grain), height.next_multiple_of(net.grain)));
        let none = Overlap { margin: 0, fade: 0 };
        Tiling {
            width: tile_width,
            height: tile_height,
            columns: spans(width, tile_width, 1, 1, none),
            rows: spans(height, tile_height, 1, 1, none),
        }
    }

    /// Pixels of a tile that holds a whole picture, or `None` where the model's own size is smaller.
    pub fn whole_pixels(net: &Net, width: usize, height: usize) -> Option<usize> {
        let whole = Tiling::whole(net, width, height);
        (whole.width >= width && whole.height >= height).then_some(whole.width * whole.height)
    }

    /// The cheapest cut into tiles of at most `max_pixels`, or of the model's own size.
    pub fn cut(net: &Net, width: usize, height: usize, overlap: Overlap, max_pixels: usize) -> Tiling {
        let overlap = overlap.within(net);
        // Beside what neighbours share, starting on the grain may cost one grain at each end.
        let inner = 2 * (overlap.margin + overlap.fade + net.grain - 1);
        let count = |length: usize, tile: usize| {
            if tile >= length { 1 } else { (length - inner).div_ceil(tile - inner) }
        };
        let (tile_width, tile_height, across, down) = match net.fixed {
            Some((tile_width, tile_height)) => {
                (tile_width, tile_height, count(width, tile_width), count(height, tile_height))
            }
            None => {
                let side = |length: usize, n: usize| {
                    ((length + (n - 1) * inner).div_ceil(n))
                        .next_multiple_of(net.grain)
                        .min(length.next_multiple_of(net.grain))
                };
                let most = |length: usize| length.div_ceil(net.grain.max(16)).clamp(1, 256);
                let all = (1..=most(width)).flat_map(|across| (1..=most(height)).map(move |down| (across, down)));
                let sized = all.map(|(across, down)| (side(width, across), side(height, down), across, down));
                let least = |&(w, h, across, down): &(usize, usize, usize, usize)| {
                    (across == 1 || w >= overlap.least()) && (down == 1 || h >= overlap.least())
                };
                let sized = sized.filter(least);
                let cost =
                    |&(w, h, across, down): &(usize, usize, usize, usize)| (w * h * across * down, across * down);
                let fits = |&(w, h, ..): &(usize, usize, usize, usize)| w * h <= max_pixels;
                // Where nothing fits, the smallest tiles there are.
                let smallest = sized.clone().min_by_key(|&(w, h, ..)| w * h);
                sized.filter(fits).min_by_key(cost).or(smallest).unwrap_or((width, height, 1, 1))
            }
        };
        Tiling {
            width: tile_width,
            height: tile_height,
            columns: spans(width, tile_width, across, net.grain, overlap),
            rows: spans(height, tile_height, down, net.grain, overlap),
        }
    }

    /// Number of tiles.
    pub fn len(&self) -> usize {
        self.columns.len() * self.rows.len()
    }

    /// Whether results of neighbours fade into one another: they are then added up on black.
    pub fn fades(&self) -> bool {
        self.columns.iter().chain(&self.rows).any(|span| span.fades != (0, 0))
    }

    /// Appends a tile of a picture. What sticks out repeats the picture's edge. Values are multiplied by `white`.
    pub fn take(&self, index: usize, picture: &Picture, white: f32, out: &mut Vec<f32>) {
        let (column, row) = self.place(index);
        for plane in picture.planes() {
            for y in row.start..row.start + self.height {
                let line = &plane[y.min(picture.height - 1) * picture.width..][..picture.width];
                let inside = column.start.min(picture.width)..(column.start + self.width).min(picture.width);
                let missing = self.width - inside.len();
                out.extend(line[inside].iter().map(|value| value * white));
                out.extend(std::iter::repeat_n(line[picture.width - 1] * white, missing));
            }
        }
    }

    /// Writes what a tile gives to the enlarged picture: `values` are the tile's planes, `scale` times as large.
    pub fn put(&self, index: usize, values: &[f32], scale: usize, white: f32, picture: &mut Picture) {
        let (column, row) = self.place(index);
        let (tile_width, tile_pixels) = (self.width * scale, self.width * self.height * scale * scale);
        let (picture_width, fades) = (picture.width, self.fades());
        let to = column.gives.start * scale..column.gives.end * scale;
        let from = (column.gives.start - column.start) * scale;
        let across: Vec<f32> = weights(column, scale).map(|weight| weight / white).collect();
        let down: Vec<f32> = weights(row, scale).collect();
        for (plane, values) in picture.planes_mut().zip(values.chunks_exact(tile_pixels)) {
            for (line, down) in (row.gives.start * scale..row.gives.end * scale).zip(&down) {
                let source = &values[(line - row.start * scale) * tile_width + from..][..to.len()];
                let target = &mut plane[line * picture_width..][to.clone()];
                if !fades && white == 1.0 {
                    target.copy_from_slice(source);
                    continue;
                }
                for ((target, source), across) in target.iter_mut().zip(source).zip(&across) {
                    // Where tiles do not fade each pixel is given once, into black.
                    *target += source * across * down;
                }
            }
        }
    }

    fn place(&self, index: usize) -> (&Span, &Span) {
        (&self.columns[index % self.columns.len()], &self.rows[index / self.columns.len()])
    }
}

/// Weights of what a tile gives, `scale` times as many: they rise and fall so that those of neighbours sum to 1.
fn weights(span: &Span, scale: usize) -> impl Iterator<Item = f32> {
    let length = span.gives.len() * scale;
    let (rise, fall) = (span.fades.0 * scale, span.fades.1 * scale);
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    let ramp = |at: usize, over: usize| if at < over { (at as f32 + 0.5) / over as f32 } else { 1.0 };
    (0..length).map(move |at| ramp(at, rise) * ramp(length - 1 - at, fall))
}

/// `count` tiles spread evenly over a length, on multiples of the grain.
fn spans(length: usize, tile: usize, count: usize, grain: usize, overlap: Overlap) -> Vec<Span> {
    let last = length.next_multiple_of(grain).saturating_sub(tile);
    let start =
        |index: usize| if index + 1 == count { last } else { last * index / (count - 1).max(1) / grain * grain };
    // Neighbours meet in the middle of what they share.
    let border = |index: usize| (start(index) + start(index + 1) + tile) / 2;
    (0..count)
        .map(|index| {
            let (first, end) = (index == 0, index + 1 == count);
            let from = if first { 0 } else { border(index - 1) - overlap.fade };
            let to = if end { length } else { border(index) + overlap.fade };
            let fade = |none: bool| if none { 0 } else { 2 * overlap.fade };
            Span { start: start(index), gives: from..to, fades: (fade(first), fade(end)) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(grain: usize, fixed: Option<(usize, usize)>, white: f32) -> Net {
        Net { grain, fixed, white, ..Net::for_tests() }
    }

    fn gradient(width: usize, height: usize) -> Picture {
        let mut picture = Picture::new(3, width, height);
        for (index, value) in picture.values.iter_mut().enumerate() {
            *value = index as f32;
        }
        picture
    }

    /// Each pixel four times, as a model without any reach would.
    fn double(tile: &[f32], width: usize) -> Vec<f32> {
        tile.chunks_exact(width)
            .flat_map(|row| {
                let line: Vec<f32> = row.iter().flat_map(|v| [*v, *v]).collect();
                [line.clone(), line].concat()
            })
            .collect()
    }

    #[test]
    fn what_is_cut_and_put_together_is_the_whole() {
        let overlap = |margin, fade| Overlap { margin, fade };
        for (net, (width, height), overlap, max_pixels) in [
            (net(1, None, 1.0), (101, 57), overlap(5, 0), 900),
            (net(1, None, 1.0), (101, 57), overlap(3, 4), 1200),
            (net(8, None, 1.0), (101, 57), overlap(5, 0), 2000),
            (net(8, None, 255.0), (101, 57), overlap(5, 3), 2400),
            (net(1, Some((32, 24)), 1.0), (101, 57), overlap(5, 0), 1),
            (net(1, Some((32, 24)), 1.0), (101, 57), overlap(40, 16), 1),
            (net(1, Some((128, 128)), 1.0), (101, 57), overlap(5, 0), 1),
            (net(1, None, 1.0), (7, 5), overlap(5, 0), 9),
            (net(16, None, 1.0), (1, 1), overlap(5, 2), 9),
        ] {
            let tiling = Tiling::cut(&net, width, height, overlap, max_pixels);
            assert!(tiling.width.is_multiple_of(net.grain) && tiling.height.is_multiple_of(net.grain));
            let picture = gradient(width, height);
            let mut result = Picture::new(3, 2 * width, 2 * height);
            for index in 0..tiling.len() {
                let mut tile = Vec::new();
                tiling.take(index, &picture, net.white, &mut tile);
                assert_eq!(tile.len(), 3 * tiling.width * tiling.height);
                tiling.put(index, &double(&tile, tiling.width), 2, net.white, &mut result);
            }
            let wanted: Vec<f32> = picture.planes().flat_map(|plane| double(plane, width)).collect();
            let error = result.values.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(error < 0.05, "{tiling:?}: {error}");
        }
    }

    #[test]
    fn tiles_fit_the_budget_and_overlap_enough() {
        let net = net(4, None, 1.0);
        let tiling = Tiling::cut(&net, 1920, 1080, Overlap { margin: 20, fade: 0 }, 200_000);
        assert!(tiling.width * tiling.height <= 200_000 && tiling.len() < 20, "{tiling:?}");
        for spans in [&tiling.columns, &tiling.rows] {
            for (span, next) in spans.iter().zip(&spans[1..]) {
                assert_eq!(span.gives.end, next.gives.start);
                assert!(next.gives.start - next.start >= 20, "{span:?} {next:?}");
                let side = if std::ptr::eq(spans, &raw const tiling.columns) { tiling.width } else { tiling.height };
                assert!(span.start + side - span.gives.end >= 20, "{span:?} {next:?}");
            }
        }
        assert_eq!(Tiling::whole(&net, 33, 18).len(), 1);
        assert_eq!((Tiling::whole(&net, 33, 18).width, Tiling::whole(&net, 33, 18).height), (36, 20));
    }
}
