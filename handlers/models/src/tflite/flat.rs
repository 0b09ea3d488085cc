//! The container that TensorFlow Lite's files are in, [FlatBuffers](https://flatbuffers.dev/internals/): tables that lead to
//! one another by offsets. None of them is believed: each read is checked against what is there.

/// How the file begins, after the offset of its first table.
const MAGIC: &[u8] = b"TFL3";

/// A table: values by the number of their field.
#[derive(Debug, Clone, Copy)]
pub struct Table<'a> {
    file: &'a [u8],
    at: usize,
    /// Where each field is, counted from the table's begin; 0 where it is absent.
    fields: &'a [u8],
}

impl<'a> Table<'a> {
    /// The table that a file of TensorFlow Lite begins with.
    ///
    /// # Errors
    /// Where it is no such file.
    pub fn root(file: &'a [u8]) -> Result<Table<'a>, String> {
        if file.get(4..8) != Some(MAGIC) {
            return Err("the file is none of TensorFlow Lite".into());
        }
        Table::at(file, follow(file, 0)?)
    }

    fn at(file: &'a [u8], at: usize) -> Result<Table<'a>, String> {
        let back = i32::from_le_bytes(read(file, at)?);
        let layout = i64::try_from(at).ok().and_then(|at| usize::try_from(at - i64::from(back)).ok());
        let layout = layout.and_then(|start| file.get(start..)).ok_or_else(torn)?;
        // The length of this list, then that of the table.
        let bytes = usize::from(u16::from_le_bytes(read(layout, 0)?));
        Ok(Table { file, at, fields: layout.get(4..bytes).ok_or_else(torn)? })
    }

    fn field(&self, index: usize) -> Option<usize> {
        let offset = u16::from_le_bytes(read(self.fields, 2 * index).ok()?);
        (offset != 0).then(|| self.at.saturating_add(offset.into()))
    }

    /// A byte, also one that stands for a choice; 0 where it is absent.
    ///
    /// # Errors
    /// Where the file ends before it.
    pub fn byte(&self, index: usize) -> Result<u8, String> {
        self.field(index).map_or(Ok(0), |at| read(self.file, at).map(u8::from_le_bytes))
    }

    /// A whole number; `default` where it is absent.
    ///
    /// # Errors
    /// Where the file ends before it.
    pub fn int(&self, index: usize, default: i32) -> Result<i32, String> {
        self.field(index).map_or(Ok(default), |at| read(self.file, at).map(i32::from_le_bytes))
    }

    /// A number that counts something, of 0 to `most`.
    ///
    /// # Errors
    /// Where it is no such number.
    pub fn count(&self, index: usize, default: i32, most: usize) -> Result<usize, String> {
        let value = self.int(index, default)?;
        let count = usize::try_from(value).ok().filter(|count| *count <= most);
        count.ok_or_else(|| format!("{value} where at most {most} is known"))
    }

    /// Another table.
    ///
    /// # Errors
    /// Where its offset leads out of the file.
    pub fn table(&self, index: usize) -> Result<Option<Table<'a>>, String> {
        self.field(index).map(|at| Table::at(self.file, follow(self.file, at)?)).transpose()
    }

    /// Bytes; none where they are absent.
    ///
    /// # Errors
    /// Where they do not fit the file.
    pub fn bytes(&self, index: usize) -> Result<&'a [u8], String> {
        self.list(index, 1)
    }

    /// A text; an empty one where it is absent.
    ///
    /// # Errors
    /// Where it does not fit the file, or is no text.
    pub fn text(&self, index: usize) -> Result<&'a str, String> {
        std::str::from_utf8(self.bytes(index)?).map_err(|_| "a name that is no text".into())
    }

    /// At most `most` whole numbers; none where they are absent.
    ///
    /// # Errors
    /// Where they are more, or do not fit the file.
    pub fn ints(&self, index: usize, most: usize) -> Result<Vec<i32>, String> {
        let bytes = self.list(index, 4)?;
        if bytes.len() > 4 * most {
            return Err(format!("{} numbers where at most {most} are known", bytes.len() / 4));
        }
        Ok(bytes.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }

    /// Tables; none where they are absent.
    ///
    /// # Errors
    /// Where one does not fit the file.
    pub fn tables(&self, index: usize) -> Result<Vec<Table<'a>>, String> {
        let offsets = self.list(index, 4)?;
        let Some(start) = self.field(index) else { return Ok(Vec::new()) };
        // After the length of the list.
        let start = follow(self.file, start)?.saturating_add(4);
        (0..offsets.len() / 4).map(|i| Table::at(self.file, follow(self.file, start.saturating_add(4 * i))?)).collect()
    }

    /// The bytes of a list of values of `size` bytes.
    ///
    /// # Errors
    /// Where they do not fit the file.
    pub fn list(&self, index: usize, size: usize) -> Result<&'a [u8], String> {
        let Some(at) = self.field(index) else { return Ok(&[]) };
        let start = follow(self.file, at)?;
        let length = u32::from_le_bytes(read(self.file, start)?) as usize;
        let rest = &self.file[start.saturating_add(4).min(self.file.len())..];
        length.checked_mul(size).and_then(|bytes| rest.get(..bytes)).ok_or_else(torn)
    }
}

/// Where an offset leads, which counts from itself.
fn follow(file: &[u8], at: usize) -> Result<usize, String> {
    Ok(at.saturating_add(u32::from_le_bytes(read(file, at)?) as usize))
}

fn read<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], String> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or_else(torn)
}

fn torn() -> String {
    "the file leads out of itself".into()
}
