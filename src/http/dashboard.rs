//! The dashboard's files, built into the binary.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::answer::hash_tag;
use super::extract::PathText;
use super::problem::{Problem, not_found};

/// What pages may load and run: only what this server serves.
const POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! script {
    ($name:literal) => {
        ($name, SCRIPT, include_str!(concat!("dashboard/", $name)))
    };
}

/// Path below `/assets/`, media type, text.
const ASSETS: &[(&str, &str, &str)] = &[
    script!("api.js"),
    script!("app.js"),
    script!("cards.js"),
    script!("desk.js"),
    script!("dom.js"),
    script!("format.js"),
    script!("live.js"),
    script!("records.js"),
    script!("view.js"),
    script!("vendor/socket.io.esm.min.js"),
    (
        "style.css",
        "text/css; charset=utf-8",
        include_str!("dashboard/style.css"),
    ),
    (
        "favicon.svg",
        "image/svg+xml",
        include_str!("dashboard/favicon.svg"),
    ),
];

pub(super) async fn page(headers: HeaderMap) -> Response {
    file(
        &headers,
        "text/html; charset=utf-8",
        include_str!("dashboard/index.html"),
    )
}

pub(super) async fn asset(
    PathText(path): PathText,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let found = ASSETS.iter().find(|(name, _, _)| *name == path);
    let (_, kind, text) = found.ok_or_else(|| not_found("there is no such file"))?;
    Ok(file(&headers, kind, text))
}

/// Names are not hashed, so browsers ask each time and are told when nothing changed.
fn file(headers: &HeaderMap, kind: &'static str, text: &'static str) -> Response {
    let tag = hash_tag(text.as_bytes());
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    let fixed = [
        (header::ETAG, tag.as_str()),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    if known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag)) {
        return (StatusCode::NOT_MODIFIED, fixed).into_response();
    }
    (fixed, [(header::CONTENT_TYPE, kind)], text).into_response()
}
