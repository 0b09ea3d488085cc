//! What was found: for people, as Markdown, and as JSON.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::check::Outcome;

/// How a case ended.
#[derive(Debug, Clone)]
pub(crate) enum Verdict {
    /// Everything that is required holds.
    Holds,
    /// It does not make sense on this queue, and why.
    NotHere(&'static str),
    /// It could not be tried on this machine, and why.
    NotTried(String),
    /// A requirement is broken: the sentences that say which.
    Broken(Vec<String>),
}

/// One case on one queue.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    pub(crate) secs: f64,
    pub(crate) verdict: Verdict,
}

const HEADS: [&str; 10] =
    ["jobs", "runs", "kills", "redelivered", "suppressed", "lost", "doubled", "orphans", "seconds", "verdict"];

impl Row {
    fn cells(&self) -> [String; 10] {
        let o = &self.outcome;
        let counts = [o.submissions, o.runs, o.kills, o.redeliveries, o.suppressed, o.lost, o.doubled, o.orphans];
        let mut cells: Vec<String> = match self.verdict {
            Verdict::NotHere(_) | Verdict::NotTried(_) => vec![String::from("-"); 9],
            _ => counts.iter().map(u64::to_string).chain([format!("{:.1}", self.secs)]).collect(),
        };
        cells.push(match &self.verdict {
            Verdict::Holds => "holds".into(),
            Verdict::NotHere(why) => format!("not here: {why}"),
            Verdict::NotTried(why) => format!("not tried: {why}"),
            Verdict::Broken(_) => "BROKEN".into(),
        });
        cells.try_into().unwrap()
    }

    fn line(&self) -> String {
        let cells = self.cells();
        let numbers = cells[..9].iter().zip(HEADS).map(|(cell, head)| format!(" {cell:>width$}", width = head.len()));
        format!("{:<34}{}  {}", self.name, numbers.collect::<String>(), cells[9])
    }
}

fn sum(rows: &[Row]) -> Row {
    let mut sum = Row { name: String::new(), outcome: Outcome::default(), secs: 0.0, verdict: Verdict::Holds };
    for Row { outcome, secs, .. } in rows {
        let all = &mut sum.outcome;
        all.submissions += outcome.submissions;
        all.runs += outcome.runs;
        all.kills += outcome.kills;
        all.redeliveries += outcome.redeliveries;
        all.suppressed += outcome.suppressed;
        all.lost += outcome.lost;
        all.doubled += outcome.doubled;
        all.orphans += outcome.orphans;
        sum.secs += secs;
    }
    let broken: Vec<_> = rows.iter().filter(|row| matches!(row.verdict, Verdict::Broken(_))).collect();
    sum.name = format!("all {} cases", rows.len());
    if !broken.is_empty() {
        sum.verdict = Verdict::Broken(broken.iter().map(|row| row.name.clone()).collect());
    }
    sum
}

/// One line as soon as it is known.
pub(crate) fn progress(row: &Row) {
    println!("{}", row.line());
    if let Verdict::Broken(why) = &row.verdict {
        why.iter().take(20).for_each(|why| println!("    {}", why.replace('\n', "\n    ")));
    }
}

/// The whole table, printed and written; false where a requirement is broken.
pub(crate) fn tell(rows: &[Row]) -> bool {
    let sum = sum(rows);
    println!("\n{:<34} {}", "case", HEADS.join(" "));
    rows.iter().chain([&sum]).for_each(|row| println!("{}", row.line()));
    let (markdown, json) = (file("fault-matrix.md"), file("fault-matrix.json"));
    let mut text = format!("| case | {} |\n|---|{}\n", HEADS.join(" | "), "---|".repeat(HEADS.len()));
    for row in rows.iter().chain([&sum]) {
        let _infallible = writeln!(text, "| {} | {} |", row.name, row.cells().join(" | "));
    }
    fs::write(&markdown, text).unwrap();
    let cells =
        |row: &Row| HEADS.map(String::from).into_iter().zip(row.cells()).collect::<std::collections::BTreeMap<_, _>>();
    let list: Vec<_> = rows.iter().chain([&sum]).map(|row| json!({"case": row.name, "found": cells(row)})).collect();
    fs::write(&json, serde_json::to_string_pretty(&list).unwrap()).unwrap();
    println!("\nwritten to {} and {}", markdown.display(), json.display());
    !matches!(sum.verdict, Verdict::Broken(_))
}

/// A file in the target directory.
fn file(name: &str) -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join(name)
}
