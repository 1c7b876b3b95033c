//! Reading the event log, for sockets and over HTTP.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::cursor::PageQuery;
use super::log::Stretch;
use super::{App, Listed, Result};
use crate::domain::event::{Event, Seq};
use crate::domain::user::Caller;
use crate::store;
pub use crate::store::events::Most;
use crate::store::paging::{Found, Position, SortKey};

/// How long to wait for somebody else who reads events back into memory, before reading one's own.
const RECALL: Duration = Duration::from_secs(5);

/// What the log serves after a position.
#[derive(Debug)]
pub enum Served {
    /// The events after it.
    Stretch(Stretch),
    /// It is not served: older than what is kept, or beyond the head. Go on from here.
    Resync(Seq),
}

impl App {
    /// Reads what a caller may hear of after `since`: from memory where it reaches back that
    /// far, or can, else from the database.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn events_after(&self, since: Seq, most: Most, caller: &Caller) -> Result<Served> {
        if let Some(stretch) = self.log.after(since, most.events, caller) {
            return Ok(Served::Stretch(stretch));
        }
        // In a box, because thousands of sockets that seldom come here would keep room for it.
        Box::pin(async {
            self.recall(since).await?;
            match self.log.after(since, most.events, caller) {
                Some(stretch) => Ok(Served::Stretch(stretch)),
                None => self.read_after(since, most, caller).await,
            }
        })
        .await
    }

    /// Brings back into memory what lies after `since`, if that is near: as after a restart, when
    /// all who were connected come back at once, each for the same.
    async fn recall(&self, since: Seq) -> Result<()> {
        const STEP: Seq = 1000;
        if self.log.falls_short_of(since).is_none() {
            return Ok(());
        }
        let Ok(_turn) = timeout(RECALL, self.log.recalling.lock()).await else {
            return Ok(());
        };
        while let Some(start) = self.log.falls_short_of(since) {
            let from = since.max(start - STEP);
            let mut reader = self.store.read().await?;
            let events = store::events::after(&mut reader.db(), from, start - from).await?;
            if events.is_empty() || !self.log.recall(events) {
                break;
            }
        }
        Ok(())
    }

    async fn read_after(&self, since: Seq, most: Most, caller: &Caller) -> Result<Served> {
        let mut reader = self.store.read().await?;
        // The head is read before: whatever is committed after it comes with the next stretch.
        let extent = store::events::extent(&mut reader.db()).await?;
        let read = store::events::after_for(&mut reader.db(), since, most, caller).await?;
        let (mut events, more) = read;
        // The floor is read after: events may have been forgotten while they were read.
        let floor = store::events::extent(&mut reader.db()).await?.floor;
        if since < floor || since > extent.head {
            return Ok(Served::Resync(extent.head));
        }
        events.retain(|event| event.seq <= extent.head);
        let last = events.last().map_or(since, |event| event.seq);
        let upto = if more { last } else { extent.head };
        let events = events.into_iter().map(Arc::new).collect();
        Ok(Served::Stretch(Stretch { events, upto, more }))
    }

    /// Where one who wants what comes after `since` begins (`None`: from now on): there, or at
    /// the head, `Ok(Err(head))`, when that is not served.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn begin_after(&self, since: Option<Seq>) -> Result<std::result::Result<Seq, Seq>> {
        if let Some(seq) = since {
            self.recall(seq).await?;
            if self.log.holds(seq) {
                return Ok(Ok(seq));
            }
        }
        let extent = self.extents.look_up((), async |asked: Vec<()>| {
            let extent = self.extent().await?;
            Ok(vec![extent; asked.len()])
        });
        let extent = extent.await?;
        Ok(match since {
            None => Ok(extent.head),
            Some(seq) if (extent.floor..=extent.head).contains(&seq) => Ok(seq),
            Some(_) => Err(extent.head),
        })
    }

    /// Lists events a caller may hear of, oldest first, after `since` (the oldest that is kept,
    /// when it is `None`) or from a cursor on. `Ok(Err(seq))` when that position is not served.
    ///
    /// # Errors
    /// [`super::Error::Invalid`] for a foreign cursor.
    pub async fn events(
        &self,
        caller: &Caller,
        since: Option<Seq>,
        query: PageQuery,
    ) -> Result<std::result::Result<Listed<Arc<Event>>, Seq>> {
        const SCOPE: &str = "events";
        let limit = query.limit;
        let events = usize::try_from(limit).unwrap_or(usize::MAX);
        let most = Most {
            events: events.saturating_add(1),
            payload: None,
        };
        let page = self.tokens.page(SCOPE, query)?;
        let extent = self.extent().await?;
        let since = since.unwrap_or(extent.floor);
        let from = match page.after {
            Some(Position {
                key: SortKey::Int(seq),
                ..
            }) => seq,
            _ => since,
        };
        // Memory may not yet have what the head tells of, and who goes on from that would miss it.
        let served = if self.log.head() < extent.head {
            self.read_after(from, most, caller).await?
        } else {
            self.events_after(from, most, caller).await?
        };
        let items = match served {
            Served::Stretch(stretch) => stretch.events,
            Served::Resync(head) => return Ok(Err(head)),
        };
        // Beside a cursor it may be anything, and what was kept then may be gone.
        let since = since.clamp(extent.floor, extent.head);
        let mut reader = self.store.read().await?;
        let total = store::events::count_for(&mut reader.db(), since, caller).await?;
        let position = |event: &Arc<Event>| Position {
            key: SortKey::Int(event.seq),
            id: String::new(),
        };
        let found = Found { items, total };
        Ok(Ok(self.listed(SCOPE, limit, found, extent.head, position)))
    }

    /// Notes that an event was handed to a socket; `live`: to one that was connected when it was
    /// committed. A client that catches up does not count as a slow one.
    pub fn note_sent(&self, seq: Seq, live: bool) {
        if let Some(took) = self.log.moments.sent(seq).filter(|_| live) {
            self.metrics.note_sent(took);
        }
    }

    /// How long after it became known here an event was handed to the first socket; `None` before
    /// that, or when it is forgotten.
    #[must_use]
    pub fn first_sent(&self, seq: Seq) -> Option<Duration> {
        self.log.moments.first_sent(seq)
    }

    /// The head of the log and the earliest position it serves, from the database.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn extent(&self) -> Result<store::events::Extent> {
        Ok(store::events::extent(&mut self.store.read().await?.db()).await?)
    }

    /// Forgets events that are older than they are kept, a stretch at a time; answers how many.
    /// First nobody is served them any more, then they go: all who commit wait for whoever changes
    /// the counter of the log, and should not for that.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_events(&self) -> Result<u64> {
        const STEP: i64 = 500;
        let before_ms = self.now_ms() - self.settings.event_retention_ms;
        let mut reader = self.store.read().await?;
        let upto = store::events::due(&mut reader.db(), before_ms, STEP).await?;
        drop(reader);
        // Most often none is due, and nobody has to wait for that to be found out.
        let gone = if upto > 0 {
            let mut tx = self.store.begin().await?;
            store::events::raise_floor(&mut tx.db(), upto).await?;
            self.commit(tx, Vec::new()).await?;
            let mut tx = self.store.begin().await?;
            let gone = store::events::forget(&mut tx.db(), upto).await?;
            self.commit(tx, Vec::new()).await?;
            gone
        } else {
            0
        };
        self.log.forget(self.extent().await?.floor);
        Ok(gone)
    }

    /// Forgets sessions that are over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_sessions(&self) -> Result<u64> {
        let mut tx = self.store.begin().await?;
        let gone = store::sessions::forget(&mut tx.db(), self.now_ms()).await?;
        self.commit(tx, Vec::new()).await?;
        Ok(gone)
    }
}
