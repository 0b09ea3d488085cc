use darkroom_api::ErrorCode;
use darkroom_inference::Precision;
use darkroom_models::onnx::{Dim, FLOAT, Graph, Tensor, Value};

use super::*;
use crate::people::testing::{constants, node, rgb, with_own};

fn joints(axes: usize) -> Vec<f32> {
    (0..POINTS * axes).map(|i| (i as f32 * 0.37).sin()).collect()
}

fn inputs() -> Vec<Value> {
    let dims = |sides: &[i64]| Some(sides.iter().map(|side| Dim { value: Some(*side), name: None }).collect());
    // The other way round than its authors have them.
    let place = Value::tensor("a", FLOAT, dims(&[1, 3]));
    vec![place, Value::tensor("b", FLOAT, dims(&[1, 3, 224, 224]))]
}

/// Its results in another order; points in space are multiplied by where the box is.
fn model() -> Graph {
    let tensor = |name: &str, dims: &[usize], numbers: &[f32]| Tensor::new(name.into(), dims, numbers);
    let kept = [
        tensor("space", &[1, POINTS, 3], &joints(3)),
        tensor("flat", &[1, POINTS, 2], &joints(2)),
        tensor("pose", &[1, 204], &[0.0; 204]),
        tensor("place", &[1, 3], &[0.0, 0.0, 5.0]),
    ];
    let mut graph = constants(inputs(), &kept);
    graph.nodes[0] = node("Mul", &["space", "a"], "told space");
    graph
}

fn found() -> Landmarks {
    let visibility = std::array::from_fn(|i| i as f32 / 33.0);
    Landmarks { image: [Vec2::ZERO; 33], visibility, world: [Vec3::ZERO; 33], score: 0.93 }
}

#[test]
fn points_are_put_where_they_are_in_the_picture() {
    let (_dir, runtime) = with_own(model());
    let mut model = InstantHmr::new(runtime.session("pose/own", Precision::Full).unwrap()).unwrap();
    let frame = rgb(1280, 720, |x, _, _| x as u8);
    let bounds = Bounds { min: Vec2::new(100.0, 50.0), max: Vec2::new(300.0, 650.0) };
    let told = model.look(&frame, &[Person { bounds, landmarks: found() }]).unwrap().remove(0).landmarks;
    assert_eq!((told.score, told.visibility), (0.93, found().visibility));
    // A square of 1.2 x 600 around (200, 350); the wrist of the right hand is point 41.
    let (flat, space) = (joints(2), joints(3));
    let wanted = Vec2::new(200.0 - 360.0, 350.0 - 360.0) + (Vec2::new(flat[82], flat[83]) + 1.0) / 2.0 * 720.0;
    assert!(told.image[16].distance(wanted) < 1e-2, "{} {wanted}", told.image[16]);
    let place = Vec3::new(2.0 * 200.0 / 1280.0 - 1.0, 2.0 * 350.0 / 720.0 - 1.0, 600.0 / 1280.0);
    let point = |i: usize| Vec3::from_slice(&space[3 * i..]) * place;
    let wanted = point(41) - (point(9) + point(10)) / 2.0;
    assert!(told.world[16].distance(wanted) < 1e-5, "{} {wanted}", told.world[16]);
    assert!(((told.world[23] + told.world[24]) / 2.0).length() < 1e-6, "from the middle of the hips");
}

#[test]
fn crops_are_whole_pixels_made_to_fit() {
    let value = |x: usize, y: usize| ((x * 3 + y * 5) % 200 + 20) as u8;
    let frame = rgb(640, 480, |x, y, _| value(x, y));
    let bounds = Bounds { min: Vec2::new(-30.0, 100.3), max: Vec2::new(200.0, 470.0) };
    let square = Square::around(&bounds, &frame);
    let mut crop = vec![0.0; 3 * SIDE * SIDE];
    square.crop(&mut Filter::default(), &frame, &mut crop).unwrap();
    let side = 1.2 * 369.7_f64;
    let (x0, y0) = (85.0 - side / 2.0, 285.15 - side / 2.0);
    let (left, top, right, bottom) = (x0.floor(), y0.floor(), (x0 + side).ceil(), (y0 + side).ceil());
    for i in 0..500 {
        let (u, v) = (i * 37 % SIDE, i * 91 % SIDE);
        // cv2.resize of the padded patch, between the middles of pixels.
        let at = |i: usize, first: f64, end: f64| first + (i as f64 + 0.5) * (end - first) / 224.0 - 0.5;
        let (x, y) = (at(u, left, right), at(v, top, bottom));
        let pixel = |x: f64, y: f64| {
            let inside = x >= 0.0 && y >= 0.0 && x < 640.0 && y < 480.0;
            if inside { f64::from(value(x as usize, y as usize)) / 255.0 } else { 0.0 }
        };
        let (fx, fy) = (x - x.floor(), y - y.floor());
        let line = |y: f64| pixel(x.floor(), y) * (1.0 - fx) + pixel(x.floor() + 1.0, y) * fx;
        let grey = line(y.floor()) * (1.0 - fy) + line(y.floor() + 1.0) * fy;
        let wanted = (grey - f64::from(MEAN[1])) / f64::from(SPREAD[1]);
        let got = f64::from(crop[(SIDE + v) * SIDE + u]);
        assert!((got - wanted).abs() < 2e-3, "{u} {v}: {got} {wanted}");
    }
}

#[test]
fn another_model_is_refused_with_what_was_found() {
    let mut graph = model();
    graph.outputs.remove(1);
    let (_dir, runtime) = with_own(graph);
    let error = InstantHmr::new(runtime.session("pose/own", Precision::Full).unwrap()).err().unwrap();
    assert_eq!(error.code, ErrorCode::ModelInvalid);
    assert!(error.message.contains("[1,70,2]") && error.message.contains("told pose [1, 204]"), "{}", error.message);
}
