//! What the measurements say: medians, and ratios against what they should be.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZero;
use std::path::Path;

use darkroom_api::{Measured, StageReport};
use serde::Serialize;

/// What is measured in each round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Row {
    Decode,
    Model,
    Fit,
    Draw,
    Encode,
    EndToEnd,
    Careful,
    Ordinary,
}

impl Row {
    const PARTS: [Row; 5] = [Row::Decode, Row::Model, Row::Fit, Row::Draw, Row::Encode];

    /// In the order of a round of a handler, whose parameters have these values.
    pub fn all(handler: &str, set: &[(String, String)], python: bool) -> impl Iterator<Item = Row> {
        let (fits, writes) = (handler == "pose", !set.contains(&("render".into(), "none".into())));
        let has = move |row: &Row| match row {
            Row::Fit => fits,
            Row::Draw => fits && writes,
            Row::Encode => !fits || writes,
            Row::Careful => python,
            Row::Ordinary => python && (!fits || writes),
            Row::Decode | Row::Model | Row::EndToEnd => true,
        };
        Row::PARTS.into_iter().chain([Row::EndToEnd, Row::Careful, Row::Ordinary]).filter(has)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Row::Decode => "decode alone",
            Row::Model => "model alone",
            Row::Fit => "fit alone",
            Row::Draw => "draw alone",
            Row::Encode => "encode alone",
            Row::EndToEnd => "end to end",
            Row::Careful => "careful Python",
            Row::Ordinary => "ordinary Python",
        })
    }
}

/// One measurement of everything, close in time: neighbours on the machine weigh on all of it alike.
pub(super) type Round = BTreeMap<Row, Measured>;

/// What a ratio should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Target {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    fn met(self, value: f64) -> bool {
        match self {
            Target::AtMost(most) => value <= most,
            Target::AtLeast(least) => value >= least,
        }
    }
}

/// What a handler's run should cost beside its parts, and beside the Python scripts named after it.
struct Beside {
    parts_cpu: f64,
    /// Of the bound by the longest part; none for runs whose parts cannot all overlap.
    parts_wall: Option<Target>,
    careful_cpu: Option<Target>,
    ordinary_fps: Option<Target>,
    careful_memory: Option<Target>,
    ordinary_memory: Option<Target>,
}

impl Beside {
    /// `draws` tells whether the run draws over its pictures.
    fn of(handler: &str, draws: bool) -> Beside {
        let most = |most| Some(Target::AtMost(most));
        match handler {
            // The careful script is the bare model there: it decodes and encodes nothing.
            "vsr" => Beside {
                parts_cpu: 1.05,
                parts_wall: most(1.10),
                careful_cpu: most(1.0),
                ordinary_fps: None,
                careful_memory: None,
                ordinary_memory: most(0.5),
            },
            // The careful script finds one person and draws nothing, the ordinary one draws with OpenGL's software.
            "pose" => Beside {
                parts_cpu: 1.10,
                // Nobody is drawn before all are found.
                parts_wall: None,
                careful_cpu: most(1.0).filter(|_| !draws),
                ordinary_fps: None,
                careful_memory: None,
                ordinary_memory: None,
            },
            _ => Beside {
                parts_cpu: 1.05,
                parts_wall: most(1.10),
                careful_cpu: most(1.03),
                ordinary_fps: Some(Target::AtLeast(2.0)),
                careful_memory: most(0.8),
                ordinary_memory: most(0.8),
            },
        }
    }
}

#[derive(Debug, Serialize)]
struct Ratio {
    name: &'static str,
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Target>,
}

/// All that was found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    handler: String,
    clip: String,
    cores: usize,
    rounds: Vec<Round>,
    /// Of each number alone; stages are those of the run of median wall time.
    medians: Round,
    #[serde(skip_serializing_if = "Option::is_none")]
    long: Option<Measured>,
    ratios: Vec<Ratio>,
}

impl Report {
    /// Puts together what was measured; `long` is the run over the repeated clip.
    pub fn new(handler: &str, clip: &Path, rounds: Vec<Round>, long: Option<Measured>) -> Report {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let medians = medians(&rounds);
        let draws = rounds.iter().any(|round| round.contains_key(&Row::Draw));
        let ratios = ratios(&rounds, cores, &medians, long.as_ref(), &Beside::of(handler, draws));
        Report {
            handler: handler.to_owned(),
            clip: clip.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            cores,
            rounds,
            medians,
            long,
            ratios,
        }
    }

    /// As a table for people.
    pub fn lines(&self) -> Vec<String> {
        let title =
            format!("{} on {}, {} cores, medians of {}", self.handler, self.clip, self.cores, self.rounds.len());
        let mut lines = vec![title, String::new()];
        lines.push(format!("{:<24}{:>8}{:>8}{:>14}{:>10}", "", "frames", "fps", "CPU ms/frame", "peak MiB"));
        let long = self.long.iter().map(|long| ("repeated clip".to_owned(), long));
        for (name, m) in self.medians.iter().map(|(row, m)| (row.to_string(), m)).chain(long) {
            let cpu_ms = m.cpu_secs * 1e3 / m.frames.max(1) as f64;
            lines.push(format!("{name:<24}{:>8}{:>8.2}{cpu_ms:>14.1}{:>10.0}", m.frames, m.fps(), m.peak_rss_mib));
        }
        if let Some(run) = self.medians.get(&Row::EndToEnd).filter(|run| !run.stages.is_empty()) {
            lines.push(String::new());
            let head = ["busy s", "no input s", "no room s", "own CPU s"];
            lines.push(format!(
                "{:<24}{:>8}{:>12}{:>12}{:>12}",
                "stage, end to end", head[0], head[1], head[2], head[3]
            ));
            lines.extend(run.stages.iter().map(stage_line));
        }
        lines.push(String::new());
        lines.extend(self.ratios.iter().map(ratio_line));
        lines
    }
}

fn stage_line(stage: &StageReport) -> String {
    let StageReport { name, busy_secs, waiting_input_secs, waiting_output_secs, cpu_secs, .. } = stage;
    format!("{name:<24}{busy_secs:>8.2}{waiting_input_secs:>12.2}{waiting_output_secs:>12.2}{cpu_secs:>12.2}")
}

fn ratio_line(Ratio { name, value, target }: &Ratio) -> String {
    let verdict = |target: &Target| if target.met(*value) { "met" } else { "MISSED" };
    let target = target.map_or(String::new(), |target| match target {
        Target::AtMost(most) => format!("  at most {most:.2}: {}", verdict(&target)),
        Target::AtLeast(least) => format!("  at least {least:.2}: {}", verdict(&target)),
    });
    format!("{name:<56}{value:>7.3}{target}")
}

fn medians(rounds: &[Round]) -> Round {
    let rows = rounds.first().into_iter().flat_map(|round| round.keys().copied());
    rows.map(|row| {
        let all: Vec<&Measured> = rounds.iter().filter_map(|round| round.get(&row)).collect();
        let of = |field: fn(&Measured) -> f64| median(all.iter().map(|m| field(m)).collect());
        let wall_secs = of(|m| m.wall_secs);
        let nearest = |m: &&&Measured| (m.wall_secs - wall_secs).abs();
        let typical = all.iter().min_by(|a, b| nearest(a).total_cmp(&nearest(b)));
        let measured = Measured {
            frames: typical.map_or(0, |m| m.frames),
            wall_secs,
            cpu_secs: of(|m| m.cpu_secs),
            peak_rss_mib: of(|m| m.peak_rss_mib),
            stages: typical.map(|m| m.stages.clone()).unwrap_or_default(),
        };
        (row, measured)
    })
    .collect()
}

/// Each ratio within its round, then the median over the rounds.
fn ratios(rounds: &[Round], cores: usize, medians: &Round, long: Option<&Measured>, beside: &Beside) -> Vec<Ratio> {
    let mut ratios = Vec::new();
    let mut add = |name, target, of: &dyn Fn(&Round) -> Option<f64>| {
        let values: Vec<f64> = rounds.iter().filter_map(of).filter(|value| value.is_finite()).collect();
        if !values.is_empty() {
            ratios.push(Ratio { name, value: median(values), target });
        }
    };
    let per_frame = |round: &Round, row: Row, field: fn(&Measured) -> f64| {
        round.get(&row).map(|m| field(m) / m.frames.max(1) as f64)
    };
    let parts = |round: &Round, field: fn(&Measured) -> f64| -> f64 {
        Row::PARTS.iter().filter_map(|row| round.get(row)).map(field).sum()
    };
    let longest =
        |round: &Round| Row::PARTS.iter().filter_map(|row| round.get(row)).map(|m| m.wall_secs).fold(0.0, f64::max);
    let own = |round: &Round, field: fn(&Measured) -> f64| round.get(&Row::EndToEnd).map(field);

    add("CPU, end to end / sum of the parts", Some(Target::AtMost(beside.parts_cpu)), &|round| {
        Some(own(round, |m| m.cpu_secs)? / parts(round, |m| m.cpu_secs))
    });
    add("wall, end to end / max(longest part, sum of CPU / cores)", beside.parts_wall, &|round| {
        Some(own(round, |m| m.wall_secs)? / longest(round).max(parts(round, |m| m.cpu_secs) / cores as f64))
    });
    add("peak memory, end to end / sum of the parts", Some(Target::AtMost(1.10)), &|round| {
        Some(own(round, |m| m.peak_rss_mib)? / parts(round, |m| m.peak_rss_mib))
    });
    // Both scripts find people alike; only one of them draws and encodes.
    add("CPU, drawing and encoding / the same in Python", Some(Target::AtMost(0.25)), &|round| {
        let cpu = |row| per_frame(round, row, |m| m.cpu_secs);
        Some((cpu(Row::Draw)? + cpu(Row::Encode)?) / (cpu(Row::Ordinary)? - cpu(Row::Careful)?))
    });
    let against = |round: &Round, row, field: fn(&Measured) -> f64| {
        Some(per_frame(round, Row::EndToEnd, field)? / per_frame(round, row, field)?)
    };
    let memory = |round: &Round, row| Some(own(round, |m| m.peak_rss_mib)? / round.get(&row)?.peak_rss_mib);
    let speed = |round: &Round, row| Some(own(round, Measured::fps)? / round.get(&row)?.fps());
    add("CPU / careful Python's", beside.careful_cpu, &|r| against(r, Row::Careful, |m| m.cpu_secs));
    add("CPU / ordinary Python's", None, &|r| against(r, Row::Ordinary, |m| m.cpu_secs));
    add("fps / careful Python's", None, &|r| speed(r, Row::Careful));
    add("fps / ordinary Python's", beside.ordinary_fps, &|r| speed(r, Row::Ordinary));
    add("peak memory / careful Python's", beside.careful_memory, &|r| memory(r, Row::Careful));
    add("peak memory / ordinary Python's", beside.ordinary_memory, &|r| memory(r, Row::Ordinary));
    if let (Some(long), Some(short)) = (long, medians.get(&Row::EndToEnd)) {
        let (name, value) = ("peak memory, repeated clip / clip", long.peak_rss_mib / short.peak_rss_mib);
        ratios.push(Ratio { name, value, target: Some(Target::AtMost(1.10)) });
    }
    ratios
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match (values.len(), values.len() / 2) {
        (0, _) => 0.0,
        (length, middle) if length % 2 == 1 => values[middle],
        (_, middle) => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(wall_secs: f64, cpu_secs: f64, peak_rss_mib: f64) -> Measured {
        Measured { frames: 10, wall_secs, cpu_secs, peak_rss_mib, stages: Vec::new() }
    }

    fn round(slower: f64) -> Round {
        let all = [(1.0, 2.0, 100.0), (8.0, 16.0, 400.0), (3.0, 2.0, 100.0), (12.0, 21.0, 540.0), (12.0, 21.0, 900.0)];
        let rows = Row::all("matting", &[], true).zip(all.into_iter().chain([(30.0, 42.0, 1000.0)]));
        rows.map(|(row, (wall, cpu, peak))| (row, measured(wall * slower, cpu * slower, peak))).collect()
    }

    #[test]
    fn ratios_are_those_of_the_issue_and_a_slow_round_does_not_change_them() {
        let rounds = vec![round(1.0), round(3.0), round(1.1)];
        let long = measured(120.0, 210.0, 600.0);
        let medians = medians(&rounds);
        assert!((medians[&Row::EndToEnd].wall_secs - 13.2).abs() < 1e-9);
        let ratios = ratios(&rounds, 2, &medians, Some(&long), &Beside::of("matting", false));
        let values: Vec<(f64, bool)> =
            ratios.iter().map(|r| ((r.value * 1e3).round() / 1e3, r.target.is_none_or(|t| t.met(r.value)))).collect();
        let expected = [
            (1.05, true), // 21 / 20
            (1.2, false), // 12 / max(8, 20 / 2)
            (0.9, true),
            (1.0, true),
            (0.5, true),
            (1.0, true),
            (2.5, true),
            (0.6, true),
            (0.54, true),
            (1.111, false),
        ];
        assert_eq!(values, expected);
    }

    #[test]
    fn a_handler_is_measured_in_the_parts_that_it_has() {
        let rows = |handler, set: &[(&str, &str)]| {
            let set: Vec<_> = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            Row::all(handler, &set, false).collect::<Vec<_>>()
        };
        assert_eq!(rows("vsr", &[]), [Row::Decode, Row::Model, Row::Encode, Row::EndToEnd]);
        assert_eq!(rows("pose", &[("quality", "70")]).len(), 6);
        assert_eq!(rows("pose", &[("render", "none")]), [Row::Decode, Row::Model, Row::Fit, Row::EndToEnd]);
    }

    #[test]
    fn what_draws_is_compared_with_the_script_that_draws_and_what_does_not_with_the_other() {
        let rows = |rows: &[(Row, f64)]| rows.iter().map(|(row, cpu)| (*row, measured(1.0, *cpu, 100.0))).collect();
        let scripts = [(Row::EndToEnd, 9.0), (Row::Careful, 3.0), (Row::Ordinary, 28.0)];
        let drawn: Round = rows(&[&[(Row::Draw, 1.0), (Row::Encode, 4.0)], &scripts[..]].concat());
        let lines = Report::new("pose", Path::new("a.mp4"), vec![drawn], None).lines().join("\n");
        assert!(lines.contains("in Python            0.200  at most 0.25: met"), "{lines}");
        assert!(lines.contains("CPU / careful Python's                                    3.000\n"), "{lines}");
        let found: Round = rows(&scripts[..2]);
        let lines = Report::new("pose", Path::new("a.mp4"), vec![found], None).lines().join("\n");
        assert!(
            lines.contains("CPU / careful Python's                                    3.000  at most 1.00: MISSED"),
            "{lines}"
        );
        assert!(!lines.contains("drawing and encoding"), "{lines}");
    }

    #[test]
    fn the_table_names_what_was_missed() {
        let mut first = round(1.0);
        let stage = StageReport {
            name: "decode".into(),
            frames: 10,
            busy_secs: 1.25,
            waiting_input_secs: 0.0,
            waiting_output_secs: 10.5,
            cpu_secs: 1.2,
        };
        first.get_mut(&Row::EndToEnd).unwrap().stages.push(stage);
        let lines = Report::new("matting", Path::new("/clips/a.mp4"), vec![first], None).lines().join("\n");
        for part in ["matting on a.mp4", "end to end", "2100.0", "1.25", "10.50", "MISSED"] {
            assert!(lines.contains(part), "{part} in\n{lines}");
        }
    }
}
