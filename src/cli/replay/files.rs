//! The files to replay: finding and reading them, in the order in which a story is told.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bytes::Bytes;

use super::report::printable;

/// One body to post.
#[derive(Debug)]
pub(super) struct Fixture {
    /// Its path, as shown in reports.
    pub(super) label: String,
    /// Its bytes as they are on disk.
    pub(super) body: Bytes,
}

/// Reads the files named, and the `.json` files of the folders named at any depth, each folder
/// sorted by path. Fails when a path is missing or a folder has none.
pub(super) fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Fixture>> {
    let mut fixtures = Vec::new();
    for path in paths {
        for file in expand(path)? {
            let body = fs::read(&file).with_context(|| cannot_read(&file))?;
            let label = printable(&file.to_string_lossy());
            fixtures.push(Fixture {
                label,
                body: body.into(),
            });
        }
    }
    Ok(fixtures)
}

fn expand(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !fs::metadata(path)
        .with_context(|| cannot_read(path))?
        .is_dir()
    {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    collect(path, &mut found)?;
    if found.is_empty() {
        bail!("{} holds no .json files", path.display());
    }
    found.sort();
    Ok(found)
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| cannot_read(folder))? {
        let entry = entry.with_context(|| cannot_read(folder))?;
        let path = entry.path();
        // The entry's own type, not its target's: a link to a folder above would never end.
        if entry
            .file_type()
            .with_context(|| cannot_read(&path))?
            .is_dir()
        {
            collect(&path, found)?;
        } else if is_json(&path) && path.is_file() {
            found.push(path);
        }
    }
    Ok(())
}

fn is_json(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        folder
    }

    fn names(paths: &[PathBuf]) -> Vec<String> {
        let fixtures = read(paths).unwrap();
        fixtures
            .iter()
            .map(|f| String::from_utf8(f.body.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn a_folder_is_read_deep_and_in_order() {
        let files = [
            "b/02.json",
            "b/01.json",
            "a/x/1.JSON",
            "a.json",
            "c.txt",
            "b/readme.md",
        ];
        let folder = folder(&files);
        assert_eq!(
            names(&[folder.path().to_owned()]),
            ["a/x/1.JSON", "a.json", "b/01.json", "b/02.json"]
        );
    }

    #[test]
    fn named_files_go_in_the_order_named_whatever_their_suffix() {
        let folder = folder(&["z.txt", "a.json"]);
        let paths = ["z.txt", "a.json", "z.txt"].map(|name| folder.path().join(name));
        assert_eq!(names(&paths), ["z.txt", "a.json", "z.txt"]);
    }

    #[test]
    fn a_missing_path_is_named() {
        let error = read(&["/nowhere/at/all".into()]).unwrap_err();
        assert!(
            format!("{error:#}").starts_with("cannot read /nowhere/at/all: "),
            "{error:#}"
        );
    }

    #[test]
    fn a_folder_without_json_is_named() {
        let folder = folder(&["notes.txt"]);
        let error = read(&[folder.path().to_owned()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{} holds no .json files", folder.path().display())
        );
    }
}
