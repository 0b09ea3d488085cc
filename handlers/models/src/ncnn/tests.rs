use super::*;
use crate::onnx::{Model, Tensor};

/// Enlarges twice: a convolution in half precision to 12 channels, PReLU, pixel shuffle, and the nearest pixels added.
const PARAM: &str = "7767517
8 9
Input        in    0 1 data
Split        split 1 2 data a b
Convolution  conv  1 1 a c 0=12 1=1 5=1 6=36 9=2 -23310=1,2.000000e-01
PReLU        slope 1 1 c d 0=12
PixelShuffle up    1 1 d e 0=2
Interp       near  1 1 b f 0=1 1=2.000000e+00 2=2.000000e+00
BinaryOp     add   2 1 e f g 0=0
BinaryOp     half  1 1 g out 0=2 1=1 2=5.000000e-01
";

fn bin() -> Vec<u8> {
    let halves = (0u8..36).flat_map(|i| half::f16::from_f32(f32::from(i) / 8.0).to_le_bytes());
    let singles = (0u8..24).flat_map(|i| f32::from(i).to_le_bytes());
    0x0130_6b47_u32.to_le_bytes().into_iter().chain(halves).chain(singles).collect()
}

/// What a file computes, and its weights.
fn read(file: &[u8]) -> (crate::onnx::Graph, Vec<Tensor>) {
    let graph = Model::decode(file).unwrap().graph.unwrap();
    let weights = graph.weights.iter().map(|bytes| Tensor::decode(&bytes[..]).unwrap()).collect();
    (graph, weights)
}

fn convert(param: &str) -> Result<Vec<u8>, String> {
    to_onnx(param.as_bytes(), &bin())
}

#[test]
fn a_network_becomes_the_operations_of_its_layers() {
    let bytes = convert(PARAM).unwrap();
    assert_eq!(bytes, convert(PARAM).unwrap(), "the same bytes each time");
    let (graph, weights) = read(&bytes);
    let told: Vec<String> =
        graph.nodes.iter().map(|n| format!("{} = {} {}", n.outputs.join(" "), n.op_type, n.inputs.join(" "))).collect();
    assert_eq!(
        told,
        [
            "t0 = Conv input w0 w1",
            "t1 = LeakyRelu t0",
            "t2 = PRelu t1 w2",
            "t3 = DepthToSpace t2",
            "t4 = Resize input  w3",
            "t5 = Add t3 t4",
            "t6 = Mul t5 w4",
            "output = Clip t6 w5 w6",
        ]
    );
    let weights: Vec<(&[i64], &[u8])> = weights.iter().map(|w| (&w.dims[..], &w.raw[..])).collect();
    assert_eq!(weights[0].0, [12, 3, 1, 1]);
    assert_eq!(weights[0].1[35 * 4..], (35.0_f32 / 8.0).to_le_bytes());
    assert_eq!(
        weights[2],
        (&[12, 1, 1][..], &(12u8..24).flat_map(|i| f32::from(i).to_le_bytes()).collect::<Vec<_>>()[..])
    );
    assert_eq!(weights[4], (&[][..], &0.5_f32.to_le_bytes()[..]));
}

/// Joins two convolutions of the picture, and looks at single pixels of both.
const JOINED: &str = "7767517
6 8
Input        in    0 1 data
Split        split 1 2 data a b
Convolution  one   1 1 a c 0=1 1=1 6=3
Convolution  two   1 1 b d 0=2 1=1 6=6
Concat       join  2 1 d c e
Convolution  last  1 1 e out 0=3 1=1 5=1 6=9
";

#[test]
fn single_pixels_of_joined_channels_are_summed_up_part_by_part() {
    let tag = [0; 4];
    let numbers = |range: std::ops::Range<u8>| range.flat_map(|i| f32::from(i).to_le_bytes()).collect::<Vec<u8>>();
    let bin = [&tag[..], &numbers(0..3), &tag, &numbers(0..6), &tag, &numbers(0..9), &numbers(20..23)].concat();
    let (graph, weights) = read(&to_onnx(JOINED.as_bytes(), &bin).unwrap());
    let told: Vec<String> =
        graph.nodes.iter().map(|n| format!("{} = {} {}", n.outputs.join(" "), n.op_type, n.inputs.join(" "))).collect();
    assert_eq!(
        told,
        [
            "t0 = Conv input w0",
            "t1 = Conv input w1",
            // What was made first is used first, with its own columns of the weights.
            "t3 = Conv t0 w2 w3",
            "t4 = Conv t1 w4",
            "t5 = Add t4 t3",
            "output = Clip t5 w5 w6",
        ]
    );
    assert_eq!(weights[2].raw, [2.0_f32, 5.0, 8.0].map(f32::to_le_bytes).concat());
    assert_eq!(weights[4].raw, [0.0_f32, 1.0, 3.0, 4.0, 6.0, 7.0].map(f32::to_le_bytes).concat());
    assert_eq!(weights[3].raw, numbers(20..23));
}

/// A gate: the convolution, its sigmoid less `0.5`, and the product with the sum of convolution and picture.
const GATE: &str = "7767517
8 11
Input        in    0 1 data
Split        split 1 2 data a b
Convolution  conv  1 1 a c 0=3 1=1 5=1 6=9
Split        twice 1 2 c d e
Sigmoid      open  1 1 d f
BinaryOp     less  1 1 f g 0=1 1=1 2=5.000000e-01
BinaryOp     sum   2 1 e b h 0=0
BinaryOp     gate  2 1 h g out 0=2
";

#[test]
fn gates_become_what_is_computed_in_blocks() {
    let bin: Vec<u8> = [0; 4].into_iter().chain((0u8..12).flat_map(|i| f32::from(i).to_le_bytes())).collect();
    let told_of = |param: &str| -> Vec<String> {
        let (graph, weights) = read(&to_onnx(param.as_bytes(), &bin).unwrap());
        assert_eq!(weights[0].raw[32..36], (if param == GATE { 4.0_f32 } else { 8.0 }).to_le_bytes());
        graph.nodes.iter().map(|n| format!("{} = {} {}", n.outputs.join(" "), n.op_type, n.inputs.join(" "))).collect()
    };
    assert_eq!(
        told_of(GATE),
        [
            "t0 = Conv input w0 w1",
            "t1 = Tanh t0",
            "t2 = Conv input w5",
            "t3 = Add t0 t2",
            "t4 = Mul t3 t1",
            "output = Clip t4 w3 w4"
        ]
    );
    // What is added is made too late to be halved where the difference was.
    let late = GATE.replacen("8 11", "9 12", 1).replacen("data a b", "data a x", 1).replacen(
        "BinaryOp     sum ",
        "Sigmoid      late  1 1 x b\nBinaryOp     sum ",
        1,
    );
    assert_eq!(told_of(&late)[1..4], ["t1 = Sigmoid t0", "t2 = Sub t1 w2", "t3 = Sigmoid input"]);
    // Less another number it is none.
    assert_eq!(told_of(&GATE.replace("5.000000e-01", "4.000000e-01"))[1..3], ["t1 = Sigmoid t0", "t2 = Sub t1 w2"]);
}

/// As many convolutions of so many joined parts as are asked for.
fn crowd(parts: usize, convolutions: usize) -> (String, Vec<u8>) {
    let names = |kind: &str, count: usize| (0..count).map(|i| format!(" {kind}{i}")).collect::<String>();
    let mut lines = vec!["Input in 0 1 data".to_owned(), format!("Split split 1 {parts} data{}", names("a", parts))];
    lines.extend((0..parts).map(|i| format!("Sigmoid s{i} 1 1 a{i} b{i}")));
    lines.push(format!("Concat join {parts} 1{} c", names("b", parts)));
    lines.push(format!("Split all 1 {convolutions} c{}", names("d", convolutions)));
    let conv = |i| format!("Convolution conv{i} 1 1 d{i} e{i} 0=3 1=1 6={}", 9 * parts);
    lines.extend((0..convolutions).map(conv));
    lines.push("Concat last 2 1 e0 e1 f".into());
    let bin = vec![0; convolutions * (4 + 36 * parts)];
    (format!("7767517\n{} 1\n{}\n", lines.len(), lines.join("\n")), bin)
}

#[test]
fn a_short_text_does_not_become_a_graph_without_end() {
    let error = |(param, bin): (String, Vec<u8>)| to_onnx(param.as_bytes(), &bin).unwrap_err();
    assert!(error(crowd(64, 140)).contains("more than 16384 operations"));
    // Of more parts each is one convolution still.
    assert!(error(crowd(65, 140)).contains("not one picture of 3 channels comes out"));
}

#[test]
fn what_is_not_known_is_refused_by_its_name() {
    for (from, to, words) in [
        ("PReLU        slope 1 1 c d 0=12", "Softmax soft 1 1 c d", "Softmax `soft`: layers of this kind"),
        ("0=12 1=1 5=1", "0=12 1=1 8=2 5=1", "Convolution `conv`: `Convolution` has a value that is not known, `8=2`"),
        ("9=2", "9=3", "an activation of kind 3"),
        ("Interp       near  1 1 b f 0=1", "Interp       near  1 1 b f 0=7", "a resize of kind 7"),
        ("6=36", "6=37", "37 weights do not fit 3 channels in and 12 out"),
        ("up    1 1 d e 0=2", "up    1 1 d e 0=3", "12 channels do not make"),
        ("split 1 2 data a b", "split 1 2 data a a", "two `a`"),
        ("add   2 1 e f g", "add   2 1 e e g", "no `e` to read"),
        ("half  1 1 g out 0=2", "half  1 1 g out 0=9", "an operation of kind 9"),
        ("1=2.000000e+00", "1=nan", "`nan` is not finite"),
        ("1=2.000000e+00", "1=1e9", "out of range"),
        ("8 9", "9 9", "8 layers and announces 9"),
        ("8 9", "8 9\nInput more 0 1 more", "9 layers and announces 8"),
        ("Input        in    0 1 data", "Input in 0 99999999999 data", "fewer blobs than announced"),
        ("7767517", "7767518", "does not begin with"),
        ("0=12 1=1", "0=999999999 1=1", "more than"),
    ] {
        let error = convert(&PARAM.replacen(from, to, 1)).unwrap_err();
        assert!(error.contains(words), "{to}: {error}");
    }
    let unread = PARAM.replacen("8 9", "9 10", 1) + "Split more 1 2 out x y\n";
    assert!(convert(&unread).unwrap_err().contains("x (3 channels), y (3 channels)"));
}

#[test]
fn weights_that_do_not_fit_the_text_are_refused() {
    let bin = bin();
    let error = |bin: &[u8]| to_onnx(PARAM.as_bytes(), bin).unwrap_err();
    assert!(error(&[&bin[..], &[0; 4]].concat()).contains("4 bytes of weights are left over"));
    assert!(error(&[&[0x4b, 0x38, 0x0d, 0], &bin[4..]].concat()).contains("tag 0x000d384b"));
    for length in 0..bin.len() {
        assert!(error(&bin[..length]).contains("end too early"));
    }
}

/// Neither a panic nor memory for what is not there, whatever the bytes.
#[test]
fn damaged_texts_are_refused_or_converted() {
    let mut state = 1_u32;
    let mut random = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    let mut refused = 0;
    for _ in 0..20_000 {
        let mut text = PARAM.as_bytes().to_vec();
        for _ in 0..=random(3) {
            let at = random(text.len());
            match random(3) {
                0 => text[at] = b"0123456789-=, \nab."[random(18)],
                1 => drop(text.remove(at)),
                _ => text.insert(at, b'9'),
            }
        }
        refused += usize::from(to_onnx(&text, &bin()).is_err());
    }
    assert!(refused > 10_000, "{refused}");
}
