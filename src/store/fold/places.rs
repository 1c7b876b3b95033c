//! Where invitees stand among the records.

use crate::store::error::Result;
use crate::store::record::record;
use crate::store::sql::Db;

record! {
    /// Where an invitee stands among the records.
    #[derive(Debug, Clone)]
    pub struct Place {
        /// The invitee's URI.
        pub uri: String,
        /// The proposal that its chain makes up.
        pub proposal_id: Option<String>,
        /// The prospect it belongs to.
        pub prospect_id: Option<String>,
        /// The owner its deliveries name.
        pub owner_id: Option<String>,
        /// Whether a person deleted the record it made.
        pub dismissed: bool,
    }
}

/// The columns a [`Place`] is read from.
macro_rules! select_place {
    ($tail:literal) => {
        concat!(
            "SELECT uri, proposal_id, prospect_id, owner_id, dismissed FROM invitee ",
            $tail
        )
    };
}

/// Where these invitees stand.
///
/// # Errors
/// [`Error::Database`](crate::store::error::Error::Database).
pub async fn places<'k>(
    db: &mut Db<'_>,
    uris: impl IntoIterator<Item = &'k str>,
) -> Result<Vec<Place>> {
    db.fetch_in(select_place!("WHERE uri IN {keys}"), uris)
        .await
}

/// Where the invitees of these prospects stand.
///
/// # Errors
/// [`Error::Database`](crate::store::error::Error::Database).
pub async fn places_of_prospects<'k>(
    db: &mut Db<'_>,
    prospects: impl IntoIterator<Item = &'k str>,
) -> Result<Vec<Place>> {
    db.fetch_in(select_place!("WHERE prospect_id IN {keys}"), prospects)
        .await
}

/// Where the invitees of these proposals' chains stand.
///
/// # Errors
/// [`Error::Database`](crate::store::error::Error::Database).
pub async fn places_of_proposals<'k>(
    db: &mut Db<'_>,
    proposals: impl IntoIterator<Item = &'k str>,
) -> Result<Vec<Place>> {
    db.fetch_in(select_place!("WHERE proposal_id IN {keys}"), proposals)
        .await
}
