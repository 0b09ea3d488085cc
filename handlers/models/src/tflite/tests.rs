use std::collections::BTreeMap;

use super::*;
use crate::onnx::Model;

/// Writes what a compiler of FlatBuffers would: tables before what they lead to.
#[derive(Default)]
struct Writer(Vec<u8>);

/// A field of a table.
#[derive(Clone)]
enum Field {
    Absent,
    Byte(u8),
    Int(i32),
    Ints(Vec<i32>),
    Bytes(Vec<u8>),
    Table(Vec<Field>),
    Tables(Vec<Vec<Field>>),
}
use Field::{Absent, Byte, Bytes, Int, Ints, Tables};

impl Writer {
    fn table(&mut self, fields: &[Field]) -> usize {
        // The list of fields, then the table: how far back the list is, and four bytes for each field.
        let list = self.0.len();
        self.0.extend((4 + 2 * fields.len() as u16).to_le_bytes());
        self.0.extend((4 + 4 * fields.len() as u16).to_le_bytes());
        for (index, field) in fields.iter().enumerate() {
            let offset = if matches!(field, Absent) { 0 } else { 4 + 4 * index as u16 };
            self.0.extend(offset.to_le_bytes());
        }
        let table = self.0.len();
        self.0.extend(((table - list) as i32).to_le_bytes());
        self.0.resize(table + 4 + 4 * fields.len(), 0);
        for (index, field) in fields.iter().enumerate() {
            let at = table + 4 + 4 * index;
            let value = match field {
                Absent => continue,
                Byte(value) => u32::from(*value),
                Int(value) => value.cast_unsigned(),
                Ints(values) => {
                    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                    self.list(values.len(), &bytes, at)
                }
                Bytes(bytes) => self.list(bytes.len(), bytes, at),
                Field::Table(fields) => (self.table(fields) - at) as u32,
                Tables(tables) => {
                    let start = self.0.len();
                    self.list(tables.len(), &vec![0; 4 * tables.len()], start);
                    for (index, fields) in tables.iter().enumerate() {
                        let entry = start + 4 + 4 * index;
                        let offset = (self.table(fields) - entry) as u32;
                        self.0[entry..entry + 4].copy_from_slice(&offset.to_le_bytes());
                    }
                    (start - at) as u32
                }
            };
            self.0[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        table
    }

    fn list(&mut self, count: usize, bytes: &[u8], at: usize) -> u32 {
        let start = self.0.len();
        self.0.extend((count as u32).to_le_bytes());
        self.0.extend(bytes);
        (start - at) as u32
    }
}

fn file(root: &[Field]) -> Vec<u8> {
    let mut writer = Writer(vec![0, 0, 0, 0, b'T', b'F', b'L', b'3']);
    let at = writer.table(root) as u32;
    writer.0[..4].copy_from_slice(&at.to_le_bytes());
    writer.0
}

fn tensor(name: &str, shape: &[i32], kind: u8, buffer: i32, sparsity: Field) -> Vec<Field> {
    vec![Ints(shape.to_vec()), Byte(kind), Int(buffer), Bytes(name.into()), Absent, Absent, sparsity]
}

fn operator(code: i32, inputs: &[i32], output: i32, options: Field) -> Vec<Field> {
    vec![Int(code), Ints(inputs.to_vec()), Ints(vec![output]), Byte(1), options]
}

fn halves(values: &[f32]) -> Vec<Field> {
    vec![Bytes(values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect())]
}

/// A picture of 4x6 and 2 channels: a convolution of stride 2 to 3 channels, whose weights are sparse and in half precision,
/// then all its values in one row, and their sum with themselves beside it.
fn network() -> Vec<Field> {
    let dense = |size: i32| vec![Byte(0), Int(size)];
    // Of the weights [3, 1, 1, 2], the second of the first output and both of the last.
    let listed = vec![
        Byte(1),
        Absent,
        Byte(3),
        Field::Table(vec![Bytes(vec![0, 1, 1, 3])]),
        Byte(3),
        Field::Table(vec![Bytes(vec![1, 0, 1])]),
    ];
    let sparsity =
        Field::Table(vec![Ints(vec![0, 1, 2, 3]), Absent, Tables(vec![dense(3), dense(1), dense(1), listed])]);
    let tensors = vec![
        tensor("in", &[1, 4, 6, 2], 0, 0, Absent),
        tensor("sparse", &[3, 1, 1, 2], 1, 1, sparsity),
        tensor("half", &[3, 1, 1, 2], 1, 0, Absent),
        tensor("weights", &[3, 1, 1, 2], 0, 0, Absent),
        tensor("bias", &[3], 1, 2, Absent),
        tensor("conv", &[1, 2, 3, 3], 0, 0, Absent),
        tensor("row", &[1, 18], 0, 0, Absent),
        tensor("twice", &[1, 2, 3, 3], 0, 0, Absent),
    ];
    let conv = Field::Table(vec![Byte(0), Int(2), Int(2), Byte(3)]);
    let operators = vec![
        operator(0, &[1], 2, Absent),
        operator(1, &[2], 3, Absent),
        operator(2, &[0, 3, 4], 5, conv),
        operator(3, &[5, 4], 6, Absent),
        operator(4, &[5, 5], 7, Absent),
    ];
    let code = |code: i32| vec![Byte(code.min(127) as u8), Absent, Absent, Int(code)];
    let graph = vec![Tables(tensors), Ints(vec![0]), Ints(vec![6, 7]), Tables(operators)];
    let buffers = vec![vec![Absent], halves(&[0.5, -2.0, 3.0]), halves(&[1.0, 2.0, 4.0])];
    vec![Int(3), Tables([124, 6, 3, 22, 0].map(code).to_vec()), Tables(vec![graph]), Absent, Tables(buffers)]
}

fn outputs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, source)| ((*name).to_owned(), (*source).to_owned())).collect()
}

#[test]
fn a_network_becomes_operations_on_planes() {
    let file = file(&network());
    let bytes = to_onnx(&file, &outputs(&[("flat", "row")])).unwrap();
    assert_eq!(bytes, to_onnx(&file, &outputs(&[("flat", "row")])).unwrap(), "the same bytes each time");
    let graph = Model::decode(&bytes[..]).unwrap().graph.unwrap();
    let told: Vec<String> =
        graph.nodes.iter().map(|n| format!("{} = {} {}", n.outputs.join(" "), n.op_type, n.inputs.join(" "))).collect();
    assert_eq!(
        told,
        [
            "t0 = Conv image w0 w1",
            "t1 = Clip t0 w2 w3",
            "t2 = Transpose t1",
            "t3 = Reshape t2 w4",
            "flat = Identity t3",
        ],
        "nothing is computed for an output that is not wanted"
    );
    let floats = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    assert_eq!(graph.tensors()[0].dims, [3, 2, 1, 1]);
    assert_eq!(graph.tensors()[0].raw, floats(&[0.0, 0.5, 0.0, 0.0, -2.0, 3.0]));
    assert_eq!(graph.tensors()[1].raw, floats(&[1.0, 2.0, 4.0]));
    let all = Model::decode(&to_onnx(&file, &BTreeMap::new()).unwrap()[..]).unwrap().graph.unwrap();
    assert_eq!(all.nodes.last().unwrap().outputs, ["twice"]);
}

#[test]
fn what_is_not_known_or_does_not_fit_is_refused() {
    let error = |change: &dyn Fn(&mut Vec<Field>)| {
        let mut root = network();
        change(&mut root);
        to_onnx(&file(&root), &BTreeMap::new()).unwrap_err()
    };
    let graph = |root: &mut Vec<Field>, field: usize, value: Field| {
        let Tables(graphs) = &mut root[2] else { unreachable!() };
        graphs[0][field] = value;
    };
    let code = |root: &mut Vec<Field>, value: i32| {
        let Tables(codes) = &mut root[1] else { unreachable!() };
        codes[2][3] = Int(value);
    };
    assert!(
        error(&|root| code(root, 97)).contains("the operator that makes `conv`: operators of code 97 are not known")
    );
    assert!(error(&|root| code(root, 4)).contains("do not fit 2 channels"));
    assert!(error(&|root| root[0] = Int(2)).contains("version 2"));
    assert!(error(&|root| graph(root, 1, Ints(vec![6]))).contains("no picture goes in"));
    assert!(error(&|root| graph(root, 2, Ints(vec![99]))).contains("not there"));
    assert!(error(&|root| graph(root, 3, Tables(vec![]))).contains("nothing has made `row`"));
    let short = |root: &mut Vec<Field>| root[4] = Tables(vec![vec![Absent], halves(&[0.5]), halves(&[1.0, 2.0, 4.0])]);
    assert!(error(&short).contains("1 numbers for 3 places"));
    let wanted = to_onnx(&file(&network()), &outputs(&[("x", "nowhere")])).unwrap_err();
    assert!(wanted.contains("no output `nowhere`, but row, twice"), "{wanted}");
    assert!(to_onnx(b"not a network", &BTreeMap::new()).unwrap_err().contains("none of TensorFlow Lite"));
}

/// Neither a panic nor memory for what is not there, whatever the bytes.
#[test]
fn damaged_files_are_refused_or_converted() {
    let whole = file(&network());
    // Ends may lie behind all that is read.
    let short = (0..whole.len()).filter(|length| to_onnx(&whole[..*length], &BTreeMap::new()).is_err());
    assert!(short.count() > whole.len() / 2);
    let mut state = 1_u32;
    let mut random = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    let mut refused = 0;
    for _ in 0..50_000 {
        let mut bytes = whole.clone();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            bytes[at] = match random(3) {
                0 => 0xff,
                1 => random(256) as u8,
                _ => bytes[at].wrapping_add(1),
            };
        }
        refused += usize::from(to_onnx(&bytes, &BTreeMap::new()).is_err());
    }
    assert!(refused > 10_000, "{refused}");
}
