//! Passwords, hashed with Argon2id.

use std::sync::{Arc, LazyLock};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Error, Result};

/// How many hashes are computed at once: each takes 19 MiB and a core.
const AT_ONCE: usize = 2;

/// How many passwords wait to be verified at most, which is what anybody may ask for: about a
/// second's work. Whoever comes then is turned away at once, or all would wait longer and longer.
const PLACES: usize = 64;

/// What an unknown account's password is compared with, so that its answer takes as long.
static NOBODY: LazyLock<String> =
    LazyLock::new(|| hash("no account has this password").unwrap_or_default());

/// Computes it beside the start, so that the first unknown account takes no longer either.
pub(super) fn warm_up() {
    tokio::task::spawn_blocking(|| LazyLock::force(&NOBODY));
}

/// Hashes and verifies passwords, a few at a time.
#[derive(Debug)]
pub struct Passwords {
    turn: Arc<Semaphore>,
    places: Semaphore,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(AT_ONCE)),
            places: Semaphore::new(PLACES),
        }
    }
}

impl Passwords {
    /// Hashes a password into the PHC format.
    ///
    /// # Errors
    /// [`Error::Internal`] when the machine gives no randomness.
    pub async fn hash(&self, password: String) -> Result<String> {
        let hashed = self.in_turn(move || hash(&password)).await?;
        hashed.map_err(|error| Error::Internal(error.to_string().into()))
    }

    /// A place among those whose password is to be verified.
    ///
    /// # Errors
    /// [`Error::Busy`] when all are taken.
    pub fn take_place(&self) -> Result<Place<'_>> {
        let taken = self.places.try_acquire().map_err(|_| Error::Busy)?;
        Ok(Place {
            passwords: self,
            _taken: taken,
        })
    }

    /// Computes on a thread of its own. The turn ends with the work, also when nobody waits for it
    /// any more: a client that hangs up does not end what it began.
    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        let turn = turn.expect("it is never closed");
        let working = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        working
            .await
            .map_err(|error| Error::Internal(Box::new(error)))
    }
}

/// A place among those whose password is to be verified.
#[derive(Debug)]
pub struct Place<'a> {
    passwords: &'a Passwords,
    _taken: SemaphorePermit<'a>,
}

impl Place<'_> {
    /// Whether a password is the one that was hashed; `None` takes as long and is never so.
    ///
    /// # Errors
    /// [`Error::Internal`] when the computation was cut off.
    pub async fn verify(self, password: String, hash: Option<String>) -> Result<bool> {
        let verify = move || {
            let known = hash.is_some();
            let hash = hash.unwrap_or_else(|| NOBODY.clone());
            let parsed = PasswordHash::new(&hash);
            let same = parsed.is_ok_and(|parsed| {
                Argon2::default()
                    .verify_password(password.as_bytes(), &parsed)
                    .is_ok()
            });
            known && same
        };
        self.passwords.in_turn(verify).await
    }
}

fn hash(password: &str) -> argon2::password_hash::Result<String> {
    Ok(Argon2::default()
        .hash_password(password.as_bytes())?
        .to_string())
}

/// A password for a person to copy: 24 letters and digits, about 119 bits, none of them easily
/// mistaken for another.
///
/// # Errors
/// [`Error::Internal`] when the machine gives no randomness.
pub fn generate() -> Result<String> {
    const LETTERS: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";
    let random: [u8; 64] = super::auth::random()?;
    // Bytes of 248 and more would favour the first letters.
    let fair = random.iter().filter(|byte| **byte < 248);
    let letters = fair.map(|byte| char::from(LETTERS[usize::from(byte % 31)]));
    Ok(letters.take(24).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_turn_lasts_as_long_as_its_work_though_nobody_waits() {
        let passwords = Passwords::default();
        let (tell, is_working) = mpsc::channel();
        let (finish, finished) = mpsc::channel::<()>();
        let work = passwords.in_turn(move || {
            tell.send(()).unwrap();
            finished.recv()
        });
        assert!(work.now_or_never().is_none());
        is_working.recv().unwrap();
        assert_eq!(passwords.turn.available_permits(), AT_ONCE - 1);
        drop(finish);
        let all = u32::try_from(AT_ONCE).unwrap();
        assert!(passwords.turn.acquire_many(all).await.is_ok());
    }
}
