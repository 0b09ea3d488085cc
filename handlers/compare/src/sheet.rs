//! `side-by-side.png`: of each chosen frame the same crop of both, and their difference.

use darkroom_api::Result;
use font8x8::UnicodeFonts;

use crate::picture::{Rgb8, Window, busiest, difference};

/// Largest crop.
const CROP_PX: (usize, usize) = (480, 360);
/// Smaller pictures are enlarged to about this width.
const TILE_PX: usize = 320;
/// Between and around tiles.
const GAP_PX: usize = 12;
/// Side of a letter at its own size.
const LETTER_PX: usize = 8;
/// Letters are drawn twice as large, where all of them find room.
const ZOOM: usize = 2;
/// A line of text with some air.
const LINE_PX: usize = LETTER_PX * ZOOM + 8;
const BACKGROUND: [u8; 3] = [24, 24, 27];
const TEXT: [u8; 3] = [228, 228, 231];

/// A frame as it stands on the sheet: a line of text above, then the two pictures and their difference.
pub struct Row {
    text: String,
    tiles: [(String, Rgb8); 3],
}

impl Row {
    /// The crop of two pictures in which they differ most.
    pub fn new(text: String, video: &Rgb8, reference: &Rgb8) -> Row {
        let window = busiest(video, reference, CROP_PX);
        let (video, reference) = (video.crop(window), reference.crop(window));
        let (seen, gain) = difference(&video, &reference);
        let Window { x, y, .. } = window;
        let tiles = [
            (format!("video (from {x}, {y})"), video),
            ("reference".to_owned(), reference),
            (format!("difference x{gain}"), seen),
        ];
        Row { text, tiles }
    }

    fn zoom(&self) -> usize {
        (TILE_PX / self.tiles[0].1.width).max(1)
    }

    /// Whether all text finds room with letters so large.
    fn fits(&self, letters: usize) -> bool {
        let px = |text: &str| text.chars().count() * LETTER_PX * letters;
        let tile = self.tiles[0].1.width * self.zoom();
        px(&self.text) <= self.size().0 - 2 * GAP_PX && self.tiles.iter().all(|(caption, _)| px(caption) <= tile)
    }

    fn size(&self) -> (usize, usize) {
        let (tile, zoom) = (&self.tiles[0].1, self.zoom());
        (3 * (tile.width * zoom + GAP_PX) + GAP_PX, tile.height * zoom + 2 * LINE_PX + GAP_PX)
    }
}

/// All rows below each other, as a PNG.
///
/// # Errors
/// Those of [`Rgb8::png`].
pub fn png(rows: &[Row]) -> Result<Vec<u8>> {
    let width = rows.iter().map(|row| row.size().0).max().unwrap_or(1);
    let height = GAP_PX + rows.iter().map(|row| row.size().1).sum::<usize>();
    let (mut sheet, mut top) = (Rgb8::filled(width, height, BACKGROUND), GAP_PX);
    let letters = if rows.iter().all(|row| row.fits(ZOOM)) { ZOOM } else { 1 };
    for row in rows {
        write(&mut sheet, &row.text, (GAP_PX, top), width - GAP_PX, letters);
        let (zoom, mut left) = (row.zoom(), GAP_PX);
        for (caption, tile) in &row.tiles {
            write(&mut sheet, caption, (left, top + LINE_PX), left + tile.width * zoom, letters);
            sheet.paste(tile, (left, top + 2 * LINE_PX), zoom);
            left += tile.width * zoom + GAP_PX;
        }
        top += row.size().1;
    }
    sheet.png()
}

/// Writes a line of text up to a right edge; letters that the font lacks become question marks.
fn write(sheet: &mut Rgb8, text: &str, (mut left, top): (usize, usize), right: usize, zoom: usize) {
    for letter in text.chars() {
        if left + LETTER_PX * zoom > right {
            return;
        }
        let glyph = font8x8::BASIC_FONTS.get(letter).or_else(|| font8x8::BASIC_FONTS.get('?')).unwrap_or_default();
        for (y, line) in glyph.into_iter().enumerate() {
            for x in (0..LETTER_PX).filter(|x| line >> x & 1 == 1) {
                sheet.paste(&Rgb8::filled(1, 1, TEXT), (left + x * zoom, top + y * zoom), zoom);
            }
        }
        left += LETTER_PX * zoom;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_stand_beside_each_other_under_their_captions() {
        let (a, b) = (Rgb8::filled(100, 50, [10, 20, 30]), Rgb8::filled(100, 50, [40, 50, 60]));
        let row = Row::new("Worst frame 7".into(), &a, &b);
        let file = png(&[row]).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        // Three times as large, so that somebody sees something.
        assert_eq!((info.width, info.height), (3 * (300 + 12) + 12, 12 + 150 + 48 + 12));
        let at = |x: usize, y: usize| &pixels[(y * info.width as usize + x) * 3..][..3];
        let line = 12 + 48 + 75;
        assert_eq!([at(20, line), at(332, line), at(644, line)], [[10, 20, 30], [40, 50, 60], [240, 240, 240]]);
        let lit = (12..28).flat_map(|y| (12..300).map(move |x| (x, y))).filter(|(x, y)| at(*x, *y) == TEXT).count();
        assert!(lit > 500, "there is text above: {lit}");
    }
}
