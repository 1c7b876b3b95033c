//! The line between a client and the server is cut again and again while bookings flow.

use crate::support::database::Database;
use crate::support::faults::{Audience, People, expect_nothing_lost};
use crate::support::on_each_database;
use crate::support::proxy::Proxy;
use crate::support::sender::Sender;
use crate::support::server::Server;
use crate::support::soak::{Chance, Rounds, rate, scaled};

on_each_database![a_line_that_is_cut_again_and_again_loses_nothing];

/// How long a cut lasts, in milliseconds.
fn cut_ms() -> u64 {
    scaled(300, 2000)
}

async fn a_line_that_is_cut_again_and_again_loses_nothing(database: Database) {
    let mut chance = Chance::new();
    let server = Server::start(database);
    let people = People::of(&server.api()).await;
    let proxy = Proxy::start(&server.url).await;
    let mut audience = Audience::join(&proxy.url, &people).await;
    let sender = Sender::start(&[server.api()], &chance, rate());
    let mut cuts = 0;
    for () in Rounds::new(6) {
        let before = audience.connects();
        sender.advance(scaled(40, 150)).await;
        let (silent, down) = chance.split_ms(cut_ms());
        proxy.cut(silent, down).await;
        cuts += 1;
        audience.all_connect_after(&before).await;
    }
    expect_nothing_lost(sender, &server, &people, &mut audience).await;
    for disconnects in audience.disconnects() {
        assert!(disconnects >= cuts, "{disconnects} of {cuts} cuts");
    }
}
