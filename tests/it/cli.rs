//! The command line: users, signing, replaying, completions, help.

use std::path::Path;
use std::process::Command;

use bookbell::calendly::signature::{Signature, SigningKey};
use serde_json::Value;

use crate::support::api::Api;
use crate::support::app::{ADMIN, KEY};
use crate::support::database::Database;
use crate::support::on_each_database;
use crate::support::server::{Server, bookbell, finish};

on_each_database![
    users_are_managed_beside_a_running_server,
    who_asks_for_users_makes_no_database,
    a_signed_file_is_accepted_as_it_is,
    every_fixture_is_answered_2xx_and_only_once_processed,
    fresh_ids_make_new_bookings_each_time,
];

/// What a command printed and how it ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(command: &mut Command, stdin: &str) -> Ended {
    let output = finish(command, stdin);
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

async fn users_are_managed_beside_a_running_server(database: Database) {
    let server = Server::start(database);
    let user = |arguments: &[&str], stdin: &str| {
        let mut command = bookbell();
        command.arg("user").args(arguments);
        run(command.env("DATABASE_URL", &server.database.url), stdin)
    };
    let add = [
        "add",
        "--email",
        "Ada@Example.com",
        "--name",
        "Ada Example",
        "--role",
        "member",
        "--calendly-user",
        "https://api.calendly.com/users/ada",
        "--password-stdin",
    ];
    let added = user(&add, "a long passphrase\n");
    assert_eq!(added.code, Some(0), "{added:?}");
    assert!(added.stdout.contains("Ada@Example.com"), "{added:?}");
    let api = server.api();
    let ada = api.sign_in("ada@example.com", "a long passphrase").await;

    let again = user(&add, "a long passphrase\n");
    assert_eq!(again.code, Some(1), "{again:?}");
    assert_eq!(again.stderr.lines().count(), 1, "{again:?}");
    let weak = [&add[..2], &["eve@example.com"], &add[3..]].concat();
    for (password, code) in [("short\n", Some(1)), ("", Some(1))] {
        let refused = user(&weak, password);
        assert_eq!(refused.code, code, "{refused:?}");
        assert_eq!(refused.stderr.lines().count(), 1, "{refused:?}");
    }
    let no_password = user(&weak[..7], "");
    assert_eq!(no_password.code, Some(2), "{no_password:?}");
    assert_eq!(no_password.stderr.lines().count(), 1, "{no_password:?}");

    let listed = user(&["list"], "");
    assert_eq!(listed.stdout.lines().count(), 2, "{listed:?}");
    let listed = user(&["list", "--json"], "").stdout;
    let users: Vec<Value> = listed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(users[0]["email"], ADMIN.0);
    assert_eq!(
        users[1]["calendlyUserUri"],
        "https://api.calendly.com/users/ada"
    );
    assert!(!listed.contains("assword"));

    let passwd = ["passwd", "--email", "ADA@example.com", "--password-stdin"];
    let changed = user(&passwd, "another passphrase\n");
    assert_eq!(changed.code, Some(0), "{changed:?}");
    api.sign_in("ada@example.com", "another passphrase").await;
    let out = api.get("/api/auth/me", &ada.token).await;
    out.problem(401, "token_invalid");
    let nobody = [
        "passwd",
        "--email",
        "nobody@example.com",
        "--password-stdin",
    ];
    let unknown = user(&nobody, "another passphrase\n");
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert!(unknown.stderr.contains("nobody@example.com"), "{unknown:?}");
}

async fn who_asks_for_users_makes_no_database(database: Database) {
    let passwd = ["passwd", "--email", "ada@example.com", "--password-stdin"];
    for arguments in [&["list"][..], &passwd] {
        let mut command = bookbell();
        command.arg("user").args(arguments);
        command.args(["--database-url", &database.url]);
        let ended = run(&mut command, "a long passphrase\n");
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("holds nothing yet"), "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    }
    if let Some(path) = database.url.strip_prefix("sqlite://") {
        assert!(!Path::new(path).exists());
    }
}

#[test]
fn a_database_that_cannot_be_reached_is_said_to_be() {
    let folder = tempfile::TempDir::new().unwrap();
    let nowhere = "postgres://localhost:1/bookbell";
    let passwd = [
        "user",
        "passwd",
        "--email",
        "a@example.com",
        "--password-stdin",
    ];
    let commands = [
        &["user", "list"][..],
        &passwd,
        &["rebuild", "--into", "sqlite://into.db"],
    ];
    for arguments in commands {
        let mut command = bookbell();
        command.args(arguments).args(["--database-url", nowhere]);
        let ended = run(command.current_dir(folder.path()), "a long passphrase\n");
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("refused"), "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    }
}

#[test]
fn what_cannot_be_printed_is_said_in_one_line() {
    let database = Database::sqlite();
    let user = ["user", "add", "--email", "ada@example.com", "--name", "Ada"];
    let add = [&user[..], &["--role", "admin", "--password-stdin"]].concat();
    let passwd = [
        "user",
        "passwd",
        "--email",
        "ada@example.com",
        "--password-stdin",
    ];
    let list = ["user", "list"];
    let completions = ["completions", "bash"];
    for arguments in [&add[..], &passwd, &list, &completions] {
        let mut full = Command::new("sh");
        full.args(["-c", "exec \"$0\" \"$@\" >/dev/full"]);
        full.arg(bookbell().get_program()).args(arguments);
        full.env("DATABASE_URL", &database.url);
        let ended = run(&mut full, "a long passphrase\n");
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    }
}

async fn a_signed_file_is_accepted_as_it_is(database: Database) {
    let server = Server::start(database);
    let file = repository().join("fixtures/events/invitee.created.json");
    let url = format!("{}/webhooks/calendly", server.url);
    let mut command = bookbell();
    command.arg("sign").arg(&file);
    let signed = run(command.args(["--key", KEY, "--url", &url]), "");
    assert_eq!(signed.code, Some(0), "{signed:?}");
    let header = signed.stdout.lines().next().unwrap();
    let value = header.strip_prefix("Calendly-Webhook-Signature: ").unwrap();

    let body = std::fs::read(&file).unwrap();
    let signature = Signature::parse(Some(value.as_bytes())).unwrap();
    signature
        .verify(&body, &[SigningKey::new(KEY).unwrap()])
        .unwrap();
    let request = reqwest::Client::builder().build().unwrap().post(&url);
    let request = request
        .header("Calendly-Webhook-Signature", value)
        .body(body);
    let answer = Api::try_send(request).await.unwrap().expect(200);
    assert_eq!(answer["status"], "processed");

    let mut curl = signed
        .stdout
        .lines()
        .filter(|line| line.starts_with("curl "));
    let curl = curl.next().unwrap();
    for part in [value, &url, file.to_str().unwrap()] {
        assert!(curl.contains(part), "{curl}");
    }
    let other = run(bookbell().args(["sign", "/no/such/file", "--key", KEY]), "");
    assert_eq!(other.code, Some(1), "{other:?}");
    assert_eq!(other.stderr.lines().count(), 1, "{other:?}");
}

/// Replays fixtures to a server and answers each answer's line, and the summary's.
fn replay(server: &Server, key: &str, arguments: &[&str]) -> (Ended, Vec<Value>) {
    let mut command = bookbell();
    command.current_dir(repository()).args(["replay", "--json"]);
    let url = format!("{}/webhooks/calendly", server.url);
    let ended = run(
        command.args(["--url", &url, "--key", key]).args(arguments),
        "",
    );
    let lines = ended.stdout.lines();
    let lines = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    (ended, lines)
}

async fn every_fixture_is_answered_2xx_and_only_once_processed(database: Database) {
    let server = Server::start(database);
    let wrong = replay(&server, "another-key", &["fixtures/events"]).0;
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    let (ended, lines) = replay(&server, KEY, &["fixtures"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let summary = &lines.last().unwrap()["summary"];
    assert!(summary["answered"].as_u64().unwrap() > 20, "{summary}");
    assert_eq!(summary["failed"], 0, "{summary}");

    let admin = server.api().admin().await;
    let state = async || {
        let api = server.api();
        let mut all = api.all("/api/prospects", &admin.token).await;
        all.extend(api.all("/api/proposals", &admin.token).await);
        all
    };
    let before = state().await;
    assert!(!before.is_empty());
    let more = [
        "fixtures",
        "--shuffle",
        "--duplicate",
        "2",
        "--concurrency",
        "8",
    ];
    let (ended, lines) = replay(&server, KEY, &more);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let summary = &lines.last().unwrap()["summary"];
    assert!(summary["byStatus"]["processed"].is_null(), "{summary}");
    assert!(state().await == before);

    let nobody = [
        "replay",
        "fixtures/events",
        "--key",
        KEY,
        "--url",
        "http://127.0.0.1:9/",
    ];
    let unreached = run(bookbell().current_dir(repository()).args(nobody), "");
    assert_eq!(unreached.code, Some(1), "{unreached:?}");
}

async fn fresh_ids_make_new_bookings_each_time(database: Database) {
    let server = Server::start(database);
    let api = server.api();
    let admin = api.admin().await;
    let story = ["fixtures/stories/reschedule-chain", "--fresh-ids"];
    for round in 1..=2 {
        assert_eq!(replay(&server, KEY, &story).0.code, Some(0));
        for list in ["prospects", "proposals"] {
            let records = api.all(&format!("/api/{list}"), &admin.token).await;
            assert_eq!(records.len(), round, "{list}");
        }
    }
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let printed = run(bookbell().args(["completions", shell]), "");
        assert_eq!(printed.code, Some(0), "{printed:?}");
        for command in ["replay", "rebuild"] {
            assert!(printed.stdout.contains(command), "{shell}");
        }
    }
    let unknown = run(bookbell().args(["completions", "sh0"]), "");
    assert_eq!(unknown.code, Some(2));
    assert_eq!(unknown.stderr.lines().count(), 1, "{unknown:?}");
}

#[test]
fn every_command_helps_with_an_example() {
    let commands: [&[&str]; 10] = [
        &[],
        &["serve"],
        &["replay"],
        &["rebuild"],
        &["sign"],
        &["user"],
        &["user", "add"],
        &["user", "list"],
        &["user", "passwd"],
        &["completions"],
    ];
    for command in commands {
        let help = run(bookbell().args(command).arg("--help"), "");
        assert_eq!(help.code, Some(0), "{command:?}");
        let example = help.stdout.split("Example").nth(1).unwrap_or_default();
        let line = ["bookbell", &command.join(" ")].join(" ");
        assert!(
            example.contains(line.trim()),
            "{command:?}: {}",
            help.stdout
        );
    }
}

#[test]
fn what_makes_no_sense_is_one_line_and_exit_code_2() {
    let add = |email, role| {
        let start = ["user", "add", "--name", "Ada", "--password-stdin"];
        [&start[..], &["--email", email, "--role", role]].concat()
    };
    let (boss, nope) = (add("ada@example.com", "boss"), add("nope", "admin"));
    let folder = tempfile::TempDir::new().unwrap();
    let lines: [&[&str]; 11] = [
        &["serv"],
        &["rebuild"],
        &["serve", "--no-such-flag"],
        &["replay"],
        &["sign", "x.json"],
        &["user", "add", "--email", "ada@example.com"],
        &boss,
        &nope,
        &["user", "list", "--database-url", "bookbell.db"],
        &["rebuild", "--into", "foo"],
        &[
            "rebuild",
            "--into",
            "sqlite://x",
            "--database-url",
            "postgres://localhost:no-port/x",
        ],
    ];
    for line in lines {
        let mut command = bookbell();
        let ended = run(command.args(line).current_dir(folder.path()), "");
        assert_eq!(ended.code, Some(2), "{line:?} {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        assert!(ended.stdout.is_empty(), "{ended:?}");
    }
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0, "something was made for nothing");
}
