//! Which frames are shown: the worst one, and the one in the middle for what is usual.

use darkroom_api::Result;
use darkroom_media::Frame;
use darkroom_media::compare::{FrameScores, Seen};

/// A pair of frames to show.
pub struct Pick {
    /// What people call it.
    pub title: &'static str,
    /// What was found of it at once.
    pub scores: FrameScores,
    /// The video's frame.
    pub video: Frame,
    /// The reference's.
    pub reference: Frame,
}

/// Keeps references to two pairs while all go by.
#[derive(Default)]
pub struct Picks {
    /// With its PSNR of luma: VMAF is known too late to choose by it.
    worst: Option<(f32, Pick)>,
    middle: Option<Pick>,
}

impl Picks {
    /// Looks at a pair.
    ///
    /// # Errors
    /// Without memory for a reference.
    pub fn offer(&mut self, seen: &Seen<'_>) -> Result<()> {
        let pick = |title| -> Result<Pick> {
            Ok(Pick { title, scores: seen.scores, video: seen.video.share()?, reference: seen.reference.share()? })
        };
        let psnr = seen.scores.psnr.y;
        if self.worst.as_ref().is_none_or(|(worst, _)| psnr < *worst) {
            self.worst = Some((psnr, pick("Worst frame")?));
        }
        // Where the number of frames is not known, the first stands for the middle.
        if self.middle.is_none() || seen.scores.frame == seen.total.unwrap_or(0) / 2 {
            self.middle = Some(pick("Middle frame")?);
        }
        Ok(())
    }

    /// What was chosen: one where both are the same.
    pub fn take(self) -> Vec<Pick> {
        let worst = self.worst.map(|(_, pick)| pick);
        let index = worst.as_ref().map(|pick| pick.scores.frame);
        worst.into_iter().chain(self.middle.filter(|middle| index != Some(middle.scores.frame))).collect()
    }
}
