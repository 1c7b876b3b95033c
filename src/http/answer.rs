//! Writes answers: lists, records, and the headers they carry.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::SEQ;
use crate::app::Listed;
use crate::domain::event::Seq;

/// A strong entity tag for a record at a version.
pub(super) fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

/// A list's page, with the link to the next.
pub(super) fn list<T>(
    uri: &Uri,
    listed: &Listed<T>,
    view: impl Fn(&T) -> serde_json::Value,
) -> Response {
    let items: Vec<_> = listed.items.iter().map(view).collect();
    let next = listed.next_cursor.as_deref();
    let body = json!({ "items": items, "nextCursor": next, "total": listed.total });
    let mut response = with_seq(listed.seq, Json(body).into_response());
    if let Some(link) = next.and_then(|cursor| next_link(uri, cursor)) {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

/// The same list, from the cursor on (RFC 8288).
fn next_link(uri: &Uri, cursor: &str) -> Option<HeaderValue> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        if name != "cursor" {
            query.append_pair(&name, &value);
        }
    }
    let query = query.append_pair("cursor", cursor).finish();
    HeaderValue::try_from(format!("<{}?{query}>; rel=\"next\"", uri.path())).ok()
}

/// A record that was read.
pub(super) fn read(view: &impl Serialize, version: i64, seq: Seq) -> Response {
    with_seq(seq, changed(view, version))
}

/// A record without a version that was read: its tag is a hash of its text.
pub(super) fn read_tagged(view: &serde_json::Value, seq: Seq) -> Response {
    let text = view.to_string();
    let tag = hash_tag(text.as_bytes());
    let headers = [
        (header::ETAG, tag),
        (header::CONTENT_TYPE, "application/json".to_owned()),
    ];
    with_seq(seq, (headers, text).into_response())
}

/// A strong entity tag for these bytes.
pub(super) fn hash_tag(bytes: &[u8]) -> String {
    format!("\"{}\"", hex::encode(&Sha256::digest(bytes)[..12]))
}

/// A record that was changed.
pub(super) fn changed(view: &impl Serialize, version: i64) -> Response {
    ([(header::ETAG, etag(version))], Json(view)).into_response()
}

/// A record that was made at `path`.
pub(super) fn created(path: &str, view: &impl Serialize, version: i64) -> Response {
    let headers = [
        (header::ETAG, etag(version)),
        (header::LOCATION, path.to_owned()),
    ];
    (StatusCode::CREATED, headers, Json(view)).into_response()
}

/// Nothing, because the record is gone.
pub(super) fn deleted() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// Adds the head of the log before the answer was read.
pub(super) fn with_seq(seq: Seq, mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(SEQ.clone(), HeaderValue::from(seq));
    response
}

/// A view as JSON.
pub(super) fn value(view: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(view).expect("views have string keys only")
}
