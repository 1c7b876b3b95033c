//! Slows the guessing of passwords, for each account and for each address.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
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

/// How many accounts and addresses are remembered at most, in two generations, and from how many
/// addresses accounts were signed in to.
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

/// What is remembered of one kind. Once half of what may be is new, the half before it goes: nobody
/// ever has to look through all.
#[derive(Debug)]
struct Generations<K, V> {
    recent: HashMap<K, V>,
    before: HashMap<K, V>,
}

impl<K, V> Default for Generations<K, V> {
    fn default() -> Self {
        Self {
            recent: HashMap::new(),
            before: HashMap::new(),
        }
    }
}

impl<K: Eq + Hash, V: Copy> Generations<K, V> {
    fn get(&self, key: &K) -> Option<V> {
        let past = self.recent.get(key).or_else(|| self.before.get(key));
        past.copied()
    }

    fn put(&mut self, key: K, value: V) {
        if self.recent.len() >= REMEMBERED / 2 {
            self.before = std::mem::take(&mut self.recent);
        }
        self.recent.insert(key, value);
    }

    fn remove(&mut self, key: &K) {
        self.recent.remove(key);
        self.before.remove(key);
    }
}

#[derive(Debug, Default)]
struct Memory {
    failures: Generations<Key, Failures>,
    /// The addresses from which accounts were signed in to.
    signed_in: Generations<(String, IpAddr), ()>,
}

impl Memory {
    /// What an attempt counts for. One from where its account was signed in to before does not for
    /// the account: who guesses at that from elsewhere must not keep its owner out.
    fn keys(&self, email_key: &str, address: Option<IpAddr>) -> impl Iterator<Item = Key> + use<> {
        let account = email_key.to_owned();
        let at_home = address.is_some_and(|address| {
            let home = (account.clone(), address);
            self.signed_in.get(&home).is_some()
        });
        let account = (!at_home).then_some(Key::Account(account));
        account.into_iter().chain(address.map(Key::Address))
    }
}

/// Remembers attempts to sign in, on this node.
#[derive(Debug, Default)]
pub struct Guard {
    memory: Mutex<Memory>,
}

impl Guard {
    /// Counts an attempt before it is made, so that many at once cannot slip through.
    ///
    /// # Errors
    /// [`Error::TooManyAttempts`] with the seconds to wait, whether or not the password is right.
    pub fn attempt(&self, email_key: &str, address: Option<IpAddr>, now_ms: i64) -> Result<()> {
        let address = address.map(network);
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = memory.keys(email_key, address);
        let past = keys.map(|key| {
            let past = memory.failures.get(&key);
            let past = past.filter(|past| now_ms - past.last_ms < FORGET_MS);
            (key, past)
        });
        let past: Vec<(Key, Option<Failures>)> = past.collect();
        let next_ms = past
            .iter()
            .filter_map(|(key, past)| Some(past.as_ref()?.next_ms(key.free())));
        let wait_ms = next_ms.max().unwrap_or(i64::MIN).saturating_sub(now_ms);
        if wait_ms > 0 {
            let seconds = u64::try_from(wait_ms).unwrap_or(0).div_ceil(1000);
            return Err(Error::TooManyAttempts(seconds));
        }
        for (key, past) in past {
            let failures = Failures {
                count: past.map_or(0, |past| past.count).saturating_add(1),
                last_ms: now_ms,
            };
            memory.failures.put(key, failures);
        }
        Ok(())
    }

    /// Forgets what an account did wrong before it got it right, where that counted. Its address is
    /// only given back this attempt: whoever has one account must not guess at others for free.
    pub fn succeeded(&self, email_key: &str, address: Option<IpAddr>) {
        let address = address.map(network);
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        for key in memory.keys(email_key, address) {
            let before = match key {
                Key::Address(_) => memory.failures.get(&key),
                Key::Account(_) => None,
            };
            memory.failures.remove(&key);
            if let Some(before) = before.filter(|before| before.count > 1) {
                let count = before.count - 1;
                memory.failures.put(key, Failures { count, ..before });
            }
        }
        if let Some(address) = address {
            memory.signed_in.put((email_key.to_owned(), address), ());
        }
    }
}

/// An IPv6 address counts as its network of 64 bits, because one line has all of that.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(guard: &Guard, account: &str, address: impl Into<IpAddr>, now_ms: i64) -> Option<u64> {
        match guard.attempt(account, Some(address.into()), now_ms) {
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
    fn all_addresses_of_an_ipv6_network_are_one() {
        let guard = Guard::default();
        let address =
            |network: u16, host: u16| Ipv6Addr::new(0x2001, 0xdb8, 0, network, 0, 0, 0, host);
        for n in 0..20 {
            assert_eq!(
                wait(&guard, &format!("{n}@example.com"), address(1, n), 0),
                None
            );
        }
        assert_eq!(wait(&guard, "x@example.com", address(1, 99), 0), Some(1));
        assert_eq!(wait(&guard, "x@example.com", address(2, 99), 0), None);
    }

    #[test]
    fn a_flood_of_accounts_is_not_remembered_whole() {
        let guard = Guard::default();
        let attempt = |n: usize| guard.attempt(&n.to_string(), None, 0).is_ok();
        for n in 0..REMEMBERED * 2 {
            assert!(attempt(n));
        }
        let memory = guard.memory.lock().unwrap();
        let failures = &memory.failures;
        assert!(failures.recent.len() + failures.before.len() <= REMEMBERED);
        drop(memory);
        // The last half is remembered as it should be.
        for n in REMEMBERED * 3 / 2..REMEMBERED * 2 {
            assert_eq!([(); 4].map(|()| attempt(n)), [true; 4]);
        }
        assert!(!attempt(REMEMBERED * 2 - 1));
    }

    #[test]
    fn success_and_time_forget() {
        let guard = Guard::default();
        let now_ms = 1_795_161_600_000;
        for _ in 0..5 {
            assert_eq!(wait(&guard, "a@b", [10, 0, 0, 1], now_ms), None);
        }
        guard.succeeded("a@b", Some(IpAddr::from([10, 0, 0, 1])));
        for _ in 0..5 {
            assert_eq!(wait(&guard, "a@b", [10, 0, 0, 2], now_ms), None);
        }
        assert!(wait(&guard, "a@b", [10, 0, 0, 2], now_ms).is_some());
        assert_eq!(wait(&guard, "a@b", [10, 0, 0, 2], now_ms + FORGET_MS), None);
    }

    #[test]
    fn where_an_account_was_signed_in_to_only_the_address_is_slowed() {
        let guard = Guard::default();
        let address = |host: u16| Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, host);
        assert_eq!(wait(&guard, "ada@example.com", address(1), 0), None);
        guard.succeeded("ada@example.com", Some(address(1).into()));
        for n in 0..5 {
            assert_eq!(wait(&guard, "ada@example.com", [10, 0, 0, n], 0), None);
            assert_eq!(wait(&guard, "bob@example.com", [10, 0, 1, n], 0), None);
        }
        // No other account is at home there.
        assert_eq!(wait(&guard, "bob@example.com", address(2), 0), Some(1));
        for _ in 0..20 {
            assert_eq!(wait(&guard, "ada@example.com", address(2), 0), None);
        }
        assert_eq!(wait(&guard, "ada@example.com", address(2), 0), Some(1));
        assert_eq!(wait(&guard, "ada@example.com", [10, 0, 0, 9], 0), Some(1));
    }
}
