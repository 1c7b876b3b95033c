//! `fixtures/README.md` says what there is, and what becomes of each file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::app::TestApp;

const README: &str = include_str!("../../fixtures/README.md");

/// The folders whose files are described one by one.
const ONE_BY_ONE: [&str; 3] = ["events", "shapes", "refused-or-held"];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

/// The rows of the table below a heading, without its first two lines.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = README.split_once(&format!("{heading}\n")).unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with('|'));
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    let cells = |row: &'static str| row.trim_matches('|').split('|').map(str::trim).collect();
    rows.map(cells).collect()
}

/// The name in a row's first cell.
fn name(row: &[&str]) -> String {
    row[0].trim_matches(['`', '/']).to_owned()
}

#[test]
fn every_file_is_described_and_every_number_is_right() {
    let rows = ONE_BY_ONE.map(|of| (of, table(&format!("### {of}/"))));
    for (of, rows) in &rows {
        let described: BTreeSet<String> = rows.iter().map(|row| name(row)).collect();
        assert_eq!(described, names(&folder(of)), "{of}");
        assert_eq!(described.len(), rows.len(), "{of}");
    }
    let stories = table("### stories/");
    let described: BTreeSet<String> = stories.iter().map(|row| name(row)).collect();
    assert_eq!(described, names(&folder("stories")));
    let mut files = 0;
    for row in &stories {
        let count = names(&folder("stories").join(name(row))).len();
        assert_eq!(row[1], count.to_string(), "{row:?}");
        files += count;
    }
    let [events, shapes, held] = rows.map(|(_, rows)| rows.len());
    for said in [
        format!("({events} files)"),
        format!("({shapes} files)"),
        format!("({} folders, {files} files)", stories.len()),
        format!("| {held} bodies that"),
    ] {
        assert!(README.contains(&said), "{said}");
    }
}

/// Adds the hosts, and answers their first names by their ids.
async fn hosts(app: &TestApp) -> Vec<(String, &'static str)> {
    let mut hosts = Vec::new();
    for row in table("## The hosts") {
        let uri = row[2].trim_matches('`');
        let (id, _) = app.member(row[1], Some(uri)).await;
        hosts.push((id, row[0].split(' ').next().unwrap()));
    }
    assert_eq!(hosts.len(), 4);
    hosts
}

/// The word of these that a text has first.
fn first_of<'a>(text: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let places = words
        .into_iter()
        .filter_map(|word| Some((text.find(word)?, word)));
    places.min().map(|(_, word)| word)
}

/// What a file's row says, read off the delivery and the records that it made.
async fn expect_outcome(app: &TestApp, hosts: &[(String, &str)], said: &str, delivery: &Value) {
    let status = delivery["status"].as_str().unwrap();
    if !said.starts_with("processed: ") {
        let verdicts = ["ignored", "quarantined"];
        assert_eq!(first_of(said, verdicts), Some(status), "{said}");
        for reason in ["no_email", "malformed_payload"] {
            let given = delivery["reason"] == reason;
            assert_eq!(said.contains(reason), given, "{said}: {delivery}");
        }
        assert_eq!(delivery["prospectId"], json!(null), "{said}");
        return;
    }
    assert_eq!(status, "processed", "{said}");
    let read = async |list: &str, id: &Value| {
        let path = format!("/api/{list}/{}", id.as_str().unwrap());
        app.get(&path).await.expect(200)
    };
    let prospect = read("prospects", &delivery["prospectId"]).await;
    let owner = hosts.iter().find(|(id, _)| prospect["ownerId"] == **id);
    let owner = owner.map_or("unassigned", |(_, name)| name);
    let names = hosts.iter().map(|(_, name)| *name).chain(["unassigned"]);
    assert_eq!(first_of(said, names), Some(owner), "{said}: {prospect}");
    if said.contains("no proposal") {
        assert_eq!(delivery["proposalId"], json!(null), "{said}");
        return;
    }
    let proposal = read("proposals", &delivery["proposalId"]).await;
    let statuses = ["pending", "canceled", "no_show"];
    let status = first_of(said, statuses);
    assert_eq!(proposal["status"].as_str(), status, "{said}: {proposal}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_becomes_of_each_file_is_what_is_said() {
    let app = TestApp::sqlite().await;
    let hosts = hosts(&app).await;
    for of in ONE_BY_ONE {
        for row in table(&format!("### {of}/")) {
            let body = std::fs::read(folder(of).join(name(&row))).unwrap();
            let answer = app.deliver_raw(body, 0).await.json();
            let path = format!("/api/deliveries/{}", answer["deliveryId"].as_str().unwrap());
            let delivery = app.get(&path).await.expect(200);
            expect_outcome(&app, &hosts, row[2], &delivery).await;
        }
    }
    for story in names(&folder("stories")) {
        let folder = folder("stories").join(story);
        for file in names(&folder) {
            let body = std::fs::read(folder.join(&file)).unwrap();
            let answer = app.deliver_raw(body, 0).await.expect(200);
            assert_eq!(answer["status"], "processed", "{file}");
        }
    }
}
