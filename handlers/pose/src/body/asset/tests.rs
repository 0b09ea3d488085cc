use std::collections::HashMap;

use darkroom_api::ErrorCode;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};

use super::*;

type Parts = HashMap<&'static str, (Dtype, Vec<usize>, Vec<u8>)>;

fn bytes<T, const N: usize>(values: &[T], to: impl Fn(&T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(to).collect()
}

/// Two bones, four vertices, two triangles.
fn parts() -> Parts {
    let f = |values: &[f32]| bytes(values, |x| x.to_le_bytes());
    let weights = [1.0, 0.0, 0.0, 0.0].repeat(4);
    HashMap::from([
        ("vertices", (Dtype::F32, vec![4, 3], f(&[0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0]))),
        ("triangles", (Dtype::U32, vec![2, 3], bytes(&[0u32, 1, 2, 0, 2, 3], |x| x.to_le_bytes()))),
        ("regions", (Dtype::U8, vec![4], vec![0, 1, 2, 0])),
        ("joints", (Dtype::F32, vec![2, 3], f(&[0.0, 0.0, 0.0, 0.0, 1.0, 0.0]))),
        ("tails", (Dtype::F32, vec![2, 3], f(&[0.0, 1.0, 0.0, 0.0, 2.0, 0.0]))),
        ("parents", (Dtype::I32, vec![2], bytes(&[-1i32, 0], |x| x.to_le_bytes()))),
        ("influences", (Dtype::U16, vec![4, 4], bytes(&[0u16, 1, 0, 0].repeat(4), |x| x.to_le_bytes()))),
        ("weights", (Dtype::F32, vec![4, 4], f(&weights))),
    ])
}

fn parse(parts: &Parts, bones: &str) -> Result<Body> {
    let view = |(dtype, shape, data): &'static (Dtype, Vec<usize>, Vec<u8>)| {
        TensorView::new(*dtype, shape.clone(), data).unwrap()
    };
    // Views borrow: what a test makes may live as long as the test.
    let parts: &'static Parts = Box::leak(Box::new(parts.clone()));
    let metadata = HashMap::from([("bones".to_owned(), bones.to_owned())]);
    Body::parse(&serialize(parts.iter().map(|(name, part)| (*name, view(part))), Some(metadata)).unwrap())
}

#[test]
fn a_whole_file_is_a_body() {
    let body = parse(&parts(), "a,b").unwrap();
    assert_eq!((body.bones().len(), body.vertices().len(), body.triangles()), (2, 4, &[[0, 1, 2], [0, 2, 3]][..]));
    assert_eq!(body.bones()[1].parent, Some(0));
    assert_eq!(body.regions()[1..3], [Region::Bare, Region::Eye]);
    assert_eq!(body.stretch, [Some(1), None], "the first bone ends where the second begins");
}

#[test]
fn a_hostile_file_is_refused_with_its_reason() {
    let f = |values: &[f32]| bytes(values, |x| x.to_le_bytes());
    let i = |values: &[i32]| bytes(values, |x| x.to_le_bytes());
    let heavy = [[0.5; 4], [1.0, 0.0, 0.0, 0.0], [2.0, -1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]].concat();
    let influences = bytes(&[2u16; 16], |x| x.to_le_bytes());
    let cases = [
        ("triangles", Dtype::U32, vec![1, 3], i(&[0, 1, 4]), "4 in `triangles`"),
        ("triangles", Dtype::I32, vec![1, 3], i(&[0, 1, -1]), "-1 in `triangles`"),
        ("triangles", Dtype::U32, vec![0, 3], vec![], "0 triangles"),
        ("vertices", Dtype::F32, vec![4, 3], f(&[f32::NAN; 12]), "NaN in `vertices`"),
        ("vertices", Dtype::F32, vec![12], f(&[0.0; 12]), "not of 2 axes"),
        ("joints", Dtype::F32, vec![2, 3], f(&[f32::INFINITY; 6]), "inf in `joints`"),
        ("parents", Dtype::I32, vec![2], i(&[-1, 1]), "parent of bone 1"),
        ("parents", Dtype::I32, vec![2], i(&[-1, -1]), "parent of bone 1"),
        ("influences", Dtype::U16, vec![4, 4], influences, "2 in `influences`"),
        ("weights", Dtype::F32, vec![4, 4], f(&heavy), "weights"),
    ];
    for (name, dtype, shape, data, why) in cases {
        let mut parts = parts();
        parts.insert(name, (dtype, shape, data));
        let error = parse(&parts, "a,b").unwrap_err();
        assert_eq!(error.code, ErrorCode::ModelInvalid);
        assert!(error.message.contains(why), "{name}: {}", error.message);
    }
    assert!(parse(&parts(), "a,a").unwrap_err().message.contains("one name"));
    assert!(parse(&parts(), "a,b,c").unwrap_err().message.contains("`joints`"));
    let mut short = parts();
    short.remove("regions");
    assert!(parse(&short, "a,b").unwrap_err().message.contains("no tensor `regions`"));
    assert_eq!(Body::parse(b"no file").unwrap_err().code, ErrorCode::ModelInvalid);
}
