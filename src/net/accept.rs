//! The accept loop: HTTP/1.1 over TCP, with limits that `axum::serve` has no setting for.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::response::Response;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt};

use super::Limits;
use super::stream::{Arriving, Leaving, Stream};
use super::table::{Peer, Table};
use crate::app::metrics::Connections;

/// How long sent data may stay unacknowledged before the kernel gives a connection up. Without
/// it socketioxide never releases a client that stopped reading: no disconnect, the file kept.
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);

/// The most a connection keeps of what it was sent and has not read, and so the longest head of
/// a request, in bytes.
const BUFFER: usize = 64 << 10;

/// How many connections may wait to be accepted, as far as the system lets us (`somaxconn`). After
/// a restart all clients come back at once, and one that finds no room tries again only after a
/// second, then three, then seven. tokio's own `bind` has 128.
const BACKLOG: u32 = 16_384;

/// How long to wait when the system has no more files for us.
const PAUSE: Duration = Duration::from_millis(20);

/// What answers requests.
pub trait Serve:
    Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}
impl<S> Serve for S where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// Listens, with room for many connections that come at once.
///
/// # Errors
/// When the address cannot be had.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // As tokio's `bind` does: after a restart the address can be had at once.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `stop`, then lets running requests finish. Connections that were upgraded are no
/// longer looked after here.
pub async fn serve(
    listener: TcpListener,
    service: impl Serve,
    limits: Limits,
    counts: Connections,
    stop: CancellationToken,
) {
    let table = Table::new(limits, counts);
    let sweeping = tokio::spawn(sweep(Arc::clone(&table)));
    let serving = TaskTracker::new();
    let accepting = async {
        loop {
            let Some((tcp, address)) = accept(&listener, &table).await else {
                continue;
            };
            if let Some(peer) = table.admit() {
                tune(&tcp);
                let stream = Stream::new(tcp, peer.clone());
                let client = Client { peer, address };
                serving.spawn(client.serve(stream, service.clone(), stop.clone()));
            }
        }
    };
    stop.run_until_cancelled(accepting).await;
    drop(listener);
    serving.close();
    serving.wait().await;
    sweeping.abort();
}

async fn sweep(table: Arc<Table>) {
    let mut ticks = interval(table.period());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        table.sweep();
    }
}

/// The next connection; `None` for one that was gone again, or when the system has no room.
async fn accept(listener: &TcpListener, table: &Table) -> Option<(TcpStream, SocketAddr)> {
    match listener.accept().await {
        Ok(accepted) => Some(accepted),
        Err(error) if is_of_connection(&error) => None,
        Err(error) => {
            // Out of files, most likely. It stays in the queue, so there is no use in spinning.
            tracing::warn!(%error, "a connection cannot be accepted");
            table.make_room();
            sleep(PAUSE).await;
            None
        }
    }
}

fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    [
        ConnectionAborted,
        ConnectionRefused,
        ConnectionReset,
        Interrupted,
    ]
    .contains(&error.kind())
}

fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED));
}

/// Who is at the other end.
#[derive(Clone)]
struct Client {
    peer: Peer,
    address: SocketAddr,
}

impl Client {
    async fn serve(self, stream: Stream, service: impl Serve, stop: CancellationToken) {
        let answer = service_fn(move |request| self.clone().answer(request, service.clone()));
        let mut http = http1::Builder::new();
        let http = http.max_buf_size(BUFFER);
        let connection = http.serve_connection(TokioIo::new(stream), answer);
        let mut connection = pin!(connection.with_upgrades());
        tokio::select! {
            _ = connection.as_mut() => return,
            () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }

    async fn answer(
        self,
        request: hyper::Request<Incoming>,
        service: impl Serve,
    ) -> Result<hyper::Response<Leaving>, Infallible> {
        let to_come = !request.body().is_end_stream();
        self.peer.request(to_come);
        let mut request = request.map(|body| {
            if to_come {
                Body::new(Arriving::new(body, self.peer.clone()))
            } else {
                Body::empty()
            }
        });
        let extensions = request.extensions_mut();
        extensions.insert(ConnectInfo(self.address));
        extensions.insert(self.peer.clone());
        let response = service.oneshot(request).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.peer.upgraded();
        }
        Ok(response.map(|body| Leaving::new(body, self.peer)))
    }
}
