//! The product in the test's own process, behind its real router, with a clock that stands still.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use bookbell::app::ingest::Writer;
use bookbell::app::{App, Settings};
use bookbell::calendly::signature::{SigningKey, sign};
use bookbell::domain::clock::Clock;
use bookbell::domain::ids::UuidV7;
use bookbell::domain::secret::Secret;
use bookbell::store::Store;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tower::ServiceExt;

use super::database::Database;

/// The key that test deliveries are signed with.
pub const KEY: &str = "test-signing-key";

/// The first admin.
pub const ADMIN: (&str, &str) = ("admin@example.com", "correct horse battery");

/// 2026-11-20T08:00:00Z.
pub const START_MS: i64 = 1_795_161_600_000;

/// A clock that tests move by hand.
#[derive(Debug)]
pub struct FixedClock(AtomicI64);

impl Clock for FixedClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// The product under test.
pub struct TestApp {
    pub app: Arc<App>,
    pub clock: Arc<FixedClock>,
    pub database: Database,
    router: Router,
    token: Option<String>,
    /// Dropping it stops the writer.
    writer: Arc<oneshot::Sender<()>>,
}

/// What a request was answered.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Reply {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&self.bytes)))
    }

    /// The body as JSON, when the status is the expected one.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        let body = String::from_utf8_lossy(&self.bytes);
        assert_eq!(self.status.as_u16(), status, "{body}");
        if self.bytes.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// Checks for a problem document with this status and code.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        let body = self.expect(status);
        assert_eq!(body["code"], code, "{body}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(body["status"], status);
        assert!(
            body["type"].is_string() && body["title"].is_string(),
            "{body}"
        );
        body
    }

    /// Checks for a 422 and answers the fields it names, sorted.
    #[track_caller]
    pub fn faults(&self) -> Vec<String> {
        let body = self.problem(422, "validation_failed");
        let errors = body["errors"].as_array().unwrap().iter();
        let mut fields: Vec<String> = errors
            .map(|error| {
                assert!(error["message"].is_string(), "{body}");
                error["field"].as_str().unwrap().to_owned()
            })
            .collect();
        fields.sort();
        fields
    }

    /// The records of a page of a list.
    #[track_caller]
    pub fn items(&self) -> Vec<Value> {
        self.expect(200)["items"].as_array().unwrap().clone()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// The product on a database, and its writer, which does not run yet.
pub async fn idle(database: &Database, clock: Arc<FixedClock>) -> (Arc<App>, Writer) {
    let store = Store::open(&database.url).await.unwrap();
    let app = App::new(store, settings(), clock, Arc::new(UuidV7::new()));
    app.await.unwrap()
}

/// Runs a writer until what is answered is dropped.
pub fn run(writer: Writer, app: &Arc<App>) -> oneshot::Sender<()> {
    let (stop_writer, stopped) = oneshot::channel();
    // On SQLite it blocks its thread, and whoever it waits for may need those of the test.
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let run = writer.run(Arc::clone(app), stopped);
    std::thread::spawn(move || runtime.block_on(run));
    stop_writer
}

/// Starts the product on a database, and answers what keeps its writer running.
async fn start(database: &Database, clock: Arc<FixedClock>) -> (Arc<App>, oneshot::Sender<()>) {
    let (app, writer) = idle(database, clock).await;
    let stop_writer = run(writer, &app);
    (app, stop_writer)
}

impl TestApp {
    pub async fn sqlite() -> Self {
        Self::on(Database::sqlite()).await
    }

    pub async fn postgres() -> Self {
        Self::on(Database::postgres().await).await
    }

    /// The product on a database, with its first admin signed in.
    pub async fn on(database: Database) -> Self {
        let clock = Arc::new(FixedClock(AtomicI64::new(START_MS)));
        let (app, stop_writer) = start(&database, clock.clone()).await;
        app.create_first_admin(ADMIN.0, Some(ADMIN.1.to_owned()))
            .await
            .unwrap();
        app.catch_up().await.unwrap();
        let router = bookbell::http::router(Arc::clone(&app));
        let writer = Arc::new(stop_writer);
        let mut this = Self {
            app,
            clock,
            database,
            router,
            token: None,
            writer,
        };
        this.token = Some(this.sign_in(ADMIN.0, ADMIN.1).await);
        this
    }

    /// A second node on the same database, with the same admin signed in.
    pub async fn second_node(&self) -> Self {
        let (app, stop_writer) = start(&self.database, self.clock.clone()).await;
        Self {
            writer: Arc::new(stop_writer),
            ..self.beside(app)
        }
    }

    /// Another node of the same product, already running, with the same admin signed in.
    pub fn beside(&self, app: Arc<App>) -> Self {
        Self {
            router: bookbell::http::router(Arc::clone(&app)),
            app,
            clock: self.clock.clone(),
            database: self.database.clone(),
            token: self.token.clone(),
            writer: Arc::clone(&self.writer),
        }
    }

    /// Signs in and answers the access token.
    pub async fn sign_in(&self, email: &str, password: &str) -> String {
        let body = json!({ "email": email, "password": password });
        let reply = self
            .send(Method::POST, "/api/auth/login", None, &[], Some(&body))
            .await;
        reply.expect(200)["token"].as_str().unwrap().to_owned()
    }

    /// The admin's access token.
    pub fn admin_token(&self) -> &str {
        self.token.as_deref().unwrap()
    }

    /// Adds a member and answers its id and token.
    pub async fn member(&self, email: &str, calendly_uri: Option<&str>) -> (String, String) {
        let password = "a member's password";
        let body = json!({
            "email": email, "name": email, "role": "member",
            "password": password, "calendlyUserUri": calendly_uri,
        });
        let user = self.post("/api/users", &body).await.expect(201);
        let token = self.sign_in(email, password).await;
        (user["id"].as_str().unwrap().to_owned(), token)
    }

    /// Moves the clock.
    pub fn advance_ms(&self, ms: i64) {
        self.clock.0.fetch_add(ms, Ordering::SeqCst);
    }

    /// Sends any request through the real router.
    pub async fn request(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes().to_vec();
        Reply {
            status: parts.status,
            headers: parts.headers,
            bytes,
        }
    }

    /// Sends a request with a token, headers and a JSON body.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.request(request.body(body).unwrap()).await
    }

    /// GET as the admin.
    pub async fn get(&self, path: &str) -> Reply {
        self.get_as(self.admin_token(), path).await
    }

    /// GET as whoever has the token.
    pub async fn get_as(&self, token: &str, path: &str) -> Reply {
        self.send(Method::GET, path, Some(token), &[], None).await
    }

    /// POST as the admin.
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.post_as(self.admin_token(), path, body).await
    }

    /// POST as whoever has the token.
    pub async fn post_as(&self, token: &str, path: &str, body: &Value) -> Reply {
        self.send(Method::POST, path, Some(token), &[], Some(body))
            .await
    }

    /// PATCH as the admin.
    pub async fn patch(&self, path: &str, body: &Value) -> Reply {
        self.patch_as(self.admin_token(), path, body).await
    }

    /// PATCH as whoever has the token.
    pub async fn patch_as(&self, token: &str, path: &str, body: &Value) -> Reply {
        self.send(Method::PATCH, path, Some(token), &[], Some(body))
            .await
    }

    /// DELETE as the admin.
    pub async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, Some(self.admin_token()), &[], None)
            .await
    }

    /// DELETE as whoever has the token.
    pub async fn delete_as(&self, token: &str, path: &str) -> Reply {
        self.send(Method::DELETE, path, Some(token), &[], None)
            .await
    }

    /// Adds a prospect with this address as whoever has the token.
    pub async fn prospect(&self, token: &str, email: &str) -> Value {
        let body = json!({ "email": email });
        self.post_as(token, "/api/prospects", &body)
            .await
            .expect(201)
    }

    /// The head of the event log.
    pub async fn head(&self) -> i64 {
        let reply = self.get("/api/prospects/counts").await;
        reply.header("bookbell-seq").unwrap().parse().unwrap()
    }

    /// What whoever has the token hears after a position, as (name, payload).
    pub async fn heard(&self, token: &str, since: i64) -> Vec<(String, Value)> {
        let path = format!("/api/events?since={since}&limit=200");
        let events = self.get_as(token, &path).await.items();
        let pair = |event: Value| {
            (
                event["name"].as_str().unwrap().to_owned(),
                event["payload"].clone(),
            )
        };
        events.into_iter().map(pair).collect()
    }

    /// Posts a delivery, signed now.
    pub async fn deliver(&self, body: &Value) -> Reply {
        self.deliver_at(body, 0).await
    }

    /// Posts a delivery whose signature is `skew_s` seconds off.
    pub async fn deliver_at(&self, body: &Value, skew_s: i64) -> Reply {
        self.deliver_raw(body.to_string().into_bytes(), skew_s)
            .await
    }

    /// Posts any bytes as a delivery.
    pub async fn deliver_raw(&self, body: Vec<u8>, skew_s: i64) -> Reply {
        let at_s = self.clock.now_ms() / 1000 + skew_s;
        let signature = sign(&SigningKey::new(KEY).unwrap(), at_s, &body);
        self.post_webhook("/webhooks/calendly", Some(&signature), body)
            .await
    }

    /// Posts to a webhook path with any signature header.
    pub async fn post_webhook(&self, path: &str, signature: Option<&str>, body: Vec<u8>) -> Reply {
        let mut request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        if let Some(signature) = signature {
            request = request.header("Calendly-Webhook-Signature", signature);
        }
        self.request(request.body(Body::from(body)).unwrap()).await
    }

    /// All records of a list, over all its pages.
    pub async fn all(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let joiner = if path.contains('?') { '&' } else { '?' };
            let page = self
                .get(&format!("{path}{joiner}limit=200{cursor}"))
                .await
                .expect(200);
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }

    /// All events the admin may hear of, as (name, payload).
    pub async fn events(&self) -> Vec<(String, Value)> {
        let events = self.all("/api/events?since=0").await;
        let pair = |event: Value| {
            (
                event["name"].as_str().unwrap().to_owned(),
                event["payload"].clone(),
            )
        };
        events.into_iter().map(pair).collect()
    }
}

/// The settings of the tests.
pub fn settings() -> Settings {
    Settings {
        signing_keys: vec![
            SigningKey::new(KEY).unwrap(),
            SigningKey::new("another-live-key").unwrap(),
        ],
        signature_tolerance_s: 180,
        jwt_secret: Secret::new("a secret of thirty-two bytes or more".to_owned()),
        event_retention_ms: 30 * 24 * 60 * 60 * 1000,
        delivery_retention_ms: None,
        public_url: "http://bookbell.test".to_owned(),
    }
}
