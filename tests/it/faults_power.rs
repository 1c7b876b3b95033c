//! Power loss: of what the program wrote, only what was synced is sure to be there, and of the
//! rest any part may be. What was answered 2xx is found again, and nothing is torn.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, interval};

use crate::support::database::Database;
use crate::support::disk::{Record, Recorder, Taken};
use crate::support::faults::{People, expect_no_hole};
use crate::support::load::booking;
use crate::support::sender::Sender;
use crate::support::server::{PATIENCE, Server};
use crate::support::soak::{Chance, Rounds, rate};

/// How often the log is begun anew in a round.
const LIVES: usize = 6;

fn start() -> (Server, Recorder) {
    let database = Database::sqlite();
    let recorder = Recorder::new(database.folder.path());
    let server = Server::start_with(database, &recorder.environment());
    (server, recorder)
}

/// Waits until all of the log is in the file, as it is soon when nothing is written.
async fn copied(recorder: &Recorder) {
    let deadline = Instant::now() + PATIENCE;
    let mut ticks = interval(Duration::from_millis(50));
    while !recorder.read().is_copied() {
        assert!(Instant::now() < deadline, "the log is not copied");
        ticks.tick().await;
    }
}

/// A moment at which the power may go.
struct Moment {
    /// How much had been done to the files.
    steps: usize,
    /// What was answered 2xx before.
    answered: HashSet<String>,
}

impl Moment {
    fn of(sender: &Sender, recorder: &Recorder) -> Self {
        // The answers first: what they tell of was synced by then.
        let answered = sender.acknowledged();
        let steps = recorder.read().len();
        Self { steps, answered }
    }

    /// Checks what is found when the power goes at this moment, or up to so many steps later.
    async fn expect(&self, record: &Record, steps: usize, taken: Taken, chance: &mut Chance) {
        let found = record.found(steps, taken, chance);
        let kept = whole(&found).await;
        let lost: Vec<&String> = self.answered.difference(&kept).collect();
        let (answered, all) = (self.answered.len(), record.len());
        assert!(
            lost.is_empty(),
            "{} of {answered} lost after {steps} of {all} steps, taken: {taken:?}",
            lost.len(),
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
    let (server, recorder) = start();
    let (api, mut chance) = (server.api(), Chance::new());
    let admin = api.admin().await;
    for n in 1..=20 {
        let body = json!({ "email": format!("p{n}@example.com") });
        let made = api
            .post("/api/prospects", &admin.token, &body)
            .await
            .expect(201);
        let record = recorder.read();
        let found = record.found(record.len(), Taken::Everything, &mut chance);
        let ids = found
            .texts("SELECT id FROM prospect ORDER BY id DESC")
            .await;
        assert_eq!((ids.len(), &*ids[0]), (n, made["id"].as_str().unwrap()));
        if n % 5 == 0 {
            copied(&recorder).await;
        }
    }
}

/// A process is killed between the write of a commit and its sync, and the power goes when the next
/// one may have told of it, and before it writes anything itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_killed_before_it_was_synced_is_synced_before_it_is_told_of() {
    let mut chance = Chance::new();
    let (server, recorder) = start();
    let before = recorder.read().len();
    let first = server.api().deliver(&booking(1)).await.expect(200);
    let id = first["deliveryId"].as_str().unwrap();
    let record = recorder.read();
    drop(server);
    let mut written = None;
    for steps in record.syncs().into_iter().filter(|steps| *steps > before) {
        let found = record.found(steps, Taken::Nothing, &mut chance);
        if whole(&found).await.contains(id) {
            written = Some(steps);
            break;
        }
    }
    let written = written.expect("it was written before it was synced");
    let synced = record.found(written, Taken::Everything, &mut chance);
    assert!(!whole(&synced).await.contains(id));

    let left = record.found(written, Taken::Nothing, &mut chance);
    let recorder = Recorder::new(left.folder.path());
    recorder.after(&record, written);
    let server = Server::start_with(left, &recorder.environment());
    let again = server.api().deliver(&booking(1)).await.expect(200);
    assert_eq!(again, json!({ "status": "duplicate", "deliveryId": id }));
    let record = recorder.read();
    let told = record.written_after(written);
    let found = record.found(told, Taken::Everything, &mut chance);
    assert!(whole(&found).await.contains(id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_2xx_outlives_power_loss() {
    let mut chance = Chance::new();
    for () in Rounds::new(1) {
        let (server, recorder) = start();
        let people = People::of(&server.api()).await;
        let sender = Sender::start(&[server.api()], &chance, rate());
        let mut moments = Vec::new();
        // A log that somebody reads just then is not begun anew.
        let deadline = Instant::now() + PATIENCE;
        while recorder.read().beginnings().len() < LIVES {
            assert!(Instant::now() < deadline, "the log is not begun anew");
            for _ in 0..2 {
                sender.advance(20).await;
                moments.push(Moment::of(&sender, &recorder));
            }
            let _held = sender.hold().await;
            moments.push(Moment::of(&sender, &recorder));
            copied(&recorder).await;
        }
        sender.finish().await;
        let record = recorder.read();
        let beginnings = record.beginnings();

        let ends = moments.iter().skip(1).map(|moment| moment.steps);
        let ends: Vec<usize> = ends.chain([record.len()]).collect();
        for (moment, end) in moments.iter().zip(ends) {
            // At once, and at any time before the next moment.
            let later = u64::try_from(end - moment.steps).unwrap();
            let mut later = || moment.steps + usize::try_from(chance.below(later + 1)).unwrap();
            let cases = [
                (moment.steps, Taken::Everything),
                (later(), Taken::Some),
                (later(), Taken::Some),
                (later(), Taken::Nothing),
            ];
            for (steps, taken) in cases {
                moment.expect(&record, steps, taken, &mut chance).await;
            }
            // And just when the log is begun anew.
            for begun in beginnings
                .iter()
                .filter(|at| (moment.steps..end).contains(*at))
            {
                moment
                    .expect(&record, begun + 1, Taken::Some, &mut chance)
                    .await;
            }
        }
        let last = moments.last().unwrap();
        let found = record.found(last.steps, Taken::Everything, &mut chance);
        let found = Server::start(found);
        let token = &people.admin.token;
        let kept = found.api().all("/api/deliveries", token).await;
        let kept = kept
            .iter()
            .map(|kept| kept["id"].as_str().unwrap().to_owned());
        let kept: HashSet<String> = kept.collect();
        assert!(last.answered.is_subset(&kept));
        found.api().deliver(&booking(1_000_000)).await.expect(200);
    }
}
