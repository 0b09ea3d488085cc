//! Draws bodies and skeletons into frames.
