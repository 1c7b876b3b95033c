//! When polling clients ask, the one sign that a connection's buffer was emptied, and where they
//! go over to a WebSocket.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{Method, Request};
use socketioxide::socket::Sid;
use tokio::sync::watch;

use super::request::{client, polls};
use crate::net::Peer;

/// How many connections of each kind wait to be known.
const WAITING: usize = 1024;

/// TCP connections by which clients came before they were authenticated, by the client's id.
#[derive(Debug, Default)]
struct Waiting(VecDeque<(Sid, Peer)>);

impl Waiting {
    fn push(&mut self, id: Sid, peer: &Peer) {
        if self.0.len() == WAITING {
            self.0.pop_front();
        }
        self.0.push_back((id, peer.clone()));
    }

    /// Lets a client's be known; answers the last of them.
    fn prove(&mut self, client: Sid) -> Option<Peer> {
        let mut last = None;
        self.0.retain(|(id, peer)| {
            let its = *id == client;
            if its {
                peer.prove();
                last = Some(peer.clone());
            }
            !its
        });
        last
    }
}

/// The polls of each connected client, counted.
#[derive(Debug, Default)]
pub(super) struct Polls(Mutex<Clients>);

#[derive(Debug, Default)]
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
    /// The connection it goes over to for a WebSocket.
    upgraded: Option<Peer>,
}

impl Polls {
    /// Counts a request that is a poll of a known connection, and lets it be known by whichever
    /// TCP connection it comes. What is no id is not kept: it may be as long as a head.
    pub(super) fn note<B>(&self, request: &Request<B>) {
        let Some(id) = client(request.uri()).and_then(|id| id.parse().ok()) else {
            return;
        };
        let peer = request.extensions().get::<Peer>();
        let polling = polls(request.uri());
        let mut clients = self.lock();
        if let Some(client) = clients.polls.get_mut(&id) {
            if request.method() == Method::GET && polling {
                client.count.send_modify(|count| *count += 1);
            }
            peer.inspect(|peer| peer.prove());
            if !polling {
                client.upgraded = peer.cloned();
            }
        } else if let Some(peer) = peer {
            let Clients {
                polled, upgraded, ..
            } = &mut *clients;
            let waiting = if polling { polled } else { upgraded };
            waiting.push(id, peer);
        }
    }

    /// Counts the polls of a connection from now on.
    pub(super) fn watch(self: &Arc<Self>, connection: Sid) -> Polled {
        let (sender, count) = watch::channel(0);
        let mut clients = self.lock();
        clients.polled.prove(connection);
        let client = Polling {
            count: sender,
            upgraded: clients.upgraded.prove(connection),
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

    /// The connection it went over to for a WebSocket, if it did.
    pub(super) fn upgraded(&self) -> Option<Peer> {
        let clients = self.polls.lock();
        clients.polls.get(&self.connection)?.upgraded.clone()
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
        let polls = Arc::new(Polls::default());
        let mut polled = polls.watch(sid());
        polls.note(&ask("GET", "polling", CLIENT));
        assert_eq!(polled.count(), 1);
        polls.note(&ask("POST", "polling", CLIENT));
        polls.note(&ask("GET", "websocket", CLIENT));
        polls.note(&ask("GET", "polling", "aaaaaaaaaaaaaaab"));
        polls.note(&request("GET", "/x/?EIO=4&transport=polling"));
        polls.note(&request("GET", "/x/"));
        assert_eq!(polled.count(), 1);
        drop(polled);
        polls.note(&ask("GET", "polling", CLIENT));
        assert!(polls.lock().polls.is_empty());
    }

    /// Polls once by a TCP connection of its own.
    fn came(polls: &Polls, transport: &str, id: &str) -> Peer {
        let (peer, mut request) = (Peer::alone(), ask("GET", transport, id));
        request.extensions_mut().insert(peer.clone());
        polls.note(&request);
        peer
    }

    #[test]
    fn connections_that_came_before_the_client_was_authenticated_are_known_then() {
        let polls = Arc::new(Polls::default());
        let polled = came(&polls, "polling", CLIENT);
        let upgraded = came(&polls, "websocket", CLIENT);
        let other = came(&polls, "polling", "aaaaaaaaaaaaaaab");
        assert!(!polled.is_known() && !upgraded.is_known());
        let watched = polls.watch(sid());
        assert!(polled.is_known() && upgraded.is_known() && !other.is_known());
        assert!(watched.upgraded().is_some());
    }

    #[test]
    fn what_is_no_id_is_not_kept() {
        let polls = Polls::default();
        let long = "a".repeat(60_000);
        for id in ["", "abc", "aaaaaaaaaaaaaaa!", &long] {
            came(&polls, "polling", id);
            came(&polls, "websocket", id);
        }
        let clients = polls.lock();
        assert!(clients.polled.0.is_empty() && clients.upgraded.0.is_empty());
        drop(clients);
        came(&polls, "polling", CLIENT);
        assert_eq!(polls.lock().polled.0.len(), 1);
    }
}
