//! Who a socket belongs to, decided before it is connected.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use socketioxide::extract::{SocketRef, TryData};
use tokio::time::{Instant, sleep};

use super::strangers::Place;
use crate::app::App;
use crate::app::auth::{Authenticated, Token, TokenError, bearer};
use crate::app::error::chain;
use crate::app::log::SessionWatch;
use crate::domain::event::Seq;
use crate::net::Peer;

/// How long a socket waits for the database before it is refused, and how often it asks.
const PATIENCE: Duration = Duration::from_secs(6);
const RETRY: Duration = Duration::from_millis(250);

/// What the client sends along.
pub(super) type Handshake = TryData<Value>;

/// Where a client wants to go on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// From now on.
    Head,
    /// After this position.
    Position(Seq),
    /// It gave something that is no position.
    Invalid,
}

impl Since {
    fn read(auth: &Value) -> Self {
        match &auth["since"] {
            Value::Null => Self::Head,
            Value::Number(number) => number
                .as_i64()
                .filter(|seq| *seq >= 0)
                .map_or(Self::Invalid, Self::Position),
            _ => Self::Invalid,
        }
    }
}

/// What a socket is connected with.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    pub(super) who: Authenticated,
    pub(super) since: Since,
    pub(super) session: SessionWatch,
}

/// Why a socket was not connected, as its `connect_error` says.
#[derive(Debug)]
pub(super) struct Refused(&'static str);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl From<TokenError> for Refused {
    fn from(error: TokenError) -> Self {
        Self(error.code())
    }
}

pub(super) async fn authenticate(
    app: &Arc<App>,
    socket: &SocketRef,
    TryData(auth): Handshake,
) -> Result<(), Refused> {
    let auth = auth.unwrap_or(Value::Null);
    let given = match &auth["token"] {
        Value::Null => None,
        Value::String(token) => Some(token.as_str()),
        _ => return Err(TokenError::Invalid.into()),
    };
    let header = socket.req_parts().headers.get("authorization");
    let token = given.or_else(|| header.and_then(|value| bearer(value.to_str().ok()?)));
    let token = app.read_token(token)?;
    // Watched first and looked up after, so that a session which ends in between is seen.
    let session = app.log.watch_session(&token.session_id);
    let who = check(app, &token).await?;
    if let Some(peer) = socket.req_parts().extensions.get::<Peer>() {
        peer.prove();
    }
    if let Some(place) = socket.req_parts().extensions.get::<Place>() {
        place.leave();
    }
    socket.join([
        format!("user:{}", who.caller.user_id),
        format!("role:{}", who.caller.role.name()),
    ]);
    socket.extensions.insert(Ticket {
        who,
        since: Since::read(&auth),
        session,
    });
    Ok(())
}

/// Looks the token's session up, again and again while the database is away: a stock client that
/// is refused does not come back by itself.
async fn check(app: &App, token: &Token) -> Result<Authenticated, Refused> {
    let given_up = Instant::now() + PATIENCE;
    loop {
        match app.admit(token).await {
            Ok(checked) => return Ok(checked?),
            Err(error) if Instant::now() >= given_up => {
                tracing::error!(error = chain(&error), "a socket could not be authenticated");
                return Err(Refused("unavailable"));
            }
            Err(_) => sleep(RETRY).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_whole_positions_are_taken() {
        assert_eq!(Since::read(&json!({})), Since::Head);
        assert_eq!(Since::read(&json!({ "since": 0 })), Since::Position(0));
        for wrong in [json!(-1), json!(1.5), json!("7"), json!(1e300), json!([])] {
            assert_eq!(
                Since::read(&json!({ "since": wrong })),
                Since::Invalid,
                "{wrong}"
            );
        }
    }
}
