//! Starts the program: arguments, logging, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    bookbell::cli::run()
}
