//! When polling clients ask, the one sign that a connection's buffer was emptied, and where they
//! go over to a WebSocket.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{Method, Request};
use tokio::sync::watch;

use crate::net::Peer;

/// How many connections of each kind wait to be known.
const WAITING: usize = 1024;

/// TCP connections by which clients came before they were authenticated, by the client's id.
#[derive(Debug, Default)]
struct Waiting(VecDeque<(String, Peer)>);

impl Waiting {
    fn push(&mut self, id: &str, peer: &Peer) {
        if self.0.len() == WAITING {
            self.0.pop_front();
        }
        self.0.push_back((id.to_owned(), peer.clone()));
    }

    /// Lets a client's be known; answers the last of them.
    fn prove(&mut self, client: &str) -> Option<Peer> {
        let mut last = None;
        self.0.retain(|(id, peer)| {
            let its = id == client;
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
    polls: HashMap<String, Polling>,
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
    /// TCP connection it comes.
    pub(super) fn note<B>(&self, request: &Request<B>) {
        let query = request.uri().query().unwrap_or_default();
        let mut pairs = query.split('&');
        let Some(id) = pairs.find_map(|pair| pair.strip_prefix("sid=")) else {
            return;
        };
        let peer = request.extensions().get::<Peer>();
        let polling = query.contains("transport=polling");
        let mut clients = self.lock();
        if let Some(client) = clients.polls.get_mut(id) {
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
    pub(super) fn watch(self: &Arc<Self>, connection: String) -> Polled {
        let (sender, count) = watch::channel(0);
        let mut clients = self.lock();
        clients.polled.prove(&connection);
        let client = Polling {
            count: sender,
            upgraded: clients.upgraded.prove(&connection),
        };
        clients.polls.insert(connection.clone(), client);
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
    connection: String,
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

    #[test]
    fn only_polls_of_a_known_connection_count() {
        let polls = Arc::new(Polls::default());
        let mut polled = polls.watch("abc".to_owned());
        polls.note(&request("GET", "/x/?EIO=4&transport=polling&t=1&sid=abc"));
        assert_eq!(polled.count(), 1);
        polls.note(&request("POST", "/x/?EIO=4&transport=polling&sid=abc"));
        polls.note(&request("GET", "/x/?EIO=4&transport=websocket&sid=abc"));
        polls.note(&request("GET", "/x/?EIO=4&transport=polling&sid=abcd"));
        polls.note(&request("GET", "/x/?EIO=4&transport=polling"));
        polls.note(&request("GET", "/x/"));
        assert_eq!(polled.count(), 1);
        drop(polled);
        polls.note(&request("GET", "/x/?EIO=4&transport=polling&sid=abc"));
        assert!(polls.lock().polls.is_empty());
    }

    #[test]
    fn connections_that_came_before_the_client_was_authenticated_are_known_then() {
        let polls = Arc::new(Polls::default());
        let came = |uri| {
            let (peer, mut request) = (Peer::alone(), request("GET", uri));
            request.extensions_mut().insert(peer.clone());
            polls.note(&request);
            peer
        };
        let polled = came("/x/?EIO=4&transport=polling&sid=abc");
        let upgraded = came("/x/?EIO=4&transport=websocket&sid=abc");
        let other = came("/x/?EIO=4&transport=polling&sid=abcd");
        assert!(!polled.is_known() && !upgraded.is_known());
        let watched = polls.watch("abc".to_owned());
        assert!(polled.is_known() && upgraded.is_known() && !other.is_known());
        assert!(watched.upgraded().is_some());
    }
}
