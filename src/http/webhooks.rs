//! Where Calendly posts.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::IntoResponse;
use serde_json::json;

use super::extract::{PathText, Peer, raw_body};
use super::problem::Answer;
use crate::app::App;
use crate::app::ingest::{self, Outcome, Posted};

const SIGNATURE: &str = "calendly-webhook-signature";

/// The headers kept with a delivery: what is needed to check it again, and who sent it.
const KEPT: [&str; 3] = [SIGNATURE, "content-type", "user-agent"];

/// The longest header value that is kept, in characters.
const KEPT_LENGTH: usize = 1024;

pub(super) async fn receive(
    State(app): State<Arc<App>>,
    peer: Peer,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    take(&app, &peer, None, (&headers, body)).await
}

pub(super) async fn receive_for(
    State(app): State<Arc<App>>,
    PathText(connection_id): PathText,
    peer: Peer,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    take(&app, &peer, Some(connection_id), (&headers, body)).await
}

async fn take(
    app: &App,
    peer: &Peer,
    connection_id: Option<String>,
    (headers, body): (&HeaderMap, Result<Bytes, BytesRejection>),
) -> Answer {
    let body = raw_body(body)?;
    let signature = joined(headers, SIGNATURE);
    let posted = Posted {
        connection_id,
        signature,
        headers: kept(headers),
        body,
    };
    let answer = app.receive(posted).await?;
    peer.prove();
    let held = answer.outcome == Outcome::Quarantined;
    let status = if held {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(receipt(&answer))).into_response())
}

/// What became of a delivery, as clients see it.
pub(super) fn receipt(answer: &ingest::Answer) -> serde_json::Value {
    let mut body = json!({ "status": answer.outcome.name(), "deliveryId": answer.delivery_id });
    if let Some(reason) = answer.reason {
        body["reason"] = json!(reason);
    }
    body
}

/// A header's value; that of several lines is that of one with commas between (RFC 9110, 5.3).
fn joined(headers: &HeaderMap, name: &str) -> Option<Vec<u8>> {
    let lines: Vec<&[u8]> = headers
        .get_all(name)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    (!lines.is_empty()).then(|| lines.join(&b","[..]))
}

fn kept(headers: &HeaderMap) -> BTreeMap<String, String> {
    let kept = KEPT.iter().filter_map(|name| {
        let text = String::from_utf8_lossy(&joined(headers, name)?).into_owned();
        Some(((*name).to_owned(), text.chars().take(KEPT_LENGTH).collect()))
    });
    kept.collect()
}
