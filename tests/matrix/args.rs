//! The command line. Arguments that mean something to other test binaries are understood or passed over, since
//! `infra/test ARGUMENTS` gives the same ones to all.

/// What to run.
pub(crate) struct Args {
    /// Parts of names; all cases where empty.
    only: Vec<String>,
    /// Names of cases, and nothing else.
    pub(crate) list: bool,
    /// More jobs and kills, on every queue.
    pub(crate) long: bool,
    /// Cases at once.
    pub(crate) lanes: usize,
    /// What chance is drawn from.
    pub(crate) seed: u64,
}

impl Args {
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Args, String> {
        let long = std::env::var_os("DARKROOM_TEST_LONG").is_some();
        let mut parsed = Args { only: Vec::new(), list: false, long, lanes: 6, seed: 20_261_121 };
        while let Some(arg) = args.next() {
            let mut number = || args.next().and_then(|n| n.parse().ok()).ok_or(format!("{arg} needs a number"));
            match arg.as_str() {
                "--list" => parsed.list = true,
                "--long" => parsed.long = true,
                "--lanes" => parsed.lanes = usize::try_from(number()?).unwrap_or(1).max(1),
                "--seed" => parsed.seed = number()?,
                "--only" => parsed.only.push(args.next().ok_or("--only needs a part of a name")?),
                "--skip" | "--format" | "--color" | "--test-threads" => drop(args.next()),
                other if other.starts_with('-') => {}
                part => parsed.only.push(part.to_owned()),
            }
        }
        Ok(parsed)
    }

    /// Whether a case of this name is to be run.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }
}
