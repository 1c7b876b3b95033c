//! Compares the records of a database with those rebuilt from its archive.
//!
//! Both are read a page at a time. What only people do (edits, decisions, records made by hand
//! or deleted) is in no archive, so where it explains a difference, that is counted apart.

mod proposals;
mod prospects;

use std::collections::HashSet;

use serde::Serialize;

use super::Result;
use crate::domain::difference::Difference;
use crate::domain::ids::Id;
use crate::domain::prospect::Prospect;
use crate::domain::source::Source;
use crate::store::{self, Db};

/// How many records are read at once.
const PAGE: i64 = 500;

/// How many differences are told one by one.
const TOLD: usize = 1000;

/// How the records of one kind compare.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// The same in both.
    pub equal: u64,
    /// Different, because people edited, decided, moved or deleted.
    pub edited: u64,
    /// Made by people, so that no delivery knows them.
    pub by_hand: u64,
    /// Different, and nothing that people did explains it.
    pub different: u64,
}

/// A record that differs though people did nothing.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unlike {
    /// `prospect` or `proposal`.
    pub record: &'static str,
    /// Its id in the first database; `None` when it is only in the rebuilt one.
    pub id: Option<Id>,
    /// Its id in the rebuilt database; `None` when it is missing there.
    pub rebuilt_id: Option<Id>,
    /// The fields that differ: before is the first database, after the rebuilt one.
    pub fields: Difference,
}

/// How two databases compare.
#[derive(Debug, Default, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// Prospects.
    pub prospects: Tally,
    /// Proposals.
    pub proposals: Tally,
    /// What differs, the first thousand.
    pub differences: Vec<Unlike>,
}

impl Comparison {
    /// Whether nothing differs but what people did.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.prospects.different + self.proposals.different == 0
    }

    fn tell(&mut self, unlike: Unlike) {
        if self.differences.len() < TOLD {
            self.differences.push(unlike);
        }
    }
}

/// Compares the records that deliveries make: `rebuilt` is what the archive of `source` came to.
///
/// # Errors
/// When either cannot be read.
pub async fn compare(source: &mut Db<'_>, rebuilt: &mut Db<'_>) -> Result<Comparison> {
    let mut sides = Sides {
        users: store::users::ids(source).await?,
        source,
        rebuilt,
        found: Comparison::default(),
    };
    sides.prospects().await?;
    sides.proposals().await?;
    Ok(sides.found)
}

struct Sides<'a, 's, 'r> {
    source: &'a mut Db<'s>,
    rebuilt: &'a mut Db<'r>,
    /// The users there are.
    users: HashSet<Id>,
    found: Comparison,
}

impl Sides<'_, '_, '_> {
    /// Whether people deleted one of these bookings, or chose where its prospect belongs. The
    /// invitees are those of a record of the rebuilt database.
    async fn were_moved_by_people(&mut self, invitees: &[store::fold::Place]) -> Result<bool> {
        let uris = invitees.iter().map(|place| place.uri.as_str());
        let places = store::fold::places(self.source, uris).await?;
        if places.iter().any(|place| place.dismissed) {
            return Ok(true);
        }
        let homes = places.into_iter().filter_map(|place| place.prospect_id);
        let homes: Vec<Id> = homes.map(Id::from_stored).collect();
        let homes = store::prospects::by_ids(self.source, &homes).await?;
        Ok(homes.iter().any(is_placed_by_people))
    }
}

/// Whether people made the prospect, or chose its owner or address, so that other bookings than
/// its deliveries name may be its.
fn is_placed_by_people(prospect: &Prospect) -> bool {
    let chosen = ["email", "ownerId"];
    prospect.source != Source::Calendly || chosen.iter().any(|f| prospect.edited.contains(*f))
}
