//! Look-ups made together: those that come while others are under way share the next statement.
//!
//! Nothing is remembered. What is answered was read after it was asked for, so this is as fresh
//! as a look-up of one's own, and thousands of clients that come at once cost a few statements.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, oneshot};

use super::{Error, Result};

/// How many statements may be under way at once: one that hangs does not hold up everybody.
const UNDER_WAY: usize = 4;

/// A key, and whom to tell its value; nothing when it could not be read.
type Asked<K, V> = (K, oneshot::Sender<Option<V>>);

/// Look-ups of one kind.
#[derive(Debug)]
pub(super) struct Together<K, V> {
    waiting: Mutex<Vec<Asked<K, V>>>,
    turns: Semaphore,
}

impl<K, V> Default for Together<K, V> {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            turns: Semaphore::new(UNDER_WAY),
        }
    }
}

impl<K: Clone, V> Together<K, V> {
    /// Looks up `key`. `read` answers keys with their values in the same order; it is called with
    /// this key and all that wait, unless another call takes this one along.
    ///
    /// # Errors
    /// What `read` answers; [`Error::Internal`] to those that a call took along that failed.
    pub(super) async fn look_up<R>(&self, key: K, read: impl Fn(Vec<K>) -> R) -> Result<V>
    where
        R: Future<Output = Result<Vec<V>>>,
    {
        loop {
            let (tell, mut told) = oneshot::channel();
            self.lock().push((key.clone(), tell));
            let answer = tokio::select! {
                biased;
                answer = &mut told => answer,
                _turn = self.turns.acquire() => {
                    self.answer_all(&read).await?;
                    told.await
                }
            };
            match answer {
                Ok(Some(value)) => return Ok(value),
                Ok(None) => return Err(failed()),
                // Who took it along has gone away, as those who ask over HTTP may at any time.
                Err(_) => {}
            }
        }
    }

    async fn answer_all<R>(&self, read: impl Fn(Vec<K>) -> R) -> Result<()>
    where
        R: Future<Output = Result<Vec<V>>>,
    {
        let asked = std::mem::take(&mut *self.lock());
        let (keys, askers): (Vec<K>, Vec<_>) = asked.into_iter().unzip();
        if keys.is_empty() {
            return Ok(());
        }
        let (values, read) = match read(keys).await {
            Ok(values) => (values, Ok(())),
            Err(error) => (Vec::new(), Err(error)),
        };
        let mut values = values.into_iter();
        for asker in askers {
            // Who has gone meanwhile does not want it.
            let _ = asker.send(values.next());
        }
        read
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Asked<K, V>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed() -> Error {
    Error::Internal("the look-up that was to answer this one failed".into())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use futures_util::FutureExt as _;
    use futures_util::future::join_all;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn who_comes_meanwhile_shares_the_next_statement() {
        let (together, go) = (Together::default(), Notify::new());
        let statements = RefCell::new(Vec::new());
        let ask = |key: usize| {
            together.look_up(key, async |keys: Vec<usize>| {
                statements.borrow_mut().push(keys.len());
                go.notified().await;
                Ok(keys.iter().map(|key| key * 10).collect())
            })
        };
        let mut all = Box::pin(join_all((0..UNDER_WAY + 7).map(ask)));
        assert!(all.as_mut().now_or_never().is_none());
        assert_eq!(*statements.borrow(), [1; UNDER_WAY]);
        for _ in 0..UNDER_WAY {
            go.notify_one();
            assert!(all.as_mut().now_or_never().is_none());
        }
        go.notify_waiters();
        let answers: Vec<usize> = all.await.into_iter().map(Result::unwrap).collect();
        let wanted: Vec<usize> = (0..UNDER_WAY + 7).map(|key| key * 10).collect();
        assert_eq!(answers, wanted);
        assert_eq!(*statements.borrow(), [1, 1, 1, 1, 7]);
    }

    #[tokio::test]
    async fn a_failure_is_told_to_all_it_concerns_and_to_nobody_later() {
        let together = Together::<u8, u8>::default();
        let fails = together.look_up(1, async |_: Vec<u8>| Err(Error::Busy));
        assert!(matches!(fails.await, Err(Error::Busy)));
        let works = together.look_up(2, async |keys: Vec<u8>| Ok(keys));
        assert_eq!(works.await.unwrap(), 2);
    }

    #[tokio::test]
    async fn who_goes_away_with_others_in_tow_lets_them_ask_anew() {
        let together = Together::default();
        let hang = |key| together.look_up(key, async |_: Vec<u8>| std::future::pending().await);
        let mut hanging: Vec<_> = (0..UNDER_WAY).map(|_| Box::pin(hang(0))).collect();
        for look_up in &mut hanging {
            assert!(look_up.as_mut().now_or_never().is_none());
        }
        let mut leader = Box::pin(hang(1));
        assert!(leader.as_mut().now_or_never().is_none());
        let mut in_tow = Box::pin(together.look_up(2, async |keys: Vec<u8>| Ok(keys)));
        assert!(in_tow.as_mut().now_or_never().is_none());
        hanging.pop();
        assert!(leader.as_mut().now_or_never().is_none());
        assert!(together.lock().is_empty(), "the leader has taken both");
        drop(leader);
        assert_eq!(in_tow.await.unwrap(), 2);
    }
}
