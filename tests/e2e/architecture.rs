//! The rules of the workspace that a compiler does not hold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().into()
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(vec!["--locked".into()])
        .exec()
        .unwrap()
}

/// Normal dependencies of each workspace crate on other workspace crates.
fn edges(metadata: &Metadata) -> BTreeMap<String, BTreeSet<String>> {
    let ours: BTreeSet<_> = metadata.workspace_packages().iter().map(|p| p.name.to_string()).collect();
    metadata
        .workspace_packages()
        .iter()
        .map(|p| {
            let on = p.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal && ours.contains(&d.name));
            (p.name.to_string(), on.map(|d| d.name.clone()).collect())
        })
        .collect()
}

/// handlers -> {media, inference} -> {models, api} <- consumer.
#[test]
fn dependencies_point_one_way() {
    let shelf = |names: &[&str]| names.iter().map(|n| format!("darkroom-{n}")).collect::<BTreeSet<_>>();
    let base = shelf(&["api"]);
    let with_models = shelf(&["api", "models"]);
    let tools = shelf(&["api", "models", "media", "inference"]);
    for (package, on) in edges(&metadata()) {
        let allowed = match package.as_str() {
            "darkroom-api" => BTreeSet::new(),
            "darkroom-models" | "darkroom-media" => base.clone(),
            "darkroom-inference" | "darkroom" => with_models.clone(),
            "darkroom-executor" | "darkroom-tests" => continue,
            handler => {
                assert!(handler.starts_with("darkroom-"), "{handler}");
                tools.clone()
            }
        };
        assert!(on.is_subset(&allowed), "{package} may not depend on {:?}", on.difference(&allowed));
    }
}

/// Everything that a build of the package links or runs. Asked of `cargo tree`: metadata also names optional dependencies
/// that no feature switches on.
fn reachable(package: &str) -> BTreeSet<String> {
    let args =
        ["tree", "--locked", "--edges", "normal,build", "--prefix", "none", "--format", "{p}", "--package", package];
    let output = Command::new(env!("CARGO")).args(args).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap();
    names.lines().filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect()
}

#[test]
fn the_consumer_links_no_media_and_no_model_runtime_and_handlers_see_no_queue() {
    let consumer = reachable("darkroom");
    assert!(consumer.contains("tokio"), "{consumer:?}");
    for forbidden in ["ffmpeg-next", "ffmpeg-sys-next", "ort", "ort-sys", "cudarc"] {
        assert!(!consumer.contains(forbidden), "the consumer links {forbidden}");
    }
    let executor = reachable("darkroom-executor");
    for forbidden in ["tokio", "aws-sdk-s3", "aws-sdk-sqs", "rusqlite", "lapin", "reqwest", "rustls"] {
        assert!(!executor.contains(forbidden), "the executor links {forbidden}");
    }
    for all in [consumer, executor] {
        for forbidden in ["openssl-sys", "native-tls", "ring", "backoff"] {
            assert!(!all.contains(forbidden), "{forbidden}: one TLS provider, and no unmaintained crates");
        }
    }
}

#[test]
fn fault_injection_is_off_by_default() {
    for package in metadata().workspace_packages() {
        let default = package.features.get("default").cloned().unwrap_or_default();
        assert!(default.iter().all(|f| !f.contains("fault-injection")), "{}: {default:?}", package.name);
        for dependency in &package.dependencies {
            assert!(
                dependency.features.iter().all(|f| !f.contains("fault-injection")),
                "{} switches faults on",
                package.name
            );
        }
    }
}

/// Long files hide things; a limit that nothing checks is not a limit.
#[test]
fn source_files_stay_short() {
    fn visit(dir: &Path, long: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() && entry.file_name() != "target" {
                visit(&path, long);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let lines = std::fs::read_to_string(&path).unwrap().lines().count();
                if lines > 500 {
                    long.push(format!("{}: {lines}", path.display()));
                }
            }
        }
    }
    let mut long = Vec::new();
    for dir in ["consumer", "handlers", "tests"] {
        visit(&root().join(dir), &mut long);
    }
    assert!(long.is_empty(), "over 500 lines: {long:?}");
}
