use darkroom_api::ErrorCode;
use darkroom_inference::Precision;
use darkroom_models::onnx::{Dim, FLOAT, Tensor, Value};

use super::*;
use crate::people::Detector;
use crate::people::testing::{constants, detector, frames, landmarks, rgb, runtime, with_own};

/// `TensorProto.DataType.INT32`.
const INT32: i32 = 6;

fn own(element: i32, dims: [usize; 4], points: &[f32]) -> (tempfile::TempDir, darkroom_inference::Runtime) {
    let sides = [1, 192, 192, 3].map(|side| Dim { value: Some(side), name: None });
    with_own(constants(
        vec![Value::tensor("input", element, Some(sides.into()))],
        &[Tensor::new("x".into(), &dims, points)],
    ))
}

#[test]
fn moves_are_those_that_blazepose_sees() {
    let frame = frames("pose2sim_SinglePerson_cam01.mp4", 1).remove(0);
    let mut movenet = MoveNet::new(runtime().session("pose/movenet-lightning", Precision::Full).unwrap()).unwrap();
    let region = detector().detect(&frame).unwrap()[0].regions[0];
    let region = landmarks().estimate(&frame, &[region]).unwrap()[0].next;
    let known = landmarks().estimate(&frame, &[region]).unwrap().remove(0).landmarks;
    let first = movenet.estimate(&frame, &[region]).unwrap().remove(0);
    let told = movenet.estimate(&frame, &[first.next]).unwrap().remove(0);
    let height = box_height(&known);
    let mut off: Vec<f32> =
        IN_BLAZEPOSE[BODY].iter().map(|i| known.image[*i].distance(told.landmarks.image[*i]) / height).collect();
    off.sort_by(f32::total_cmp);
    println!("off by {off:.3?}, score {}", told.landmarks.score);
    assert!(off[6] < 0.03 && off[11] < 0.08, "{off:?}");
    assert!(told.landmarks.score > 0.9 && told.landmarks.world[0].is_nan() && told.landmarks.visibility[29] == 0.0);
    assert!((told.next.centre - first.next.centre).length() < 0.1 * region.side, "it stays with the person");
    // Beside the person there is nobody.
    let beside = Roi { centre: region.centre + Vec2::new(-0.9 * region.side, 0.0), ..region };
    let nobody = movenet.estimate(&frame, &[beside]).unwrap().remove(0).landmarks.score;
    assert!(nobody < 0.5, "{nobody}");
}

fn box_height(landmarks: &Landmarks) -> f32 {
    Bounds::around(landmarks.image).unwrap().size().y
}

#[test]
fn files_of_users_tell_their_points_themselves() {
    // Row, column, sureness; the hips are 11 and 12, the shoulders 5 and 6.
    let mut points = [[0.5, 0.5, 0.9]; POINTS];
    for (point, row) in [(5, 0.3), (6, 0.3), (11, 0.6), (12, 0.6), (16, 0.95)] {
        points[point] = [row, 0.25, 0.8];
    }
    points[0] = [f32::NAN, 0.0, 1.0];
    let frame = rgb(400, 300, |x, y, _| (x + y) as u8);
    let region = Roi { centre: Vec2::new(200.0, 150.0), side: 200.0, angle: 0.0 };
    for element in [INT32, FLOAT] {
        let (_dir, runtime) = own(element, [1, 1, POINTS, 3], points.as_flattened());
        let mut model = MoveNet::new(runtime.session("pose/own", Precision::Full).unwrap()).unwrap();
        let told = model.estimate(&frame, &[region]).unwrap().remove(0);
        // The left shoulder is BlazePose's 11, the right ankle its 28, and its toes stand in where MoveNet has none.
        assert!(told.landmarks.image[11].distance(Vec2::new(150.0, 110.0)) < 1e-3);
        assert!(told.landmarks.image[28].distance(Vec2::new(150.0, 240.0)) < 1e-3);
        assert_eq!(told.landmarks.image[32], told.landmarks.image[28]);
        assert_eq!(
            (told.landmarks.visibility[28], told.landmarks.visibility[32], told.landmarks.visibility[0]),
            (0.8, 0.0, 0.0)
        );
        assert!(told.landmarks.score > 0.9);
        // 1.9 torsos about the hips, which is more than 1.2 times the way to the ankle.
        assert!(
            (told.next.side - 2.0 * 1.9 * 60.0).abs() < 1e-2
                && told.next.centre.distance(Vec2::new(150.0, 170.0)) < 1e-3
        );
    }
    let (_dir, runtime) = own(FLOAT, [1, 6, 56, 1], &[0.0; 336]);
    let error = MoveNet::new(runtime.session("pose/own", Precision::Full).unwrap()).err().unwrap();
    assert_eq!(error.code, ErrorCode::ModelInvalid);
    assert!(error.message.contains("told x [1, 6, 56, 1]"), "{}", error.message);
}
