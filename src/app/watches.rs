//! Values that many tasks wait for, each by its key, and kept for only as long as somebody waits.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch::{self, Ref};

/// The values that are watched.
#[derive(Debug)]
pub(super) struct Watches<K, T>(Arc<Entries<K, T>>);

#[derive(Debug)]
struct Entries<K, T>(Mutex<HashMap<K, watch::Sender<T>>>);

impl<K, T> Entries<K, T> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, watch::Sender<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, T> Default for Watches<K, T> {
    fn default() -> Self {
        Self(Arc::new(Entries(Mutex::default())))
    }
}

impl<K: Clone + Eq + Hash, T> Watches<K, T> {
    /// Watches the value of a key, which is `first` where nobody watches it yet.
    pub(super) fn watch(&self, key: K, first: T) -> Watch<K, T> {
        let mut entries = self.0.lock();
        let sender = entries
            .entry(key.clone())
            .or_insert_with(|| watch::Sender::new(first));
        Watch {
            receiver: Some(sender.subscribe()),
            key,
            entries: Arc::clone(&self.0),
        }
    }

    /// Changes the value of a key, if somebody watches it, and wakes those who do where `change`
    /// says that it did.
    pub(super) fn change<Q>(&self, key: &Q, change: impl FnOnce(&mut T) -> bool)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        // Woken without the lock: there may be thousands.
        let sender = self.0.lock().get(key).cloned();
        if let Some(sender) = sender {
            sender.send_if_modified(change);
        }
    }

    /// Does so for every key that is watched.
    pub(super) fn change_all(&self, mut change: impl FnMut(&mut T) -> bool) {
        let senders: Vec<watch::Sender<T>> = self.0.lock().values().cloned().collect();
        for sender in senders {
            sender.send_if_modified(&mut change);
        }
    }
}

/// Watches the value of one key. The last watch to go takes the value with it.
#[derive(Debug, Clone)]
pub(super) struct Watch<K: Eq + Hash, T> {
    entries: Arc<Entries<K, T>>,
    key: K,
    /// Absent only while the watch is being dropped.
    receiver: Option<watch::Receiver<T>>,
}

impl<K: Eq + Hash, T> Watch<K, T> {
    /// Waits until the value meets a condition; `None` when it can no longer change.
    pub(super) async fn until(&mut self, met: impl FnMut(&T) -> bool) -> Option<Ref<'_, T>> {
        self.receiver.as_mut()?.wait_for(met).await.ok()
    }
}

impl<K: Eq + Hash, T> Drop for Watch<K, T> {
    fn drop(&mut self) {
        let mut entries = self.entries.lock();
        // Under the lock, so that of two watches which go at once the second sees none left.
        self.receiver = None;
        if entries
            .get(&self.key)
            .is_some_and(|sender| sender.receiver_count() == 0)
        {
            entries.remove(&self.key);
        }
    }
}
