//! SQLite's write-ahead log: written in large pieces, copied beside the writes, and begun anew.

use std::time::{Duration, Instant};

use bookbell::app::App;
use bookbell::domain::ids::UuidV7;
use bookbell::jobs::checkpoint;
use bookbell::store::{Store, Tx, settings};

use tokio_util::sync::CancellationToken;

use crate::support::app::TestApp;
use crate::support::database::Database;
use crate::support::payload::Booking;
use crate::support::process::writes_of_this_thread;
use crate::support::server::PATIENCE;

async fn book(app: &TestApp, people: std::ops::Range<u32>) {
    for n in people {
        let booking = Booking::new(n, &format!("p{n}@example.com"));
        app.deliver(&booking.created()).await.expect(200);
    }
}

async fn pages(app: &App) -> i64 {
    app.store.wal().await.unwrap().unwrap().pages
}

#[tokio::test]
async fn a_log_that_was_copied_is_begun_anew() {
    let app = TestApp::sqlite().await;
    book(&app, 0..20).await;
    let before = pages(&app.app).await;
    app.app.store.checkpoint().await.unwrap();
    book(&app, 20..21).await;
    let after = pages(&app.app).await;
    assert!(after < before / 2, "{before} pages, then {after}");
    assert_eq!(app.all("/api/prospects").await.len(), 21);
}

#[tokio::test]
async fn a_long_read_holds_up_neither_the_copying_nor_those_who_write() {
    let app = TestApp::sqlite().await;
    book(&app, 0..3).await;
    let reading = app.app.store.snapshot().await.unwrap();
    book(&app, 3..6).await;
    let begun = Instant::now();
    app.app.store.checkpoint().await.unwrap();
    book(&app, 6..9).await;
    // SQLite would wait five seconds for whoever reads.
    assert!(begun.elapsed() < Duration::from_secs(4));
    // Not dropped: it would end at some later time.
    reading.commit(Vec::new(), 0, &UuidV7::new()).await.unwrap();
    let wal = app.app.store.wal().await.unwrap().unwrap();
    assert!(wal.copied < wal.pages, "{wal:?}");
    app.app.store.checkpoint().await.unwrap();
    let wal = app.app.store.wal().await.unwrap().unwrap();
    assert_eq!(wal.copied, wal.pages);
}

#[tokio::test]
async fn what_is_written_without_an_event_is_copied_too() {
    let app = TestApp::sqlite().await;
    let job = checkpoint::run(app.app.clone(), CancellationToken::new());
    let job = tokio::spawn(job);
    let mut tx = app.app.store.begin().await.unwrap();
    settings::put(&mut tx.db(), "nothing", "much")
        .await
        .unwrap();
    tx.commit(Vec::new(), 0, &UuidV7::new()).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let wal = app.app.store.wal().await.unwrap().unwrap();
        if wal.copied == wal.pages {
            break;
        }
        assert!(Instant::now() < deadline, "{wal:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    job.abort();
}

#[tokio::test]
async fn what_was_copied_under_writes_is_all_there_when_the_file_is_opened_again() {
    let app = TestApp::sqlite().await;
    let copying = async {
        for _ in 0..20 {
            app.app.store.checkpoint().await.unwrap();
        }
    };
    tokio::join!(book(&app, 0..30), copying);
    app.app.store.close(Duration::from_secs(5)).await;
    let again = Store::open(&app.database.url).await.unwrap();
    let count = "SELECT CAST(COUNT(*) AS BIGINT) FROM delivery";
    let mut reader = again.read().await.unwrap();
    assert_eq!(reader.db().fetch_int(count, Vec::new()).await.unwrap(), 30);
}

async fn put(tx: &mut Tx, name: &str, value: &str) {
    settings::put(&mut tx.db(), name, value).await.unwrap();
}

#[tokio::test]
async fn a_commit_goes_into_the_log_in_a_few_writes() {
    let database = Database::sqlite();
    let store = Store::open(&database.url).await.unwrap();
    let mut batch = store.begin_batch().await.unwrap();
    let value = "x".repeat(32 << 10);
    for n in 0..50 {
        put(&mut batch, &format!("value-{n}"), &value).await;
    }
    let before = writes_of_this_thread();
    batch.commit(Vec::new(), 0, &UuidV7::new()).await.unwrap();
    // More than 400 pages: SQLite by itself writes each, and a header before each.
    let writes = writes_of_this_thread() - before;
    assert!((1..50).contains(&writes), "{writes} writes");
}

#[tokio::test]
async fn a_large_batch_that_is_taken_back_leaves_nothing_for_those_who_write_next() {
    let database = Database::sqlite();
    let store = Store::open(&database.url).await.unwrap();
    let (lost, kept) = ("lost ".repeat(6500), "kept ".repeat(6500));
    // About as much as the connection remembers, and a little more: that little SQLite would
    // write before the commit, just where others write next.
    for size in 100..120 {
        let mut taken_back = store.begin_batch().await.unwrap();
        for n in 0..size {
            put(&mut taken_back, &format!("lost-{n}"), &lost).await;
        }
        drop(taken_back);
        let mut other = store.begin().await.unwrap();
        put(&mut other, &format!("other-{size}"), &kept).await;
        other.commit(Vec::new(), 0, &UuidV7::new()).await.unwrap();
        let mut batch = store.begin_batch().await.unwrap();
        put(&mut batch, &format!("batch-{size}"), &kept).await;
        batch.commit(Vec::new(), 0, &UuidV7::new()).await.unwrap();
    }
    store.close(Duration::from_secs(5)).await;
    let again = Store::open(&database.url).await.unwrap();
    let mut reader = again.read().await.unwrap();
    let mut db = reader.db();
    let count = "SELECT CAST(COUNT(*) AS BIGINT) FROM setting WHERE value = $1";
    assert_eq!(db.fetch_int(count, vec![kept.into()]).await.unwrap(), 40);
    let check = "SELECT CAST(COUNT(*) AS BIGINT) FROM pragma_integrity_check \
         WHERE integrity_check <> 'ok'";
    assert_eq!(db.fetch_int(check, Vec::new()).await.unwrap(), 0);
}
