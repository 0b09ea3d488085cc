//! `darkroom bench HANDLER CLIP --tune NAME=A,B,...`: the value of a parameter with which this machine is fastest.

use std::collections::BTreeMap;

use darkroom_api::Measured;
use serde::Serialize;

use crate::cli::{Failure, Global, pair, params, print_line};
use crate::job::executor::Measurement;

/// Runs that are this close to the fastest are as fast: the one that needs least memory wins.
const AS_FAST: f64 = 0.97;

/// What was found.
#[derive(Debug, Serialize)]
struct Tuned {
    name: String,
    /// Of each value, in the order given.
    runs: Vec<(String, Measured)>,
    best: String,
}

/// Runs the clip once a round with each of the values; the fastest round of each counts.
///
/// # Errors
/// Usage, where `tune` is no `NAME=A,B,...`; those of the runs.
pub async fn tune(
    global: &Global,
    ours: &Measurement<'_>,
    set: &[(String, String)],
    tune: &str,
    rounds: u32,
) -> Result<(), Failure> {
    let (name, values) = pair(tune).map_err(|e| Failure::Usage(format!("--tune: {e}")))?;
    let values: Vec<&str> = values.split(',').map(str::trim).filter(|value| !value.is_empty()).collect();
    if values.len() < 2 {
        return Err(Failure::Usage(format!("--tune needs values to choose from, e.g. `{name}=1,2,4`")));
    }
    let mut fastest: BTreeMap<usize, Measured> = BTreeMap::new();
    for round in 1..=rounds {
        for (place, value) in values.iter().enumerate() {
            global.note(&format!("round {round} of {rounds}: {name} = {value}"));
            let with: Vec<_> = set.iter().cloned().chain([(name.clone(), (*value).to_owned())]).collect();
            let scratch = super::scratch()?;
            let run = Measurement { params: serde_json::Value::from(params(&with)).to_string(), ..ours.clone() };
            match run.take(None, scratch.path()).await {
                Ok(measured) => {
                    let known = fastest.entry(place).or_insert_with(|| measured.clone());
                    if measured.wall_secs < known.wall_secs {
                        *known = measured;
                    }
                }
                // What does not fit the device is a finding too.
                Err(error) => global.note(&format!("{name} = {value} failed: {error}")),
            }
        }
    }
    let runs: Vec<_> = fastest.into_iter().map(|(place, measured)| (values[place].to_owned(), measured)).collect();
    if runs.is_empty() {
        return Err(Failure::Failed(format!("no value of `{name}` worked: see the messages above")));
    }
    let best = best(&runs).to_owned();
    if global.json {
        let text = serde_json::to_string(&Tuned { name, runs, best }).map_err(|e| Failure::Failed(e.to_string()))?;
        return print_line(&text);
    }
    print_line(&format!("{name:<24}{:>8}{:>14}{:>10}", "fps", "CPU ms/frame", "peak MiB"))?;
    for (value, m) in &runs {
        #[allow(clippy::cast_precision_loss, reason = "a number for people")]
        let cpu_ms = m.cpu_secs * 1e3 / m.frames.max(1) as f64;
        print_line(&format!("{value:<24}{:>8.2}{cpu_ms:>14.1}{:>10.0}", m.fps(), m.peak_rss_mib))?;
    }
    print_line("")?;
    print_line(&format!(
        "Best here: {name} = {best}. Set it in a job's `params`, in a route's, or with `--set {name}={best}`."
    ))
}

/// The value with the least memory among those that are as fast as the fastest.
fn best(runs: &[(String, Measured)]) -> &str {
    let top = runs.iter().map(|(_, m)| m.fps()).fold(0.0, f64::max);
    let quick = runs.iter().filter(|(_, m)| m.fps() >= top * AS_FAST);
    quick.min_by(|(_, a), (_, b)| a.peak_rss_mib.total_cmp(&b.peak_rss_mib)).map_or("", |(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_fast_with_less_memory_wins() {
        let run = |value: &str, wall_secs, peak_rss_mib| {
            (value.to_owned(), Measured { frames: 10, wall_secs, cpu_secs: 1.0, peak_rss_mib, stages: Vec::new() })
        };
        assert_eq!(best(&[run("1", 9.0, 100.0), run("2", 5.0, 300.0), run("4", 4.95, 600.0)]), "2");
        assert_eq!(best(&[run("1", 4.0, 100.0), run("2", 5.0, 300.0)]), "1");
    }
}
