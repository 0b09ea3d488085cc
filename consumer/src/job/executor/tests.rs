//! Real executors that misbehave.
