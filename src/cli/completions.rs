//! `bookbell completions`: completion scripts for shells.

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
pub(super) fn run(args: &CompletionsArgs) {
    let mut command = super::Cli::command();
    clap_complete::generate(args.shell, &mut command, "bookbell", &mut std::io::stdout());
}
