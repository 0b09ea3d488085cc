//! The command line, written by the consumer.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use darkroom_api::Part;
use darkroom_inference::DeviceChoice;
use darkroom_models::RegistryConfig;

/// Runs handlers for `darkroom`, which starts it.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve requests from the socket on standard input.
    Serve(Serve),
    /// Measure a handler on a clip, or one part of it alone, and print what it cost as a line of JSON.
    Bench(Bench),
    /// Print what the handlers of this build are and take, as JSON.
    Describe(Models),
    /// Print what is installed, and what confines a handler here, as JSON.
    Doctor(Models),
}

#[derive(Debug, Args)]
pub struct Serve {
    /// Process id of the consumer; when that is not our parent, it is already gone.
    #[arg(long)]
    pub parent: Option<u32>,
    /// The only directory, with the cache, to write in.
    #[arg(long)]
    pub scratch: PathBuf,
    /// `auto`, `cpu`, `cuda:N` or `tensorrt:N`.
    #[arg(long, default_value = "cpu")]
    pub device: DeviceChoice,
    /// Threads of a model; 0 for as many as there are cores.
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
    /// Most memory in MiB; 0 for no limit.
    #[arg(long, default_value_t = 0)]
    pub memory_mib: u64,
    /// Where built engines are kept between processes.
    #[arg(long)]
    pub cache: Option<PathBuf>,
    /// What else may be read.
    #[arg(long)]
    pub read_only: Vec<PathBuf>,
    #[command(flatten)]
    pub models: Models,
}

#[derive(Debug, Args)]
pub struct Bench {
    /// Handler, e.g. `matting`.
    pub handler: String,
    /// File of its primary input; must lie in what may be read.
    pub clip: PathBuf,
    /// `decode`, `model`, `fit`, `draw` or `encode`, as far as the handler has it; the whole run if absent.
    #[arg(long)]
    pub part: Option<Part>,
    /// Parameters, as JSON.
    #[arg(long, default_value = "{}", value_parser = json)]
    pub params: serde_json::Value,
    #[command(flatten)]
    pub serve: Serve,
}

#[derive(Debug, Args)]
pub struct Models {
    /// Directory of models and libraries.
    #[arg(long)]
    models: Option<PathBuf>,
    /// A manifest in place of the built-in one.
    #[arg(long)]
    manifest: Option<PathBuf>,
    /// A user's own file: NAME=PATH.
    #[arg(long = "model", value_parser = name_and_path)]
    custom: Vec<(String, PathBuf)>,
}

impl Models {
    /// The same as a registry's configuration.
    pub fn registry(&self) -> RegistryConfig {
        RegistryConfig {
            dir: self.models.clone(),
            manifest: self.manifest.clone(),
            custom: self.custom.iter().cloned().collect(),
        }
    }
}

/// Left to itself, clap takes the text for a JSON string.
fn json(text: &str) -> Result<serde_json::Value, serde_json::Error> {
    serde_json::from_str(text)
}

fn name_and_path(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("expected NAME=PATH")?;
    Ok((name.to_owned(), PathBuf::from(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_consumers_words_are_understood() {
        let line = "x serve --parent 7 --scratch /s --device cuda:1 --threads 2 --memory-mib 9 --models /m --model a/b=/f=g --read-only /r --read-only /q";
        let Command::Serve(serve) = Cli::try_parse_from(line.split(' ')).unwrap().command else { panic!("serve") };
        assert_eq!(serve.models.registry().custom["a/b"], PathBuf::from("/f=g"));
        assert_eq!((serve.parent, serve.memory_mib, serve.read_only.len()), (Some(7), 9, 2));
        assert_eq!(serve.device.to_string(), "cuda:1");
        assert!(Cli::try_parse_from(["x", "serve", "--scratch", "/s", "--model", "nameless"]).is_err());

        let line = r#"x bench matting /c.mp4 --part model --params {"quality":5} --scratch /s --read-only /c.mp4"#;
        let Command::Bench(bench) = Cli::try_parse_from(line.split(' ')).unwrap().command else { panic!("bench") };
        assert_eq!((bench.part, bench.params["quality"].as_i64()), (Some(Part::Model), Some(5)));
    }
}
