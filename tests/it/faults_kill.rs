//! `kill -9` at random moments: what was answered 2xx is there, once, and everybody hears it.

use std::time::Duration;

use tokio::time::sleep;

use crate::support::database::Database;
use crate::support::faults::{Audience, People, expect_nothing_lost};
use crate::support::on_each_database;
use crate::support::sender::Sender;
use crate::support::server::Server;
use crate::support::soak::{Chance, Rounds, rate, scaled};

on_each_database![
    twenty_kills_amid_load_lose_nothing_and_repeat_nothing,
    a_first_start_that_is_killed_leaves_a_database_that_starts,
];

async fn twenty_kills_amid_load_lose_nothing_and_repeat_nothing(database: Database) {
    let mut chance = Chance::new();
    let mut server = Server::start_to_restart(database);
    let people = People::of(&server.api()).await;
    let mut audience = Audience::join(&server.url, &people).await;
    let sender = Sender::start(&[server.api()], &chance, rate());
    let (mut rounds, mut kills) = (0, 0);
    for () in Rounds::new(20) {
        let answers = 1 + usize::try_from(chance.below(40)).unwrap();
        sender.advance(answers).await;
        // Any moment, not only that of an answer: in the midst of a batch, a commit, a send.
        sleep(chance.ms_below(20)).await;
        let before = audience.connects();
        server.kill();
        kills += 1;
        // Now and then it is killed again before it listens.
        if chance.below(4) == 0 {
            server.restart_and_kill(chance.ms_below(80));
            kills += 1;
        }
        server.restart();
        // Else one that is slow to come back would miss most of the kills.
        rounds += 1;
        if rounds % 5 == 0 {
            audience.all_connect_after(&before).await;
        }
    }
    sender.advance(40).await;
    assert!(kills >= 20);
    expect_nothing_lost(sender, &server, &people, &mut audience).await;
    // The clients went through it too, rather than joining at the end.
    let disconnects = audience.disconnects();
    assert!(disconnects.iter().all(|n| *n >= 3), "{disconnects:?}");
}

/// On `SQLite` the program folds beside the batch being written only when many come at once.
#[tokio::test(flavor = "multi_thread")]
async fn kills_amid_large_batches_lose_nothing_and_repeat_nothing() {
    /// Up to so many deliveries are folded by themselves while none are being written.
    const FEW: usize = 64;
    const SENDERS: usize = 4 * FEW;
    let mut chance = Chance::new();
    let mut server = Server::start_to_restart(Database::sqlite());
    let people = People::of(&server.api()).await;
    let mut audience = Audience::join(&server.url, &people).await;
    let sender = Sender::rush(server.api(), &chance, SENDERS);
    for _ in 0..scaled(6, 40) {
        let answers = SENDERS + usize::try_from(chance.below(200)).unwrap();
        sender.advance(answers).await;
        sleep(chance.ms_below(20)).await;
        server.kill();
        server.restart();
    }
    sender.advance(40).await;
    let token = &people.admin.token;
    let kept = server.api().all("/api/deliveries", token).await;
    let sizes = kept.iter().map(|kept| &kept["timings"]["batchSize"]);
    let large = sizes
        .filter(|size| size.as_u64() > u64::try_from(FEW).ok())
        .count();
    assert!(
        large > 2 * FEW,
        "{large} of {} came in large batches",
        kept.len()
    );
    expect_nothing_lost(sender, &server, &people, &mut audience).await;
}

async fn a_first_start_that_is_killed_leaves_a_database_that_starts(database: Database) {
    let mut chance = Chance::new();
    // A start from nothing takes some dozens of milliseconds; the kills fall within it.
    for n in 0..6 {
        let fresh = database.another().await;
        let mut server = Server::start_and_kill(fresh, chance.ms_below(8));
        for _ in 0..3 {
            server.restart_and_kill(Duration::from_millis(n * 8) + chance.ms_below(8));
        }
        server.restart();
        let admin = server.api().admin().await;
        assert_eq!(server.api().head(&admin.token).await, 0);
    }
}
