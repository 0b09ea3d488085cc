//! What a file of TensorFlow Lite says, after its `schema.fbs` (version 3): the fields are known by their numbers there.

use super::flat::Table;

/// Version of the schema.
const VERSION: i32 = 3;
/// The longest network known has 1098 tensors and 689 operators.
const MAX_PARTS: usize = 1 << 14;
/// Dimensions of a tensor.
const MAX_RANK: usize = 4;
const MAX_SIDE: usize = 1 << 15;
/// Tensors that an operator reads or makes.
const MAX_OPERANDS: usize = 64;

/// A network.
#[derive(Debug)]
pub struct Model<'a> {
    /// All its tensors: those computed, and weights.
    pub tensors: Vec<Tensor<'a>>,
    /// In an order in which they can be computed.
    pub operators: Vec<Operator<'a>>,
    /// The tensor that goes in.
    pub input: usize,
    /// The tensors that come out.
    pub outputs: Vec<usize>,
}

/// A tensor.
#[derive(Debug)]
pub struct Tensor<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its dimensions; a picture's are 1, height, width, channels.
    pub shape: Vec<usize>,
    /// Code of the type of its elements.
    pub kind: u8,
    /// Elements of a weight; empty where it is computed.
    pub data: &'a [u8],
    /// How the elements are spread, where only those are there that are not zero.
    pub sparsity: Option<Table<'a>>,
}

/// A step of the computation.
#[derive(Debug)]
pub struct Operator<'a> {
    /// Code of what it does.
    pub code: i32,
    /// Tensors that it reads.
    pub inputs: Vec<usize>,
    /// The tensor that it makes.
    pub output: usize,
    /// Its settings; what they mean depends on the code.
    pub options: Option<Table<'a>>,
}

impl<'a> Model<'a> {
    /// Reads a file.
    ///
    /// # Errors
    /// What does not hold.
    pub fn parse(file: &'a [u8]) -> Result<Model<'a>, String> {
        let root = Table::root(file)?;
        let version = root.int(0, 0)?;
        if version != VERSION {
            return Err(format!("version {version} of the format is not known"));
        }
        let [graph] = root.tables(2)?[..] else { return Err("more or fewer networks than one".into()) };
        let buffers = root.tables(4)?;
        let tensors: Vec<_> =
            few(graph.tables(0)?)?.into_iter().map(|table| Tensor::parse(table, &buffers)).collect::<Result<_, _>>()?;
        let codes: Vec<i32> = root.tables(1)?.iter().map(code).collect::<Result<_, _>>()?;
        let operators = few(graph.tables(3)?)?.into_iter();
        let operators = operators.map(|table| Operator::parse(table, &codes, tensors.len()));
        let operators = operators.collect::<Result<_, _>>()?;
        let [input] = indices(&graph, 1, tensors.len())?[..] else {
            return Err("more or fewer inputs than one".into());
        };
        Ok(Model { outputs: indices(&graph, 2, tensors.len())?, tensors, operators, input })
    }
}

impl<'a> Tensor<'a> {
    fn parse(table: Table<'a>, buffers: &[Table<'a>]) -> Result<Tensor<'a>, String> {
        let shape = table.ints(0, MAX_RANK)?.into_iter().map(|side| usize::try_from(side).ok());
        let shape: Option<Vec<usize>> = shape.map(|side| side.filter(|side| (1..=MAX_SIDE).contains(side))).collect();
        let buffer = buffers.get(table.count(2, 0, MAX_PARTS)?).ok_or("a tensor without a buffer")?;
        Ok(Tensor {
            name: table.text(3)?,
            shape: shape.ok_or("a tensor of impossible size")?,
            kind: table.byte(1)?,
            data: buffer.bytes(0)?,
            sparsity: table.table(6)?,
        })
    }
}

impl<'a> Operator<'a> {
    fn parse(table: Table<'a>, codes: &[i32], tensors: usize) -> Result<Operator<'a>, String> {
        let code = *codes.get(table.count(0, 0, MAX_PARTS)?).ok_or("an operator without a code")?;
        let [output] = indices(&table, 2, tensors)?[..] else { return Err("an operator without one output".into()) };
        Ok(Operator { code, inputs: indices(&table, 1, tensors)?, output, options: table.table(4)? })
    }
}

/// Codes below 127 stand where all stood at first.
fn code(table: &Table<'_>) -> Result<i32, String> {
    Ok(table.int(3, 0)?.max(i32::from(table.byte(0)?)))
}

fn indices(table: &Table<'_>, field: usize, below: usize) -> Result<Vec<usize>, String> {
    let indices = table.ints(field, MAX_OPERANDS)?.into_iter();
    let indices = indices.map(|index| usize::try_from(index).ok().filter(|index| *index < below));
    indices.collect::<Option<_>>().ok_or_else(|| "a tensor that is not there".into())
}

fn few(tables: Vec<Table<'_>>) -> Result<Vec<Table<'_>>, String> {
    if tables.len() > MAX_PARTS { Err(format!("more than {MAX_PARTS} parts")) } else { Ok(tables) }
}
