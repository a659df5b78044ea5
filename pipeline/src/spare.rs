//! Bytes that are durable as tails and stay in memory anyway, because the part that they belong to will need them again.
//!
//! Without them, a client that sends small requests costs one read per tail; with them, none. They are a convenience: the
//! first that goes when somebody waits for memory, and gone after a while in which nobody came back.

use std::{
    collections::{HashMap, VecDeque},
    sync::Mutex,
    time::{Duration, Instant},
};

use bytes::Bytes;
use uuid::Uuid;

use crate::budget::Reserved;

/// A client that sends piece after piece comes back sooner. Longer, and a busy hour's memory would look used all night.
const KEPT_FOR: Duration = Duration::from_secs(30);

/// The tails of one open part, as one run of frames.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The committed offset that they end at: at any other they are somebody else's.
    pub(crate) at: u64,
    pub(crate) frames: Vec<Bytes>,
    pub(crate) share: Reserved,
}

/// What one process keeps.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    by_upload: HashMap<Uuid, (u64, Kept)>,
    oldest_first: VecDeque<(u64, Uuid, Instant)>,
    put: u64,
}

impl Spare {
    /// Keeps, until somebody takes it or needs the room.
    pub(crate) fn keep(&self, upload: Uuid, kept: Kept) {
        let mut inner = self.lock();
        inner.put += 1;
        let n = inner.put;
        inner.by_upload.insert(upload, (n, kept));
        inner.oldest_first.push_back((n, upload, Instant::now()));
    }

    /// What is kept of an upload that stands at `at`. Anything else of it goes.
    pub(crate) fn take(&self, upload: Uuid, at: u64) -> Option<Kept> {
        let (_, kept) = self.lock().by_upload.remove(&upload)?;
        (kept.at == at).then_some(kept)
    }

    /// Gives back at least so many bytes, oldest first; fewer when there are no more.
    pub(crate) fn shed(&self, bytes: u64) {
        let mut inner = self.lock();
        let mut freed = 0;
        while freed < bytes {
            let Some((n, upload, _)) = inner.oldest_first.pop_front() else { return };
            freed += inner.drop_one(n, upload);
        }
    }

    /// Gives back what nobody came for.
    pub(crate) fn air(&self) {
        let mut inner = self.lock();
        while let Some(&(n, upload, since)) = inner.oldest_first.front() {
            if since.elapsed() < KEPT_FOR {
                return;
            }
            inner.oldest_first.pop_front();
            inner.drop_one(n, upload);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Inner {
    /// Only if it still is the one that was put as the `n`th.
    fn drop_one(&mut self, n: u64, upload: Uuid) -> u64 {
        if self.by_upload.get(&upload).is_none_or(|(found, _)| *found != n) {
            return 0;
        }
        self.by_upload.remove(&upload).map_or(0, |(_, kept)| kept.share.num_permits() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;

    #[tokio::test]
    async fn what_is_kept_goes_to_who_comes_back_or_to_who_waits() {
        let budget = Budget::new(100);
        let kept = |at, n| Kept { at, frames: vec![], share: budget.try_reserve(n).unwrap() };
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        budget.spare().keep(a, kept(10, 40));
        budget.spare().keep(b, kept(20, 40));
        assert!(budget.spare().take(a, 11).is_none(), "the upload went on without it");
        assert_eq!(budget.used(), 40);
        budget.spare().keep(a, kept(11, 40));
        // The oldest goes first, and whoever waits gets its room.
        let share = budget.reserve(50).await;
        assert!(budget.spare().take(b, 20).is_none());
        assert!(budget.spare().take(a, 11).is_some());
        drop(share);
        assert_eq!(budget.used(), 0);
    }
}
