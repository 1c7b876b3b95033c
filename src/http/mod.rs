//! HTTP in and out. Every route stands on this page; handlers decide nothing.

mod answer;
mod auth;
mod dashboard;
mod deliveries;
mod events;
mod extract;
mod health;
mod metrics;
mod problem;
mod proposals;
mod prospects;
mod setup;
mod statistics;
mod users;
mod webhooks;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware;
use axum::routing::{get, post};
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;

use crate::app::App;

/// The largest body of a request, in bytes.
const BODY_LIMIT: usize = 1 << 20;

/// The same where anybody may send one who has not signed in, but for webhooks.
const STRANGERS_LIMIT: usize = 16 << 10;

/// The head of the event log before an answer was read.
static SEQ: HeaderName = HeaderName::from_static("bookbell-seq");

/// All routes, without the sockets and without CORS.
pub fn router(app: Arc<App>) -> Router {
    let refuse_query = middleware::from_fn_with_state(Arc::clone(&app), extract::refuse_query);
    webhooks()
        .merge(
            accounts()
                .merge(records())
                .merge(numbers())
                .route_layer(refuse_query)
                .layer(no_store()),
        )
        .merge(pages())
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn(problem::log_requests))
        .layer(no_sniff())
        .with_state(app)
}

fn webhooks() -> Router<Arc<App>> {
    Router::new()
        .route("/webhooks/calendly", post(webhooks::receive))
        .route(
            "/webhooks/calendly/{connectionId}",
            post(webhooks::receive_for),
        )
}

fn accounts() -> Router<Arc<App>> {
    let user = get(users::read).patch(users::update).delete(users::delete);
    Router::new()
        .route("/api/auth/login", post(auth::login).layer(small()))
        .route("/api/auth/refresh", post(auth::refresh).layer(small()))
        .route("/api/auth/logout", post(auth::logout))
        .route("/api/auth/me", get(auth::me))
        .route("/api/users", get(users::list).post(users::create))
        .route("/api/users/{id}", user)
}

fn small() -> DefaultBodyLimit {
    DefaultBodyLimit::max(STRANGERS_LIMIT)
}

fn records() -> Router<Arc<App>> {
    let prospect = get(prospects::read)
        .patch(prospects::update)
        .delete(prospects::delete);
    let proposal = get(proposals::read)
        .patch(proposals::update)
        .delete(proposals::delete);
    Router::new()
        .route(
            "/api/prospects",
            get(prospects::list).post(prospects::create),
        )
        .route("/api/prospects/counts", get(prospects::counts))
        .route("/api/prospects/{id}", prospect)
        .route(
            "/api/proposals",
            get(proposals::list).post(proposals::create),
        )
        .route("/api/proposals/{id}", proposal)
        .route("/api/proposals/{id}/accept", post(proposals::accept))
        .route("/api/proposals/{id}/reject", post(proposals::reject))
        .route("/api/deliveries", get(deliveries::list))
        .route("/api/deliveries/counts", get(deliveries::counts))
        .route("/api/deliveries/replay", post(deliveries::replay_all))
        .route("/api/deliveries/{id}", get(deliveries::read))
        .route("/api/deliveries/{id}/replay", post(deliveries::replay))
        .route("/api/events", get(events::list))
}

fn numbers() -> Router<Arc<App>> {
    let samples = post(setup::send_sample).delete(setup::remove_samples);
    Router::new()
        .route("/api/statistics", get(statistics::read))
        .route("/api/statistics/screen", post(statistics::report))
        .route("/api/setup", get(setup::read))
        .route("/api/samples", samples)
}

fn pages() -> Router<Arc<App>> {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::scrape))
        .route("/api/openapi.json", get(health::openapi))
        .route("/", get(dashboard::page))
        .route("/assets/{*path}", get(dashboard::asset))
}

fn no_sniff() -> SetResponseHeaderLayer<HeaderValue> {
    let value = HeaderValue::from_static("nosniff");
    SetResponseHeaderLayer::if_not_present(header::X_CONTENT_TYPE_OPTIONS, value)
}

fn no_store() -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-store"),
    )
}

/// Lets pages of other origins call the API and connect sockets.
pub fn cors(origins: &[HeaderValue]) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.iter().cloned()))
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
        ])
        .expose_headers([
            SEQ.clone(),
            header::ETAG,
            header::LINK,
            header::LOCATION,
            header::RETRY_AFTER,
        ])
        .allow_credentials(true)
}
