//! The live end of the event log: an in-memory tail that every socket reads, and the head they
//! wait for.
//!
//! Whoever commits offers its events here, which spares the reading back. Where they do not join
//! the tail without a gap, because another node committed in between, the follower reads them
//! from the database. Either way the tail holds exactly what the log does, in its order. After a
//! start it is empty, at rest all but, and grows backwards when somebody asks for what lies before.

mod tail;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Notify, watch};

use super::moments::Moments;
use super::watches::{Watch, Watches};
use crate::domain::event::{Event, INTERNAL_PREFIX, SESSION_ENDED, Seq};
use crate::domain::ids::Id;
use crate::domain::user::Caller;
use tail::{TAIL_BYTES, TAIL_EVENTS, Tail};

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

/// The part of the log after a position that a caller may hear of.
#[derive(Debug, Default)]
pub struct Stretch {
    /// The events, in order.
    pub events: Vec<Arc<Event>>,
    /// The position the stretch reaches: what the caller has then heard everything up to.
    pub upto: Seq,
    /// Whether there may be more behind it already.
    pub more: bool,
}

/// Watches a session.
#[derive(Debug, Clone)]
pub struct SessionWatch(Watch<Id, Option<SessionEnd>>);

impl SessionWatch {
    /// Waits until the session ends.
    pub async fn ended(&mut self) -> SessionEnd {
        let end = self.0.until(Option::is_some).await;
        end.and_then(|end| *end).unwrap_or(SessionEnd::Revoked)
    }
}

/// Who hears the same events: an admin what all admins do, anybody else what is their own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Ears {
    Admins,
    Of(Id),
}

impl Ears {
    fn of(caller: &Caller) -> Self {
        if caller.is_admin() {
            Self::Admins
        } else {
            Self::Of(caller.user_id.clone())
        }
    }
}

/// Watches the log for events that a caller may hear of.
#[derive(Debug)]
pub struct Listening(Watch<Ears, Seq>);

impl Listening {
    /// Waits until there may be something to hear after `seq`, which everything was heard up to
    /// since this watch began. It is also woken for nothing now and then, before memory ceases to
    /// reach back to where it was, and when little happens.
    pub async fn after(&mut self, seq: Seq) {
        if self.0.until(|due| *due > seq).await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// The live end of the event log.
#[derive(Debug)]
pub struct Log {
    tail: RwLock<Tail>,
    head: watch::Sender<Seq>,
    /// The last position at which each may have something to hear.
    due: Watches<Ears, Seq>,
    behind: Notify,
    sessions: Watches<Id, Option<SessionEnd>>,
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
            due: Watches::default(),
            behind: Notify::new(),
            sessions: Watches::default(),
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

    /// Listens for what a caller may hear of from here on. What is in the log already is to be
    /// read after this. Who hears nothing stays where it was; what lies after that is kept for a
    /// day at least, and a socket lives no longer than its token, an hour.
    #[must_use]
    pub fn listen(&self, caller: &Caller) -> Listening {
        Listening(self.due.watch(Ears::of(caller), 0))
    }

    /// The last event in memory.
    pub(super) fn last(&self) -> Option<Arc<Event>> {
        let tail = self.tail.read().unwrap_or_else(PoisonError::into_inner);
        tail.events.back().cloned()
    }

    /// Whether the database was seen to have other events than were heard.
    pub(super) fn has_strayed(&self) -> bool {
        let tail = self.tail.read().unwrap_or_else(PoisonError::into_inner);
        tail.strayed
    }

    /// Takes events that were just committed, or read from the log, in order. Those that are
    /// known are passed over; where some are missing in between, the follower is woken.
    pub fn offer(&self, events: Vec<Event>) {
        let mut ended = Vec::new();
        let mut due = HashMap::new();
        let now_us = self.moments.now_us();
        let (head, for_all) = {
            let mut tail = self.tail.write().unwrap_or_else(PoisonError::into_inner);
            for event in events {
                if event.seq == tail.head + 1 {
                    if event.name.starts_with(INTERNAL_PREFIX) {
                        ended.push(event.clone());
                    }
                    self.moments.known(event.seq, now_us);
                    due.extend(ears(&event).map(|ears| (ears, event.seq)));
                    tail.push(event);
                } else if event.seq > tail.head {
                    self.behind.notify_one();
                    break;
                } else if tail.has_another(&event) {
                    tail.strayed = true;
                    self.behind.notify_one();
                }
            }
            (tail.head, tail.is_to_be_read_by_all())
        };
        self.announce(head);
        if for_all {
            self.due.change_all(|known| grow(known, head));
        } else {
            for (ears, seq) in due {
                self.due.change(&ears, |known| grow(known, seq));
            }
        }
        for event in &ended {
            self.dispatch_internal(event);
        }
    }

    /// Wakes those who wait for the head. Another may have announced a later one already.
    fn announce(&self, head: Seq) {
        self.head.send_if_modified(|known| grow(known, head));
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

    /// Lets go of what is in memory, which the database has too, where nothing came to it since this
    /// was asked last; answers whether it did. Before that everybody is to read on, once, so that
    /// nobody has to read the database when it goes. The last event stays: by that it is known
    /// whether the database still has the same.
    pub fn rest(&self) -> bool {
        let mut tail = self.tail.write().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut tail.stirred) {
            return false;
        }
        if std::mem::take(&mut tail.unread) != (0, 0) {
            let head = tail.head;
            drop(tail);
            self.due.change_all(|known| grow(known, head));
            return false;
        }
        let gone = tail.drop_all_but_the_last();
        drop(tail);
        // Without the lock: that takes a while.
        drop(gone);
        true
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
        self.due.change_all(|known| grow(known, head));
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
            more: false,
        };
        for event in tail.events.range(skipped..) {
            if stretch.events.len() == limit {
                stretch.more = true;
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
        SessionWatch(self.sessions.watch(session.clone(), None))
    }

    fn dispatch_internal(&self, event: &Event) {
        if event.name != SESSION_ENDED {
            return;
        }
        let payload: serde_json::Value = serde_json::from_str(&event.payload).unwrap_or_default();
        let text = |field: &str| payload[field].as_str().unwrap_or_default().to_owned();
        let session = Id::from_stored(text("sessionId"));
        self.sessions.change(&session, |end| {
            *end = Some(SessionEnd::from_code(&text("code")));
            true
        });
    }
}

/// Takes a position on; answers whether it was before.
fn grow(known: &mut Seq, seq: Seq) -> bool {
    let grows = seq > *known;
    *known = seq.max(*known);
    grows
}

/// Who may hear of an event.
fn ears(event: &Event) -> impl Iterator<Item = Ears> + use<> {
    let admins = event.audience.admins.then_some(Ears::Admins);
    let user = event.audience.user.clone().map(Ears::Of);
    admins.into_iter().chain(user)
}

/// Whether a caller may hear of an event.
fn hears(caller: &Caller, event: &Event) -> bool {
    if caller.is_admin() {
        event.audience.admins
    } else {
        event.audience.user.as_ref() == Some(&caller.user_id)
    }
}
