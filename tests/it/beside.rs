//! Batches that are folded beside each other: what was read before others committed is written only
//! where they changed nothing (law 3, and law 5 with it).

use std::collections::BTreeSet;

use axum::http::Method;
use bookbell::domain::event::{Audience, Event, NewEvent};
use bookbell::domain::ids::UuidV7;
use bookbell::store::events::{Expected, Position};
use bookbell::store::inserts::Unwritten;
use bookbell::store::line::Line;
use bookbell::store::{self, Error, Store};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::metrics::scrape;
use crate::support::api::Api;
use crate::support::app::TestApp;
use crate::support::database::Database;
use crate::support::on_each_database;
use crate::support::payload::Booking;
use crate::support::server::{PATIENCE, Server};

/// The lock of a batch that others wait for.
const LOCK: i64 = 11;

fn event() -> NewEvent {
    NewEvent::new("test", &json!({}), Audience::admins())
}

async fn position(line: &mut Line) -> Position {
    line.end_reading().unwrap();
    let (mut db, complete) = (line.db().unwrap(), BTreeSet::new());
    let loaded = store::fold::load_and_recognize(&mut db, vec!["key"], &[], &complete);
    loaded.await.unwrap().position.unwrap()
}

/// The turn that a batch takes here.
const TURN: i64 = 77;

async fn write(
    line: &mut Line,
    position: Position,
    behind: Option<i64>,
) -> store::Result<Vec<Event>> {
    let turn = TURN;
    let expected = Expected {
        position,
        behind,
        turn,
    };
    let (now, rows) = ((0, &UuidV7::new() as _), Unwritten::default());
    let written = line.write(rows, vec![event()], expected, now);
    timeout(PATIENCE, written).await.unwrap()
}

async fn seqs(store: &Store) -> Vec<i64> {
    let mut reader = store.read().await.unwrap();
    let events = store::events::after(&mut reader.db(), 0, 100).await;
    events.unwrap().iter().map(|event| event.seq).collect()
}

on_each_database![
    what_was_read_before_somebody_changed_something_is_not_written,
    a_batch_is_committed_where_the_one_before_it_left_the_log,
    another_change_of_as_many_events_is_not_the_batch_before_it,
    what_comes_in_large_batches_is_folded_as_by_itself,
];

async fn what_was_read_before_somebody_changed_something_is_not_written(database: Database) {
    let store = Store::open(&database.url).await.unwrap();
    let mut line = store.line().await.unwrap();
    // A change that the log does not tell of counts too: who owns what may depend on it.
    for told in [vec![event()], Vec::new()] {
        let read = position(&mut line).await;
        let before = seqs(&store).await.len() + told.len();
        let tx = store.begin_fold().await.unwrap();
        tx.commit(told, 0, &UuidV7::new()).await.unwrap();
        let written = write(&mut line, read, None).await;
        assert!(matches!(written, Err(Error::Conflict(_))), "{written:?}");
        assert_eq!(seqs(&store).await.len(), before);
        let read = position(&mut line).await;
        write(&mut line, read, None).await.unwrap();
    }
    assert_eq!(seqs(&store).await, [1, 2, 3]);
}

async fn a_batch_is_committed_where_the_one_before_it_left_the_log(database: Database) {
    let store = Store::open(&database.url).await.unwrap();
    let mut lines = [store.line().await.unwrap(), store.line().await.unwrap()];
    let read = position(&mut lines[0]).await;
    assert_eq!(position(&mut lines[1]).await, read);
    let early = write(&mut lines[1], read.after(1, TURN), None).await;
    assert!(matches!(early, Err(Error::Conflict(_))), "{early:?}");
    write(&mut lines[0], read, None).await.unwrap();
    write(&mut lines[1], read.after(1, TURN), None)
        .await
        .unwrap();
    assert_eq!(seqs(&store).await, [1, 2]);
    assert_eq!(position(&mut lines[0]).await, read.after(2, TURN));
}

async fn another_change_of_as_many_events_is_not_the_batch_before_it(database: Database) {
    let store = Store::open(&database.url).await.unwrap();
    let mut lines = [store.line().await.unwrap(), store.line().await.unwrap()];
    let read = position(&mut lines[0]).await;
    let tx = store.begin_fold().await.unwrap();
    tx.commit(vec![event()], 0, &UuidV7::new()).await.unwrap();
    for (line, expected) in lines.iter_mut().zip([read, read.after(1, TURN)]) {
        let written = write(line, expected, None).await;
        assert!(matches!(written, Err(Error::Conflict(_))), "{written:?}");
    }
    assert_eq!(seqs(&store).await, [1]);
}

/// On SQLite only large batches are folded beside each other, by the program alone.
async fn what_comes_in_large_batches_is_folded_as_by_itself(database: Database) {
    const PEOPLE: u32 = 400;
    let server = Server::start(database);
    let api = server.api();
    let admin = api.admin().await;
    let mut posts = JoinSet::new();
    for n in 1..=PEOPLE {
        let booking = Booking::new(n, &format!("{n}@x.example"));
        for body in [booking.created(), booking.canceled()] {
            let request = api.signed(&body);
            posts.spawn(async move { Api::try_send(request).await.unwrap().expect(200) });
        }
    }
    let answers = posts.join_all().await;
    let processed = |answer: &Value| answer["status"] == "processed";
    assert!(answers.iter().all(processed), "{answers:?}");
    let deliveries = api.all("/api/deliveries", &admin.token).await;
    let sizes = deliveries.iter().map(|one| &one["timings"]["batchSize"]);
    let largest = sizes.filter_map(Value::as_u64).max();
    assert!(largest > Some(64), "{largest:?}");
    let proposals = api.all("/api/proposals", &admin.token).await;
    assert_eq!(proposals.len(), PEOPLE as usize);
    let canceled = |proposal: &Value| proposal["status"] == "canceled";
    assert!(proposals.iter().all(canceled));
    assert_eq!(
        api.all("/api/prospects", &admin.token).await.len(),
        PEOPLE as usize
    );
    let log = api.events(&admin.token, 0).await;
    let head = api.head(&admin.token).await;
    let seqs: Vec<i64> = log.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (1..=head).collect::<Vec<_>>());
    let made = log.iter().filter(|event| event.name == "prospect:created");
    assert_eq!(made.count(), PEOPLE as usize);
}

async fn until_waiting(database: &Database, connections: i64) {
    let waiting = "SELECT COUNT(*) FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid \
        WHERE NOT l.granted AND a.datname = current_database()";
    let waited = async { while database.numbers(waiting).await != [connections] {} };
    timeout(PATIENCE, waited).await.unwrap();
}

/// A batch of which the test is the other side: it has its lock and is not committed.
struct First(PgConnection);

impl First {
    async fn begin(database: &Database) -> Self {
        let mut connection = PgConnection::connect(&database.url).await.unwrap();
        let begin = format!("BEGIN; SELECT pg_advisory_xact_lock({LOCK})");
        sqlx::raw_sql(sqlx::AssertSqlSafe(begin))
            .execute(&mut connection)
            .await
            .unwrap();
        Self(connection)
    }

    /// Ends it once another one waits for it.
    async fn end(self, database: &Database, sql: &'static str) {
        until_waiting(database, 1).await;
        self.finish(sql).await;
    }

    async fn finish(mut self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&mut self.0).await.unwrap();
    }
}

#[tokio::test]
async fn a_batch_is_committed_after_the_one_before_it_or_not_at_all() {
    const COMMIT: &str = "UPDATE event_log SET head_seq = head_seq + 1, turn = 77; \
        INSERT INTO event (seq, id, at_ms, name, payload, admins) \
        VALUES (1, 'first', 0, 'test', '{}', TRUE); COMMIT";
    for (end, expected) in [(COMMIT, vec![1, 2]), ("ROLLBACK", Vec::new())] {
        let database = Database::postgres().await;
        let store = Store::open(&database.url).await.unwrap();
        let mut line = store.line().await.unwrap();
        let first = First::begin(&database).await;
        let read = position(&mut line).await;
        let second = write(&mut line, read.after(1, TURN), Some(LOCK));
        let (written, ()) = tokio::join!(second, first.end(&database, end));
        assert_eq!(written.is_ok(), !expected.is_empty(), "{written:?}");
        assert_eq!(seqs(&store).await, expected);
    }
}

/// It takes positions of the log before the counter, and who signs out tells an event too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_signs_out_and_a_batch_that_waits_do_not_wait_for_each_other() {
    let app = TestApp::postgres().await;
    let (_, token) = app.member("amelie@example.com", None).await;
    let store = &app.app.store;
    let mut line = store.line().await.unwrap();
    let first = First::begin(&app.database).await;
    let read = position(&mut line).await;
    let second = write(&mut line, read, Some(LOCK));
    let sign_out = async {
        until_waiting(&app.database, 1).await;
        app.send(Method::POST, "/api/auth/logout", Some(&token), &[], None)
            .await
    };
    let end = async {
        until_waiting(&app.database, 2).await;
        first.finish("ROLLBACK").await;
    };
    let (written, signed_out, ()) = tokio::join!(second, sign_out, end);
    written.unwrap();
    signed_out.expect(204);
    assert_eq!(seqs(store).await, [1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_was_overtaken_is_folded_again_and_counted() {
    const OVERTAKEN: &str = "bookbell_batches_overtaken_total";
    let app = TestApp::postgres().await;
    scrape(&app).await.expect(&[(OVERTAKEN, 0.0)]);
    // It has the lock; the batch is read meanwhile.
    let tx = app.app.store.begin_fold().await.unwrap();
    let overtake = async {
        until_waiting(&app.database, 1).await;
        tx.commit(vec![event()], 0, &UuidV7::new()).await.unwrap();
    };
    let booking = Booking::new(1, "a@x.example").created();
    let (answer, ()) = tokio::join!(app.deliver(&booking), overtake);
    assert_eq!(answer.expect(200)["status"], "processed");
    scrape(&app).await.expect(&[(OVERTAKEN, 1.0)]);
    assert_eq!(app.all("/api/proposals").await.len(), 1);
}
