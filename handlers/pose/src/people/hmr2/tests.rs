use darkroom_api::ErrorCode;
use darkroom_inference::Precision;
use darkroom_models::onnx::{Attribute, Dim, FLOAT, Graph, Node, Tensor, Value};

use super::*;
use crate::people::testing::{constants, node, rgb, with_own};
use crate::view::{Camera, Landmarks};

/// Of a picture with detail everywhere.
fn pattern(x: usize, y: usize, c: usize) -> u8 {
    ((x * 7 + y * 13 + c * 50) % 97 + (x / 40 + y / 30) % 2 * 120) as u8
}

/// 4D-Humans' formula, pixel for pixel: `expand_to_aspect_ratio`, `skimage.filters.gaussian` of the whole picture,
/// `cv2.warpAffine`, ImageNet's mean and spread.
fn published(size: [usize; 2], b: &Bounds, c: usize, u: usize, v: usize) -> f64 {
    let [w, h] = [f64::from(b.max.x - b.min.x), f64::from(b.max.y - b.min.y)];
    let (w, h) = if h / w < 256.0 / 192.0 { (w, (w * 256.0 / 192.0).max(h)) } else { ((h * 192.0 / 256.0).max(w), h) };
    let side = w.max(h);
    let centre = [(b.min.x + b.max.x) / 2.0, (b.min.y + b.max.y) / 2.0].map(f64::from);
    let factor = side / 256.0 / 2.0;
    let sigma = if factor > 1.1 { (factor - 1.0) / 2.0 } else { 0.0 };
    let radius = if sigma > 0.0 { (4.0 * sigma + 0.5) as i64 } else { 0 };
    let blurred = |x: i64, y: i64| {
        if x < 0 || y < 0 || x >= size[0] as i64 || y >= size[1] as i64 {
            return 0.0;
        }
        let (mut sum, mut total) = (0.0, 0.0);
        for (dx, dy) in (-radius..=radius).flat_map(|dy| (-radius..=radius).map(move |dx| (dx, dy))) {
            let weight = if radius == 0 { 1.0 } else { (-0.5 * (dx * dx + dy * dy) as f64 / sigma / sigma).exp() };
            let at = |i: i64, side: usize| i.clamp(0, side as i64 - 1) as usize;
            sum += weight * f64::from(pattern(at(x + dx, size[0]), at(y + dy, size[1]), c));
            total += weight;
        }
        sum / total
    };
    let at = |i: usize, centre: f64| (i as f64 - 128.0) * side / 256.0 + centre;
    let (x, y) = (at(u, centre[0]), at(v, centre[1]));
    let (left, top) = (x.floor() as i64, y.floor() as i64);
    let (fx, fy) = (x - x.floor(), y - y.floor());
    let upper = blurred(left, top) * (1.0 - fx) + blurred(left + 1, top) * fx;
    let lower = blurred(left, top + 1) * (1.0 - fx) + blurred(left + 1, top + 1) * fx;
    let value = upper * (1.0 - fy) + lower * fy;
    (value - 255.0 * f64::from(MEAN[c])) / (255.0 * f64::from(SPREAD[c]))
}

#[test]
fn crops_are_those_of_4d_humans() {
    let size = [1000, 1300];
    let frame = rgb(1000, 1300, pattern);
    // Blurred and out of the picture; a little; wide; much smaller than the network sees.
    for [x0, y0, x1, y1] in [
        [40.0, 20.5, 960.0, 1290.0],
        [100.0, 30.0, 400.0, 700.0],
        [10.0, 800.0, 490.0, 900.0],
        [500.0, 500.0, 520.0, 560.0],
    ] {
        let bounds = Bounds { min: Vec2::new(x0, y0), max: Vec2::new(x1, y1) };
        for width in [SIDE, SIDE - 2 * CUT] {
            let mut crop = vec![9.0; 3 * SIDE * width];
            Square::around(&bounds).crop(&mut Filter::default(), &frame, width, &mut crop).unwrap();
            let mut worst = 0.0_f64;
            for i in 0..2000 {
                let (c, u, v) = (i % 3, i * 37 % width, i * 101 % SIDE);
                let wanted = published(size, &bounds, c, u + (SIDE - width) / 2, v);
                worst = worst.max((f64::from(crop[(c * SIDE + v) * width + u]) - wanted).abs());
            }
            // A step of 8 bits is 0.017.
            assert!(worst < 2e-3, "{bounds:?} {width}: {worst}");
        }
    }
}

fn rotations() -> [Quat; SMPL_JOINTS] {
    std::array::from_fn(|i| Quat::from_scaled_axis(Vec3::new((i as f32).sin(), (i as f32 * 2.0).cos(), 0.3)))
}

fn tensor(name: &str, dims: &[usize], numbers: &[f32]) -> Tensor {
    Tensor::new(name.into(), dims, numbers)
}

fn by_rows(turns: &[Quat]) -> Vec<f32> {
    turns.iter().flat_map(|turn| Mat3::from_quat(*turn).transpose().to_cols_array()).collect()
}

const CAMERA: [f32; 3] = [0.9, 0.05, -0.1];

fn picture(width: i64) -> Vec<Value> {
    let dim = |value: i64| Dim { value: Some(value), name: None };
    let any = Dim { value: None, name: Some("n".into()) };
    vec![Value::tensor("image", FLOAT, Some(vec![any, dim(3), dim(256), dim(width)]))]
}

/// What 4D-Humans' module makes, and more that is of no use here.
fn outputs() -> Vec<Tensor> {
    let place = [CAMERA[1], CAMERA[2], 2.0 * FOCAL / (256.0 * CAMERA[0] + 1e-9)];
    vec![
        tensor("cam_t", &[1, 3], &place),
        tensor("cam", &[1, 3], &CAMERA),
        tensor("focal", &[1, 2], &[FOCAL; 2]),
        tensor("joints", &[1, 44, 3], &[0.0; 132]),
        tensor("others", &[1, 23, 3, 3], &by_rows(&rotations()[1..])),
        tensor("first", &[1, 1, 3, 3], &by_rows(&rotations()[..1])),
    ]
}

fn person(bounds: Bounds) -> Person {
    let landmarks = Landmarks { image: [Vec2::ZERO; 33], visibility: [1.0; 33], world: [Vec3::ZERO; 33], score: 0.9 };
    Person { bounds, landmarks }
}

#[test]
fn results_are_known_by_shape_in_any_order_and_the_camera_is_that_of_the_whole_picture() {
    let frame = rgb(1920, 1080, |_, _, _| 128);
    let bounds = Bounds { min: Vec2::new(1200.0, 200.0), max: Vec2::new(1400.0, 600.0) };
    for (turn, width) in [(0, 256), (2, 192), (5, 256)] {
        let mut tensors = outputs();
        tensors.rotate_left(turn);
        if turn == 2 {
            tensors.reverse();
        }
        let mut graph = constants(picture(width), &tensors);
        // Shapes as many times as the picture is bright: it went in as it should.
        graph.nodes.push(Node::new(
            "ReduceMean",
            "m".into(),
            vec!["image".into()],
            vec!["mean".into()],
            &[Attribute::int("keepdims", 0)],
        ));
        graph.nodes.push(node("Mul", &["mean", "amounts"], "shape"));
        let more =
            constants(vec![], &[tensor("amounts", &[1, 10], &[1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -3.0])]);
        graph.weights.extend(more.weights);
        graph.outputs.insert(turn, Value::any_floats("shape"));
        let (_dir, runtime) = with_own(graph);
        let mut model = Hmr2::new(runtime.session("pose/own", Precision::Full).unwrap()).unwrap();
        let told = model.look(&frame, &[person(bounds)]).unwrap().remove(0).smpl.unwrap();
        let off = told.rotations.iter().zip(rotations()).map(|(a, b)| a.angle_between(b)).fold(0.0, f32::max);
        assert!(off < 2e-3, "{off}");
        let mean = (0..3).map(|c| (128.0 / 255.0 - MEAN[c]) / SPREAD[c]).sum::<f32>() / 3.0;
        assert!(
            (told.betas[1] - 2.0 * mean).abs() < 1e-3 && (told.betas[9] + 3.0 * mean).abs() < 1e-3,
            "{:?}",
            told.betas
        );
        // `cam_crop_to_full` by hand: the box is 400 pixels, its middle (1300, 400).
        let focal = 5000.0 / 256.0 * 1920.0;
        let b = 400.0 * CAMERA[0];
        let wanted =
            Vec3::new(2.0 * (1300.0 - 960.0) / b + CAMERA[1], 2.0 * (400.0 - 540.0) / b + CAMERA[2], 2.0 * focal / b);
        let camera = Camera { focal_px: focal_px(1920, 1080) as f32, centre_px: Vec2::new(960.0, 540.0) };
        assert!(told.translation(&camera).distance(wanted) < 1e-3 * wanted.z, "{} {wanted}", told.translation(&camera));
    }
}

#[test]
fn every_form_of_rotations_is_the_same_pose() {
    let columns: Vec<f32> = rotations()
        .iter()
        .flat_map(|turn| {
            let m = Mat3::from_quat(*turn);
            // As the network gives them: neither of one length nor square to each other.
            [(m.x_axis * 2.0).to_array(), (m.y_axis * 0.5 + m.x_axis * 0.3).to_array()].concat()
        })
        .collect();
    let axes: Vec<f32> = rotations().iter().flat_map(|turn| turn.to_scaled_axis().to_array()).collect();
    let made = |dims: &[usize], numbers: Vec<f32>| Made {
        name: "x".into(),
        dims: dims.to_vec(),
        unread: None,
        whole: false,
        numbers,
    };
    let square = Square { centre: Vec2::splat(100.0), side: 100.0 };
    for turns in [
        made(&[1, 24, 3, 3], by_rows(&rotations())),
        made(&[1, 144], columns.clone()),
        made(&[1, 24, 6], columns),
        made(&[1, 72], axes),
    ] {
        let mut all = vec![made(&[1, 10], vec![0.0; 10]), turns, made(&[1, 3], CAMERA.to_vec())];
        let outputs = Outputs::of(&all).unwrap();
        let told = outputs.read(&all, &square).unwrap();
        let off = told.rotations.iter().zip(rotations()).map(|(a, b)| a.angle_between(b)).fold(0.0, f32::max);
        assert!(off < 2e-3, "{off}");
        // Numbers that are none, and a person behind the camera, are nobody.
        all[2].numbers[0] = -1.0;
        assert_eq!(outputs.read(&all, &square), None);
        all[2].numbers[0] = 1.0;
        all[1].numbers[5] = f32::NAN;
        assert_eq!(outputs.read(&all, &square), None);
    }
}

#[test]
fn another_model_is_refused_with_what_was_found() {
    let refusal = |graph: Graph| {
        let (_dir, runtime) = with_own(graph);
        let error = Hmr2::new(runtime.session("pose/own", Precision::Full).unwrap()).err().unwrap();
        assert_eq!(error.code, ErrorCode::ModelInvalid);
        error.message
    };
    let without =
        |name: &str| constants(picture(256), &outputs().into_iter().filter(|t| t.name != name).collect::<Vec<_>>());
    let message = refusal(without("others"));
    assert!(message.contains("turns 24 joints") && message.contains("told joints [1, 44, 3]"), "{message}");
    let message = refusal(constants(picture(224), &outputs()));
    assert!(
        message.contains("takes no picture of 1x3x256x256") && message.contains("image f32[?,3,256,224]"),
        "{message}"
    );
    let mut two = outputs();
    two.push(tensor("another", &[1, 3], &[1.0, 2.0, 3.0]));
    assert!(refusal(constants(picture(256), &two)).contains("several results may be the camera"));
}
