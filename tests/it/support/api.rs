//! Requests to a server process, as a client on the network makes them.

use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bookbell::calendly::signature::{SigningKey, sign};
use bookbell::domain::clock::{Clock, SystemClock};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::app::{ADMIN, KEY, Reply};
use super::server::PATIENCE;
use super::subscriber::Event;

/// The password of the members that tests add.
pub const PASSWORD: &str = "a member's password";

/// A secret of tokens that tests know. See [`resigned`].
pub const JWT_SECRET: &str = "a secret of thirty-two bytes or more";

/// Requests to one server.
#[derive(Clone)]
pub struct Api {
    client: reqwest::Client,
    pub url: String,
}

/// Somebody who signed in.
#[derive(Debug, Clone)]
pub struct SignedIn {
    pub token: String,
    pub refresh_token: String,
    pub id: String,
}

impl Api {
    pub fn new(url: &str) -> Self {
        let client = reqwest::Client::builder().timeout(PATIENCE);
        Self {
            client: client.build().unwrap(),
            url: url.to_owned(),
        }
    }

    /// Sends a request; an error when there was no whole answer.
    pub async fn try_send(request: RequestBuilder) -> reqwest::Result<Reply> {
        let response = request.send().await?;
        Ok(Reply {
            status: response.status(),
            headers: response.headers().clone(),
            bytes: response.bytes().await?.to_vec(),
        })
    }

    /// A request, to be made more of and sent.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// Sends a request with a token and a JSON body.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Reply {
        let mut request = self.request(method, path);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/json")
                .body(body.to_string());
        }
        Self::try_send(request).await.unwrap()
    }

    pub async fn get(&self, path: &str, token: &str) -> Reply {
        self.send(Method::GET, path, Some(token), None).await
    }

    pub async fn post(&self, path: &str, token: &str, body: &Value) -> Reply {
        self.send(Method::POST, path, Some(token), Some(body)).await
    }

    pub async fn patch(&self, path: &str, token: &str, body: &Value) -> Reply {
        self.send(Method::PATCH, path, Some(token), Some(body))
            .await
    }

    /// Signs in.
    pub async fn sign_in(&self, email: &str, password: &str) -> SignedIn {
        let body = json!({ "email": email, "password": password });
        let path = "/api/auth/login";
        let reply = self.send(Method::POST, path, None, Some(&body)).await;
        let body = reply.expect(200);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        SignedIn {
            token: text(&body["token"]),
            refresh_token: text(&body["refreshToken"]),
            id: text(&body["user"]["id"]),
        }
    }

    /// Signs in as the first admin.
    pub async fn admin(&self) -> SignedIn {
        self.sign_in(ADMIN.0, ADMIN.1).await
    }

    /// Adds a member, whose Calendly URI is [`calendly_uri`], and signs in as it.
    pub async fn member(&self, admin: &SignedIn, email: &str) -> SignedIn {
        let body = json!({
            "email": email, "name": email, "role": "member",
            "password": PASSWORD, "calendlyUserUri": calendly_uri(email),
        });
        let made = self.post("/api/users", &admin.token, &body).await;
        made.expect(201);
        self.sign_in(email, PASSWORD).await
    }

    /// A delivery, signed now.
    pub fn signed(&self, body: &Value) -> RequestBuilder {
        self.signed_with(KEY, body.to_string().into_bytes())
    }

    /// Any bytes as a delivery, signed now.
    pub fn signed_with(&self, key: &str, body: Vec<u8>) -> RequestBuilder {
        self.signed_at(now_s(), key, body)
    }

    /// Any bytes as a delivery, signed then.
    pub fn signed_at(&self, at_s: i64, key: &str, body: Vec<u8>) -> RequestBuilder {
        let signature = sign(&SigningKey::new(key).unwrap(), at_s, &body);
        let request = self.request(Method::POST, "/webhooks/calendly");
        let request = request.body(body);
        request.header("Calendly-Webhook-Signature", signature)
    }

    /// Posts a delivery, signed now.
    pub async fn deliver(&self, body: &Value) -> Reply {
        Self::try_send(self.signed(body)).await.unwrap()
    }

    /// The log after a position as `GET /api/events` has it, over all pages.
    pub async fn events(&self, token: &str, since: i64) -> Vec<Event> {
        let items = self.all(&format!("/api/events?since={since}"), token).await;
        let read = |item: &Value| Event::read(item, item).unwrap();
        items.iter().map(read).collect()
    }

    /// All records of a list, over all its pages.
    pub async fn all(&self, path: &str, token: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        let joiner = if path.contains('?') { '&' } else { '?' };
        loop {
            let path = format!("{path}{joiner}limit=200{cursor}");
            let page = self.get(&path, token).await.expect(200);
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }

    /// The head of the log.
    pub async fn head(&self, token: &str) -> i64 {
        let reply = self.get("/api/auth/me", token).await;
        reply.header("bookbell-seq").unwrap().parse().unwrap()
    }
}

/// The Calendly URI of a member that a test added.
pub fn calendly_uri(email: &str) -> String {
    format!("https://api.calendly.com/users/{email}")
}

/// A token with changed claims, signed under [`JWT_SECRET`].
pub fn resigned(token: &str, change: impl FnOnce(&mut Value)) -> String {
    let claims = token.split('.').nth(1).unwrap();
    let claims = URL_SAFE_NO_PAD.decode(claims).unwrap();
    let mut claims: Value = serde_json::from_slice(&claims).unwrap();
    change(&mut claims);
    let key = EncodingKey::from_secret(JWT_SECRET.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap()
}

/// Now, in seconds since the Unix epoch.
pub fn now_s() -> i64 {
    SystemClock.now_ms() / 1000
}
