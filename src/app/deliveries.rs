//! Looking into the archive of deliveries, for admins.

use std::sync::Arc;

use super::cursor::PageQuery;
use super::{App, Error, Listed, Read, Result, head};
use crate::domain::delivery::Delivery;
use crate::domain::event::Seq;
use crate::domain::ids::Id;
use crate::store;
use crate::store::deliveries::{Filter, sort_key};
use crate::store::paging::Position;

/// How many deliveries there are by status, and how many requests were ever refused, by code.
#[derive(Debug)]
pub struct DeliveryCounts {
    /// Status and number.
    pub by_status: Vec<(String, i64)>,
    /// Code and number.
    pub refused: Vec<(String, i64)>,
    /// The head of the log before they were read.
    pub seq: Seq,
}

impl App {
    /// Lists deliveries, youngest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a foreign cursor.
    pub async fn deliveries(
        self: &Arc<Self>,
        filter: &Filter,
        query: PageQuery,
    ) -> Result<Listed<Delivery>> {
        self.show_refusals().await;
        let scope = format!("deliveries by id {filter:?}");
        let limit = query.limit;
        let page = self.tokens.page(&scope, query)?;
        let mut reader = self.store.read().await?;
        let seq = head(&mut reader.db()).await?;
        let found = store::deliveries::list(&mut reader.db(), filter, page).await?;
        let position = |d: &Delivery| Position {
            key: sort_key(d),
            id: d.id.to_string(),
        };
        Ok(self.listed(&scope, limit, found, seq, position))
    }

    /// Reads a delivery with its body, and with all of its timings that this node knows.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn delivery(&self, id: &Id) -> Result<Read<Delivery>> {
        let mut reader = self.store.read().await?;
        let seq = head(&mut reader.db()).await?;
        let found = store::deliveries::find(&mut reader.db(), id).await?;
        let mut record = found.ok_or(Error::NotFound)?;
        if let Some(timings) = &mut record.timings {
            (timings.committed_us, timings.socket_us) = self.log.moments.of(id);
        }
        Ok(Read { record, seq })
    }

    /// Empties a stretch of the deliveries that are older than they are kept, beginning behind
    /// `after`: body and headers go, the record stays. Answers where to go on; `None` at the end.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_bodies(&self, after: Option<&Id>) -> Result<Option<Id>> {
        const STEP: i64 = 500;
        let Some(kept_ms) = self.settings.delivery_retention_ms else {
            return Ok(None);
        };
        let before_ms = self.now_ms() - kept_ms;
        // They are looked for without the lock that deliveries wait for.
        let mut reader = self.store.read().await?;
        let mut old = store::deliveries::oldest(&mut reader.db(), before_ms, after, STEP).await?;
        drop(reader);
        let full: Vec<&str> = old
            .iter()
            .filter(|(_, has_body)| *has_body)
            .map(|(id, _)| id.as_str())
            .collect();
        if !full.is_empty() {
            let mut tx = self.store.begin().await?;
            store::deliveries::empty(&mut tx.db(), full).await?;
            self.commit(tx, Vec::new()).await?;
        }
        Ok(old.pop().map(|(last, _)| last))
    }

    /// Counts deliveries by status, and refused requests by code.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delivery_counts(self: &Arc<Self>) -> Result<DeliveryCounts> {
        self.show_refusals().await;
        let mut reader = self.store.read().await?;
        let seq = head(&mut reader.db()).await?;
        let by_status = store::deliveries::counts(&mut reader.db()).await?;
        let refused = store::refusals::counts(&mut reader.db()).await?;
        Ok(DeliveryCounts {
            by_status,
            refused,
            seq,
        })
    }
}
