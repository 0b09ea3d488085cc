//! What ONNX Runtime's errors mean for a job.

use darkroom_api::{ErrorCode, JobError, Result};
use ort::ErrorCode as Ort;

/// Words by which allocators of ONNX Runtime, CUDA, cuDNN and cuBLAS say that memory is short.
const OUT_OF_MEMORY: [&str; 7] = [
    "failed to allocate memory",
    "bad_alloc",
    "out of memory",
    "bfcarena::allocaterawinternal",
    "alloc_failed",
    "cuda failure 2:",
    "available memory of",
];

/// Words of CUDA errors after which a context does not recover.
const DEVICE_LOST: [&str; 4] = ["cuda failure", "cudnn failure", "cublas failure", "illegal memory access"];

/// An ONNX Runtime error as a job's error; `what` says what was being done, e.g. `running the model`.
pub fn job_error<R>(what: &str, error: &ort::Error<R>) -> JobError {
    let (code, message) = classify(error.code(), error.message(), what);
    JobError::new(code, message).with_detail(serde_json::json!({ "onnxruntime": first_line(error.message()) }))
}

fn classify(code: Ort, text: &str, what: &str) -> (ErrorCode, String) {
    let lower = text.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if says(&OUT_OF_MEMORY) {
        let remedy = "use less at once (`batch_size`, `memory_mib`), a smaller input, or a device with more memory";
        return (ErrorCode::OutOfMemory, format!("Not enough memory for {what}: {remedy}."));
    }
    if says(&DEVICE_LOST) || code == Ort::DeviceReset {
        return (ErrorCode::DeviceBusy, format!("The device failed while {what}: check its driver and its load."));
    }
    match code {
        Ort::NoSuchFile => (ErrorCode::ModelMissing, format!("A file vanished while {what}: fetch the model again.")),
        Ort::InvalidProtobuf | Ort::InvalidGraph | Ort::NoModel | Ort::NotImplemented | Ort::InvalidArgument => {
            let remedy = "a file of your own (`models.custom`) must be a whole ONNX model of operators that it knows; one that \
                          Darkroom fetched is mended by `darkroom models fetch`";
            let why = format!("ONNX Runtime refuses the model while {what} ({}): {remedy}.", first_line(text));
            (ErrorCode::ModelInvalid, why)
        }
        _ => (ErrorCode::Internal, format!("ONNX Runtime failed while {what}: {}.", first_line(text))),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(300).collect()
}

/// Calls `work` with the batch size; on [`ErrorCode::OutOfMemory`] halves it, down to 1, and tries again. The size that
/// worked stays for the calls to come. `work` must leave no trace where it fails.
///
/// # Errors
/// Those of `work`; [`ErrorCode::OutOfMemory`] only where a batch of 1 does not fit either.
pub fn retry_halving<T>(batch: &mut usize, mut work: impl FnMut(usize) -> Result<T>) -> Result<T> {
    loop {
        match work(*batch) {
            Err(error) if error.code == ErrorCode::OutOfMemory && *batch > 1 => {
                *batch /= 2;
                tracing::warn!(batch = *batch, "out of memory: going on with a smaller batch");
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_allocators_and_devices_are_told_apart() {
        let code = |code, text| classify(code, text, "testing").0;
        for text in [
            "Failed to allocate memory for requested buffer of size 70368744177664",
            "std::bad_alloc",
            "CUDA failure 2: out of memory ; GPU=0",
            "CUDNN failure 4: CUDNN_STATUS_ALLOC_FAILED",
            "bfc_arena.cc:376 onnxruntime::BFCArena::AllocateRawInternal Available memory of 5 is smaller than requested",
        ] {
            assert_eq!(code(Ort::GenericFailure, text), ErrorCode::OutOfMemory, "{text}");
        }
        assert_eq!(code(Ort::GenericFailure, "CUDA failure 700: an illegal memory access"), ErrorCode::DeviceBusy);
        assert_eq!(code(Ort::InvalidArgument, "Invalid rank for input: src"), ErrorCode::ModelInvalid);
        assert_eq!(code(Ort::InvalidProtobuf, "Protobuf parsing failed."), ErrorCode::ModelInvalid);
        assert_eq!(code(Ort::GenericFailure, "something new"), ErrorCode::Internal);
    }

    #[test]
    fn a_batch_is_halved_until_it_fits_and_stays_so() {
        let mut tried = Vec::new();
        let mut batch = 12;
        let mut fits = |size| {
            tried.push(size);
            if size > 3 { Err(JobError::new(ErrorCode::OutOfMemory, "")) } else { Ok(size) }
        };
        assert_eq!(retry_halving(&mut batch, &mut fits).unwrap(), 3);
        assert_eq!(retry_halving(&mut batch, &mut fits).unwrap(), 3);
        assert_eq!(tried, [12, 6, 3, 3]);
    }

    #[test]
    fn other_errors_and_a_batch_of_one_are_not_tried_again() {
        for (code, calls) in [(ErrorCode::ModelInvalid, 1), (ErrorCode::OutOfMemory, 3)] {
            let (mut batch, mut count) = (4, 0);
            let error = retry_halving::<()>(&mut batch, |_| {
                count += 1;
                Err(JobError::new(code, ""))
            });
            assert_eq!((error.unwrap_err().code, count), (code, calls));
        }
    }
}
