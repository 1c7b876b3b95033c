//! Power loss: of the write-ahead log only what was synced is sure to be there. What was answered
//! 2xx is in it.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

use crate::support::database::Database;
use crate::support::faults::{People, expect_no_hole};
use crate::support::load::booking;
use crate::support::preload::library;
use crate::support::sender::Sender;
use crate::support::server::Server;
use crate::support::soak::{Chance, Rounds, rate};

/// The files of a running server, and what is known of them.
struct Machine {
    server: Server,
    file: PathBuf,
    notes: PathBuf,
}

/// What is left of the files after the power went.
struct Copy {
    file: Vec<u8>,
    wal: Vec<u8>,
    /// What was answered 2xx before.
    answered: HashSet<String>,
    /// How much of the write-ahead log was synced after that.
    synced: usize,
    /// How much of it may be in the file already.
    in_file: usize,
}

impl Machine {
    fn start() -> Self {
        let database = Database::sqlite();
        let folder = database.folder.path().to_owned();
        let library = library(&folder, "synced");
        let notes = folder.join("synced");
        let preload = [
            ("LD_PRELOAD", library.as_str()),
            ("SYNCED_NOTES", notes.to_str().unwrap()),
        ];
        let file = folder.join("bookbell.db");
        let server = Server::start_with(database.clone(), &preload);
        Self {
            server,
            file,
            notes,
        }
    }

    /// How long the write-ahead log was when it was last synced.
    fn synced(&self) -> usize {
        let notes = std::fs::read_to_string(&self.notes).unwrap();
        let mut of_wal = notes.lines().filter_map(|line| {
            let (length, path) = line.split_once(' ')?;
            path.ends_with("bookbell.db-wal").then_some(length)
        });
        of_wal
            .next_back()
            .map_or(0, |length| length.parse().unwrap())
    }

    /// A reader, which keeps what comes from here on in the write-ahead log, so that a copy of the
    /// file fits every length of it.
    async fn keep_log(&self) -> SqliteConnection {
        let mut reader = SqliteConnection::connect(&self.server.database.url)
            .await
            .unwrap();
        let hold = "BEGIN; SELECT COUNT(*) FROM delivery";
        sqlx::raw_sql(hold).execute(&mut reader).await.unwrap();
        reader
    }

    /// Copies the files while the server writes.
    async fn copy(&self, sender: &Sender) -> Copy {
        let reader = self.keep_log().await;
        let in_file = self.synced();
        sender.advance(60).await;
        // While it grows, its end is where it was last written.
        for _ in 0..50 {
            if self.synced() > in_file {
                break;
            }
            sender.advance(10).await;
        }
        let answered = sender.acknowledged();
        let synced = self.synced();
        let file = std::fs::read(&self.file).unwrap();
        let wal = std::fs::read(self.file.with_extension("db-wal")).unwrap();
        reader.close().await.unwrap();
        Copy {
            file,
            wal,
            answered,
            synced,
            in_file,
        }
    }
}

impl Copy {
    /// The database as it is found when the power is back, with so much of the log.
    fn found(&self, wal: usize) -> Database {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("bookbell.db");
        std::fs::write(&file, &self.file).unwrap();
        std::fs::write(file.with_extension("db-wal"), &self.wal[..wal]).unwrap();
        Database {
            url: format!("sqlite://{}", file.display()),
            folder: Arc::new(folder),
        }
    }

    fn expect_all_answered(&self, kept: &HashSet<String>, wal: usize) {
        let lost: Vec<&String> = self.answered.difference(kept).collect();
        let (answered, synced) = (self.answered.len(), self.synced);
        assert!(
            lost.is_empty(),
            "{} of {answered} lost with {wal} of {} bytes, {synced} of them synced",
            lost.len(),
            self.wal.len(),
        );
    }
}

/// Checks that the database is whole, and answers which deliveries are in it.
async fn whole(database: &Database) -> HashSet<String> {
    for check in ["PRAGMA integrity_check", "PRAGMA foreign_key_check"] {
        let said = database.texts(check).await;
        assert!(said.is_empty() || said == ["ok"], "{check}: {said:?}");
    }
    expect_no_hole(database).await;
    // Every booking that is there has its delivery, and every delivery its event's prospect.
    let torn = "SELECT COUNT(*) FROM delivery WHERE status = 'processed' AND prospect_id IS NOT NULL \
        AND NOT EXISTS (SELECT 1 FROM prospect WHERE prospect.id = delivery.prospect_id)";
    assert_eq!(database.numbers(torn).await, [0], "half of a transaction");
    let ids = "SELECT id FROM delivery";
    database.texts(ids).await.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_write_is_on_disk_before_they_are_told() {
    let machine = Machine::start();
    let api = machine.server.api();
    let admin = api.admin().await;
    let _reader = machine.keep_log().await;
    for n in 1..=20 {
        let body = json!({ "email": format!("p{n}@example.com") });
        let made = api
            .post("/api/prospects", &admin.token, &body)
            .await
            .expect(201);
        let synced = machine.synced();
        let copy = Copy {
            file: std::fs::read(&machine.file).unwrap(),
            wal: std::fs::read(machine.file.with_extension("db-wal")).unwrap(),
            answered: HashSet::new(),
            synced,
            in_file: 0,
        };
        let found = copy.found(synced);
        let ids = found
            .texts("SELECT id FROM prospect ORDER BY id DESC")
            .await;
        assert_eq!((ids.len(), &*ids[0]), (n, made["id"].as_str().unwrap()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_2xx_outlives_power_loss() {
    let mut chance = Chance::new();
    for () in Rounds::new(3) {
        // A new one each time: a log that began anew is as long as it ever was.
        let machine = Machine::start();
        let people = People::of(&machine.server.api()).await;
        let sender = Sender::start(&[machine.server.api()], &chance, rate());
        let copy = machine.copy(&sender).await;
        assert!(copy.synced > copy.in_file, "nothing was synced");
        let mut below = |end: usize| usize::try_from(chance.below(end as u64)).unwrap();
        // All of it, what was synced, and any length in between: what the disk wrote by itself.
        let more = copy.wal.len() - copy.synced;
        let enough = [copy.wal.len(), copy.synced, copy.synced + below(more + 1)];
        for wal in enough {
            let found = copy.found(wal);
            copy.expect_all_answered(&whole(&found).await, wal);
        }
        // And any other length: less is there, but nothing is torn.
        for _ in 0..4 {
            let wal = copy.in_file + below(copy.synced - copy.in_file);
            whole(&copy.found(wal)).await;
        }
        let found = Server::start(copy.found(copy.synced));
        let token = &people.admin.token;
        let kept = found.api().all("/api/deliveries", token).await;
        let kept = kept.iter().map(|kept| kept["id"].as_str().unwrap());
        let kept = kept.map(ToOwned::to_owned).collect();
        copy.expect_all_answered(&kept, copy.synced);
        found.api().deliver(&booking(1_000_000)).await.expect(200);
        sender.finish().await;
    }
}
