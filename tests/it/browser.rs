//! The dashboard in real Chromium: what a person sees, and that hostile text stays text.

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::app::{ADMIN, KEY};
use crate::support::database::Database;
use crate::support::on_each_database;
use crate::support::server::{PATIENCE, Server, bookbell, finish};
use crate::support::subscriber::Script;
use crate::support::variable;

on_each_database![a_hostile_booking_appears_live_and_stays_text];

async fn a_hostile_booking_appears_live_and_stays_text(database: Database) {
    variable("BOOKBELL_TEST_CHROMIUM");
    let server = Server::start(database);
    let picture = server.database.folder.path().join("dashboard.png");
    let (picture, deadline) = (picture.to_str().unwrap(), Instant::now() + PATIENCE);
    let options = [
        "--url",
        &server.url,
        "--email",
        ADMIN.0,
        "--password",
        ADMIN.1,
    ];
    let shot = ["--expect-badge", "1", "--screenshot", picture];
    let mut page = Script::start("page.mjs", &[&options[..], &shot].concat());
    let mut reports: Vec<Value> = Vec::new();
    while let Some(report) = page.next("the page's end", deadline).await {
        let first =
            |kind: &str| report["type"] == kind && reports.iter().all(|r| r["type"] != kind);
        if first("rows") {
            // Only now has the page said what it showed before.
            assert!(reports.iter().any(|r| r["type"] == "live"), "{reports:?}");
            replay_hostile_text(&server);
        }
        reports.push(report);
    }

    let of = |kind: &str| -> Vec<&Value> {
        reports
            .iter()
            .filter(|report| report["type"] == kind)
            .collect()
    };
    let rows = of("rows");
    assert_eq!(rows[0]["rows"], json!([]), "it was empty at first");
    let seen = rows.last().unwrap();
    assert_eq!(seen["badge"], "1", "{seen}");
    assert_eq!(seen["connection"], "live", "{seen}");
    let row = seen["rows"][0].as_str().unwrap();
    assert!(row.contains(r#"<script>alert("booked")</script>"#), "{row}");
    assert_eq!(
        of("xss"),
        [&json!({ "type": "xss", "ran": false, "injected": [] })]
    );
    // At the first visit there is no session to take up: that refusal is all that was logged.
    let errors = of("console_error");
    let unexpected = errors.iter().filter(|error| {
        let url = error["url"].as_str().unwrap();
        !url.ends_with("/api/auth/refresh")
    });
    assert_eq!(unexpected.count(), 0, "{errors:?}");
    let done = of("done")[0];
    assert_eq!(done["finished"], true, "{reports:?}");
    let kinds: Vec<_> = done["faults"].as_object().unwrap().keys().collect();
    assert_eq!(kinds, ["console_error"], "{reports:?}");
    assert!(std::fs::metadata(picture).unwrap().len() > 10_000);
}

fn replay_hostile_text(server: &Server) {
    let url = format!("{}/webhooks/calendly", server.url);
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fixtures/shapes/hostile_markup.json"
    );
    let mut command = bookbell();
    command.args(["replay", file, "--url", &url, "--key", KEY]);
    assert!(finish(&mut command, "").status.success());
}
