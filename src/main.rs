//! Starts the program: arguments, logging, exit code.

use std::process::ExitCode;

/// A webhook takes a fifth less time than with glibc's, whose memory also stays with the process
/// after a burst such as a log-in's: 92 MiB instead of 18.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    bookbell::cli::run()
}
