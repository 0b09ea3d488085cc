//! The task types of the service that this handler replaces, as its callers name them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// From which size to which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TaskType {
    /// 854x480 to 1920x1080.
    #[serde(rename = "SD2HD")]
    Sd2Hd,
    /// 854x480 to 3840x2160.
    #[serde(rename = "SD24K")]
    Sd24K,
    /// 1920x1080 to 3840x2160.
    #[serde(rename = "HD24K")]
    Hd24K,
    /// 3840x2160 to 7680x4320.
    #[serde(rename = "4K28K")]
    FourK28K,
}

impl TaskType {
    /// All, in the order of their sizes.
    pub const ALL: [TaskType; 4] = [TaskType::Sd2Hd, TaskType::Sd24K, TaskType::Hd24K, TaskType::FourK28K];

    /// As callers write it.
    pub fn name(self) -> &'static str {
        match self {
            TaskType::Sd2Hd => "SD2HD",
            TaskType::Sd24K => "SD24K",
            TaskType::Hd24K => "HD24K",
            TaskType::FourK28K => "4K28K",
        }
    }

    /// Size of the videos that it is meant for. Others are taken too.
    pub fn expects(self) -> (u32, u32) {
        match self {
            TaskType::Sd2Hd | TaskType::Sd24K => (854, 480),
            TaskType::Hd24K => (1920, 1080),
            TaskType::FourK28K => (3840, 2160),
        }
    }

    /// The box that the result fills.
    pub fn target(self) -> (u32, u32) {
        match self {
            TaskType::Sd2Hd => (1920, 1080),
            TaskType::Sd24K | TaskType::Hd24K => (3840, 2160),
            TaskType::FourK28K => (7680, 4320),
        }
    }

    /// Sessions that the replaced service gave it on a GPU: a start, which `darkroom bench vsr --tune` measures.
    pub fn sessions(self) -> usize {
        match self {
            TaskType::Sd2Hd => 10,
            TaskType::Sd24K | TaskType::FourK28K => 8,
            TaskType::Hd24K => 12,
        }
    }
}
