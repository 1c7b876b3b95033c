//! The first run: what is set up already, and sample bookings to hear the bell ring.

use std::collections::BTreeMap;

use super::ingest::{Answer, Posted};
use super::{App, Error, Read, Result, head, prospects};
use crate::calendly::sample;
use crate::calendly::signature::sign;
use crate::domain::delivery::DeliveryStatus;
use crate::domain::ids::Id;
use crate::domain::prospect::Prospect;
use crate::domain::user::Caller;
use crate::store::{self, Db};

/// How many samples are looked at, or removed in one transaction.
const STEP: i64 = 50;

/// What there is already.
#[derive(Debug)]
pub struct Setup {
    /// How many deliveries were taken and are kept.
    pub deliveries: i64,
    /// How many prospects are samples.
    pub samples: i64,
}

impl App {
    /// Where Calendly posts.
    #[must_use]
    pub fn webhook_url(&self) -> String {
        format!("{}/webhooks/calendly", self.settings.public_url)
    }

    /// Reads what there is already.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn setup(&self) -> Result<Read<Setup>> {
        let mut reader = self.store.read().await?;
        let mut db = reader.db();
        let seq = head(&mut db).await?;
        let counts = store::deliveries::counts(&mut db).await?;
        let rejected = DeliveryStatus::Rejected.name();
        let taken = counts.iter().filter(|(status, _)| status != rejected);
        let deliveries = taken.map(|(_, n)| n).sum();
        let (mut samples, mut after) = (0, Some(start()));
        while let Some(from) = after {
            let (found, next) = some_samples(&mut db, &from).await?;
            samples += i64::try_from(found.len()).unwrap_or(STEP);
            after = next;
        }
        let record = Setup {
            deliveries,
            samples,
        };
        Ok(Read { record, seq })
    }

    /// Takes in a sample booking with the caller as its host, signed as Calendly would, by the
    /// way that all deliveries go.
    ///
    /// # Errors
    /// [`Error::Conflict`] `no_signing_key`, and as [`App::receive`].
    pub async fn send_sample(&self, caller: &Caller) -> Result<Answer> {
        let Some(key) = self.settings.signing_keys.first() else {
            let detail = "no signing key is configured, so that no delivery can be verified";
            return Err(Error::conflict("no_signing_key", detail));
        };
        let mut reader = self.store.read().await?;
        let host = store::users::find(&mut reader.db(), &caller.user_id).await?;
        drop(reader);
        let host = host.ok_or(Error::NotFound)?;
        let now_ms = self.now_ms();
        let body = sample::created(&self.new_id(), &host, now_ms);
        let signature = sign(key, now_ms.div_euclid(1000), body.as_bytes());
        let headers = [
            ("calendly-webhook-signature", signature.as_str()),
            ("content-type", "application/json"),
            (
                "user-agent",
                concat!("bookbell/", env!("CARGO_PKG_VERSION"), " (sample)"),
            ),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.receive(Posted {
            connection_id: None,
            headers: BTreeMap::from(headers),
            signature: Some(signature.into_bytes()),
            body: body.into(),
        })
        .await
    }

    /// Deletes all samples, as [`App::delete_prospect`] would each.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove_samples(&self) -> Result<()> {
        let mut after = Some(start());
        while let Some(from) = after {
            let mut tx = self.store.begin_fold().await?;
            let (found, next) = some_samples(&mut tx.db(), &from).await?;
            after = next;
            if found.is_empty() {
                continue;
            }
            let mut events = Vec::new();
            for prospect in &found {
                events.extend(prospects::remove(&mut tx, prospect).await?);
            }
            self.commit(tx, events).await?;
        }
        Ok(())
    }
}

/// Where to go on: behind an address and its owner.
type Place = (String, String);

/// Before the first sample.
fn start() -> Place {
    (sample::ADDRESS_PREFIX.to_owned(), String::new())
}

/// The samples among the next prospects behind a place, and where to go on. An address may only
/// look like a sample's, and a person may have made a real record of one: what clients do not
/// mark as a sample is none.
async fn some_samples(
    db: &mut Db<'_>,
    (email, owner): &Place,
) -> Result<(Vec<Prospect>, Option<Place>)> {
    let end = sample::ADDRESS_END;
    let mut found = store::prospects::in_address_range(db, (email, owner), end, STEP).await?;
    let full = i64::try_from(found.len()).unwrap_or(STEP) == STEP;
    let next = found.last().filter(|_| full).map(|last| {
        let owner = last.owner_id.as_ref().map_or("", Id::as_str);
        (last.email.key().to_owned(), owner.to_owned())
    });
    found.retain(|prospect| {
        let source = prospect.tracking.utm_source.as_deref();
        sample::is_address(prospect.email.key()) && source == Some(sample::SOURCE)
    });
    Ok((found, next))
}
