//! SQLite's write-ahead log: copied beside the writes, and begun anew.

use std::time::{Duration, Instant};

use bookbell::app::App;
use bookbell::store::Store;

use crate::support::app::TestApp;
use crate::support::payload::Booking;

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
    drop(reading);
    let wal = app.app.store.wal().await.unwrap().unwrap();
    assert!(wal.copied < wal.pages, "{wal:?}");
    app.app.store.checkpoint().await.unwrap();
    let wal = app.app.store.wal().await.unwrap().unwrap();
    assert_eq!(wal.copied, wal.pages);
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
