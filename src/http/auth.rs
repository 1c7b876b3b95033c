//! Signing in and out.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::answer;
use super::extract::{Address, Body, OptionalBody, User};
use super::problem::Answer;
use crate::app::auth::SignedIn;
use crate::app::{App, Error};
use crate::domain::user_edit::PASSWORD;

/// The cookie that keeps a browser signed in over reloads.
const COOKIE: &str = "bookbell_refresh";

/// How long the browser keeps it, in seconds: as long as a session lives without a refresh.
const COOKIE_S: u32 = 30 * 24 * 60 * 60;

pub(super) async fn login(
    State(app): State<Arc<App>>,
    Address(address): Address,
    Body(mut fields): Body,
) -> Answer {
    let email = fields.required_text("email", 320);
    fields.required_value("password");
    let password = fields.secret("password", 1..=PASSWORD.1);
    fields.finish().map_err(Error::Invalid)?;
    let (Some(email), Some(password)) = (email, password) else {
        return Err(Error::Invalid(Vec::new()).into());
    };
    let signed_in = app.login(&email, password, address).await?;
    Ok(tokens(&app, &signed_in))
}

pub(super) async fn refresh(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    OptionalBody(mut fields): OptionalBody,
) -> Answer {
    let given = fields.some_text("refreshToken", 200);
    fields.finish().map_err(Error::Invalid)?;
    let token = given.or_else(|| cookie(&headers).filter(|_| is_same_origin(&headers)));
    let token = token.ok_or(Error::Unauthenticated("refresh_token_missing"))?;
    let signed_in = app.refresh(&token).await?;
    Ok(tokens(&app, &signed_in))
}

pub(super) async fn logout(State(app): State<Arc<App>>, User(caller): User) -> Answer {
    app.logout(&caller.session_id).await?;
    let mut response = answer::deleted();
    set_cookie(&mut response, &app, "", 0);
    Ok(response)
}

pub(super) async fn me(State(app): State<Arc<App>>, User(caller): User) -> Answer {
    let read = app.user(&caller.user_id).await?;
    Ok(answer::read(
        &read.record.view(),
        read.record.version,
        read.seq,
    ))
}

fn tokens(app: &App, signed_in: &SignedIn) -> Response {
    let body = json!({
        "token": signed_in.token,
        "expiresAt": signed_in.expires_at,
        "refreshToken": signed_in.refresh_token,
        "user": signed_in.user.view(),
    });
    let mut response = Json(body).into_response();
    set_cookie(&mut response, app, &signed_in.refresh_token, COOKIE_S);
    response
}

fn set_cookie(response: &mut Response, app: &App, value: &str, max_age_s: u32) {
    let secure = if app.settings.public_url.starts_with("https:") {
        "; Secure"
    } else {
        ""
    };
    let cookie = format!(
        "{COOKIE}={value}; Path=/api/auth; Max-Age={max_age_s}; HttpOnly; SameSite=Strict{secure}"
    );
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    let all = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut pairs = all
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(name, _)| name.trim() == COOKIE);
    found
        .map(|(_, value)| value.trim().to_owned())
        .filter(|value| !value.is_empty())
}

/// Whether the page that asks is one of ours. Browsers say so themselves; what is no browser may
/// say nothing.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    match text("origin") {
        None => true,
        Some(origin) => origin.split_once("://").map(|(_, host)| host) == text("host"),
    }
}
