//! Sessions: signing in, the tokens that prove it, and how they end.

use std::fmt;
use std::net::IpAddr;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::log::SessionEnd;
use super::together::Together;
use super::{App, Error, Result};
use crate::domain::event::{Audience, NewEvent, SESSION_ENDED};
use crate::domain::ids::Id;
use crate::domain::time::UtcMs;
use crate::domain::user::{Caller, Role, User};
use crate::store::{self, sessions::Live};

/// How long an access token is good for. Its session is looked up at each use, so ending the
/// session ends the token.
const ACCESS_MS: i64 = 60 * 60 * 1000;

/// How long a session lives after its last refresh.
const SESSION_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// Why a token was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// There is none.
    Missing,
    /// It is not ours, or its session has ended.
    Invalid,
    /// Its time is over.
    Expired,
}

impl TokenError {
    /// The stable code, over HTTP and over sockets.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "token_missing",
            Self::Invalid => "token_invalid",
            Self::Expired => "token_expired",
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// The token in the value of an `Authorization: Bearer` header.
#[must_use]
pub fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    sid: String,
    iat: i64,
    exp: i64,
    /// Tells tokens of one second apart (RFC 7519, 4.1.7). Those of earlier versions have none.
    #[serde(default)]
    jti: String,
}

/// Signs and reads access tokens (HS256 only) and signs cursors.
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    pub(super) cursor_key: [u8; 32],
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

impl Tokens {
    /// Tokens under a secret.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // The program's own clock decides, so that tests can fix it.
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["exp", "sub"]);
        let mut hash = Sha256::new_with_prefix(b"bookbell cursor\0");
        hash.update(secret);
        Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            validation,
            cursor_key: hash.finalize().into(),
        }
    }

    fn sign(&self, claims: &Claims) -> Result<String> {
        let signed = jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &self.encoding);
        signed.map_err(|error| Error::Internal(Box::new(error)))
    }

    fn read(&self, token: &str, now_ms: i64) -> std::result::Result<Claims, TokenError> {
        let read = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation);
        let claims = read.map_err(|_| TokenError::Invalid)?.claims;
        if claims.exp.saturating_mul(1000) <= now_ms {
            return Err(TokenError::Expired);
        }
        Ok(claims)
    }
}

/// A good token, whose session may be over.
#[derive(Debug)]
pub struct Token {
    /// The session it names.
    pub session_id: Id,
    user_id: String,
    expires_ms: i64,
}

/// Looks sessions up.
pub(super) type Sessions = Together<Id, Option<Live>>;

/// Somebody who showed a good token.
#[derive(Debug, Clone)]
pub struct Authenticated {
    /// Who.
    pub caller: Caller,
    /// The user's address.
    pub email: String,
    /// When the token expires, in milliseconds since the Unix epoch.
    pub expires_ms: i64,
}

/// What signing in answers.
#[derive(Debug)]
pub struct SignedIn {
    /// The access token.
    pub token: String,
    /// When it expires.
    pub expires_at: UtcMs,
    /// The token that gets the next one, once.
    pub refresh_token: String,
    /// Who signed in.
    pub user: User,
}

/// Random bytes.
///
/// # Errors
/// [`Error::Internal`] when the machine gives none.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Error::Internal(error.to_string().into()))?;
    Ok(bytes)
}

fn token_hash(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

impl App {
    /// Who a token belongs to, with the rights it has now.
    ///
    /// # Errors
    /// `Ok(Err(_))` when the token is not accepted, `Err(_)` when the database cannot be read.
    pub async fn authenticate(
        &self,
        token: Option<&str>,
    ) -> Result<std::result::Result<Authenticated, TokenError>> {
        match self.read_token(token) {
            Ok(token) => self.admit(&token).await,
            Err(error) => Ok(Err(error)),
        }
    }

    /// Reads a token, without a look at its session.
    ///
    /// # Errors
    /// When it is none of ours or its time is over.
    pub fn read_token(&self, token: Option<&str>) -> std::result::Result<Token, TokenError> {
        let token = token.ok_or(TokenError::Missing)?;
        let claims = self.tokens.read(token, self.now_ms())?;
        Ok(Token {
            user_id: claims.sub,
            session_id: Id::from_stored(claims.sid),
            expires_ms: claims.exp.saturating_mul(1000),
        })
    }

    /// Who a token belongs to, with the rights it has now: its session is looked up.
    ///
    /// # Errors
    /// As [`App::authenticate`].
    pub async fn admit(
        &self,
        token: &Token,
    ) -> Result<std::result::Result<Authenticated, TokenError>> {
        let session_id = &token.session_id;
        let look_up = |ids: Vec<Id>| self.live_sessions(ids);
        let live = self.sessions.look_up(session_id.clone(), look_up).await?;
        let live = live.filter(|live| live.user_id == token.user_id);
        let role = live.as_ref().and_then(|live| Role::from_name(&live.role));
        let (Some(live), Some(role)) = (live, role) else {
            return Ok(Err(TokenError::Invalid));
        };
        let caller = Caller {
            user_id: Id::from_stored(live.user_id),
            role,
            session_id: session_id.clone(),
        };
        Ok(Ok(Authenticated {
            caller,
            email: live.email,
            expires_ms: token.expires_ms,
        }))
    }

    /// The users of those sessions that are live, in the order of `ids`.
    async fn live_sessions(&self, ids: Vec<Id>) -> Result<Vec<Option<Live>>> {
        let now_ms = self.now_ms();
        let mut reader = self.store.read().await?;
        let live = store::sessions::live_of(&mut reader.db(), &ids, now_ms).await?;
        Ok(ids
            .iter()
            .map(|id| live.get(id.as_str()).cloned())
            .collect())
    }

    /// Signs in. An unknown address takes as long as a wrong password, and both get the same
    /// answer.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] `invalid_credentials`, [`Error::TooManyAttempts`], [`Error::Busy`].
    pub async fn login(
        &self,
        email: &str,
        password: String,
        address: Option<IpAddr>,
    ) -> Result<SignedIn> {
        let email_key = email.trim().to_lowercase();
        // First, because who is turned away has not guessed.
        let place = self.passwords.take_place()?;
        self.guard.attempt(&email_key, address, self.now_ms())?;
        let found =
            store::users::password_hash(&mut self.store.read().await?.db(), &email_key).await?;
        let hash = found.as_ref().map(|(_, hash)| hash.clone());
        let right = place.verify(password, hash).await?;
        let Some((id, hash)) = found.filter(|_| right) else {
            return Err(Error::Unauthenticated("invalid_credentials"));
        };
        self.guard.succeeded(&email_key, address);
        self.begin_session(&id, &hash).await
    }

    /// Begins a session, unless the password was changed while it was being verified.
    async fn begin_session(&self, user_id: &Id, hash: &str) -> Result<SignedIn> {
        let now_ms = self.now_ms();
        let session = self.new_id();
        let mut tx = self.store.begin().await?;
        let wrong = Error::Unauthenticated("invalid_credentials");
        if !store::users::hold(&mut tx.db(), user_id, hash).await? {
            return Err(wrong);
        }
        let user = store::users::find(&mut tx.db(), user_id).await?;
        let user = user.ok_or(wrong)?;
        let expires_ms = now_ms + SESSION_MS;
        store::sessions::insert(&mut tx.db(), &session, user_id, now_ms, expires_ms).await?;
        let signed_in = self.issue(&mut tx, &session, user, now_ms).await?;
        self.commit(tx, Vec::new()).await?;
        Ok(signed_in)
    }

    async fn issue(
        &self,
        tx: &mut store::Tx,
        session: &Id,
        user: User,
        now_ms: i64,
    ) -> Result<SignedIn> {
        let refresh_token = hex::encode(random::<32>()?);
        let hash = token_hash(&refresh_token);
        store::sessions::insert_token(&mut tx.db(), &hash, session, now_ms).await?;
        let exp = (now_ms + ACCESS_MS).div_euclid(1000);
        let claims = Claims {
            sub: user.id.to_string(),
            sid: session.to_string(),
            iat: now_ms.div_euclid(1000),
            exp,
            jti: self.new_id().to_string(),
        };
        let token = self.tokens.sign(&claims)?;
        Ok(SignedIn {
            token,
            expires_at: UtcMs(exp * 1000),
            refresh_token,
            user,
        })
    }

    /// Changes a refresh token for new tokens. One that was used before ends its session,
    /// because somebody has a copy of it.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] `refresh_token_invalid` or `refresh_token_reused`.
    pub async fn refresh(&self, refresh_token: &str) -> Result<SignedIn> {
        let now_ms = self.now_ms();
        let hash = token_hash(refresh_token);
        let invalid = || Error::Unauthenticated("refresh_token_invalid");
        // Whoever makes tokens up must not make those wait who write.
        let session = self.session_of_token(&hash).await?.ok_or_else(invalid)?;
        let mut tx = self.store.begin().await?;
        // The session before its token, which is the order of whoever deletes a user: in another
        // order the two could wait for each other.
        let expires_ms = now_ms + SESSION_MS;
        let live = store::sessions::prolong(&mut tx.db(), &session, now_ms, expires_ms).await?;
        if !store::sessions::use_token(&mut tx.db(), &hash, now_ms).await? {
            drop(tx);
            return self.end_copied(&session).await;
        }
        live.then_some(()).ok_or_else(invalid)?;
        let live = store::sessions::live(&mut tx.db(), &session, now_ms).await?;
        let user_id = Id::from_stored(live.ok_or_else(invalid)?.user_id);
        let user = store::users::find(&mut tx.db(), &user_id).await?;
        let user = user.ok_or_else(invalid)?;
        let signed_in = self.issue(&mut tx, &session, user, now_ms).await?;
        self.commit(tx, Vec::new()).await?;
        Ok(signed_in)
    }

    async fn session_of_token(&self, hash: &str) -> Result<Option<Id>> {
        let mut reader = self.store.read().await?;
        Ok(store::sessions::of_token(&mut reader.db(), hash).await?)
    }

    /// Ends a session of whose refresh token somebody has a copy.
    async fn end_copied(&self, session: &Id) -> Result<SignedIn> {
        self.end_session(session, SessionEnd::Revoked).await?;
        Err(Error::Unauthenticated("refresh_token_reused"))
    }

    /// Signs out: ends the session everywhere.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn logout(&self, session: &Id) -> Result<()> {
        self.end_session(session, SessionEnd::LoggedOut).await
    }

    async fn end_session(&self, session: &Id, end: SessionEnd) -> Result<()> {
        let mut tx = self.store.begin_fold().await?;
        let ended = store::sessions::end(&mut tx.db(), session, self.now_ms()).await?;
        let event = ended.then(|| session_ended(session, end));
        self.commit(tx, event.into_iter().collect()).await
    }
}

/// The internal event that tells every node that a session ended.
pub(super) fn session_ended(session: &Id, end: SessionEnd) -> NewEvent {
    let payload = json!({ "sessionId": session, "code": end.code() });
    NewEvent::new(SESSION_ENDED, &payload, Audience::nobody())
}
