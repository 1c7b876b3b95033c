//! Traces: one for each delivery, from its receipt to the first socket, as a collector gets them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::{Duration, Instant, sleep};

use crate::support::database::Database;
use crate::support::on_each_database;
use crate::support::payload::Booking;
use crate::support::server::{PATIENCE, Server};
use crate::support::subscriber::Subscriber;

on_each_database![a_delivery_is_traced_to_the_first_socket];

/// What a collector was posted: headers and bodies.
type Posts = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

async fn take(State(posts): State<Posts>, headers: HeaderMap, body: Bytes) -> StatusCode {
    posts.lock().unwrap().push((headers, body));
    StatusCode::OK
}

/// A collector on a port of its own: its address, and what it gets.
async fn collector() -> (String, Posts) {
    let posts = Posts::default();
    let router = Router::new().route("/v1/traces", post(take));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = router.with_state(Arc::clone(&posts));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, posts)
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        other => Some(format!("{other:?}")),
    }
}

/// All spans so far, with their service's name.
fn spans(posts: &Posts) -> Vec<(String, Span)> {
    let mut spans = Vec::new();
    for (_, body) in posts.lock().unwrap().iter() {
        let request = ExportTraceServiceRequest::decode(body.clone()).unwrap();
        for resource in request.resource_spans {
            let attributes = resource.resource.unwrap().attributes;
            let service = text(&attributes, "service.name").unwrap();
            let scopes = resource.scope_spans.into_iter();
            let own = scopes.flat_map(|scope| scope.spans);
            spans.extend(own.map(|span| (service.clone(), span)));
        }
    }
    spans
}

/// The trace of a delivery once it is there: the whole, and its steps by name.
async fn trace(posts: &Posts, id: &str) -> (Span, HashMap<String, Span>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let spans = spans(posts);
        let its =
            |span: &Span| text(&span.attributes, "bookbell.delivery.id").as_deref() == Some(id);
        if let Some((service, whole)) = spans.iter().find(|(_, span)| its(span)) {
            assert_eq!(service, "bookbell");
            let below = spans.iter().filter(|(_, s)| s.trace_id == whole.trace_id);
            let steps = below.filter(|(_, span)| span.span_id != whole.span_id);
            let steps = steps.map(|(_, span)| (span.name.clone(), span.clone()));
            return (whole.clone(), steps.collect());
        }
        assert!(Instant::now() < deadline, "no trace of {id}: {spans:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

fn check(whole: &Span, steps: &HashMap<String, Span>, names: &[&str]) {
    assert_eq!(whole.name, "delivery");
    assert!(whole.parent_span_id.is_empty());
    assert_eq!(steps.len(), names.len(), "{:?}", steps.keys());
    let mut at = whole.start_time_unix_nano;
    for name in names {
        let step = &steps[*name];
        assert_eq!(step.parent_span_id, whole.span_id, "{name}");
        assert_eq!(
            step.start_time_unix_nano, at,
            "{name} begins where the last ended"
        );
        assert!(step.end_time_unix_nano >= at, "{name}");
        at = step.end_time_unix_nano;
    }
    assert_eq!(whole.end_time_unix_nano, at);
}

async fn a_delivery_is_traced_to_the_first_socket(database: Database) {
    let (url, posts) = collector().await;
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=ours"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    let mut server = Server::start_with(database, &settings);
    let api = server.api();
    let admin = api.admin().await;
    let mut subscriber = Subscriber::start().await;
    let options = json!({ "transports": ["websocket"] });
    subscriber
        .join("one", &server.url, &admin.token, options)
        .await;
    let booking = Booking::new(1, "noor@example.org");
    let receipt = api.deliver(&booking.created()).await.expect(200);
    subscriber.count("one", 2).await;
    let (whole, steps) = trace(&posts, receipt["deliveryId"].as_str().unwrap()).await;
    check(
        &whole,
        &steps,
        &["verify", "queue", "fold", "commit", "socket"],
    );
    let said = |key: &str| text(&whole.attributes, key);
    assert_eq!(
        said("bookbell.delivery.verdict").as_deref(),
        Some("processed")
    );
    assert_eq!(
        said("bookbell.delivery.event").as_deref(),
        Some("invitee.created")
    );

    // What nobody hears of ends with its commit, also when the program stops.
    let unknown = json!({ "event": "event_type.created", "payload": { "uri": "x" } });
    let ignored = api.deliver(&unknown).await.expect(200);
    api.deliver(&unknown).await.expect(200);
    assert_eq!(server.terminate().0, Some(0));
    let (whole, steps) = trace(&posts, ignored["deliveryId"].as_str().unwrap()).await;
    check(&whole, &steps, &["verify", "queue", "fold", "commit"]);
    assert_eq!(
        text(&whole.attributes, "bookbell.delivery.reason").as_deref(),
        Some("unhandled_event")
    );

    let posts = posts.lock().unwrap();
    for (headers, body) in posts.iter() {
        assert_eq!(headers["content-type"], "application/x-protobuf");
        assert_eq!(headers["x-tenant"], "ours");
        let said = String::from_utf8_lossy(body);
        for personal in ["noor", "example.org", "van Dijk", "calendly.com"] {
            assert!(!said.contains(personal), "{personal}");
        }
    }
}
