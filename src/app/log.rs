//! The live end of the event log: an in-memory tail that every socket reads, and the head they
//! wait for.
//!
//! Whoever commits offers its events here, which spares the reading back. Where they do not join
//! the tail without a gap, because another node committed in between, the follower reads them
//! from the database. Either way the tail holds exactly what the log does, in its order. After a
//! start it is empty, and grows backwards when somebody asks for what lies before it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::{Notify, watch};

use super::moments::Moments;
use crate::domain::event::{Event, INTERNAL_PREFIX, SESSION_ENDED, Seq};
use crate::domain::ids::Id;
use crate::domain::user::Caller;

/// How many events the tail holds.
const TAIL_EVENTS: usize = 8192;

/// How many bytes of payload the tail holds.
const TAIL_BYTES: usize = 16 << 20;

/// Why a session ended, as clients are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    /// Its token expired.
    TokenExpired,
    /// Its user signed out.
    LoggedOut,
    /// It was taken away: the password or the role changed, or the user is gone.
    Revoked,
}

impl SessionEnd {
    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::TokenExpired => "token_expired",
            Self::LoggedOut => "logged_out",
            Self::Revoked => "session_revoked",
        }
    }

    fn from_code(code: &str) -> Self {
        if code == Self::LoggedOut.code() {
            Self::LoggedOut
        } else {
            Self::Revoked
        }
    }
}

#[derive(Debug, Default)]
struct Tail {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// The last position the tail knows of.
    head: Seq,
    /// The last position that is no longer kept, as far as was heard.
    floor: Seq,
}

impl Tail {
    /// The position before the first event the tail holds.
    fn start(&self) -> Seq {
        self.events.front().map_or(self.head, |event| event.seq - 1)
    }

    fn push(&mut self, event: Event) {
        self.head = event.seq;
        self.bytes += event.payload.len();
        self.events.push_back(Arc::new(event));
        while self.events.len() > TAIL_EVENTS || self.bytes > TAIL_BYTES {
            self.drop_oldest();
        }
    }

    /// Takes an event that lies right before the tail, where there is room for it.
    fn push_front(&mut self, event: Event) -> bool {
        let room =
            self.events.len() < TAIL_EVENTS && self.bytes + event.payload.len() <= TAIL_BYTES;
        let takes = room && event.seq == self.start() && event.seq > self.floor;
        if takes {
            self.bytes += event.payload.len();
            self.events.push_front(Arc::new(event));
        }
        takes
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.events.pop_front() {
            self.bytes -= oldest.payload.len();
        }
    }
}

/// The part of the log after a position that a caller may hear of.
#[derive(Debug, Default)]
pub struct Stretch {
    /// The events, in order.
    pub events: Vec<Arc<Event>>,
    /// The position the stretch reaches: what the caller has then heard everything up to.
    pub upto: Seq,
}

/// The sessions that sockets watch.
#[derive(Debug, Default)]
struct Sessions(Mutex<HashMap<Id, watch::Sender<Option<SessionEnd>>>>);

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<Id, watch::Sender<Option<SessionEnd>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches a session. The last watch to go takes the session's entry with it.
#[derive(Debug, Clone)]
pub struct SessionWatch {
    sessions: Arc<Sessions>,
    id: Id,
    /// Absent only while the watch is being dropped.
    end: Option<watch::Receiver<Option<SessionEnd>>>,
}

impl SessionWatch {
    /// Waits until the session ends.
    pub async fn ended(&mut self) -> SessionEnd {
        let Some(end) = &mut self.end else {
            return SessionEnd::Revoked;
        };
        let end = end.wait_for(Option::is_some).await;
        end.ok().and_then(|end| *end).unwrap_or(SessionEnd::Revoked)
    }
}

impl Drop for SessionWatch {
    fn drop(&mut self) {
        let mut senders = self.sessions.lock();
        // Under the lock, so that of two watches which go at once the second sees none left.
        self.end = None;
        if senders
            .get(&self.id)
            .is_some_and(|sender| sender.receiver_count() == 0)
        {
            senders.remove(&self.id);
        }
    }
}

/// The live end of the event log.
#[derive(Debug)]
pub struct Log {
    tail: RwLock<Tail>,
    head: watch::Sender<Seq>,
    behind: Notify,
    sessions: Arc<Sessions>,
    followed_ms: AtomicI64,
    /// Held by whoever reads for [`Log::recall`].
    pub(super) recalling: tokio::sync::Mutex<()>,
    /// When events became known here and were sent.
    pub(super) moments: Moments,
}

impl Log {
    /// A log that ends at `head`, with nothing in memory yet.
    #[must_use]
    pub fn new(head: Seq) -> Self {
        Self {
            tail: RwLock::new(Tail {
                head,
                ..Tail::default()
            }),
            head: watch::Sender::new(head),
            behind: Notify::new(),
            sessions: Arc::default(),
            followed_ms: AtomicI64::new(i64::MIN),
            recalling: tokio::sync::Mutex::default(),
            moments: Moments::default(),
        }
    }

    /// Notes that the log was followed up to its end at `now_ms`.
    pub fn note_followed(&self, now_ms: i64) {
        self.followed_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Whether the log was followed within the last ten seconds: whether delivery runs.
    #[must_use]
    pub fn is_followed(&self, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.followed_ms.load(Ordering::Relaxed)) < 10_000
    }

    /// The last position that is in memory or was.
    #[must_use]
    pub fn head(&self) -> Seq {
        *self.head.borrow()
    }

    /// Waits for the head to move.
    #[must_use]
    pub fn watch_head(&self) -> watch::Receiver<Seq> {
        self.head.subscribe()
    }

    /// Takes events that were just committed, or read from the log, in order. Those that are
    /// known are passed over; where some are missing in between, the follower is woken.
    pub fn offer(&self, events: Vec<Event>) {
        let mut ended = Vec::new();
        let now_us = self.moments.now_us();
        let head = {
            let mut tail = self.tail.write().unwrap_or_else(PoisonError::into_inner);
            for event in events {
                if event.seq == tail.head + 1 {
                    if event.name.starts_with(INTERNAL_PREFIX) {
                        ended.push(event.clone());
                    }
                    self.moments.known(event.seq, now_us);
                    tail.push(event);
                } else if event.seq > tail.head {
                    self.behind.notify_one();
                    break;
                }
            }
            tail.head
        };
        self.announce(head);
        for event in &ended {
            self.dispatch_internal(event);
        }
    }

    /// Wakes those who wait for the head. Another may have announced a later one already.
    fn announce(&self, head: Seq) {
        self.head.send_if_modified(|known| {
            let grows = head > *known;
            *known = head.max(*known);
            grows
        });
    }

    /// Forgets what the database no longer keeps, up to and with position `floor`.
    pub fn forget(&self, floor: Seq) {
        let mut tail = self.tail.write().unwrap_or_else(PoisonError::into_inner);
        tail.floor = tail.floor.max(floor);
        while tail
            .events
            .front()
            .is_some_and(|oldest| oldest.seq <= floor)
        {
            tail.drop_oldest();
        }
    }

    /// Begins anew at `head`: what lies between is no longer kept anywhere.
    pub fn restart(&self, head: Seq) {
        let mut tail = self.tail.write().unwrap_or_else(PoisonError::into_inner);
        *tail = Tail {
            head,
            floor: head,
            ..Tail::default()
        };
        drop(tail);
        self.announce(head);
    }

    /// Whether memory reaches from `since` to the head.
    #[must_use]
    pub fn holds(&self, since: Seq) -> bool {
        let tail = self.tail.read().unwrap_or_else(PoisonError::into_inner);
        (tail.start()..=tail.head).contains(&since)
    }

    /// Where memory begins, if `since` lies before it and so near that it could reach there.
    #[must_use]
    pub fn falls_short_of(&self, since: Seq) -> Option<Seq> {
        let reach = Seq::try_from(TAIL_EVENTS).unwrap_or(Seq::MAX);
        let tail = self.tail.read().unwrap_or_else(PoisonError::into_inner);
        let near = since >= tail.floor && tail.head.saturating_sub(since) <= reach;
        // Half, so that where room runs out, nobody reads again and again for nothing.
        let room = tail.bytes < TAIL_BYTES / 2;
        Some(tail.start()).filter(|start| near && room && since < *start)
    }

    /// Takes events back into memory that lie right before those it holds, in order, as far as
    /// there is room; answers whether all were taken.
    pub fn recall(&self, events: Vec<Event>) -> bool {
        let mut tail = self.tail.write().unwrap_or_else(PoisonError::into_inner);
        events.into_iter().rev().all(|event| tail.push_front(event))
    }

    /// Waits until somebody noticed that the log has grown past the tail.
    pub async fn fell_behind(&self) {
        self.behind.notified().await;
    }

    /// The stretch after `since` from memory, with at most `limit` events; `None` when memory
    /// does not reach back that far.
    #[must_use]
    pub fn after(&self, since: Seq, limit: usize, caller: &Caller) -> Option<Stretch> {
        let tail = self.tail.read().unwrap_or_else(PoisonError::into_inner);
        if since < tail.start() || since > tail.head {
            return None;
        }
        let skipped = usize::try_from(since - tail.start()).ok()?;
        let mut stretch = Stretch {
            events: Vec::new(),
            upto: since,
        };
        for event in tail.events.range(skipped..) {
            if stretch.events.len() == limit {
                return Some(stretch);
            }
            stretch.upto = event.seq;
            if hears(caller, event) {
                stretch.events.push(Arc::clone(event));
            }
        }
        Some(stretch)
    }

    /// Watches a session for its end, on whichever node it ends.
    #[must_use]
    pub fn watch_session(&self, session: &Id) -> SessionWatch {
        let mut senders = self.sessions.lock();
        let sender = senders
            .entry(session.clone())
            .or_insert_with(|| watch::Sender::new(None));
        let end = Some(sender.subscribe());
        SessionWatch {
            sessions: Arc::clone(&self.sessions),
            id: session.clone(),
            end,
        }
    }

    fn dispatch_internal(&self, event: &Event) {
        if event.name != SESSION_ENDED {
            return;
        }
        let payload: serde_json::Value = serde_json::from_str(&event.payload).unwrap_or_default();
        let text = |field: &str| payload[field].as_str().unwrap_or_default().to_owned();
        if let Some(sender) = self
            .sessions
            .lock()
            .get(&Id::from_stored(text("sessionId")))
        {
            sender.send_replace(Some(SessionEnd::from_code(&text("code"))));
        }
    }
}

/// Whether a caller may hear of an event.
fn hears(caller: &Caller, event: &Event) -> bool {
    if caller.is_admin() {
        event.audience.admins
    } else {
        event.audience.user.as_ref() == Some(&caller.user_id)
    }
}
