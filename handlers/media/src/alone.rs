//! The ends of a run alone, for `darkroom bench`.

use std::path::Path;

use darkroom_api::{Alone, Result};

use crate::{Frame, ReadOptions, Reader, Writer};

/// From the file to frames, which nobody looks at.
pub fn decode<'a>(video: &Path, options: ReadOptions) -> Alone<'a> {
    let video = video.to_owned();
    Alone::new(move || {
        let mut reader = Reader::open(&video, &options)?;
        let mut frames = 0;
        while reader.next()?.is_some() {
            frames += 1;
        }
        Ok(frames)
    })
}

/// From frames to the file: real ones, of the beginning, forwards and backwards until there has been one for each of
/// `times`. A jump back to the first would be a cut that the clip does not have.
pub fn encode<'a>(mut writer: Writer, mut frames: Vec<Frame>, times: Vec<i64>) -> Alone<'a> {
    let held_bytes = frames.iter().skip(1).map(Frame::bytes).sum();
    let work = move || -> Result<u64> {
        for (index, pts) in times.iter().enumerate() {
            let place = there_and_back(index, frames.len());
            let Some(frame) = frames.get_mut(place) else { break };
            frame.set_pts(*pts);
            writer.write(frame)?;
        }
        writer.finish().map(|report| report.frames)
    };
    Alone { work: Box::new(work), held_bytes }
}

/// The place of each step in a list that is gone through forwards and backwards: 0, 1, 2, 1, 0, 1, ... for a length of 3.
pub fn there_and_back(index: usize, length: usize) -> usize {
    let period = (2 * length).saturating_sub(2).max(1);
    let place = index % period;
    if place < length { place } else { period - place }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_frames_are_taken_forwards_and_backwards() {
        let places = |length| (0..7).map(|i| there_and_back(i, length)).collect::<Vec<_>>();
        assert_eq!(places(3), [0, 1, 2, 1, 0, 1, 2]);
        assert_eq!(places(2), [0, 1, 0, 1, 0, 1, 0]);
        assert_eq!(places(1), [0; 7]);
    }
}
