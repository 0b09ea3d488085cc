//! `darkroom compare`: how close two videos or pictures are. A front of `run compare`, with its numbers as a table.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::job::manifest::Manifest;

use super::{Failure, Global, note, run};

/// The handler.
const HANDLER: &str = "compare";
/// Its secondary input.
const REFERENCE: &str = "reference";

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The video (or picture) in question.
    video: PathBuf,
    /// What it is compared with: of the same size, nothing is scaled.
    reference: PathBuf,
    /// Where the page, the pictures and all numbers go.
    #[arg(long, short, value_name = "DIR", default_value = "compare")]
    output: PathBuf,
    /// Leave VMAF out, which takes most of the time and needs `darkroom models fetch ffmpeg-vmaf`.
    #[arg(long)]
    no_vmaf: bool,
}

/// Runs the comparison and prints what was found, to standard error, where people read; with `--json` the event has it.
pub(crate) async fn compare(global: &Global, args: Args) -> Result<(), Failure> {
    let Some(reference) = args.reference.to_str() else {
        return Err(Failure::Usage(format!("{} is no text: rename the file", args.reference.display())));
    };
    let set = vec![("vmaf".to_owned(), (!args.no_vmaf).to_string())];
    let inputs = vec![(REFERENCE.to_owned(), reference.to_owned())];
    run::run(global, run::Args::one(HANDLER, args.video, args.output.clone(), inputs, set)).await?;
    if !global.json {
        let manifest = read(&args.output.join("manifest.json"))?;
        table(&manifest.metrics.into()).iter().for_each(|line| note(line));
    }
    Ok(())
}

fn read(path: &Path) -> Result<Manifest, Failure> {
    let text = std::fs::read(path).map_err(serde_json::Error::io);
    text.and_then(|text| serde_json::from_slice(&text))
        .map_err(|error| Failure::Failed(format!("{} cannot be read: {error}", path.display())))
}

/// The numbers as lines.
fn table(metrics: &Value) -> Vec<String> {
    let number = |value: &Value, digits: usize| match value.as_f64() {
        Some(value) => format!("{value:.digits$}"),
        // Nothing between equal pictures.
        None => "infinite".to_owned(),
    };
    let row = |name: &str, measure: &Value, digits| {
        let mean =
            ["y", "u", "v", "all"].map(|plane| format!("{:>9}", number(&measure["mean"][plane], digits))).concat();
        format!("{name:8}{mean}{:>13}", number(&measure["min"]["y"], digits))
    };
    let mut lines = vec![
        format!("{:8}{:>9}{:>9}{:>9}{:>9}{:>13}", "", "luma", "Cb", "Cr", "all", "worst luma"),
        row("PSNR dB", &metrics["psnr"], 2),
        row("SSIM", &metrics["ssim"], 4),
    ];
    let vmaf = &metrics["vmaf"];
    if !vmaf.is_null() {
        lines.push(format!("{:8}{:>9}{:>40}", "VMAF", number(&vmaf["mean"], 2), number(&vmaf["min"], 2)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_below_their_names() {
        let planes = |y: f64| serde_json::json!({ "y": y, "u": 40.0, "v": 41.5, "all": 36.125 });
        let metrics = serde_json::json!({
            "psnr": { "mean": planes(35.684), "min": planes(31.2) },
            "ssim": { "mean": planes(0.98541), "min": planes(0.9) },
            "vmaf": { "model": "vmaf_v0.6.1", "mean": 97.6, "min": 90.25, "harmonic_mean": 97.5 },
        });
        let lines = table(&metrics);
        assert_eq!(lines[1], "PSNR dB     35.68    40.00    41.50    36.12        31.20");
        assert_eq!(lines[3], "VMAF        97.60                                   90.25");
        assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{lines:#?}");
        let equal = serde_json::json!({ "psnr": { "mean": { "y": null } }, "vmaf": null });
        assert!(table(&equal)[1].starts_with("PSNR dB  infinite") && table(&equal).len() == 3);
    }
}
