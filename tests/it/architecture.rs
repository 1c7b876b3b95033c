//! The plan of the house (ARCHITECTURE.md): who may use whom, and what each file begins with.

use std::path::{Path, PathBuf};

/// Each floor with the floors and crates it must not name.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "domain",
        &[
            "crate::calendly",
            "crate::store",
            "crate::app",
            "crate::net",
            "crate::http",
            "crate::realtime",
            "crate::jobs",
            "crate::cli",
            "sqlx",
            "axum::",
            "reqwest",
            "socketioxide",
        ],
    ),
    (
        "calendly",
        &[
            "crate::store",
            "crate::app",
            "crate::net",
            "crate::http",
            "crate::realtime",
            "crate::jobs",
            "crate::cli",
            "sqlx",
            "axum::",
            "socketioxide",
        ],
    ),
    (
        "store",
        &[
            "crate::calendly",
            "crate::app",
            "crate::net",
            "crate::http",
            "crate::realtime",
            "crate::jobs",
            "crate::cli",
            "axum::",
            "reqwest",
            "socketioxide",
        ],
    ),
    (
        "app",
        &[
            "crate::http",
            "crate::realtime",
            "crate::jobs",
            "crate::cli",
            "crate::net",
            "sqlx",
            "axum::",
            "socketioxide",
        ],
    ),
    (
        "http",
        &[
            "crate::realtime",
            "crate::jobs",
            "crate::cli",
            "sqlx",
            "socketioxide",
        ],
    ),
    (
        "realtime",
        &["crate::http", "crate::jobs", "crate::cli", "sqlx"],
    ),
    (
        "net",
        &[
            "crate::http",
            "crate::realtime",
            "crate::jobs",
            "crate::cli",
            "crate::store",
            "sqlx",
            "socketioxide",
        ],
    ),
    (
        "jobs",
        &[
            "crate::net",
            "crate::http",
            "crate::realtime",
            "crate::cli",
            "sqlx",
            "axum::",
            "socketioxide",
        ],
    ),
    (
        "cli",
        &[
            "crate::net",
            "crate::http",
            "crate::realtime",
            "crate::jobs",
            "sqlx",
            "axum::",
            "socketioxide",
        ],
    ),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(path);
        }
    }
    found
}

/// The code of a file without its comments.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The code with what each `crate::{…}` names written out behind it.
fn written_out(mut code: String) -> String {
    let groups: Vec<usize> = code
        .match_indices("crate::{")
        .map(|(at, group)| at + group.len())
        .collect();
    for group in groups {
        let (mut depth, mut end) = (1, group);
        let mut names = vec![String::new()];
        while depth > 0 {
            let c = code[end..].chars().next().expect("the group ends");
            end += c.len_utf8();
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => names.push(String::new()),
                c if depth == 1 && !c.is_whitespace() => names.last_mut().unwrap().push(c),
                _ => {}
            }
        }
        for name in names {
            code = code + "\ncrate::" + &name;
        }
    }
    code
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn no_floor_uses_one_above_it() {
    let mut faults = Vec::new();
    for (floor, forbidden) in FORBIDDEN {
        let files = sources(&root().join(floor));
        assert!(!files.is_empty(), "{floor} is empty");
        for file in files {
            let code = written_out(code(&file));
            let named = forbidden.iter().filter(|name| code.contains(*name));
            faults.extend(named.map(|name| format!("{} uses {name}", file.display())));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_group_names_what_is_in_it() {
    let code = "use crate::{\n    app::{App, Error},\n    http,\n};\nuse crate::{net as n};";
    let code = written_out(code.to_owned());
    for name in ["crate::app::", "crate::http", "crate::net"] {
        assert!(code.contains(name), "{name}: {code}");
    }
    assert!(!code.contains("crate::App") && !code.contains("crate::Error"));
}

#[test]
fn only_the_delivery_loop_emits() {
    for file in sources(&root()) {
        let code = code(&file);
        let emits = file.ends_with("realtime/outlet.rs");
        assert_eq!(code.contains(".emit("), emits, "{}", file.display());
        let delivers = file.ends_with("realtime/delivery.rs");
        assert_eq!(code.contains("outlet::"), delivers, "{}", file.display());
    }
}

#[test]
fn only_what_meets_sqlite_and_the_allocator_is_unsafe() {
    let homes = ["store/vfs.rs", "store/busy.rs", "src/memory.rs"];
    for file in sources(&root()) {
        let is_unsafe = code(&file).contains("unsafe_code");
        let home = homes.iter().any(|home| file.ends_with(home));
        assert_eq!(is_unsafe, home, "{}", file.display());
    }
}

#[test]
fn every_file_says_what_it_owns() {
    for file in sources(&root()) {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//! "), "{}", file.display());
    }
}

#[test]
fn what_the_tests_of_libraries_can_do_without_is_where_they_say() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/libraries.rs");
    for item in std::fs::read_to_string(tests).unwrap().split("\n\n") {
        let comment = item.lines().filter(|line| line.starts_with("/// "));
        let comment = comment.collect::<Vec<_>>().join("\n");
        let quoted = comment.split('`').skip(1).step_by(2);
        let (files, names): (Vec<_>, Vec<_>) = quoted.partition(|text| text.contains('/'));
        let files: String = files.iter().map(|file| code(&root().join(file))).collect();
        // What has a path is of the library.
        for name in names.iter().filter(|name| !name.contains("::")) {
            let defined = [format!("fn {name}("), format!("const {name}:")];
            let found = defined.iter().any(|defined| files.contains(defined));
            assert!(found, "{name}: {comment}");
        }
    }
}

#[test]
fn both_databases_have_the_same_migrations() {
    let names = |engine: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("migrations")
            .join(engine);
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("sqlite"), names("postgres"));
}
