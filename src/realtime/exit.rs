//! The way out for a connection that polls.

use std::sync::OnceLock;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use socketioxide::socket::Sid;
use tower::ServiceExt;

/// What closes the connections of clients that poll. With socketioxide 0.18.9 only all of them can
/// be closed: whoever answers pings would keep one that has no socket any more for ever, and nobody
/// asks for a token there. `tests/it/libraries.rs` notices when that is over.
#[derive(Debug)]
pub(super) struct Exit {
    path: String,
    /// The router that has the sockets: each that they are added to has its own.
    router: OnceLock<Router>,
}

impl Exit {
    pub(super) fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            router: OnceLock::new(),
        }
    }

    /// Says which router has the sockets.
    pub(super) fn lead_to(&self, router: Router) {
        let _ = self.router.set(router);
    }

    /// Posts for the client the packet that closes its connection, if that is still open.
    pub(super) async fn close(&self, client: Sid) {
        let uri = format!("{}/?EIO=4&transport=polling&sid={client}", self.path);
        let request = Request::post(uri).body(Body::from("1"));
        if let (Some(router), Ok(request)) = (self.router.get(), request) {
            let _ = router.clone().oneshot(request).await;
        }
    }
}
