//! Many bookings at once, and what must come of them.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};

use super::api::Api;
use super::payload::Booking;
use super::subscriber::Event;

/// How many posts are under way at once.
const SENDERS: u32 = 50;

/// A booking of its own person.
pub fn booking(n: u32) -> Value {
    Booking::new(n, &format!("guest{n}@example.org")).created()
}

/// Posts a booking until it is answered 2xx, as Calendly does, only sooner. Answers which
/// delivery it is.
async fn deliver_at_last(api: &Api, n: u32) -> String {
    let body = booking(n);
    loop {
        if let Ok(reply) = Api::try_send(api.signed(&body)).await
            && reply.status.is_success()
        {
            return reply.json()["deliveryId"].as_str().unwrap().to_owned();
        }
        // A sender's pause, so that it does not spin while nobody listens.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Posts bookings, many at once, each until it is answered 2xx. Answers which deliveries they are.
pub fn post(apis: &[&Api], numbers: RangeInclusive<u32>) -> JoinHandle<HashSet<String>> {
    let next = Arc::new(AtomicU32::new(*numbers.start()));
    let mut senders = JoinSet::new();
    for n in 0..SENDERS as usize {
        let (api, next, last) = (apis[n % apis.len()].clone(), next.clone(), *numbers.end());
        senders.spawn(async move {
            let mut ids = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n > last {
                    return ids;
                }
                ids.push(deliver_at_last(&api, n).await);
            }
        });
    }
    tokio::spawn(async move { senders.join_all().await.into_iter().flatten().collect() })
}

/// Checks for one prospect and one proposal of each booking, and nothing else, in order.
#[track_caller]
pub fn expect_each_once(events: &[Event], bookings: usize) {
    assert!(events.is_sorted_by(|a, b| a.seq < b.seq), "out of order");
    let those = |name: &str, field: &str| -> HashSet<String> {
        let named = events.iter().filter(|event| event.name == name);
        named
            .map(|event| event.payload[field].to_string())
            .collect()
    };
    assert_eq!(those("prospect:created", "email").len(), bookings);
    assert_eq!(those("proposal-created", "prospectId").len(), bookings);
    assert_eq!(events.len(), 2 * bookings);
}

/// Checks that a client heard exactly what the log holds, and says where it did not.
#[track_caller]
pub fn expect_same(id: &str, heard: &[Event], log: &[Event]) {
    let apart = heard
        .iter()
        .zip(log)
        .position(|(heard, held)| heard != held);
    let near = apart.map(|at| {
        let near = at.saturating_sub(2)..(at + 3).min(heard.len());
        heard[near]
            .iter()
            .map(|event| event.seq)
            .collect::<Vec<_>>()
    });
    assert!(
        apart.is_none() && heard.len() == log.len(),
        "{id} heard {} of {} events, apart from {apart:?}: {near:?}",
        heard.len(),
        log.len(),
    );
}

/// Posts bookings of 100 kB each, one after the other: more than the buffers between the server
/// and a client that does not read can hold.
pub async fn post_long(api: &Api, count: u32) {
    for n in 1..=count {
        let mut body = booking(n);
        let answers = &mut body["payload"]["questions_and_answers"];
        answers[0]["answer"] = json!("long ".repeat(20_000));
        api.deliver(&body).await.expect(200);
    }
}
