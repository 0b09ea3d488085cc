//! Tensors of a safetensors file, none of which is trusted.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use darkroom_api::{ErrorCode, JobError, Result};
use safetensors::{Dtype, SafeTensors};

/// SMPL with 300 shapes in double precision has 93 MB.
const MAX_FILE_BYTES: u64 = 192 << 20;
/// Beyond this nothing is a body; it keeps sums far from infinity.
const MAX_MAGNITUDE: f32 = 1e4;

/// The bytes of a body's file.
///
/// # Errors
/// [`ErrorCode::ModelInvalid`] for a file that cannot be read or is too long.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|e| invalid(&format!("cannot be read ({})", e.kind())))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(invalid(&format!("is longer than {MAX_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}

/// What is wrong with a file, after "The body's file".
pub fn invalid(why: &str) -> JobError {
    JobError::new(
        ErrorCode::ModelInvalid,
        format!(
            "The body's file {why}: fetch it again with `darkroom models fetch pose/body`, or convert your own again with \
             infra/models/smpl_to_safetensors.py."
        ),
    )
}

/// An opened file.
pub struct Tensors<'a> {
    tensors: SafeTensors<'a>,
    /// The names in the metadata `bones`.
    pub bones: Vec<String>,
}

impl<'a> Tensors<'a> {
    /// Opens a file.
    ///
    /// # Errors
    /// [`ErrorCode::ModelInvalid`], as of all that follow.
    pub fn open(bytes: &'a [u8]) -> Result<Tensors<'a>> {
        let broken = |e| invalid(&format!("is no safetensors file ({e})"));
        let tensors = SafeTensors::deserialize(bytes).map_err(broken)?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(broken)?;
        let bones = header.metadata().as_ref().and_then(|metadata| metadata.get("bones"));
        let bones = bones.map(|names| names.split(',').map(str::to_owned).collect()).unwrap_or_default();
        Ok(Tensors { tensors, bones })
    }

    /// The shape of a tensor that must have some number of axes.
    pub fn shape<const N: usize>(&self, name: &str) -> Result<[usize; N]> {
        let tensor = self.tensors.tensor(name).map_err(|_| invalid(&format!("has no tensor `{name}`")))?;
        <[usize; N]>::try_from(tensor.shape())
            .map_err(|_| invalid(&format!("has `{name}` of the shape {:?}, not of {N} axes", tensor.shape())))
    }

    /// Numbers of single or double precision, all of them finite and of a body's size.
    pub fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let (dtype, data) = self.expect(name, shape)?;
        #[allow(clippy::cast_possible_truncation, reason = "a body needs no more than single precision")]
        let floats: Vec<f32> = match dtype {
            Dtype::F32 => data.as_chunks().0.iter().map(|c| f32::from_le_bytes(*c)).collect(),
            Dtype::F64 => data.as_chunks().0.iter().map(|c| f64::from_le_bytes(*c) as f32).collect(),
            other => return Err(invalid(&format!("has `{name}` as {other:?}, not F32 or F64"))),
        };
        match floats.iter().find(|x| x.is_nan() || x.abs() > MAX_MAGNITUDE) {
            Some(x) => Err(invalid(&format!("has {x} in `{name}`"))),
            None => Ok(floats),
        }
    }

    /// Whole numbers of any width.
    pub fn integers(&self, name: &str, shape: &[usize]) -> Result<Vec<i64>> {
        let (dtype, data) = self.expect(name, shape)?;
        Ok(match dtype {
            Dtype::U8 => data.iter().map(|x| i64::from(*x)).collect(),
            Dtype::U16 => data.as_chunks().0.iter().map(|c| i64::from(u16::from_le_bytes(*c))).collect(),
            Dtype::U32 => data.as_chunks().0.iter().map(|c| i64::from(u32::from_le_bytes(*c))).collect(),
            Dtype::I32 => data.as_chunks().0.iter().map(|c| i64::from(i32::from_le_bytes(*c))).collect(),
            Dtype::I64 => data.as_chunks().0.iter().map(|c| i64::from_le_bytes(*c)).collect(),
            other => return Err(invalid(&format!("has `{name}` as {other:?}, not as whole numbers"))),
        })
    }

    /// Indices, each below `end`.
    pub fn indices(&self, name: &str, shape: &[usize], end: usize) -> Result<Vec<usize>> {
        let index = |x: &i64| usize::try_from(*x).ok().filter(|x| *x < end);
        let whole = self.integers(name, shape)?;
        let outside = |x: &i64| invalid(&format!("has {x} in `{name}`, where indices end at {end}"));
        whole.iter().map(|x| index(x).ok_or_else(|| outside(x))).collect()
    }

    fn expect(&self, name: &str, shape: &[usize]) -> Result<(Dtype, &'a [u8])> {
        let tensor = self.tensors.tensor(name).map_err(|_| invalid(&format!("has no tensor `{name}`")))?;
        if tensor.shape() != shape {
            return Err(invalid(&format!("has `{name}` of the shape {:?}, not {shape:?}", tensor.shape())));
        }
        Ok((tensor.dtype(), tensor.data()))
    }
}
