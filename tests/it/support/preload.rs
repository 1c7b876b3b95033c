//! Libraries in C that stand between the program and the system.

use std::path::Path;
use std::process::Command;

/// Builds `support/NAME.c` into a folder, and answers what `LD_PRELOAD` takes.
pub fn library(folder: &Path, name: &str) -> String {
    let library = folder.join(name).with_extension("so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support");
    let source = source.join(name).with_extension("c");
    let mut compile = Command::new("cc");
    compile.args(["-shared", "-fPIC", "-o"]).arg(&library);
    let built = compile.arg(source).arg("-ldl").status().unwrap();
    assert!(built.success(), "the C compiler failed");
    library.display().to_string()
}
