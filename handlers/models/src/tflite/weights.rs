//! The numbers of weights: half or single precision, all of them or only those that are not zero.

use half::f16;

use super::flat::Table;
use super::model::Tensor;

/// Numbers of all weights of a network together; the largest known has 14 million.
pub const MAX_NUMBERS: usize = 1 << 25;

const SINGLE: u8 = 0;
const HALF: u8 = 1;
const INT32: u8 = 2;

/// Formats of a dimension.
const DENSE: u8 = 0;

impl Tensor<'_> {
    /// Numbers that its shape has.
    pub fn len(&self) -> usize {
        // Four sides of 2^15 at most.
        self.shape.iter().product()
    }

    /// All its numbers, row by row.
    ///
    /// # Errors
    /// Where they do not fit the shape, or are of a kind that is not known.
    pub fn numbers(&self) -> Result<Vec<f32>, String> {
        if self.len() > MAX_NUMBERS {
            return Err("a weight of impossible size".into());
        }
        let numbers: Vec<f32> = match self.kind {
            SINGLE => self.data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            HALF => self.data.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            kind => return Err(format!("weights of kind {kind} are not known: only single and half precision are")),
        };
        let numbers = match self.sparsity {
            Some(sparsity) => self.spread(&numbers, sparsity)?,
            None => numbers,
        };
        if numbers.len() == self.len() {
            Ok(numbers)
        } else {
            Err(format!("{} numbers do not fill {:?}", numbers.len(), self.shape))
        }
    }

    /// Its whole numbers, of 32 bits.
    ///
    /// # Errors
    /// Where they do not fit the shape, or are of another kind.
    pub fn integers(&self) -> Result<Vec<usize>, String> {
        if self.kind != INT32 || self.sparsity.is_some() || self.data.len() != self.len().saturating_mul(4) {
            return Err("sizes are not whole numbers of 32 bits".into());
        }
        let integers = self.data.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let integers = integers.map(|value| usize::try_from(value).ok());
        integers.collect::<Option<_>>().ok_or_else(|| "a negative size".into())
    }

    /// Puts the numbers that are there where they belong. The dimensions form a tree, outermost first: each node of one leads
    /// to nodes of the next, to all of them or to those that are listed.
    fn spread(&self, numbers: &[f32], sparsity: Table<'_>) -> Result<Vec<f32>, String> {
        let rank = self.shape.len();
        let order = sparsity.ints(0, rank)?;
        if !sparsity.ints(1, 0).is_ok_and(|blocks| blocks.is_empty()) || !order.iter().copied().eq(0..rank as i32) {
            return Err("weights in blocks or in another order are not known".into());
        }
        let dims = sparsity.tables(2)?;
        if dims.len() != rank {
            return Err("a weight with other dimensions than its shape".into());
        }
        let mut places = vec![0];
        for (dim, side) in dims.iter().zip(&self.shape) {
            places = descend(&places, dim, *side)?;
        }
        if places.len() != numbers.len() {
            return Err(format!("{} numbers for {} places", numbers.len(), places.len()));
        }
        let mut all = vec![0.0; self.len()];
        for (place, number) in places.into_iter().zip(numbers) {
            all[place] = *number;
        }
        Ok(all)
    }
}

/// The places of the next dimension's nodes, `side` of which are under each node.
fn descend(places: &[usize], dim: &Table<'_>, side: usize) -> Result<Vec<usize>, String> {
    if dim.byte(0)? == DENSE {
        if dim.count(1, 0, side)? != side || places.len().saturating_mul(side) > MAX_NUMBERS {
            return Err("a weight with other dimensions than its shape".into());
        }
        return Ok(places.iter().flat_map(|place| (0..side).map(move |index| place * side + index)).collect());
    }
    let (ends, indices) = (list(dim, 2)?, list(dim, 4)?);
    if ends.len() != places.len() + 1 || ends[0] != 0 || ends[places.len()] != indices.len() {
        return Err("a weight whose parts do not fit together".into());
    }
    let mut next = Vec::with_capacity(indices.len());
    for (place, ends) in places.iter().zip(ends.windows(2)) {
        let part = indices.get(ends[0]..ends[1]).ok_or("a weight whose parts do not fit together")?;
        if part.iter().any(|index| *index >= side) {
            return Err("a number outside its weight".into());
        }
        next.extend(part.iter().map(|index| place * side + index));
    }
    Ok(next)
}

/// A list of whole numbers that are stored in as few bytes as they need: the field tells in how many, the next one has them.
fn list(dim: &Table<'_>, field: usize) -> Result<Vec<usize>, String> {
    let Some(vector) = dim.table(field + 1)? else { return Err("a weight without its list of places".into()) };
    match dim.byte(field)? {
        1 => {
            let list = vector.ints(0, MAX_NUMBERS)?.into_iter().map(|value| usize::try_from(value).ok());
            list.collect::<Option<_>>().ok_or_else(|| "a negative place".into())
        }
        2 => Ok(vector.list(0, 2)?.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]).into()).collect()),
        3 => Ok(vector.bytes(0)?.iter().map(|b| usize::from(*b)).collect()),
        kind => Err(format!("a list of places of kind {kind} is not known")),
    }
}
