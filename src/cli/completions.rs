//! `bookbell completions`: completion scripts for shells.

use std::io::{self, Write};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// What to print a script for.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  bookbell completions bash > ~/.local/share/bash-completion/completions/bookbell"
)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Prints the script on stdout.
///
/// # Errors
/// When that cannot be written.
pub(super) fn run(args: &CompletionsArgs) -> io::Result<()> {
    let mut command = super::Cli::command();
    // Into memory, where it cannot fail: on stdout that would be a panic.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "bookbell", &mut script);
    io::stdout().write_all(&script)
}
