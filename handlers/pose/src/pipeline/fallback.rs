//! Frames that come back as they were though somebody is in them.

use darkroom_api::{ErrorCode, JobError, Result};

use super::fit::Person;

/// In how many frames somebody is, and in how many of them nobody could be fitted.
pub struct Unfitted {
    /// All frames.
    pub frames: u64,
    /// Those in which somebody is.
    pub with_people: u64,
    /// Of those, the ones in which nobody could be fitted.
    pub unfitted: u64,
}

impl Unfitted {
    /// Counts.
    pub fn of(people: &[Person], frames: usize) -> Unfitted {
        let mut counts = Unfitted { frames: frames as u64, with_people: 0, unfitted: 0 };
        for frame in 0..frames {
            let posed = people.iter().any(|person| person.pose(frame).is_some());
            let seen = posed || people.iter().any(|person| person.landmarks(frame).is_some());
            counts.with_people += u64::from(seen);
            counts.unfitted += u64::from(seen && !posed);
        }
        counts
    }

    /// The frames that could not be fitted, unless they are most of those with people.
    ///
    /// # Errors
    /// [`ErrorCode::ModelInvalid`].
    pub fn refuse_most(&self) -> Result<u64> {
        if self.unfitted * 2 <= self.with_people {
            return Ok(self.unfitted);
        }
        let why = format!(
            "No body fits what the model saw in {} of {} frames with people: try another `model`, or `render` = `skeleton`.",
            self.unfitted, self.with_people
        );
        Err(JobError::new(ErrorCode::ModelInvalid, why))
    }

    /// Refuses frames that could not be drawn where they are most of those with people.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`].
    pub fn refuse_undrawn(&self, fallback: u64) -> Result<()> {
        if fallback * 2 <= self.with_people {
            return Ok(());
        }
        let why = format!(
            "{fallback} of {} frames with people could not be drawn. This is a fault: report it with the worker's log.",
            self.with_people
        );
        Err(JobError::new(ErrorCode::Internal, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_frames_with_people_may_fail_and_no_more() {
        let counts = |unfitted| Unfitted { frames: 100, with_people: 10, unfitted };
        assert_eq!(counts(5).refuse_most().unwrap(), 5);
        let error = counts(6).refuse_most().unwrap_err();
        assert!(error.code == ErrorCode::ModelInvalid && error.message.contains("6 of 10"), "{error}");
        counts(0).refuse_undrawn(5).unwrap();
        assert_eq!(counts(0).refuse_undrawn(6).unwrap_err().code, ErrorCode::Internal);
        let nobody = Unfitted::of(&[], 100);
        assert_eq!((nobody.frames, nobody.refuse_most().unwrap()), (100, 0));
    }
}
