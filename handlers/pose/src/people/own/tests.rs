use darkroom_api::ErrorCode;
use darkroom_inference::{Precision, Runtime};
use darkroom_models::onnx::{Dim, FLOAT, Graph, INT64, Tensor, Value};

use super::*;
use crate::people::testing::{constants, node, rgb, with_own};

fn input(dims: &[i64]) -> Vec<Value> {
    let dims = dims.iter().map(|side| Dim { value: Some(*side), name: None }).collect();
    vec![Value::tensor("images", FLOAT, Some(dims))]
}

fn floats(name: &str, dims: &[usize], numbers: &[f32]) -> Tensor {
    Tensor::new(name.into(), dims, numbers)
}

fn ints(name: &str, dims: &[i64], numbers: &[i64]) -> Tensor {
    let raw = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    Tensor { dims: dims.to_vec(), data_type: INT64, name: name.into(), raw }
}

/// What a model tells of a frame of 256x128, which is half as large in its picture of 128x128 (or 128x64).
fn detect(runtime: &Runtime) -> Vec<(f32, Bounds)> {
    let mut detector = OwnDetector::new(runtime.session("pose/own", Precision::Full).unwrap()).unwrap();
    let found = detector.detect(&rgb(256, 128, |_, _, c| [200, 100, 50][c])).unwrap();
    assert!(found.iter().all(|candidate| candidate.regions.len() == 4));
    found.into_iter().map(|candidate| (candidate.score, candidate.bounds)).collect()
}

fn near(found: &(f32, Bounds), score: f32, corners: [f32; 4]) -> bool {
    let Bounds { min, max } = found.1;
    let off = (min - Vec2::new(corners[0], corners[1])).abs().max((max - Vec2::new(corners[2], corners[3])).abs());
    (found.0 - score).abs() < 1e-4 && off.max_element() < 1e-2
}

#[test]
fn yolox_is_read_raw_and_in_pixels() {
    // 16x16, 8x8 and 4x4 cells, 2 classes.
    let cells = 256 + 64 + 16;
    let row = |raw: bool| {
        let mut numbers = vec![0.0; cells * 7];
        for (cell, (at, stride)) in grid(128, 128).enumerate() {
            let middle = if raw { Vec2::splat(0.5) } else { (at + 0.5) * stride };
            numbers[cell * 7..cell * 7 + 2].copy_from_slice(&middle.to_array());
        }
        // The cell in the third row and fifth column of the second layer: a person of 32 x 48, twice, and a dog.
        for (cell, class) in [(256 + 2 * 8 + 4, 5), (256 + 2 * 8 + 5, 5), (256 + 5 * 8 + 1, 6)] {
            let size = [32.0_f32, 48.0].map(|side| if raw { (side / 16.0).ln() } else { side });
            numbers[cell * 7 + 2..cell * 7 + 4].copy_from_slice(&size);
            numbers[cell * 7 + 4] = if cell % 8 == 4 { 0.9 } else { 0.7 };
            numbers[cell * 7 + class] = 0.8;
        }
        numbers
    };
    for raw in [true, false] {
        let graph = constants(input(&[1, 3, 128, 128]), &[floats("x", &[1, cells, 7], &row(raw))]);
        let (_dir, runtime) = with_own(graph);
        let found = detect(&runtime);
        // The middle is (72, 40) in the picture; the neighbour's box shares half and goes.
        assert!(near(&found[0], 0.72, [112.0, 32.0, 176.0, 128.0]), "{raw} {found:?}");
        assert!(found.len() <= 2 && found.iter().all(|(_, b)| b.centre().y < 100.0), "no dogs: {found:?}");
    }
}

#[test]
fn rtmdet_and_detectron_are_known_in_any_order_and_only_people_are_taken() {
    let boxes = [
        [10.0, 5.0, 30.0, 60.0, 0.9],
        [50.0, 0.0, 90.0, 64.0, 0.6],
        [20.0, 0.0, 40.0, 40.0, 0.95],
        [0.0, 0.0, 9.0, 9.0, 0.1],
    ];
    let classes = [0, 0, 16, 0];
    let wanted = [[20.0, 10.0, 60.0, 120.0], [100.0, 0.0, 180.0, 128.0]];
    let rtmdet = [floats("dets", &[1, 4, 5], boxes.as_flattened()), ints("labels", &[1, 4], &classes)];
    let corners: Vec<f32> = boxes.iter().flat_map(|row| row[..4].to_vec()).collect();
    let scores: Vec<f32> = boxes.iter().map(|row| row[4]).collect();
    let apart = [
        ints("classes", &[4], &classes),
        floats("scores", &[4], &scores),
        floats("boxes", &[4, 4], &corners),
        ints("size", &[2], &[128, 128]),
    ];
    let models = [
        constants(input(&[1, 3, 128, 128]), &rtmdet),
        constants(input(&[1, 3, 128, 128]), &[rtmdet[1].clone(), rtmdet[0].clone()]),
        constants(input(&[3, 128, 128]), &apart),
        constants(input(&[1, 3, 64, 128]), &[apart[2].clone(), apart[0].clone(), apart[1].clone()]),
    ];
    for graph in models {
        let (_dir, runtime) = with_own(graph);
        let found = detect(&runtime);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(near(&found[0], 0.9, wanted[0]) && near(&found[1], 0.6, wanted[1]), "{found:?}");
    }
}

#[test]
fn pictures_go_in_as_in_training() {
    let boxes = floats("boxes", &[1, 1, 5], &[0.0; 5]);
    let rtmdet = [boxes, ints("labels", &[1, 1], &[0])];
    let apart = [floats("boxes", &[1, 4], &[0.0; 4]), floats("scores", &[1], &[0.0]), ints("classes", &[1], &[0])];
    for (outputs, normal) in [(&rtmdet[..], true), (&apart[..], false)] {
        let (_dir, runtime) = with_own(constants(input(&[1, 3, 128, 128]), outputs));
        let mut detector = OwnDetector::new(runtime.session("pose/own", Precision::Full).unwrap()).unwrap();
        detector.detect(&rgb(256, 128, |_, _, c| [200, 100, 50][c])).unwrap();
        let picture = &detector.letterbox.picture;
        // Blue first; the frame is the upper half; below it is grey.
        for (at, channel, value) in
            [(0, 0, 50.0), (2 * 16384 + 63 * 128, 2, 200.0), (64 * 128, 0, 114.0), (2 * 16384 - 1, 1, 114.0)]
        {
            let wanted = if normal { (value - MEAN[channel]) / SPREAD[channel] } else { value };
            assert!((picture[at] - wanted).abs() < 0.01, "{normal} {at}: {} {wanted}", picture[at]);
        }
    }
}

#[test]
fn another_model_is_refused_with_what_was_found() {
    let refusal = |graph: Graph| {
        let (_dir, runtime) = with_own(graph);
        let error = OwnDetector::new(runtime.session("pose/own", Precision::Full).unwrap()).err().unwrap();
        assert_eq!(error.code, ErrorCode::ModelInvalid);
        error.message
    };
    let message = refusal(constants(input(&[1, 3, 128, 128]), &[floats("x", &[1, 100, 7], &[0.0; 700])]));
    assert!(message.contains("YOLOX [1,n,5+classes]") && message.contains("told x [1, 100, 7]"), "{message}");
    let message = refusal(constants(input(&[1, 1, 128, 128]), &[floats("x", &[1, 4], &[0.0; 4])]));
    assert!(message.contains("images f32[1,1,128,128]"), "{message}");
}

#[test]
fn a_result_of_another_shape_than_tried_tells_nobody() {
    let made = |dims: &[usize]| {
        let numbers = vec![0.9; dims.iter().product()];
        vec![Made { name: "x".into(), dims: dims.to_vec(), unread: None, whole: false, numbers }]
    };
    for raw in [true, false] {
        let outputs = Outputs::Cells { result: 0, raw };
        for dims in [&[][..], &[1, 336, 0], &[1, 336, 1], &[1, 336, 5], &[5]] {
            assert_eq!(outputs.people(&made(dims), 128, 128), [], "{dims:?}");
        }
    }
    assert_eq!(Outputs::Cells { result: 3, raw: true }.people(&made(&[1, 2, 7]), 128, 128), []);
}

#[test]
fn a_model_that_cannot_be_run_is_refused_with_what_was_found() {
    // What it is to make of a picture of any size has room for none that is given.
    let any = [Some(1), Some(3), None, None].map(|value| Dim { value, name: None }).to_vec();
    let images = vec![Value::tensor("images", FLOAT, Some(any))];
    let reshape = vec![node("Reshape", &["images", "shape"], "told")];
    let told = vec![Value::tensor("told", FLOAT, None)];
    let graph = Graph::new("tiny", reshape, &[ints("shape", &[3], &[1, 99, 7])], images, told);
    let (_dir, runtime) = with_own(graph);
    match runtime.session("pose/own", Precision::Full).map(OwnDetector::new) {
        Ok(Err(error)) => {
            assert_eq!(error.code, ErrorCode::ModelInvalid);
            assert!(error.message.contains("images f32[1,3,?,?]") && error.message.contains("grey"), "{error}");
        }
        Ok(Ok(_)) => panic!("it runs"),
        Err(error) => panic!("refused before it is tried: {error}"),
    }
}
