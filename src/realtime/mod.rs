//! Socket.IO in and out.
//!
//! A socket is authenticated before it is told that it is connected. From then on one task owns
//! it: it reads the event log from the socket's own position and sends what its user may hear,
//! in order. Commits only wake it. See `delivery`.

mod admission;
mod auth;
mod delivery;
mod exit;
mod flow;
mod outlet;
mod polls;
mod request;
mod strangers;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, Uri};
use http_body_util::Limited;
use socketioxide::SocketIo;
use socketioxide::extract::SocketRef;
use socketioxide::handler::ConnectHandler;
use socketioxide::layer::SocketIoLayer;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use admission::Admitting;
use exit::Exit;
use polls::Polls;
use strangers::Strangers;

/// The path that always works, beside the configured one.
pub(crate) const FIXED_PATH: &str = "/api/socketio";

/// Whether a path is this one, or below it: so does engineioxide 0.17.9 tell what is its own.
pub(crate) fn is_within(path: &str, this: &str) -> bool {
    let rest = path.strip_prefix(this);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// How often a client is asked whether it is there, and how long it has to answer. Together
/// they bound how long a dead one is kept.
const PING: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(10));

/// How long a stranger may stay connected without authenticating.
const CONNECT: Duration = Duration::from_secs(10);

/// How many strangers who poll there may be, and of how many it is remembered how they came: as many
/// as `net` allows connections of strangers.
const STRANGERS: usize = 16_384;

/// The largest message taken from a client, in bytes. Clients have little to say.
const INCOMING: usize = 64 << 10;

/// What a connection reads at a time, in bytes: more would be kept for each of thousands that have
/// little to say. A longer message is read in more steps.
const READ: usize = 128;

/// The largest answer to a poll, in bytes: more than a connection's buffer can hold. The packet
/// that does not fit any more is put aside by engineioxide 0.17.9, and lost when the client then
/// goes over to a WebSocket.
const OUTGOING: u64 = 1 << 40;

/// The sockets of this node.
#[derive(Clone)]
pub struct Sockets {
    io: SocketIo,
    layer: SocketIoLayer,
    path: String,
    polls: Arc<Polls>,
    strangers: Strangers,
    exit: Arc<Exit>,
    stop: CancellationToken,
    delivering: TaskTracker,
}

impl std::fmt::Debug for Sockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sockets")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Sockets {
    /// Sockets that deliver what `app` commits, served at `path` and at `/api/socketio`.
    pub fn new(app: Arc<App>, path: &str) -> Self {
        Self::with_limits(app, path, CONNECT, STRANGERS)
    }

    /// The same, with another time for strangers to authenticate, and another number of those who
    /// poll.
    pub fn with_limits(app: Arc<App>, path: &str, connect: Duration, strangers: usize) -> Self {
        let (layer, io) = SocketIo::builder()
            .req_path(path.to_owned())
            .ping_interval(PING.0)
            .ping_timeout(PING.1)
            .connect_timeout(connect)
            .max_payload(OUTGOING)
            .ws_read_buffer_size(READ)
            .ws_max_message_size(INCOMING)
            .ws_max_frame_size(INCOMING)
            .build_layer();
        let exit = Arc::new(Exit::new(path));
        let stop = CancellationToken::new();
        let sockets = Self {
            io,
            layer,
            path: path.to_owned(),
            polls: Arc::new(Polls::new(strangers)),
            strangers: Strangers::new(strangers),
            exit,
            stop,
            delivering: TaskTracker::new(),
        };
        sockets.register(app);
        sockets
    }

    fn register(&self, app: Arc<App>) {
        let (delivering, polls) = (Arc::clone(&app), Arc::clone(&self.polls));
        let (stop, tracker) = (self.stop.clone(), self.delivering.clone());
        // The library keeps what is registered, and the way out keeps the library.
        let exit = Arc::downgrade(&self.exit);
        let connected = async move |socket: SocketRef| {
            let _delivering = tracker.token();
            delivery::attend(delivering.clone(), socket, &polls, &exit, stop.clone()).await;
        };
        let authenticate = async move |socket: SocketRef, auth: auth::Handshake| {
            auth::authenticate(&app, &socket, auth).await
        };
        self.io.ns("/", connected.with(authenticate));
    }

    /// Adds the sockets to a router.
    pub fn add_to(&self, router: Router) -> Router {
        let router = router.layer(self.layer.clone());
        self.exit.lead_to(router.clone());
        router
    }

    /// Puts [`Sockets::admit`] before a router that has the sockets.
    pub fn before<S>(&self, router: S) -> Admitting<S> {
        Admitting {
            sockets: self.clone(),
            router,
        }
    }

    /// Leads the fixed path to the configured one, notes polls, and bounds what is posted, what is
    /// kept, and how many strangers poll. Stands outside the router, before the layer that looks at
    /// the path.
    ///
    /// # Errors
    /// The status that a request is refused with.
    fn admit(&self, mut request: Request<Body>) -> Result<Request<Body>, StatusCode> {
        if let Some(uri) = self.configured(request.uri()) {
            *request.uri_mut() = uri;
        }
        if !is_within(request.uri().path(), &self.path) {
            return Ok(request);
        }
        self.polls.note(&mut request);
        if request::begins_polling(&request) {
            let place = self.strangers.take_place();
            let place = place.ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
            request.extensions_mut().insert(place);
        }
        let request = request::copy_little(request)?;
        Ok(request.map(|body| Body::new(Limited::new(body, INCOMING))))
    }

    /// Where a request to the fixed path is to go.
    fn configured(&self, uri: &Uri) -> Option<Uri> {
        if self.path == FIXED_PATH || !is_within(uri.path(), FIXED_PATH) {
            return None;
        }
        let rest = uri.path().strip_prefix(FIXED_PATH)?;
        let query = uri.query().map(|query| format!("?{query}"));
        let query = query.unwrap_or_default();
        format!("{}{rest}{query}", self.path).parse().ok()
    }

    /// Stops delivering, and waits until polling clients have fetched what they were given, at
    /// most `limit`. To be called while requests are still taken: they have to poll for it.
    pub async fn drain(&self, limit: Duration) {
        self.stop.cancel();
        self.delivering.close();
        let _ = tokio::time::timeout(limit, self.delivering.wait()).await;
    }

    /// Closes every connection in a way that makes stock clients come back by themselves. Waits
    /// at most `limit`: a client that no longer reads would hold it up for ever.
    pub async fn close(&self, limit: Duration) {
        if tokio::time::timeout(limit, self.io.close()).await.is_err() {
            tracing::warn!("some clients did not let go of their sockets in time");
        }
    }
}
