//! Deliveries: what Calendly posted, and what became of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::ids::Id;
use super::time::UtcMs;

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// It changed the state, or said what was known.
    Processed,
    /// It is genuine, and nothing we act on.
    Ignored,
    /// It is held until somebody looks at it.
    Quarantined,
    /// Its signature was not ours to trust. Kept without its body.
    Rejected,
}

impl DeliveryStatus {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Processed,
        Self::Ignored,
        Self::Quarantined,
        Self::Rejected,
    ];

    /// The name used on the wire and in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Processed => "processed",
            Self::Ignored => "ignored",
            Self::Quarantined => "quarantined",
            Self::Rejected => "rejected",
        }
    }

    /// Reads a name; `None` when there is no such status.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// Why a delivery was not processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The signature is good, but too old or from the future.
    StaleTimestamp,
    /// The body is not JSON, or lacks what its event needs.
    MalformedPayload,
    /// It could not be folded, again and again: a fault of ours that somebody must look at.
    ProcessingFailed,
    /// An event we do not act on.
    UnhandledEvent,
    /// A routing form without an e-mail address among its answers.
    NoEmail,
    /// The same event came again in time and was processed.
    Duplicate,
    /// No signature header.
    SignatureMissing,
    /// A signature header that cannot be read.
    SignatureMalformed,
    /// No signing key made this signature.
    SignatureMismatch,
}

impl Reason {
    const ALL: [Self; 9] = [
        Self::StaleTimestamp,
        Self::MalformedPayload,
        Self::ProcessingFailed,
        Self::UnhandledEvent,
        Self::NoEmail,
        Self::Duplicate,
        Self::SignatureMissing,
        Self::SignatureMalformed,
        Self::SignatureMismatch,
    ];

    /// Those for which a request is refused and its body not kept.
    pub const REFUSALS: [Self; 3] = [
        Self::SignatureMissing,
        Self::SignatureMalformed,
        Self::SignatureMismatch,
    ];

    /// The name used on the wire and in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::StaleTimestamp => "stale_timestamp",
            Self::MalformedPayload => "malformed_payload",
            Self::ProcessingFailed => "processing_failed",
            Self::UnhandledEvent => "unhandled_event",
            Self::NoEmail => "no_email",
            Self::Duplicate => "duplicate",
            Self::SignatureMissing => "signature_missing",
            Self::SignatureMalformed => "signature_malformed",
            Self::SignatureMismatch => "signature_mismatch",
        }
    }

    /// Reads a name; `None` when there is no such reason.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

/// How long the steps of a delivery took, in microseconds since its last byte arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timings {
    /// Until the signature was verified and the payload read.
    pub verified_us: u64,
    /// Until the writer took it from the queue.
    pub taken_us: u64,
    /// Until it was folded and about to be committed.
    pub folded_us: u64,
    /// How many deliveries shared the commit.
    pub batch_size: u64,
    /// Until it was committed. Never in the archive, whose row that commit writes: added for as
    /// long as the node that took it remembers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_us: Option<u64>,
    /// Until its first event was handed to the first socket; kept as `committed_us`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket_us: Option<u64>,
}

/// The delivery that stands for an event; others are its duplicates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its id.
    pub id: Id,
    /// Why it is held, if it is.
    pub held: Option<Reason>,
}

/// A delivery as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its id.
    pub id: Id,
    /// What became of it.
    pub status: DeliveryStatus,
    /// Why it was not processed.
    pub reason: Option<Reason>,
    /// The event's name, if it could be read.
    pub event: Option<String>,
    /// What makes it the same event as another delivery.
    pub dedupe_key: Option<String>,
    /// The delivery that was processed in its place.
    pub duplicate_of: Option<Id>,
    /// The connection it was posted to.
    pub connection_id: Option<Id>,
    /// When its last byte arrived, in milliseconds since the Unix epoch.
    pub received_ms: i64,
    /// When Calendly signed it, in milliseconds since the Unix epoch.
    pub signed_ms: Option<i64>,
    /// The prospect it concerned.
    pub prospect_id: Option<Id>,
    /// The proposal it concerned.
    pub proposal_id: Option<Id>,
    /// The headers needed to check it again, by lower-case name.
    pub headers: Arc<BTreeMap<String, String>>,
    /// How long its steps took.
    pub timings: Option<Timings>,
    /// The raw body, byte for byte; absent in lists and for refused requests.
    pub body: Option<Bytes>,
}

impl Delivery {
    /// Notes that another delivery of the same event stands for it.
    pub fn close_as_duplicate(&mut self, of: &Id) {
        self.status = DeliveryStatus::Ignored;
        self.reason = Some(Reason::Duplicate);
        self.duplicate_of = Some(of.clone());
    }

    /// The delivery as admins see it in a list.
    #[must_use]
    pub fn summary(&self) -> Value {
        json!({
            "id": self.id,
            "status": self.status,
            "reason": self.reason,
            "event": self.event,
            "receivedAt": UtcMs(self.received_ms),
            "signedAt": self.signed_ms.and_then(UtcMs::within_reach),
            "connectionId": self.connection_id,
            "duplicateOf": self.duplicate_of,
            "prospectId": self.prospect_id,
            "proposalId": self.proposal_id,
            "timings": self.timings,
        })
    }

    /// The delivery as admins see it by itself: also its headers and its body, as text where it
    /// is text and in Base64 where it is not.
    #[must_use]
    pub fn view(&self) -> Value {
        use base64::Engine as _;
        let (body, encoding) = match self
            .body
            .as_deref()
            .map(|raw| (raw, std::str::from_utf8(raw)))
        {
            None => (None, None),
            Some((_, Ok(text))) => (Some(text.to_owned()), Some("utf-8")),
            Some((raw, Err(_))) => (
                Some(base64::engine::general_purpose::STANDARD.encode(raw)),
                Some("base64"),
            ),
        };
        let mut view = self.summary();
        view["headers"] = json!(&*self.headers);
        view["body"] = json!(body);
        view["bodyEncoding"] = json!(encoding);
        view
    }
}
