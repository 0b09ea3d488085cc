//! `darkroom completions SHELL`.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Failure};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which shell.
    shell: Shell,
}

pub(crate) fn completions(args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "darkroom", &mut script);
    super::print_line(String::from_utf8_lossy(&script).trim_end())
}
