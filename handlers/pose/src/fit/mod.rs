//! Finds the pose of a body from landmarks.
