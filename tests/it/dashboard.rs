//! The dashboard: its files and their size here, what people do with it in real Chromium.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use axum::http::Method;
use bookbell::domain::text::search_key;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::support::app::{ADMIN, KEY, Reply, TestApp};
use crate::support::database::Database;
use crate::support::on_each_database;
use crate::support::server::{PATIENCE, Server};
use crate::support::subscriber::Script;
use crate::support::variable;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/dashboard");

on_each_database![two_browsers_see_each_other_at_once];

async fn two_browsers_see_each_other_at_once(database: Database) {
    play("together", database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_rings_is_counted_and_goes() {
    play("first", Database::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proposals_are_answered_put_away_and_marked() {
    play("proposals", Database::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_network_loses_and_doubles_nothing() {
    play("gap", Database::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_text_stays_text_in_every_view() {
    play("hostile", Database::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn held_deliveries_are_seen_understood_and_released() {
    play("deliveries", Database::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_can_use_it() {
    play("access", Database::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_rows_and_a_hundred_events_a_second_leave_it_usable() {
    play("crowd", Database::sqlite()).await;
}

/// Plays one scenario of `tests/client/dashboard.mjs` on a server of its own.
async fn play(scenario: &str, database: Database) {
    variable("BOOKBELL_TEST_CHROMIUM");
    let server = Server::start(database);
    let arguments = [
        scenario,
        "--url",
        &server.url,
        "--email",
        ADMIN.0,
        "--password",
        ADMIN.1,
        "--key",
        KEY,
        "--bookbell",
        env!("CARGO_BIN_EXE_bookbell"),
        "--fixtures",
        concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures"),
    ];
    let mut script = Script::start("dashboard.mjs", &arguments);
    let deadline = Instant::now() + 4 * PATIENCE;
    let mut last = Value::Null;
    while let Some(report) = script.next(scenario, deadline).await {
        println!("{report}");
        last = report;
    }
    assert_eq!(last, json!({ "type": "done", "scenario": scenario }));
}

#[test]
fn the_page_searches_in_the_form_the_program_does() {
    let texts = [
        "Émile ZOLÀ",
        "Søren",
        "Łukasz",
        "ĐẶNG",
        "Ægir",
        "Œuvre",
        "Işık",
        "Þór Höfði",
        "STRAẞE ﬁ",
        "ħ ŋ ŧ ə Ɓ ɖ Ɗ ɛ Ɔ ƙ Ɲ ƴ",
        "ΚΩΣΤΑΣ",
    ];
    // Node takes a file that ends in .js and has no package for CommonJS, so the text is imported.
    let script = "const [, page, texts] = process.argv; \
        const { searchKey } = await import('data:text/javascript,' + encodeURIComponent(page)); \
        console.log(JSON.stringify(JSON.parse(texts).map(searchKey)));";
    let node = std::process::Command::new("node")
        .args(["--input-type=module", "-e", script, &text("filter.js")])
        .arg(json!(texts).to_string())
        .output()
        .unwrap();
    let keys: Value = serde_json::from_slice(&node.stdout).unwrap_or_default();
    let told = String::from_utf8_lossy(&node.stderr);
    assert_eq!(keys, json!(texts.map(search_key)), "{told}");
}

/// What a browser gets, with these headers.
async fn get(app: &TestApp, path: &str, headers: &[(&str, &str)]) -> Reply {
    app.send(Method::GET, path, None, headers, None).await
}

/// Every file of the page's folder, by its path in there.
fn files() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(FOLDER)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(FOLDER).unwrap();
                found.push(name.to_str().unwrap().to_owned());
            }
        }
    }
    found
}

fn text(name: &str) -> String {
    std::fs::read_to_string(Path::new(FOLDER).join(name)).unwrap()
}

/// Whether the program serves it; the others are there for those who work on the page.
fn is_served(name: &str) -> bool {
    let kind = Path::new(name).extension().and_then(|end| end.to_str());
    ["js", "mjs", "css", "svg"].map(Some).contains(&kind) && name != "vendor/refresh.mjs"
}

#[test]
fn vendored_files_are_those_of_the_manifest() {
    let manifest: Value = serde_json::from_str(&text("vendor/manifest.json")).unwrap();
    let manifest = manifest.as_object().unwrap();
    let licenses = text("vendor/LICENSES.txt");
    for (name, of) in manifest {
        let bytes = std::fs::read(format!("{FOLDER}/vendor/{name}")).unwrap();
        assert_eq!(of["sha256"], hex::encode(Sha256::digest(bytes)), "{name}");
        let package = of["package"].as_str().unwrap();
        let title = format!("{package} {}", of["version"].as_str().unwrap());
        assert!(licenses.contains(&title), "the licence of {title}");
    }
    let vendored = files()
        .into_iter()
        .filter(|name| name.starts_with("vendor/") && is_served(name));
    let vendored: BTreeSet<String> = vendored
        .map(|name| name["vendor/".len()..].into())
        .collect();
    assert_eq!(vendored, manifest.keys().cloned().collect());
}

#[tokio::test]
async fn every_file_is_served_and_the_first_load_is_small() {
    let app = TestApp::sqlite().await;
    let gzip = [("accept-encoding", "br, gzip")];
    let page = get(&app, "/", &gzip).await;
    let mut sum = page.bytes.len();
    for name in files().iter().filter(|name| is_served(name)) {
        let path = format!("/assets/{name}");
        let plain = get(&app, &path, &[]).await;
        assert_eq!(
            (plain.status.as_u16(), &plain.bytes[..]),
            (200, text(name).as_bytes()),
            "{name}"
        );
        let packed = get(&app, &path, &gzip).await;
        assert_eq!(packed.header("content-encoding"), Some("gzip"), "{name}");
        assert_ne!(packed.header("etag"), plain.header("etag"), "{name}");
        sum += packed.bytes.len();
    }
    println!("the first load is {sum} bytes");
    assert!(sum < 150_000, "the first load is {sum} bytes");
}

#[tokio::test]
async fn browsers_keep_files_and_ask_for_the_page_only() {
    let app = TestApp::sqlite().await;
    let page = get(&app, "/", &[]).await;
    let text = String::from_utf8(page.bytes.clone()).unwrap();
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    let (_, behind) = text.split_once("src=\"").unwrap();
    let script = behind.split_once('"').unwrap().0;
    assert!(
        script.ends_with("/app.js") && script.len() > "/assets/app.js".len(),
        "{script}"
    );
    let kept = get(&app, script, &[]).await;
    assert_eq!(
        kept.header("cache-control"),
        Some("public, max-age=31536000, immutable")
    );
    let known = [("if-none-match", page.header("etag").unwrap())];
    assert_eq!(get(&app, "/", &known).await.status.as_u16(), 304);
    let policy = page.header("content-security-policy").unwrap();
    assert!(!policy.contains("unsafe"), "{policy}");
    let map = text
        .split_once("importmap\">")
        .unwrap()
        .1
        .split_once("</script>")
        .unwrap()
        .0;
    let hash = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, Sha256::digest(map));
    assert!(policy.contains(&format!("'sha256-{hash}'")), "{policy}");
}

/// The keys of a file of words: what stands before a colon at two spaces.
fn keys(name: &str) -> BTreeSet<String> {
    let text = text(name);
    let lines = text.lines().filter_map(|line| line.strip_prefix("  "));
    let entries = lines.filter(|line| !line.starts_with(' '));
    let entries = entries.filter_map(|line| line.split_once(": "));
    entries
        .map(|(key, _)| key.trim_matches('\'').to_owned())
        .collect()
}

#[test]
fn every_text_is_there_in_both_languages() {
    let english = keys("words/en.js");
    assert!(english.len() > 200, "{}", english.len());
    assert_eq!(english, keys("words/fr.js"));
    for name in files()
        .iter()
        .filter(|name| is_served(name) && !name.starts_with("words/"))
    {
        let code = text(name);
        for (at, start) in code.match_indices("t('") {
            let before = code[..at].chars().next_back();
            let key = code[at + start.len()..].split('\'').next().unwrap();
            let called = !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '.');
            assert!(!called || english.contains(key), "{name} says {key}");
        }
    }
}
