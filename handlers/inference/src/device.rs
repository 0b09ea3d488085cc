//! Where sessions run.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What the configuration asks for: `auto`, `cpu`, `cuda`, `cuda:1`, `tensorrt`, `tensorrt:1`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// CUDA device 0 where one is visible and the library can use it, else the CPU.
    #[default]
    Auto,
    /// This one and no other.
    Fixed(Device),
}

/// Where sessions run. Indices count the devices that `CUDA_VISIBLE_DEVICES` leaves visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Device {
    /// The CPU.
    Cpu,
    /// An NVIDIA device through ONNX Runtime's CUDA provider.
    Cuda {
        /// Among the visible devices.
        index: u32,
    },
    /// An NVIDIA device through TensorRT; what TensorRT cannot do runs on the CUDA provider.
    TensorRt {
        /// Among the visible devices.
        index: u32,
    },
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda { index } => write!(f, "cuda:{index}"),
            Device::TensorRt { index } => write!(f, "tensorrt:{index}"),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Fixed(device) => device.fmt(f),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, index) = text.split_once(':').unwrap_or((text, "0"));
        let index: u32 = index.parse().map_err(|_| format!("`{text}` has no device index, e.g. `cuda:0`"))?;
        match kind {
            "auto" if text == kind => Ok(DeviceChoice::Auto),
            "cpu" if text == kind => Ok(DeviceChoice::Fixed(Device::Cpu)),
            "cuda" => Ok(DeviceChoice::Fixed(Device::Cuda { index })),
            "tensorrt" => Ok(DeviceChoice::Fixed(Device::TensorRt { index })),
            _ => Err(format!("`{text}` is no device: use auto, cpu, cuda, cuda:1, tensorrt or tensorrt:1")),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> String {
        choice.to_string()
    }
}

/// Whether `CUDA_VISIBLE_DEVICES` leaves the device of that index visible. CUDA reads the list up to its first invalid
/// entry, so `-1` and the empty list hide all.
pub fn leaves_visible(cuda_visible_devices: Option<&str>, index: u32) -> bool {
    let Some(list) = cuda_visible_devices else { return true };
    let valid = |entry: &str| entry.starts_with("GPU-") || entry.starts_with("MIG-") || entry.parse::<u32>().is_ok();
    list.split(',').map(str::trim).take_while(|entry| valid(entry)).count() > index as usize
}

/// Whether this machine shows an NVIDIA driver to processes: the device nodes of Linux, or those of WSL.
pub fn driver_present() -> bool {
    ["/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg"].iter().any(|node| Path::new(node).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_and_written_alike() {
        for (text, choice) in [
            ("auto", DeviceChoice::Auto),
            ("cpu", DeviceChoice::Fixed(Device::Cpu)),
            ("cuda:1", DeviceChoice::Fixed(Device::Cuda { index: 1 })),
            ("tensorrt:0", DeviceChoice::Fixed(Device::TensorRt { index: 0 })),
        ] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap(), choice);
            assert_eq!(choice.to_string(), text);
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Fixed(Device::Cuda { index: 0 })));
        for text in ["gpu", "cuda:", "cuda:-1", "cpu:0", "auto:0", ""] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text}");
        }
    }

    #[test]
    fn cuda_visible_devices_is_read_as_cuda_reads_it() {
        for (list, index, visible) in [
            (None, 0, true),
            (None, 7, true),
            (Some(""), 0, false),
            (Some("-1"), 0, false),
            (Some("2"), 0, true),
            (Some("2"), 1, false),
            (Some("0, 3"), 1, true),
            (Some("0,-1,1"), 1, false),
            (Some("GPU-8932f937"), 0, true),
            (Some("NoDevFiles"), 0, false),
        ] {
            assert_eq!(leaves_visible(list, index), visible, "{list:?} {index}");
        }
    }
}
