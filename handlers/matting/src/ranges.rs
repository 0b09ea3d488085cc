//! Numbers of the parameters.

use darkroom_api::bounded;

bounded! {
    /// How much smaller than the frame the model looks for people.
    Ratio: f64, "a number", 0.1 ..= 1
}
bounded! {
    /// Frames a call.
    BatchSize: u32, "a whole number", 1 ..= 32
}
bounded! {
    /// A count that another tool took.
    GpuCount: u32, "a whole number", 0 ..= 64
}
