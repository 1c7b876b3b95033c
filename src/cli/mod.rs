//! The command line: one file for each command.

mod completions;
mod rebuild;
mod replay;
mod sign;
mod user;

use std::fmt::Display;
use std::io::{Write, stderr};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::app::error::chain;
use crate::config::{Config, InvalidSetting, ServeArgs};
use crate::{serve, store, telemetry};

/// Turns Calendly bookings into live sales work: signed webhooks in, Socket.IO events out
#[derive(Debug, Parser)]
#[command(
    name = "bookbell",
    version,
    arg_required_else_help = true,
    after_help = "Examples:\n  \
    BOOKBELL_CALENDLY_SIGNING_KEYS=try-me bookbell serve\n  \
    bookbell replay fixtures/stories --key try-me --fresh-ids"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(Box<ServeArgs>),
    /// Sign webhook bodies and post them
    Replay(replay::ReplayArgs),
    /// Print the signature header of a body, and a curl line that posts it
    Sign(sign::SignArgs),
    /// Make a database anew from the archive of deliveries
    Rebuild(rebuild::RebuildArgs),
    /// Manage users
    User(user::UserArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}

/// Exit code of a command that was called wrongly.
const USAGE: u8 = 2;

/// Reads the arguments and runs the command. Errors are one line on stderr; the exit code is 1
/// for a command that failed and 2 for one that was called wrongly.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    match execute(cli.command) {
        Ok(code) => code,
        Err(error) if is_misuse(&error) => misused(&chain(error.as_ref())),
        Err(error) => {
            note(format_args!("bookbell: {}", chain(error.as_ref())));
            ExitCode::FAILURE
        }
    }
}

/// An argument that does not fit, where clap cannot tell.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Misuse(String);

/// Whether the arguments or settings alone are at fault. A URL that only the driver can tell to be
/// wrong is a wrong setting all the same.
fn is_misuse(error: &anyhow::Error) -> bool {
    let url = matches!(error.downcast_ref(), Some(store::Error::Url(_)));
    url || error.is::<Misuse>() || error.is::<InvalidSetting>()
}

fn execute(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(args) => serve(*args),
        Command::Replay(args) => wait(replay::run(args)),
        Command::Sign(args) => sign::run(args).map(|()| ExitCode::SUCCESS),
        Command::Rebuild(args) => wait(rebuild::run(args)),
        Command::User(args) => wait(user::run(args)),
        Command::Completions(args) => {
            completions::run(&args)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn serve(args: ServeArgs) -> anyhow::Result<ExitCode> {
    telemetry::start(&args.log)?;
    let config = Config::try_from(args)?;
    wait(async { serve::run(config).await.map(|()| ExitCode::SUCCESS) })
}

fn misused(message: &str) -> ExitCode {
    note(format_args!("bookbell: {message}"));
    ExitCode::from(USAGE)
}

/// A line on stderr, which may lead nowhere: that is no reason to stop.
fn note(line: impl Display) {
    let _ = writeln!(stderr(), "{line}");
}

/// Runs to the end, and does not wait for work that nobody asks about any more.
fn wait(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_timeout(Duration::from_millis(500));
    outcome
}

/// Help goes to stdout as it is; of an error, its first paragraph as one line.
fn explain(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if !error.use_stderr() || error.kind() == DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return if error.use_stderr() {
            ExitCode::from(USAGE)
        } else {
            ExitCode::SUCCESS
        };
    }
    let text = error.render().to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let line: Vec<&str> = paragraph.lines().map(str::trim).collect();
    let line = line.join(" ");
    misused(line.strip_prefix("error: ").unwrap_or(&line))
}
