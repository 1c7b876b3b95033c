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
use socketioxide::TransportType;
use socketioxide::extract::SocketRef;
use socketioxide::socket::DisconnectReason;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::auth::{Since, Ticket};
use super::exit::Exit;
use super::outlet::{DRAIN, Outlet, disconnect};
use super::polls::Polls;
use crate::app::App;
use crate::app::auth::Authenticated;
use crate::app::error::chain;
use crate::app::events::{Most, Served};
use crate::app::log::SessionEnd;
use crate::domain::event::{Event, INTERNAL_PREFIX, Seq};
use crate::domain::ids::Id;
use crate::domain::time::UtcMs;
use crate::domain::user::Caller;

/// How much is read at a time: each socket that catches up from the database has as much in memory
/// for itself until the client has taken it.
const STRETCH: Most = Most {
    events: 64,
    payload: Some(16 << 10),
};

/// How long a connection that is given up has for what was sent last, and to be closed.
const LINGER: Duration = Duration::from_secs(2);

/// How long a client has to hear that its socket is over, and to close the connection itself, as
/// stock clients do at once.
const PART: Duration = Duration::from_secs(5);

/// How long to wait after the database failed.
const RETRY: Duration = Duration::from_millis(500);

/// Why delivery to a socket stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
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
