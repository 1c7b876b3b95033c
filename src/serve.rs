//! Runs the server: opens the database, starts the jobs, listens, and stops in order.

use std::io::{Write, stderr, stdout};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use opentelemetry_sdk::trace::SdkTracerProvider;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Settings, auth};
use crate::config::Config;
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::ids::UuidV7;
use crate::domain::secret::Secret;
use crate::domain::time::UtcMs;
use crate::realtime::Sockets;
use crate::store::{self, Store};
use crate::{http, jobs, net, otlp};

/// How long each step of stopping may take. Together they stay below ten seconds.
const DRAIN_SOCKETS: Duration = Duration::from_millis(1500);
const CLOSE_SOCKETS: Duration = Duration::from_millis(1500);
const FINISH_REQUESTS: Duration = Duration::from_secs(2);
const FINISH_JOBS: Duration = Duration::from_secs(2);
const CLOSE_DATABASE: Duration = Duration::from_secs(2);

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// When the database cannot be opened or the address cannot be listened on.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let mut stop = StopSignals::new()?;
    let undisturbed = Mutex::new(());
    let asked_to_stop = async {
        stop.wait().await;
        undisturbed.lock().await
    };
    // A start may have long to wait, for another program or for the database, and may be dropped
    // anywhere: each of its steps is a transaction.
    let started = tokio::select! {
        started = start(&config, &undisturbed) => Some(started?),
        _ = asked_to_stop => None,
    };
    let Some((store, running)) = started else {
        tracing::info!("stopped before it served");
        return Ok(());
    };
    stop.wait().await;
    tracing::info!("stopping");
    running.stop().await;
    store.close(CLOSE_DATABASE).await;
    tracing::info!("stopped");
    Ok(())
}

/// Starts, and is not to be dropped while it has the lock.
async fn start(config: &Config, undisturbed: &Mutex<()>) -> anyhow::Result<(Store, Running)> {
    let store = Store::open(config.database_url.expose()).await?;
    if store::deliveries::archive::is_unfinished(&mut store.read().await?.db()).await? {
        anyhow::bail!("the rebuild of this database is not finished; wait for it, or begin anew");
    }
    let secret = jwt_secret(&store, config).await?;
    let listener = net::listen(config.listen)
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    let address = listener.local_addr()?;
    let public_url = config
        .public_url
        .clone()
        .unwrap_or_else(|| format!("http://{address}"));
    let settings = settings(config, secret, public_url);
    let (app, writer) = App::new(
        store.clone(),
        settings,
        Arc::new(SystemClock),
        Arc::new(UuidV7::new()),
    )
    .await?;
    make_first_admin(&app, config, undisturbed).await?;
    let traces = config.traces_url.as_ref();
    let traces = traces.map(|url| otlp::provider(url.expose())).transpose()?;
    // Ready from the first request on; the follower goes on from here.
    app.catch_up().await?;
    let has_admin = app.has_admin().await?;
    let running = Running::start(&app, writer, config, listener, traces)?;
    announce(&app, config, address, has_admin);
    Ok((store, running))
}

/// A password that was made is shown, whoever wants to stop meanwhile: it is kept as a hash only.
async fn make_first_admin(
    app: &App,
    config: &Config,
    undisturbed: &Mutex<()>,
) -> anyhow::Result<()> {
    let _undisturbed = undisturbed.lock().await;
    let chosen = config.admin_password.as_ref();
    let chosen = chosen.map(|text| text.expose().to_owned());
    let admin = app.create_first_admin(&config.admin_email, chosen).await;
    let generated = admin.context("cannot make the first admin")?;
    announce_admin(config, generated.as_deref());
    Ok(())
}

/// The configured secret, else the one in the database, made at the first start.
async fn jwt_secret(store: &Store, config: &Config) -> anyhow::Result<Secret> {
    if let Some(secret) = &config.jwt_secret {
        return Ok(secret.clone());
    }
    let fresh = hex::encode(auth::random::<32>()?);
    let mut tx = store.begin().await?;
    let kept = store::settings::keep_first(&mut tx.db(), "jwt_secret", &fresh).await?;
    tx.commit(Vec::new(), 0, &UuidV7::new()).await?;
    Ok(Secret::new(kept))
}

fn settings(config: &Config, jwt_secret: Secret, public_url: String) -> Settings {
    Settings {
        signing_keys: config.signing_keys.clone(),
        signature_tolerance_s: config.signature_tolerance_s,
        jwt_secret,
        event_retention_ms: config.event_retention_ms,
        delivery_retention_ms: config.delivery_retention_ms,
        public_url,
    }
}

/// What runs until the program stops.
struct Running {
    server: JoinHandle<()>,
    sockets: Sockets,
    writer: oneshot::Receiver<()>,
    stop_writer: oneshot::Sender<()>,
    jobs: Vec<JoinHandle<()>>,
    stop: CancellationToken,
    /// Ends what follows requests, once there are no more.
    last: CancellationToken,
}

impl Running {
    fn start(
        app: &Arc<App>,
        writer: crate::app::ingest::Writer,
        config: &Config,
        listener: TcpListener,
        traces: Option<SdkTracerProvider>,
    ) -> anyhow::Result<Self> {
        let (stop, last) = (CancellationToken::new(), CancellationToken::new());
        let (stop_writer, writer_stopped) = oneshot::channel();
        let writer = writer.start(Arc::clone(app), writer_stopped)?;
        let mut jobs = vec![
            tokio::spawn(jobs::checkpoint::run(Arc::clone(app), stop.clone())),
            tokio::spawn(jobs::follow::run(Arc::clone(app), stop.clone())),
            tokio::spawn(jobs::refusals::run(Arc::clone(app), last.clone())),
            tokio::spawn(jobs::rest::run(Arc::clone(app), stop.clone())),
            tokio::spawn(jobs::retention::run(Arc::clone(app), stop.clone())),
            tokio::spawn(jobs::search::run(Arc::clone(app), stop.clone())),
        ];
        if let Some((provider, trips)) = traces.zip(app.trips.follow()) {
            let export = jobs::traces::run(Arc::clone(app), provider, trips, last.clone());
            jobs.push(tokio::spawn(export));
        }
        let sockets = Sockets::new(Arc::clone(app), &config.socket_path);
        let router = sockets.add_to(http::router(Arc::clone(app)));
        let router = match config.cors_origins.as_slice() {
            [] => router,
            origins => router.layer(http::cors(origins)),
        };
        let limits = net::Limits::with_files(net::raise_file_limit());
        let counts = app.metrics.connections.clone();
        let service = sockets.before(router);
        let server = net::serve(listener, service, limits, counts, stop.clone());
        let server = tokio::spawn(server);
        Ok(Self {
            server,
            sockets,
            writer,
            stop_writer,
            jobs,
            stop,
            last,
        })
    }

    /// Stops taking requests, lets running ones finish, tells the sockets, and ends the jobs. No
    /// step can hold up the next for longer than its limit.
    async fn stop(mut self) {
        self.sockets.drain(DRAIN_SOCKETS).await;
        self.stop.cancel();
        self.sockets.close(CLOSE_SOCKETS).await;
        if timeout(FINISH_REQUESTS, &mut self.server).await.is_err() {
            tracing::warn!("some requests did not finish in time");
            self.server.abort();
        }
        let _ = self.stop_writer.send(());
        let finish = async {
            let _ = self.writer.await;
            self.last.cancel();
            for job in self.jobs {
                let _ = job.await;
            }
        };
        if timeout(FINISH_JOBS, finish).await.is_err() {
            tracing::warn!("some background work did not finish in time");
        }
    }
}

/// Not by the log, whose filter may leave it out, and which may go elsewhere too.
fn announce_admin(config: &Config, generated: Option<&str>) {
    let Some(password) = generated else { return };
    let email = &config.admin_email;
    let advice = "It is shown only this once; change it with `bookbell user passwd`.";
    let told = if config.log_json {
        let line = json!({
            "timestamp": UtcMs(SystemClock.now_ms()),
            "level": "INFO",
            "message": format!("First start: an admin was made, with a password. {advice}"),
            "email": email,
            "password": password,
            "target": module_path!(),
        });
        line.to_string()
    } else {
        format!("First start: the admin is {email} with the password {password}\n{advice}")
    };
    let _ = writeln!(stderr(), "{told}");
}

/// Says where it listens and what is still to do, in lines a person can act on. Whether anybody
/// reads them is no matter of the server's.
fn announce(app: &App, config: &Config, address: SocketAddr, has_admin: bool) {
    let public_url = &app.settings.public_url;
    let mut lines = vec![
        format!("listening on http://{address}"),
        format!("dashboard    {public_url}/"),
        format!("webhook URL  {public_url}/webhooks/calendly"),
        format!("database     {}", app.store.engine()),
    ];
    let to_do = [
        (
            config.signing_keys.is_empty(),
            "set BOOKBELL_CALENDLY_SIGNING_KEYS: without a key every delivery is refused",
        ),
        (
            config.public_url.is_none(),
            "set BOOKBELL_PUBLIC_URL to where Calendly can reach this server",
        ),
        (!has_admin, "add an admin: bookbell user add --role admin …"),
    ];
    let to_do = to_do.into_iter().filter(|(is_to_do, _)| *is_to_do);
    lines.extend(to_do.map(|(_, what)| format!("to do        {what}")));
    for line in lines {
        let _ = writeln!(stdout(), "{line}");
    }
}

struct StopSignals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl StopSignals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
