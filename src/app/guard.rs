//! Slows the guessing of passwords, for each account and for each address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use super::{Error, Result};

/// Failed attempts on an account before the next has to wait.
const ACCOUNT_FREE: u32 = 5;

/// Failed attempts from an address before the next has to wait: more, because a whole office may
/// share one.
const ADDRESS_FREE: u32 = 20;

/// The longest wait, in milliseconds.
const LONGEST_MS: i64 = 60_000;

/// Failures are forgotten after this long without another, in milliseconds.
const FORGET_MS: i64 = 15 * 60_000;

/// How many accounts and addresses are remembered at most.
const REMEMBERED: usize = 50_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Account(String),
    Address(IpAddr),
}

impl Key {
    fn free(&self) -> u32 {
        match self {
            Self::Account(_) => ACCOUNT_FREE,
            Self::Address(_) => ADDRESS_FREE,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last_ms: i64,
}

impl Failures {
    /// When the next attempt may be made: at once while some are free, then after 1, 2, 4 …
    /// seconds.
    fn next_ms(self, free: u32) -> i64 {
        if self.count < free {
            return i64::MIN;
        }
        let doubled = 1000_i64 << (self.count - free).min(10);
        self.last_ms + doubled.min(LONGEST_MS)
    }
}

/// Remembers failed attempts to sign in, on this node.
#[derive(Debug, Default)]
pub struct Guard {
    failures: Mutex<HashMap<Key, Failures>>,
}

impl Guard {
    /// Counts an attempt before it is made, so that many at once cannot slip through.
    ///
    /// # Errors
    /// [`Error::TooManyAttempts`] with the seconds to wait, whether or not the password is right.
    pub fn attempt(&self, email_key: &str, address: Option<IpAddr>, now_ms: i64) -> Result<()> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() > REMEMBERED {
            failures.retain(|_, past| now_ms - past.last_ms < FORGET_MS);
        }
        let keys = keys(email_key, address);
        let next_ms = keys.iter().filter_map(|key| {
            let past = failures
                .get(key)
                .filter(|past| now_ms - past.last_ms < FORGET_MS)?;
            Some(past.next_ms(key.free()))
        });
        let wait_ms = next_ms.max().unwrap_or(i64::MIN).saturating_sub(now_ms);
        if wait_ms > 0 {
            let seconds = u64::try_from(wait_ms).unwrap_or(0).div_ceil(1000);
            return Err(Error::TooManyAttempts(seconds));
        }
        for key in keys {
            let past = failures.entry(key).or_insert(Failures {
                count: 0,
                last_ms: now_ms,
            });
            if now_ms - past.last_ms >= FORGET_MS {
                past.count = 0;
            }
            *past = Failures {
                count: past.count.saturating_add(1),
                last_ms: now_ms,
            };
        }
        Ok(())
    }

    /// Forgets what an account did wrong before it got it right. Its address is only given back
    /// this attempt: whoever has one account must not guess at others for free.
    pub fn succeeded(&self, email_key: &str, address: Option<IpAddr>) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys(email_key, address) {
            match (&key, failures.get_mut(&key)) {
                (Key::Address(_), Some(past)) if past.count > 1 => past.count -= 1,
                _ => _ = failures.remove(&key),
            }
        }
    }
}

fn keys(email_key: &str, address: Option<IpAddr>) -> Vec<Key> {
    let account = Key::Account(email_key.to_owned());
    [Some(account), address.map(Key::Address)]
        .into_iter()
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(guard: &Guard, account: &str, address: [u8; 4], now_ms: i64) -> Option<u64> {
        match guard.attempt(account, Some(IpAddr::from(address)), now_ms) {
            Err(Error::TooManyAttempts(seconds)) => Some(seconds),
            _ => None,
        }
    }

    #[test]
    fn an_account_is_slowed_wherever_the_guesses_come_from() {
        let guard = Guard::default();
        for n in 0..5 {
            assert_eq!(wait(&guard, "ada@example.com", [10, 0, 0, n], 0), None);
        }
        assert_eq!(wait(&guard, "ada@example.com", [10, 0, 0, 9], 0), Some(1));
        assert_eq!(wait(&guard, "ada@example.com", [10, 0, 0, 9], 1000), None);
        assert_eq!(
            wait(&guard, "ada@example.com", [10, 0, 0, 9], 1000),
            Some(2)
        );
        assert_eq!(wait(&guard, "bob@example.com", [10, 0, 0, 9], 1000), None);
    }

    #[test]
    fn an_address_is_slowed_whatever_accounts_it_tries() {
        let guard = Guard::default();
        for n in 0..20 {
            assert_eq!(
                wait(&guard, &format!("{n}@example.com"), [10, 0, 0, 1], 0),
                None
            );
        }
        assert_eq!(wait(&guard, "x@example.com", [10, 0, 0, 1], 0), Some(1));
        assert_eq!(wait(&guard, "x@example.com", [10, 0, 0, 2], 0), None);
    }

    #[test]
    fn success_and_time_forget() {
        let guard = Guard::default();
        for _ in 0..5 {
            assert_eq!(wait(&guard, "a@b", [10, 0, 0, 1], 0), None);
        }
        guard.succeeded("a@b", Some(IpAddr::from([10, 0, 0, 1])));
        assert_eq!(wait(&guard, "a@b", [10, 0, 0, 1], 0), None);
        for _ in 0..4 {
            wait(&guard, "a@b", [10, 0, 0, 1], 0);
        }
        assert!(wait(&guard, "a@b", [10, 0, 0, 1], 0).is_some());
        assert_eq!(wait(&guard, "a@b", [10, 0, 0, 1], FORGET_MS), None);
    }
}
