//! A socket's way out: it puts packets into the connection's buffer as the client can take them, and
//! closes the connection when that is to end.

use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::Serialize;
use socketioxide::extract::SocketRef;
use socketioxide::{SendError, SocketError, TransportType};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::delivery::Stop;
use super::exit::Exit;
use super::flow::{self, Flow};
use super::polls::{Polled, Polls};
use super::request;
use crate::net::Peer;

/// How many packets a client gets between two of its polls. Twice as many, and those engineioxide
/// adds itself, fit into a connection's buffer of 128: a poll is noted just before it empties it.
const BETWEEN_POLLS: usize = 60;

/// How long a full buffer may stay full before the socket is given up. It resumes by `since`.
pub(super) const DRAIN: Duration = Duration::from_secs(20);

/// How long to wait for room in a full buffer: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// How long a polling client has to fetch its last packets before the server closes.
const FETCH: Duration = Duration::from_secs(1);

/// A socket's way out.
pub(super) struct Outlet {
    pub(super) socket: SocketRef,
    /// How often the client has polled; nothing once it has a WebSocket, for good.
    polled: Option<Polled>,
    /// How often it had when the packets below were counted from.
    poll: u64,
    /// How many packets it was given since, and of how many bytes.
    given: usize,
    given_bytes: u64,
    /// The way of its WebSocket, once it has one.
    flow: Option<Flow>,
    /// When it was given the last one.
    last: Instant,
}

impl Outlet {
    pub(super) fn new(socket: SocketRef, polls: &Arc<Polls>) -> Self {
        let polled = polls.watch(socket.id);
        Self {
            socket,
            polled: Some(polled),
            poll: 0,
            given: 0,
            given_bytes: 0,
            flow: None,
            last: Instant::now(),
        }
    }

    /// Waits until a client that polls has what it was given, which it says by asking again. In
    /// one answer with the word that the server closes, stock clients would hold events back
    /// until they are connected again, and then hear them twice.
    pub(super) async fn fetched(&mut self) {
        if self.polls()
            && let Some(polled) = &mut self.polled
        {
            // The poll that fetches it is the next at the latest; the one behind says it arrived.
            let asked_again = self.poll + 2;
            let arrived = polled.reach(asked_again);
            let _ = timeout_at(self.last + FETCH, arrived).await;
        }
    }

    /// Closes its connection after so long, or as the server stops, if it is still open. socketioxide
    /// leaves it to the client, and engineioxide closes a WebSocket only once it has passed on what it
    /// was given, which somebody who takes in a little at a time can make last for minutes.
    pub(super) async fn part(
        &mut self,
        exit: &Weak<Exit>,
        after: Duration,
        stop: &CancellationToken,
    ) {
        let _ = timeout(after, stop.cancelled()).await;
        if self.polls()
            && let Some(exit) = exit.upgrade()
        {
            exit.close(self.socket.id).await;
        }
        // Asked again: it may just have gone over to a WebSocket.
        if !self.polls()
            && let Some(flow) = &self.flow
        {
            flow.abandon();
        }
    }

    /// Sends one packet of about so many bytes, as soon as the client can take it.
    pub(super) async fn send(
        &mut self,
        name: &str,
        data: &impl Serialize,
        bytes: u64,
    ) -> Result<(), Stop> {
        if self.polls() {
            // In a box, as below: what is seldom waited for would take room in every task.
            Box::pin(self.wait_for_poll()).await?;
        }
        if !self.flows() {
            Box::pin(self.wait_for_flow()).await?;
        }
        self.given += 1;
        self.last = Instant::now();
        self.put(name, data).await?;
        self.given_bytes += bytes;
        if let Some(flow) = &mut self.flow {
            flow.give(bytes);
        }
        Ok(())
    }

    /// Waits until a client that polls has fetched what it was given, so that its connection's
    /// buffer is never full. engineioxide needs room there for packets of its own: with a full
    /// one a client cannot go over to a WebSocket, which costs it the connection ten seconds
    /// later, nor be asked whether it is there, which costs it the connection at once.
    async fn wait_for_poll(&mut self) -> Result<(), Stop> {
        let given_up = Instant::now() + DRAIN;
        while self.polls()
            && let Some(polled) = &mut self.polled
        {
            let poll = polled.count();
            if poll != self.poll {
                (self.poll, self.given, self.given_bytes) = (poll, 0, 0);
            }
            if self.given < BETWEEN_POLLS && self.given_bytes < flow::MOST {
                break;
            }
            if Instant::now() >= given_up {
                return Err(Stop::Stuck);
            }
            // No request says that the client has gone over to a WebSocket: that is looked for.
            let _ = timeout(PAUSE.1, polled.more()).await;
        }
        Ok(())
    }

    /// Whether the client polls. Once it does not, its polls are no longer counted.
    fn polls(&mut self) -> bool {
        if self.socket.transport_type() == TransportType::Websocket
            && let Some(polled) = self.polled.take()
        {
            let way = polled.upgraded().or_else(|| self.begun_with());
            self.flow = way.map(Flow::new);
        }
        self.polled.is_some()
    }

    /// The connection of a WebSocket that its client began with. One that polled at first came by a
    /// connection that anybody's requests may be on: a browser's, or a proxy's.
    fn begun_with(&self) -> Option<Peer> {
        let begun = self.socket.req_parts();
        let peer = begun.extensions.get::<Peer>();
        peer.filter(|_| !request::polls(&begun.uri)).cloned()
    }

    /// Whether its WebSocket has room for more bytes; a client that polls is asked by its polls.
    fn flows(&mut self) -> bool {
        self.flow.as_mut().is_none_or(Flow::has_room)
    }

    async fn wait_for_flow(&mut self) -> Result<(), Stop> {
        let given_up = Instant::now() + DRAIN;
        while !self.flows() {
            if Instant::now() >= given_up {
                return Err(Stop::Stuck);
            }
            sleep(PAUSE.0).await;
        }
        Ok(())
    }

    /// Puts one packet into the connection's buffer, waiting for room while it is full.
    pub(super) async fn put(&self, name: &str, data: &impl Serialize) -> Result<(), Stop> {
        if self.fits(name, data)? {
            return Ok(());
        }
        Box::pin(async {
            let given_up = Instant::now() + DRAIN;
            let mut pause = PAUSE.0;
            while Instant::now() < given_up {
                sleep(pause).await;
                if self.fits(name, data)? {
                    return Ok(());
                }
                pause = (pause * 2).min(PAUSE.1);
            }
            Err(Stop::Stuck)
        })
        .await
    }

    /// Puts one packet into the connection's buffer, if it has room.
    fn fits(&self, name: &str, data: &impl Serialize) -> Result<bool, Stop> {
        match self.socket.emit(name, data) {
            Ok(()) => Ok(true),
            Err(SendError::Socket(SocketError::InternalChannelFull)) => Ok(false),
            Err(_) => Err(Stop::Gone),
        }
    }
}

/// Ends a socket as soon as its buffer has room for the word that it is over. Where it never
/// has, the kernel gives up the connection (`TCP_USER_TIMEOUT`), or the ping goes unanswered.
pub(super) async fn disconnect(socket: &SocketRef) {
    let given_up = Instant::now() + DRAIN;
    while Instant::now() < given_up {
        match socket.clone().disconnect() {
            Err(SocketError::InternalChannelFull) => sleep(PAUSE.1).await,
            _ => return,
        }
    }
}
