//! The weights of a network: those of its layers, one after the other, little-endian. Some are led by a tag that tells how
//! they are stored. After ncnn's `src/modelbin.cpp`.

use half::f16;

/// Half precision, padded to four bytes.
const HALF: u32 = 0x0130_6b47;
const SINGLE: u32 = 0;

/// What has not been read yet.
#[derive(Debug)]
pub struct Weights<'a>(&'a [u8]);

impl<'a> Weights<'a> {
    /// All of a `.bin`.
    pub fn new(bin: &'a [u8]) -> Weights<'a> {
        Weights(bin)
    }

    /// The next `count` numbers, which a tag leads, in single precision.
    ///
    /// # Errors
    /// For tags of quantised weights, and where fewer bytes are left.
    pub fn tagged(&mut self, count: usize) -> Result<Vec<f32>, String> {
        let tag = self.take(4)?.iter().rev().fold(0, |tag, byte| tag << 8 | u32::from(*byte));
        match tag {
            SINGLE => self.plain(count),
            HALF => {
                let bytes = self.take(bytes_of(count, 2)?.next_multiple_of(4))?;
                let halves = bytes.chunks_exact(2).take(count);
                Ok(halves.map(|half| f16::from_le_bytes([half[0], half[1]]).to_f32()).collect())
            }
            _ => Err(format!("weights with the tag {tag:#010x} are not known: only single and half precision are")),
        }
    }

    /// The next `count` numbers, in single precision without a tag.
    ///
    /// # Errors
    /// Where fewer bytes are left.
    pub fn plain(&mut self, count: usize) -> Result<Vec<f32>, String> {
        let bytes = self.take(bytes_of(count, 4)?)?;
        Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }

    /// Whether all weights were read.
    ///
    /// # Errors
    /// Where some are left: then the text belongs to other weights.
    pub fn all_read(&self) -> Result<(), String> {
        match self.0.len() {
            0 => Ok(()),
            left => Err(format!("{left} bytes of weights are left over")),
        }
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or("the weights end too early")?;
        self.0 = rest;
        Ok(taken)
    }
}

fn bytes_of(count: usize, size: usize) -> Result<usize, String> {
    // Half of what is addressable: padding cannot overflow then.
    count
        .checked_mul(size)
        .filter(|bytes| *bytes <= isize::MAX as usize)
        .ok_or_else(|| "a layer of impossible size".into())
}
