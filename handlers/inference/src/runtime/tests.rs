use std::collections::BTreeMap;
use std::path::Path;

use darkroom_models::{Manifest, RegistryConfig};
use ort::value::Tensor;

use super::*;
use crate::{retry_halving, signature};

/// The user's models of these tests, over the cache of this machine; the library is fetched where it is missing.
fn options(custom: &[(&str, &Path)]) -> RuntimeOptions {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let fixed = ["double", "fill"].map(|name| (format!("test/{name}"), fixtures.join(name).with_extension("onnx")));
    let custom = custom.iter().map(|(name, path)| ((*name).to_owned(), (*path).to_owned())).chain(fixed).collect();
    let registry = RegistryConfig { custom, ..RegistryConfig::default() }.open().unwrap();
    registry.fetch(LIBRARY, &mut |_| ()).unwrap();
    RuntimeOptions { device: DeviceChoice::Fixed(Device::Cpu), ..RuntimeOptions::new(Arc::new(registry)) }
}

fn double(session: &mut PooledSession<'_>, values: Vec<f32>) -> Result<Vec<f32>> {
    let x = Tensor::from_array(([values.len()], values)).unwrap();
    session.call(|s| Ok(s.run(ort::inputs!["x" => &x])?["y"].try_extract_tensor::<f32>()?.1.to_vec()))
}

#[test]
fn a_session_runs_and_comes_back_warm() {
    let runtime = Runtime::new(options(&[]));
    let mut session = runtime.session("test/double", Precision::Full).unwrap();
    assert_eq!(signature(&session), "inputs x f32[?]; outputs y f32[?]");
    assert_eq!(double(&mut session, vec![1.0, 2.5]).unwrap(), [2.0, 5.0]);
    let (first, sha256) = (session.inner(), session.sha256().to_owned());
    drop(session);
    assert_eq!(runtime.idle_sessions(), 1);

    let again = runtime.session("test/double", Precision::Full).unwrap();
    assert!(Arc::ptr_eq(&first, &again.inner()), "the warm one");
    assert_eq!((again.sha256(), again.device()), (sha256.as_str(), Device::Cpu));
    let second = runtime.session("test/double", Precision::Full).unwrap();
    assert!(!Arc::ptr_eq(&first, &second.inner()), "one session, one user");
    let others = (0..12).map(|_| runtime.session("test/fill", Precision::Full).unwrap());
    let others: Vec<_> = others.collect();
    drop((again, second, others));
    assert_eq!(runtime.idle_sessions(), 12, "the pool keeps no more");
}

/// Gives the sum another name.
fn rename_the_sum(graph: &mut crate::Graph) -> bool {
    let reads_x = graph.producer("y").is_some_and(|node| node.op_type == "Add" && node.inputs[0] == "x");
    reads_x && graph.readers("x").count() == 1 && graph.replace_outputs(&[("y", "y", "z")])
}

#[test]
fn an_edit_is_made_where_it_fits_and_has_sessions_of_its_own() {
    let runtime = Runtime::new(options(&[]));
    let edit = Edit { name: "rename", threads: Some(1), apply: &rename_the_sum };
    let edited = runtime.edited_session("test/double", Precision::Full, edit).unwrap().unwrap();
    assert_eq!(signature(&edited), "inputs x f32[?]; outputs z f32[?]", "the output has a new name");
    drop(edited);
    let whole = runtime.session("test/double", Precision::Full).unwrap();
    assert_eq!(signature(&whole), "inputs x f32[?]; outputs y f32[?]", "a session of the whole model is another one");

    let no_output = |graph: &mut crate::Graph| graph.replace_outputs(&[("nobody", "y", "z")]);
    let misfit = Edit { name: "misfit", apply: &no_output, ..edit };
    assert!(runtime.edited_session("test/double", Precision::Full, misfit).unwrap().is_none());
    assert_eq!(crate::graph::edited(b"no model", edit), None);
}

#[test]
fn memory_that_is_not_there_halves_the_batch() {
    let runtime = Runtime::new(options(&[]));
    let mut session = runtime.session("test/fill", Precision::Full).unwrap();
    // Beyond the address space, so that no overcommit can promise it.
    let mut run = |batch: usize| {
        let elements = if batch > 2 { 1_i64 << 46 } else { batch as i64 };
        let shape = Tensor::from_array(([1_usize], vec![elements])).unwrap();
        session.call(|s| Ok(s.run(ort::inputs!["shape" => &shape])?["filled"].try_extract_tensor::<f32>()?.1.len()))
    };
    assert_eq!(run(8).unwrap_err().code, ErrorCode::OutOfMemory);
    let mut batch = 8;
    assert_eq!(retry_halving(&mut batch, run).unwrap(), 2);
    assert_eq!(batch, 2);
}

#[test]
fn files_that_are_no_model_and_inputs_that_do_not_fit_are_refused() {
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let runtime = Runtime::new(options(&[("test/text", &text)]));
    let error = runtime.session("test/text", Precision::Full).unwrap_err();
    assert_eq!(error.code, ErrorCode::ModelInvalid);
    assert!(error.message.contains("`test/text`"), "{}", error.message);

    let mut session = runtime.session("test/double", Precision::Full).unwrap();
    let wrong = Tensor::from_array(([1_usize, 1], vec![1.0_f32])).unwrap();
    let error = session.call(|s| s.run(ort::inputs!["x" => &wrong]).map(|_| ())).unwrap_err();
    assert_eq!(error.code, ErrorCode::ModelInvalid);
    assert!(error.detail.unwrap()["onnxruntime"].as_str().unwrap().contains("rank"));
    assert_eq!(runtime.session("test/nobody", Precision::Full).unwrap_err().code, ErrorCode::ModelMissing);
}

#[test]
fn without_the_library_the_command_is_named() {
    // The environment is shared by the process, so this asks the registry as `environment` would.
    let empty = Registry::new(Manifest::builtin().unwrap(), "/nonexistent/darkroom".into(), BTreeMap::new());
    let error = empty.resolve(LIBRARY).unwrap_err();
    assert_eq!(error.code, ErrorCode::RuntimeMissing);
    assert!(error.message.contains("`darkroom models fetch onnxruntime`"), "{}", error.message);
}

#[test]
fn devices_that_the_library_lacks_are_refused_and_auto_goes_on_without() {
    let with = |device| Runtime::new(RuntimeOptions { device, ..options(&[]) });
    let error = with(DeviceChoice::Fixed(Device::Cuda { index: 0 })).device().unwrap_err();
    assert_eq!(error.code, ErrorCode::RuntimeMissing);
    assert!(error.message.contains("cuda:0") && error.message.contains("`cpu`"), "{}", error.message);
    assert_eq!(with(DeviceChoice::Auto).device().unwrap(), Device::Cpu);
}

#[test]
fn threads_are_those_of_the_options_first() {
    let threads = NonZero::new(3);
    let runtime = Runtime::new(RuntimeOptions { intra_threads: threads, ..options(&[]) });
    assert_eq!(runtime.intra_threads(), 3);
    assert!(Runtime::new(options(&[])).intra_threads() >= 1);
    for (list, threads) in [("3", Some(3)), (" 2 , 4", Some(2)), ("0", None), ("", None), ("many", None)] {
        assert_eq!(omp_threads(list).map(NonZero::get), threads, "{list:?}");
    }
}

#[test]
fn convolutions_computed_in_our_own_way_are_the_same_convolutions() {
    use darkroom_models::onnx::{self, Attribute, Dim, FLOAT, Model, Node, Opset, Tensor as Weight, Value};
    use prost::Message;
    let numbers = |count: usize| (0..count).map(|i| ((i * 37 % 101) as f32 - 50.0) / 100.0).collect::<Vec<f32>>();
    let weight = |name: &str, dims: &[i64]| {
        let count = usize::try_from(dims.iter().product::<i64>()).unwrap();
        let raw = numbers(count).iter().flat_map(|x| x.to_le_bytes()).collect();
        Weight { dims: dims.to_vec(), data_type: FLOAT, name: name.into(), raw }.encode_to_vec()
    };
    let halves = [0.5_f32; 8].iter().flat_map(|x| x.to_le_bytes()).collect();
    let halves = Weight { dims: vec![8, 1, 1, 1], data_type: FLOAT, name: "halves".into(), raw: halves };
    let node = |kind: &str, inputs: &[&str], output: &str, settings: &[Attribute]| Node {
        op_type: kind.into(),
        inputs: inputs.iter().map(|name| (*name).to_owned()).collect(),
        outputs: vec![output.into()],
        attributes: settings.iter().map(Message::encode_to_vec).collect(),
        ..Node::default()
    };
    let border = [Attribute::ints("pads", &[1; 4])];
    let any = |name: &str| Dim { value: None, name: Some(name.into()) };
    let fixed = |value: i64| Dim { value: Some(value), name: None };
    let picture = vec![any("n"), Dim { value: Some(8), name: None }, any("h"), any("w")];
    let graph = onnx::Graph {
        nodes: vec![
            node("Conv", &["x", "a", "bias"], "p", &border),
            node("LeakyRelu", &["p"], "bent", &[Attribute::float("alpha", 0.2)]),
            node("Conv", &["bent", "b", "bias8"], "q", &border),
            node("PRelu", &["q", "slopes"], "r", &[]),
            node("Conv", &["r", "a", "bias"], "s", &border),
            node("Sigmoid", &["s"], "open", &[]),
            node("Mul", &["s", "open"], "t", &[]),
            node("Conv", &["t", "b", "bias8"], "u", &border),
            node("Relu", &["u"], "v", &[]),
            // A gate: (w + r / 2) tanh(w).
            node("Conv", &["v", "d", "bias8"], "w", &border),
            node("Tanh", &["w"], "tanh", &[]),
            node(
                "Conv",
                &["r", "halves"],
                "half",
                &[Attribute::int("group", 8), Attribute::ints("kernel_shape", &[1, 1])],
            ),
            node("Add", &["w", "half"], "sum", &[]),
            node("Mul", &["sum", "tanh"], "gated", &[]),
            // Without a border: it stays.
            node("Conv", &["gated", "c"], "y", &[]),
        ],
        name: Some("convolutions".into()),
        weights: vec![
            weight("a", &[12, 8, 3, 3]),
            weight("bias", &[12]),
            weight("b", &[8, 12, 3, 3]),
            weight("bias8", &[8]),
            weight("c", &[1, 8, 3, 3]),
            weight("d", &[8, 8, 3, 3]),
            weight("slopes", &[8, 1, 1]),
            halves.encode_to_vec(),
        ],
        // Older files list weights as inputs too.
        inputs: vec![
            Value::tensor("x", FLOAT, Some(picture)),
            Value::tensor("a", FLOAT, Some([12, 8, 3, 3].map(fixed).into())),
        ],
        outputs: vec![Value::tensor("y", FLOAT, Some(vec![any("n"), fixed(1), any("H"), any("W")]))],
        ..onnx::Graph::default()
    };
    let model = Model {
        ir_version: Some(8),
        graph: Some(graph),
        opset_import: vec![Opset { version: 17, ..Opset::default() }.encode_to_vec()],
        ..Model::default()
    };
    let dir = std::env::temp_dir().join(format!("darkroom-convolutions-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("model.onnx");
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    let runtime = Runtime::new(options(&[("test/convolutions", &path)]));
    let all = ["p", "bent", "q", "r", "s", "open", "t", "u", "v", "w", "tanh", "half", "sum", "gated", "y"];
    let left = std::sync::Mutex::new(Vec::new());
    let apply = |graph: &mut crate::Graph| {
        let any = graph.own_convolutions();
        *left.lock().unwrap() = all.into_iter().filter(|made| graph.producer(made).is_some()).collect();
        any
    };
    let edit = Edit { name: OWN, threads: Some(2), apply: &apply };
    let own = runtime.edited_session("test/convolutions", Precision::Full, edit).unwrap();
    let Some(mut own) = own else {
        assert!(!crate::winograd::is_there());
        return;
    };
    assert_eq!(left.into_inner().unwrap(), ["bent", "r", "t", "v", "gated", "y"], "others are computed on the way");
    let x = Tensor::from_array(([2, 8, 21, 150], numbers(2 * 8 * 21 * 150))).unwrap();
    let run = |session: &mut PooledSession<'_>| {
        let made = session.call(|s| {
            let made = s.run(ort::inputs!["x" => &x])?;
            let (shape, y) = made["y"].try_extract_tensor::<f32>()?;
            Ok((shape.to_vec(), y.to_vec()))
        });
        made.unwrap()
    };
    let mut theirs = runtime.session("test/convolutions", Precision::Full).unwrap();
    let (wanted, made) = (run(&mut theirs), run(&mut own));
    assert_eq!((made.0.as_slice(), &made.0), (&[2, 1, 19, 148][..], &wanted.0));
    let size = wanted.1.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
    let worst = wanted.1.iter().zip(&made.1).fold(0.0, |worst: f32, (a, b)| worst.max((a - b).abs()));
    assert!(worst < 1e-5 * size, "{worst} of {size}");
    std::fs::remove_dir_all(dir).unwrap();
}
