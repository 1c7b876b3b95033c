//! When polling clients ask, the one sign that a connection's buffer was emptied, and where they
//! go over to a WebSocket.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use axum::http::{Method, Request};
use socketioxide::socket::Sid;
use tokio::sync::watch;

use super::request::{client, polls};
use crate::net::Peer;

/// A TCP connection by which a client came.
#[derive(Debug, Clone)]
struct Way {
    peer: Peer,
    /// Whether the request that it came with goes on, or the WebSocket that became of it.
    goes_on: Weak<GoesOn>,
}

impl Way {
    fn goes_on(&self) -> bool {
        self.goes_on.strong_count() > 0
    }
}

/// Stays with a request that asks for a WebSocket. engineioxide 0.17.9 keeps the request's parts until
/// it has refused it or the WebSocket is over.
#[derive(Debug)]
struct GoesOn;

/// The ways by which clients came before they were authenticated: the last so many.
#[derive(Debug)]
struct Waiting {
    most: usize,
    /// How many came so far.
    came: u64,
    /// Whose each is, by its number: the first comes first.
    clients: BTreeMap<u64, Sid>,
    ways: BTreeMap<(Sid, u64), Way>,
}

impl Waiting {
    fn new(most: usize) -> Self {
        Self {
            most,
            came: 0,
            clients: BTreeMap::new(),
            ways: BTreeMap::new(),
        }
    }

    fn push(&mut self, client: Sid, way: Way) {
        self.came += 1;
        self.clients.insert(self.came, client);
        self.ways.insert((client, self.came), way);
        if self.clients.len() > self.most
            && let Some((number, client)) = self.clients.pop_first()
        {
            self.ways.remove(&(client, number));
        }
    }

    /// Lets a client's be known, and answers them.
    fn prove(&mut self, client: Sid) -> Vec<Way> {
        let all = (client, 0)..=(client, u64::MAX);
        let mut its = Vec::new();
        for ((_, number), way) in self.ways.extract_if(all, |_, _| true) {
            self.clients.remove(&number);
            way.peer.prove();
            its.push(way);
        }
        its
    }
}

/// The polls of each connected client, counted.
#[derive(Debug)]
pub(super) struct Polls(Mutex<Clients>);

#[derive(Debug)]
struct Clients {
    polls: HashMap<Sid, Polling>,
    /// Connections that clients polled by. Apart from the others, which are fewer and needed more.
    polled: Waiting,
    /// Connections that clients upgraded to.
    upgraded: Waiting,
}

/// A client that polls.
#[derive(Debug)]
struct Polling {
    count: watch::Sender<u64>,
    /// The connections by which it asked for a WebSocket.
    upgrades: Vec<Way>,
}

impl Polls {
    /// Remembers so many connections of each kind until they are known.
    pub(super) fn new(waiting: usize) -> Self {
        Self(Mutex::new(Clients {
            polls: HashMap::new(),
            polled: Waiting::new(waiting),
            upgraded: Waiting::new(waiting),
        }))
    }

    /// Counts a request that is a poll of a known connection, and lets it be known by whichever
    /// TCP connection it comes. What is no id is not kept: it may be as long as a head.
    pub(super) fn note<B>(&self, request: &mut Request<B>) {
        let Some(id) = client(request.uri()).and_then(|id| id.parse().ok()) else {
            return;
        };
        let polling = polls(request.uri());
        let way = Self::way(request, polling);
        let mut clients = self.lock();
        if let Some(client) = clients.polls.get_mut(&id) {
            if request.method() == Method::GET && polling {
                client.count.send_modify(|count| *count += 1);
            }
            if let Some(way) = &way {
                way.peer.prove();
            }
            if !polling {
                client.upgrades.retain(Way::goes_on);
                client.upgrades.extend(way);
            }
        } else if let Some(way) = way {
            let Clients {
                polled, upgraded, ..
            } = &mut *clients;
            let waiting = if polling { polled } else { upgraded };
            waiting.push(id, way);
        }
    }

    fn way<B>(request: &mut Request<B>, polling: bool) -> Option<Way> {
        let peer = request.extensions().get::<Peer>()?.clone();
        if polling {
            let goes_on = Weak::new();
            return Some(Way { peer, goes_on });
        }
        let goes_on = Arc::new(GoesOn);
        let way = Way {
            peer,
            goes_on: Arc::downgrade(&goes_on),
        };
        request.extensions_mut().insert(goes_on);
        Some(way)
    }

    /// Counts the polls of a connection from now on.
    pub(super) fn watch(self: &Arc<Self>, connection: Sid) -> Polled {
        let (sender, count) = watch::channel(0);
        let mut clients = self.lock();
        clients.polled.prove(connection);
        let client = Polling {
            count: sender,
            upgrades: clients.upgraded.prove(connection),
        };
        clients.polls.insert(connection, client);
        drop(clients);
        Polled {
            count,
            connection,
            polls: Arc::clone(self),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Clients> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's polls, counted for as long as this lives.
#[derive(Debug)]
pub(super) struct Polled {
    count: watch::Receiver<u64>,
    connection: Sid,
    polls: Arc<Polls>,
}

impl Polled {
    /// How many there were.
    pub(super) fn count(&mut self) -> u64 {
        *self.count.borrow_and_update()
    }

    /// The connection it went over to for a WebSocket, if it did. Where it asks for more of them, by
    /// other connections, these are refused.
    pub(super) fn upgraded(&self) -> Option<Peer> {
        let clients = self.polls.lock();
        let mut ways = clients.polls.get(&self.connection)?.upgrades.iter();
        Some(ways.find(|way| way.goes_on())?.peer.clone())
    }

    /// Waits until there were so many.
    pub(super) async fn reach(&mut self, polls: u64) {
        let _ = self.count.wait_for(|count| *count >= polls).await;
    }

    /// Waits for more than [`Polled::count`] last said.
    pub(super) async fn more(&mut self) {
        // The sender goes with this value, so it is there.
        let _ = self.count.changed().await;
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        self.polls.lock().polls.remove(&self.connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, uri: &str) -> Request<()> {
        let request = Request::builder().method(method).uri(uri);
        request.body(()).unwrap()
    }

    const CLIENT: &str = "aaaaaaaaaaaaaaaa";

    fn sid() -> Sid {
        CLIENT.parse().unwrap()
    }

    fn ask(method: &str, transport: &str, id: &str) -> Request<()> {
        let uri = format!("/x/?EIO=4&transport={transport}&t=1&sid={id}");
        request(method, &uri)
    }

    #[test]
    fn only_polls_of_a_known_connection_count() {
        let polls = Arc::new(Polls::new(100));
        let mut polled = polls.watch(sid());
        polls.note(&mut ask("GET", "polling", CLIENT));
        assert_eq!(polled.count(), 1);
        polls.note(&mut ask("POST", "polling", CLIENT));
        polls.note(&mut ask("GET", "websocket", CLIENT));
        polls.note(&mut ask("GET", "polling", "aaaaaaaaaaaaaaab"));
        polls.note(&mut request("GET", "/x/?EIO=4&transport=polling"));
        polls.note(&mut request("GET", "/x/"));
        assert_eq!(polled.count(), 1);
        drop(polled);
        polls.note(&mut ask("GET", "polling", CLIENT));
        assert!(polls.lock().polls.is_empty());
    }

    /// Comes by a TCP connection of its own, with a request that goes on.
    fn came(polls: &Polls, transport: &str, id: &str) -> (Peer, Request<()>) {
        let (peer, mut request) = (Peer::alone(), ask("GET", transport, id));
        request.extensions_mut().insert(peer.clone());
        polls.note(&mut request);
        (peer, request)
    }

    #[test]
    fn connections_that_came_before_the_client_was_authenticated_are_known_then() {
        let polls = Arc::new(Polls::new(100));
        let (polled, _) = came(&polls, "polling", CLIENT);
        let (upgraded, _goes_on) = came(&polls, "websocket", CLIENT);
        let (other, _) = came(&polls, "polling", "aaaaaaaaaaaaaaab");
        assert!(!polled.is_known() && !upgraded.is_known());
        let watched = polls.watch(sid());
        assert!(polled.is_known() && upgraded.is_known() && !other.is_known());
        assert!(watched.upgraded().is_some());
    }

    #[test]
    fn as_many_wait_to_be_known_as_there_may_be_strangers() {
        const MOST: usize = 2000;
        let first = |others: usize| {
            let polls = Arc::new(Polls::new(MOST));
            let (polled, _) = came(&polls, "polling", CLIENT);
            let (upgraded, _goes_on) = came(&polls, "websocket", CLIENT);
            for n in 0..others {
                let other = format!("{n:016}");
                came(&polls, "polling", &other);
                came(&polls, "websocket", &other);
            }
            let found = polls.watch(sid()).upgraded().is_some();
            (polled.is_known(), upgraded.is_known(), found)
        };
        assert_eq!(first(MOST - 1), (true, true, true));
        assert_eq!(first(MOST), (false, false, false));
    }

    #[test]
    fn who_is_known_makes_room_for_those_who_wait() {
        let polls = Arc::new(Polls::new(1));
        for n in 0..3 {
            let other = format!("{n:016}");
            let (peer, _) = came(&polls, "polling", &other);
            polls.watch(other.parse().unwrap());
            assert!(peer.is_known());
        }
        let clients = polls.lock();
        assert!(clients.polled.ways.is_empty() && clients.polled.clients.is_empty());
    }

    #[test]
    fn a_client_goes_over_to_the_first_connection_that_goes_on() {
        let polls = Arc::new(Polls::new(100));
        let (_, refused) = came(&polls, "websocket", CLIENT);
        let watched = polls.watch(sid());
        let (used, goes_on) = came(&polls, "websocket", CLIENT);
        let (more, _goes_on) = came(&polls, "websocket", CLIENT);
        drop(refused);
        used.wrote(1);
        assert_eq!(watched.upgraded().unwrap().written(), used.written());
        drop(goes_on);
        assert_eq!(watched.upgraded().unwrap().written(), more.written());
    }

    #[test]
    fn what_is_no_id_is_not_kept() {
        let polls = Polls::new(100);
        let long = "a".repeat(60_000);
        for id in ["", "abc", "aaaaaaaaaaaaaaa!", &long] {
            came(&polls, "polling", id);
            came(&polls, "websocket", id);
        }
        let clients = polls.lock();
        assert!(clients.polled.ways.is_empty() && clients.upgraded.ways.is_empty());
        drop(clients);
        came(&polls, "polling", CLIENT);
        assert_eq!(polls.lock().polled.ways.len(), 1);
    }
}
