//! Reads requests: who asks, which record, which page, which fields.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{
    ConnectInfo, FromRequest, FromRequestParts, MatchedPath, Path, Request, State,
};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;

use super::problem::{Answer, Problem};
use crate::app::auth::bearer;
use crate::app::cursor::{LIMITS, PageQuery};
use crate::app::{App, Error};
use crate::domain::fields::Fields;
use crate::domain::ids::Id;
use crate::domain::user::Caller;
use crate::net;

/// The connection a request came by, where there is one.
#[derive(Debug)]
pub(super) struct Peer(Option<net::Peer>);

impl Peer {
    fn of(extensions: &Extensions) -> Self {
        Self(extensions.get().cloned())
    }

    /// Notes that it is not a stranger's.
    pub(super) fn prove(&self) {
        if let Some(peer) = &self.0 {
            peer.prove();
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}

/// Somebody who is signed in.
#[derive(Debug)]
pub(super) struct User(pub(super) Caller);

/// An admin who is signed in.
#[derive(Debug)]
pub(super) struct Admin(pub(super) Caller);

impl FromRequestParts<Arc<App>> for User {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let header = parts.headers.get(header::AUTHORIZATION);
        let token = header.and_then(|value| bearer(value.to_str().ok()?));
        match app.authenticate(token).await? {
            Ok(who) => {
                Peer::of(&parts.extensions).prove();
                Ok(Self(who.caller))
            }
            Err(error) => Err(Error::Unauthenticated(error.code()).into()),
        }
    }
}

impl FromRequestParts<Arc<App>> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let User(caller) = User::from_request_parts(parts, app).await?;
        if caller.is_admin() {
            Ok(Self(caller))
        } else {
            Err(Error::Forbidden("only admins may").into())
        }
    }
}

/// The id in the path. One that is no id names no record.
#[derive(Debug)]
pub(super) struct PathId(pub(super) Id);

impl FromRequestParts<Arc<App>> for PathId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let PathText(text) = PathText::from_request_parts(parts, app).await?;
        Id::parse(&text)
            .map(Self)
            .ok_or_else(|| Error::NotFound.into())
    }
}

/// The text in the path. One that is not UTF-8 names nothing.
#[derive(Debug)]
pub(super) struct PathText(pub(super) String);

impl FromRequestParts<Arc<App>> for PathText {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, app).await;
        path.map(|Path(text)| Self(text))
            .map_err(|_| Error::NotFound.into())
    }
}

/// What takes parameters, when it is read. Each of these refuses those that it does not know.
const TAKES_QUERY: [&str; 6] = [
    "/api/deliveries",
    "/api/events",
    "/api/proposals",
    "/api/prospects",
    "/api/statistics",
    "/api/users",
];

/// Where nobody is signed in yet.
const OPEN: [&str; 2] = ["/api/auth/login", "/api/auth/refresh"];

/// Refuses parameters where none are taken, from whoever is let in at all.
pub(super) async fn refuse_query(
    State(app): State<Arc<App>>,
    path: MatchedPath,
    request: Request,
    next: Next,
) -> Answer {
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    let takes = reads && TAKES_QUERY.contains(&path.as_str());
    let query = request.uri().query().filter(|_| !takes);
    let Err(faults) = Fields::from_query(query.unwrap_or_default()).finish() else {
        return Ok(next.run(request).await);
    };
    if !OPEN.contains(&path.as_str()) {
        let (mut parts, _) = request.into_parts();
        User::from_request_parts(&mut parts, &app).await?;
    }
    Err(Error::Invalid(faults).into())
}

/// The parameters of the query string.
#[derive(Debug)]
pub(super) struct Query(pub(super) Fields);

impl FromRequestParts<Arc<App>> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Infallible> {
        Ok(Self(Fields::from_query(
            parts.uri.query().unwrap_or_default(),
        )))
    }
}

/// Takes `limit` and `cursor`; call it last, for it also refuses what is left.
pub(super) fn page(mut fields: Fields) -> Result<PageQuery, Error> {
    let (default, max) = LIMITS;
    let limit = number(&mut fields, "limit", default, 1..=max);
    let cursor = fields.some_text("cursor", 2000);
    fields.finish().map_err(Error::Invalid)?;
    Ok(PageQuery { limit, cursor })
}

/// Takes a number within bounds.
pub(super) fn number(
    fields: &mut Fields,
    field: &str,
    default: i64,
    bounds: std::ops::RangeInclusive<i64>,
) -> i64 {
    let Some(text) = fields.some_text(field, 30) else {
        return default;
    };
    let number = text.parse().ok().filter(|number| bounds.contains(number));
    let (min, max) = bounds.into_inner();
    number
        .or_else(|| fields.refuse(field, format!("must be a whole number from {min} to {max}")))
        .unwrap_or(default)
}

/// The fields of a JSON body that must be there.
#[derive(Debug)]
pub(super) struct Body(pub(super) Fields);

impl FromRequest<Arc<App>> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let bytes = json_bytes(request, app).await?;
        parse(&bytes).map(Self)
    }
}

/// The fields of a JSON body that may be left out.
#[derive(Debug)]
pub(super) struct OptionalBody(pub(super) Fields);

impl FromRequest<Arc<App>> for OptionalBody {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let bytes = json_bytes(request, app).await?;
        let blank = bytes.iter().all(u8::is_ascii_whitespace);
        if blank {
            Ok(Self(Fields::from_query("")))
        } else {
            parse(&bytes).map(Self)
        }
    }
}

async fn json_bytes(request: Request, app: &Arc<App>) -> Result<Bytes, Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE).cloned();
    let bytes = raw_body(Bytes::from_request(request, app).await)?;
    let kind = kind
        .as_ref()
        .map_or(Some("application/json"), |kind| kind.to_str().ok());
    let essence = kind
        .and_then(|kind| kind.split(';').next())
        .unwrap_or_default()
        .trim();
    if bytes.is_empty() || essence.eq_ignore_ascii_case("application/json") {
        return Ok(bytes);
    }
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Err(Problem::new(
        status,
        "unsupported_media_type",
        "send application/json",
    ))
}

fn parse(bytes: &[u8]) -> Result<Fields, Problem> {
    match serde_json::from_slice(bytes) {
        Ok(serde_json::Value::Object(object)) => Ok(Fields::new(object)),
        Ok(_) => Err(Error::invalid("body", "must be a JSON object").into()),
        Err(error) => {
            // The message tells the place and never the content.
            let (line, column) = (error.line(), error.column());
            let detail = format!("the body is not JSON: line {line}, column {column}");
            Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "malformed_json",
                detail,
            ))
        }
    }
}

/// A body that was read whole, or why not.
pub(super) fn raw_body(read: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    read.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = "the body is larger than this path takes";
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", detail)
        }
        _ => Problem::new(
            StatusCode::BAD_REQUEST,
            "incomplete_body",
            "the body did not arrive whole",
        ),
    })
}

/// The condition of an `If-Match` header.
#[derive(Debug)]
pub(super) struct IfMatch(Option<String>);

impl IfMatch {
    /// Whether a record at `version` fulfils it. Without a condition every one does; weak tags
    /// never do (RFC 9110, 13.1.1).
    pub(super) fn allows(&self, version: i64) -> bool {
        let Some(condition) = &self.0 else {
            return true;
        };
        let tag = super::answer::etag(version);
        condition
            .split(',')
            .map(str::trim)
            .any(|given| given == "*" || given == tag)
    }
}

impl FromRequestParts<Arc<App>> for IfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Infallible> {
        let lines = parts.headers.get_all(header::IF_MATCH).iter();
        let lines: Vec<_> = lines
            .map(|line| String::from_utf8_lossy(line.as_bytes()))
            .collect();
        Ok(Self((!lines.is_empty()).then(|| lines.join(","))))
    }
}

/// The client's address, where there is a connection. Behind a proxy on this machine or in this
/// network it is the one the proxy names; from anywhere else such a header is not believed.
#[derive(Debug)]
pub(super) struct Address(pub(super) Option<IpAddr>);

impl FromRequestParts<Arc<App>> for Address {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map(|ConnectInfo(address)| address.ip());
        let forwarded = peer
            .filter(is_near)
            .and_then(|_| forwarded_for(&parts.headers));
        Ok(Self(forwarded.or(peer)))
    }
}

fn is_near(address: &IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    }
}

/// The last hop, with or without a port: what comes before it, the client may have written itself.
fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let mut lines = headers.get_all("x-forwarded-for").iter();
    let last = lines.next_back()?.to_str().ok()?.rsplit(',').next()?;
    let last = last.trim();
    let with_port = || Some(last.parse::<SocketAddr>().ok()?.ip());
    last.parse().ok().or_else(with_port)
}
