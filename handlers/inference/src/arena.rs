//! What a session's memory arena has held.

use std::ffi::CStr;
use std::ptr;

use ort::AsPointer;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::Session;

use crate::device::Device;

/// Most bytes that a session's arena on its device has had in use at once, weights included; `None` where ONNX Runtime
/// does not count them.
pub fn peak_bytes(session: &Session, device: Device) -> Option<u64> {
    let (place, index) = match device {
        Device::Cpu => (AllocationDevice::CPU, 0),
        Device::Cuda { index } | Device::TensorRt { index } => (AllocationDevice::CUDA, index.cast_signed()),
    };
    let info = MemoryInfo::new(place, index, AllocatorType::Arena, MemoryType::Default).ok()?;
    let allocator = Allocator::new(session, info).ok()?;
    let api = ort::api();
    let mut pairs = ptr::null_mut();
    // SAFETY: the allocator lives until the end of this function, and `pairs` is written before it is read.
    let status = unsafe { (api.AllocatorGetStats)(allocator.ptr(), &raw mut pairs) };
    if !status.0.is_null() {
        // SAFETY: a status that is there is ours to free, once.
        unsafe { (api.ReleaseStatus)(status.0) };
        return None;
    }
    if pairs.is_null() {
        return None;
    }
    // SAFETY: the pairs are there, and both they and the text they own are read before they are freed.
    let peak = unsafe {
        let value = (api.GetKeyValue)(pairs, c"MaxInUse".as_ptr());
        if value.is_null() { None } else { CStr::from_ptr(value).to_str().ok().and_then(|text| text.parse().ok()) }
    };
    // SAFETY: they came from ONNX Runtime and nobody reads them any more.
    unsafe { (api.ReleaseKeyValuePairs)(pairs) };
    peak
}
