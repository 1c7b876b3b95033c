//! What a request for a socket asks for, and what is kept of it: a copy of the little that is looked
//! at.
//!
//! engineioxide 0.17.9 keeps the request's parts for as long as the socket lives. Each header and
//! the path is a slice of the buffer that hyper read the request into, so that one of them holds
//! all 8 KiB, or more where the head is long. `tests/it/many.rs` notices when that is over.

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};

/// How long these and the path may be together, in bytes: a token has some hundred.
const MOST: usize = 4 << 10;

/// The headers that anybody looks at from here on: the handshake, engineioxide, and CORS.
const LOOKED_AT: [HeaderName; 3] = [
    header::AUTHORIZATION,
    header::SEC_WEBSOCKET_KEY,
    header::ORIGIN,
];

/// The first value of a name in a query, taken as it is, as engineioxide does.
fn first<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    let mut pairs = uri.query().unwrap_or_default().split('&');
    pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// The client that a request says it is of.
pub(super) fn client(uri: &Uri) -> Option<&str> {
    first(uri, "sid")
}

/// Whether a request is of a client that polls.
pub(super) fn polls(uri: &Uri) -> bool {
    let transport = first(uri, "transport").unwrap_or_default();
    transport.split('=').next() == Some("polling")
}

/// Whether a request is the first of a client that polls.
pub(super) fn begins_polling<B>(request: &Request<B>) -> bool {
    request.method() == Method::GET && polls(request.uri()) && client(request.uri()).is_none()
}

/// Copies what is looked at of a request that begins a socket, and lets go of the rest.
///
/// # Errors
/// The status for one of which too much would be kept.
pub(super) fn copy_little<B>(request: Request<B>) -> Result<Request<B>, StatusCode> {
    if !begins_socket(&request) {
        return Ok(request);
    }
    let (mut parts, body) = request.into_parts();
    if let Some(uri) = copy_of(&parts.uri) {
        parts.uri = uri;
    }
    parts.headers = looked_at(&parts);
    if size(&parts) > MOST {
        return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    parts.extensions.remove::<ConnectInfo<SocketAddr>>();
    Ok(Request::from_parts(parts, body))
}

/// Whether the request's parts are kept: not those of a poll, nor of what is posted.
fn begins_socket<B>(request: &Request<B>) -> bool {
    request.method() == Method::GET && (!polls(request.uri()) || client(request.uri()).is_none())
}

fn copy_of(uri: &Uri) -> Option<Uri> {
    uri.path_and_query()?.as_str().to_owned().try_into().ok()
}

fn size(parts: &Parts) -> usize {
    let uri = parts
        .uri
        .path_and_query()
        .map_or(0, |uri| uri.as_str().len());
    let headers = parts.headers.values().map(HeaderValue::len);
    headers.fold(uri, usize::saturating_add)
}

fn looked_at(parts: &Parts) -> HeaderMap {
    let there = LOOKED_AT
        .iter()
        .filter(|name| parts.headers.contains_key(*name));
    // As large as it need be: a map makes room for six at the first.
    let mut copies = HeaderMap::with_capacity(there.count());
    for name in LOOKED_AT {
        let copy = parts.headers.get(&name);
        let copy = copy.and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok());
        if let Some(copy) = copy {
            copies.insert(name, copy);
        }
    }
    copies
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str) -> Request<()> {
        Request::get(uri)
            .header(header::AUTHORIZATION, "Bearer abc")
            .header(header::USER_AGENT, "Agent")
            .body(())
            .unwrap()
    }

    #[test]
    fn what_is_looked_at_is_there_still() {
        for uri in [
            "/s/?EIO=4&transport=polling",
            "/s/?EIO=4&transport=websocket",
            "/s/?EIO=4&transport=websocket&sid=abc",
        ] {
            let copy = copy_little(request(uri)).unwrap();
            assert_eq!(copy.uri(), uri);
            assert_eq!(copy.headers()[header::AUTHORIZATION], "Bearer abc");
            assert!(!copy.headers().contains_key(header::USER_AGENT), "{uri}");
        }
    }

    #[test]
    fn polls_are_left_alone() {
        let poll = copy_little(request("/s/?EIO=4&transport=polling&sid=abc")).unwrap();
        assert!(poll.headers().contains_key(header::USER_AGENT));
    }

    #[test]
    fn a_request_of_which_much_would_be_kept_is_refused() {
        let path = "/s/?EIO=4&transport=polling";
        let long = "x".repeat(MOST);
        let by_path = request(&format!("{path}&x={long}"));
        let mut by_header = request(path);
        by_header
            .headers_mut()
            .insert(header::ORIGIN, long.parse().unwrap());
        for refused in [by_path, by_header] {
            let refused = copy_little(refused).err();
            assert_eq!(refused, Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        }
        let mut unread = request(path);
        unread
            .headers_mut()
            .insert(header::COOKIE, long.parse().unwrap());
        assert!(copy_little(unread).is_ok());
    }

    #[test]
    fn a_query_is_read_as_the_library_reads_it() {
        let begins = |query: &str| begins_polling(&request(&format!("/s/?EIO=4&{query}")));
        assert!(begins("transport=polling"));
        assert!(begins("transport=polling=x&sid"));
        assert!(begins("transport=polling&xsid=abc&transport=websocket"));
        assert!(!begins("transport=polling&sid="));
        assert!(!begins("transport=websocket&x=transport=polling"));
    }
}
