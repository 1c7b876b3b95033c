//! The delivery loop: one task for each socket, with its own position in the log.
//!
//! Replay and live delivery are the same path. A full buffer pauses the position; nothing is
//! skipped, nothing is sent twice, and nothing depends on acknowledgements, which stock clients
//! do not send.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use socketioxide::extract::SocketRef;
use socketioxide::socket::DisconnectReason;
use socketioxide::{SendError, SocketError, TransportType};
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::auth::{Since, Ticket};
use super::exit::Exit;
use super::flow::{self, Flow};
use super::polls::{Polled, Polls};
use crate::app::App;
use crate::app::auth::Authenticated;
use crate::app::error::chain;
use crate::app::events::{Most, Served};
use crate::app::log::SessionEnd;
use crate::domain::event::{Event, INTERNAL_PREFIX, Seq};
use crate::domain::ids::Id;
use crate::domain::time::UtcMs;
use crate::domain::user::Caller;
use crate::net::Peer;

/// How much is read at a time: each socket that catches up from the database has as much in memory
/// for itself until the client has taken it.
const STRETCH: Most = Most {
    events: 64,
    payload: Some(16 << 10),
};

/// How many packets a client gets between two of its polls. Twice as many, and those engineioxide
/// adds itself, fit into a connection's buffer of 128: a poll is noted just before it empties it.
const BETWEEN_POLLS: usize = 60;

/// How long a full buffer may stay full before the socket is given up. It resumes by `since`.
const DRAIN: Duration = Duration::from_secs(20);

/// How long a connection that is given up has for what was sent last, and to be closed.
const LINGER: Duration = Duration::from_secs(2);

/// How long a client has to hear that its socket is over, and to close the connection itself, as
/// stock clients do at once.
const PART: Duration = Duration::from_secs(5);

/// How long to wait for room in a full buffer: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// How long a polling client has to fetch its last packets before the server closes.
const FETCH: Duration = Duration::from_secs(1);

/// How long to wait after the database failed.
const RETRY: Duration = Duration::from_millis(500);

/// Why delivery to a socket stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// The client is gone.
    Gone,
    /// It did not drain its buffer.
    Stuck,
    /// Its session is over.
    Ended(SessionEnd),
    /// The server is stopping.
    Closing,
}

#[derive(Serialize)]
struct Meta<'a> {
    seq: Seq,
    id: &'a Id,
    at: UtcMs,
}

/// Delivers to a socket from when it is connected until it is over, and ends it then.
pub(super) async fn attend(
    app: Arc<App>,
    socket: SocketRef,
    polls: &Arc<Polls>,
    exit: &Weak<Exit>,
    stop: CancellationToken,
) {
    let Some(mut ticket) = socket.extensions.remove::<Ticket>() else {
        let _ = socket.disconnect();
        return;
    };
    let mut outlet = Outlet::new(socket.clone(), polls);
    let gone = Gone::default();
    socket.on_disconnect({
        let gone = gone.clone();
        async move |reason: DisconnectReason| gone.note(reason)
    });
    let reason = tokio::select! {
        stop = run(&app, &mut outlet, &mut ticket) => stop,
        () = gone.noted.cancelled() => Stop::Gone,
        () = stop.cancelled() => Stop::Closing,
    };
    tracing::debug!(?reason, "delivery to a socket ended");
    let parting = async {
        match reason {
            Stop::Gone => {
                if let Some(after) = gone.stays_for().await {
                    outlet.part(exit, after, &stop).await;
                }
            }
            Stop::Closing => outlet.fetched().await,
            Stop::Stuck => {
                tokio::join!(disconnect(&socket), outlet.part(exit, LINGER, &stop));
            }
            Stop::Ended(end) => {
                let code = json!({ "code": end.code() });
                let told = async {
                    let _ = outlet.put("session-ended", &code).await;
                    disconnect(&socket).await;
                };
                let _ = timeout(DRAIN, told).await;
                outlet.part(exit, PART, &stop).await;
            }
        }
    };
    Box::pin(parting).await;
}

/// That the client has gone, and how.
#[derive(Debug, Clone, Default)]
struct Gone {
    noted: CancellationToken,
    reason: Arc<OnceLock<DisconnectReason>>,
}

impl Gone {
    fn note(&self, reason: DisconnectReason) {
        let _ = self.reason.set(reason);
        self.noted.cancel();
    }

    /// How long its connection may stay; `None` where that is closed as well.
    async fn stays_for(&self) -> Option<Duration> {
        // Whoever sends to it may see it before it is noted.
        let _ = timeout(LINGER, self.noted.cancelled()).await;
        match self.reason.get() {
            Some(DisconnectReason::HeartbeatTimeout) => Some(LINGER),
            Some(DisconnectReason::ClientNSDisconnect) | None => Some(PART),
            Some(_) => None,
        }
    }
}

async fn run(app: &App, outlet: &mut Outlet, ticket: &mut Ticket) -> Stop {
    let Ticket {
        who,
        since,
        session,
    } = ticket;
    let left_ms = u64::try_from(who.expires_ms - app.now_ms()).unwrap_or(0);
    let expiry = Instant::now() + Duration::from_millis(left_ms);
    let delivered = async {
        // In a box, so that the room for it goes with it.
        let cursor = Box::pin(greet(app, outlet, who, *since)).await?;
        deliver(app, outlet, &who.caller, cursor).await
    };
    tokio::select! {
        Err(stop) = delivered => stop,
        () = sleep_until(expiry) => Stop::Ended(SessionEnd::TokenExpired),
        end = session.ended() => Stop::Ended(end),
    }
}

/// Says hello, and from where events follow.
async fn greet(
    app: &App,
    outlet: &mut Outlet,
    who: &Authenticated,
    since: Since,
) -> Result<Seq, Stop> {
    let asked = match since {
        Since::Position(seq) => Some(seq),
        Since::Head | Since::Invalid => None,
    };
    let begun = loop {
        match app.begin_after(asked).await {
            Ok(begun) => break begun,
            Err(error) => pause_after(&error).await,
        }
    };
    let served = begun.is_ok() && since != Since::Invalid;
    let (Ok(seq) | Err(seq)) = begun;
    let hello = json!({
        "userId": who.caller.user_id,
        "email": who.email,
        "role": who.caller.role,
        "seq": seq,
    });
    outlet.send("connected", &hello, 0).await?;
    if !served {
        outlet.send("resync", &json!({ "seq": seq }), 0).await?;
    }
    Ok(seq)
}

/// Sends everything after `cursor` that the caller may hear, for ever.
async fn deliver(
    app: &App,
    outlet: &mut Outlet,
    caller: &Caller,
    mut cursor: Seq,
) -> Result<Infallible, Stop> {
    let mut listening = app.log.listen(caller);
    let live_after = app.log.head();
    let socket = outlet.socket.clone();
    let attending = app
        .metrics
        .attendance
        .enter(cursor, move || transport(&socket));
    loop {
        attending.reached(cursor);
        match app.events_after(cursor, STRETCH, caller).await {
            Ok(Served::Stretch(stretch)) => {
                for event in &stretch.events {
                    send_event(outlet, event).await?;
                    app.note_sent(event.seq, event.seq > live_after);
                }
                cursor = stretch.upto;
                if stretch.more {
                    // Who has far to go lets others have their turn.
                    consume_budget().await;
                } else {
                    attending.waits();
                    listening.after(cursor).await;
                }
            }
            Ok(Served::Resync(seq)) => {
                outlet.send("resync", &json!({ "seq": seq }), 0).await?;
                cursor = seq;
            }
            Err(error) => pause_after(&error).await,
        }
    }
}

fn transport(socket: &SocketRef) -> &'static str {
    match socket.transport_type() {
        TransportType::Polling => "polling",
        TransportType::Websocket => "websocket",
    }
}

async fn pause_after(error: &crate::app::Error) {
    tracing::warn!(error = chain(error), "the event log could not be read");
    sleep(RETRY).await;
}

async fn send_event(outlet: &mut Outlet, event: &Event) -> Result<(), Stop> {
    if event.name.starts_with(INTERNAL_PREFIX) {
        return Ok(());
    }
    let Ok(payload) = serde_json::from_str::<&RawValue>(&event.payload) else {
        tracing::error!(seq = event.seq, "an event's payload is corrupt");
        return Ok(());
    };
    let meta = Meta {
        seq: event.seq,
        id: &event.id,
        at: UtcMs(event.at_ms),
    };
    let bytes = event.payload.len() as u64;
    outlet.send(&event.name, &(payload, meta), bytes).await
}

/// A socket's way out.
struct Outlet {
    socket: SocketRef,
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
    fn new(socket: SocketRef, polls: &Arc<Polls>) -> Self {
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
    async fn fetched(&mut self) {
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
    async fn part(&mut self, exit: &Weak<Exit>, after: Duration, stop: &CancellationToken) {
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
    async fn send(&mut self, name: &str, data: &impl Serialize, bytes: u64) -> Result<(), Stop> {
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
            let begun_with = || self.socket.req_parts().extensions.get::<Peer>().cloned();
            self.flow = polled.upgraded().or_else(begun_with).map(Flow::new);
        }
        self.polled.is_some()
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
    async fn put(&self, name: &str, data: &impl Serialize) -> Result<(), Stop> {
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
async fn disconnect(socket: &SocketRef) {
    let given_up = Instant::now() + DRAIN;
    while Instant::now() < given_up {
        match socket.clone().disconnect() {
            Err(SocketError::InternalChannelFull) => sleep(PAUSE.1).await,
            _ => return,
        }
    }
}
