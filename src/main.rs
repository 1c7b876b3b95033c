//! Starts the program: arguments, logging, exit code.
fn main() {}
