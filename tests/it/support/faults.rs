//! What must hold after any fault: nothing lost, nothing twice, in order.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::api::{Api, SignedIn};
use super::database::Database;
use super::load::expect_same;
use super::sender::{Delivery, HOSTS, PROCESSED, Sender};
use super::server::Server;
use super::subscriber::{Event, Subscriber};
use crate::folding::canonical;

/// The people of a server under load: its admin, and the members that bookings are with.
pub struct People {
    pub admin: SignedIn,
    pub members: Vec<SignedIn>,
}

impl People {
    pub async fn of(api: &Api) -> Self {
        let admin = api.admin().await;
        let mut members = Vec::new();
        for host in HOSTS {
            members.push(api.member(&admin, host).await);
        }
        Self { admin, members }
    }
}

/// Official clients on every transport, which resume by `since` for as long as it takes.
pub struct Audience {
    pub clients: Subscriber,
    listeners: Vec<(&'static str, SignedIn)>,
}

impl Audience {
    /// Connects them: three of the admin, and one of a member.
    pub async fn join(url: &str, people: &People) -> Self {
        let all: [(_, &[&str], _); 4] = [
            ("polling", &["polling"], &people.admin),
            ("websocket", &["websocket"], &people.admin),
            ("default", &["polling", "websocket"], &people.admin),
            ("member", &["polling", "websocket"], &people.members[0]),
        ];
        let mut clients = Subscriber::start().await;
        let mut listeners = Vec::new();
        for (id, transports, user) in all {
            let options = json!({ "transports": transports, "resume": true });
            clients.join(id, url, &user.token, options).await;
            listeners.push((id, user.clone()));
        }
        Self { clients, listeners }
    }

    /// Waits until each has heard the last event of its log, and checks that it heard the log.
    pub async fn heard_everything(&mut self, api: &Api) {
        for (id, user) in &self.listeners {
            let log = api.events(&user.token, 0).await;
            let last = log.last().expect("nothing happened").seq;
            self.clients.reach(id, last).await;
            expect_same(id, &self.clients.events(id), &log);
        }
    }

    /// How often each has connected.
    pub fn connects(&mut self) -> Vec<usize> {
        self.clients.catch_up();
        self.number_of("connect")
    }

    /// Waits until each has connected once more than before.
    pub async fn all_connect_after(&mut self, before: &[usize]) {
        for ((id, _), before) in self.listeners.iter().zip(before) {
            self.clients.more_than(*before, id, "connect").await;
        }
    }

    /// How often each was disconnected.
    pub fn disconnects(&self) -> Vec<usize> {
        self.number_of("disconnect")
    }

    fn number_of(&self, kind: &str) -> Vec<usize> {
        let ids = self.listeners.iter();
        ids.map(|(id, _)| self.clients.number_of(id, kind))
            .collect()
    }
}

/// Finishes the load, and checks that all of it is there once, that the log has no hole, that the
/// state is what a server that met no fault makes of the same set, and that everybody heard it.
pub async fn expect_nothing_lost(
    sender: Sender,
    server: &Server,
    people: &People,
    audience: &mut Audience,
) {
    let answered = sender.finish().await;
    let api = server.api();
    let token = &people.admin.token;
    audience.heard_everything(&api).await;
    expect_no_hole(&server.database).await;
    expect_log_makes_state(&api, token).await;
    expect_kept(&api, token, &answered).await;

    let clean = Server::start(Database::sqlite());
    let api = clean.api();
    let untroubled = People::of(&api).await;
    deliver_all(&api, &answered).await;
    let expected = state(&api, &untroubled.admin.token).await;
    let found = state(&server.api(), token).await;
    assert_eq!(found.len(), expected.len(), "prospects");
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
}

/// Checks that whoever applies each event of the log to what they have ends with what lists show.
async fn expect_log_makes_state(api: &Api, token: &str) {
    let id = |record: &Value| {
        let id = record["appointmentId"].as_str().or(record["id"].as_str());
        id.unwrap().to_owned()
    };
    let mut records = BTreeMap::new();
    for Event { name, payload, .. } in api.events(token, 0).await {
        let record = match name.as_str() {
            "prospect:created" | "prospect:updated" | "proposal-created" | "proposal-updated" => {
                Some(payload.clone())
            }
            "proposal-status-changed" => Some(payload["proposal"].clone()),
            "prospect:deleted" | "proposal-deleted" => None,
            _ => continue,
        };
        match record {
            Some(record) => records.insert(id(&payload), record),
            None => records.remove(&id(&payload)),
        };
    }
    let prospects = api.all("/api/prospects", token).await;
    let proposals = api.all("/api/proposals", token).await;
    for shown in prospects.iter().chain(&proposals) {
        assert_eq!(records.remove(&id(shown)).as_ref(), Some(shown));
    }
    assert!(records.is_empty(), "told, and not there: {records:?}");
}

/// Checks that the positions of the log are those from 1 on to its head.
pub async fn expect_no_hole(database: &Database) {
    let positions = database.numbers("SELECT seq FROM event ORDER BY seq").await;
    let first_apart = (1..).zip(&positions).find(|(n, seq)| n != *seq);
    assert_eq!(first_apart, None, "a hole in the log");
    let head = database.numbers("SELECT head_seq FROM event_log").await;
    assert_eq!(head, [i64::try_from(positions.len()).unwrap()]);
}

/// Checks that what was answered 2xx is kept once, as what it was answered to be, and the bodies as
/// they were sent.
async fn expect_kept(api: &Api, token: &str, answered: &HashMap<String, Delivery>) {
    /// Of so many one body is looked at; and all of those that are held, which they matter most to.
    const ONE_OF: usize = 16;
    let kept = api.all("/api/deliveries", token).await;
    assert_eq!(kept.len(), answered.len(), "lost, or kept twice");
    let mut looked_at = Vec::new();
    for (n, kept) in kept.iter().enumerate() {
        let id = kept["id"].as_str().unwrap();
        let sent = answered.get(id);
        let sent = sent.unwrap_or_else(|| panic!("nobody was answered: {kept}"));
        let fate = (kept["status"].as_str().unwrap(), kept["reason"].as_str());
        assert_eq!(fate, sent.fate, "{kept}");
        if fate.0 == "quarantined" || n % ONE_OF == 0 {
            looked_at.push((id, sent));
        }
    }
    let read = stream::iter(looked_at).map(async |(id, sent)| {
        let path = format!("/api/deliveries/{id}");
        (api.get(&path, token).await.expect(200), sent)
    });
    let mut read = read.buffer_unordered(32);
    while let Some((kept, sent)) = read.next().await {
        assert_eq!(kept["body"], sent.body.to_string());
    }
}

/// Delivers what says something, to one who met no fault.
async fn deliver_all(api: &Api, sent: &HashMap<String, Delivery>) {
    let telling = sent.values().filter(|sent| sent.fate == PROCESSED);
    let answers = stream::iter(telling).map(|sent| api.deliver(&sent.body));
    let mut answers = answers.buffer_unordered(32);
    while let Some(answer) = answers.next().await {
        answer.expect(200);
    }
}

/// All prospects and proposals, without ids and times of making, with the owners by name.
pub async fn state(api: &Api, token: &str) -> Vec<Value> {
    let prospects = api.all("/api/prospects", token).await;
    let proposals = api.all("/api/proposals", token).await;
    let mut text = Value::from(canonical(prospects, proposals)).to_string();
    for user in api.all("/api/users", token).await {
        let (id, email) = (user["id"].as_str(), user["email"].as_str());
        text = text.replace(id.unwrap(), email.unwrap());
    }
    let mut named: Vec<Value> = serde_json::from_str(&text).unwrap();
    named.sort_by_key(Value::to_string);
    named
}

/// The middle one of these times.
pub fn median(mut took: Vec<Duration>) -> Duration {
    took.sort();
    took[took.len() / 2]
}
