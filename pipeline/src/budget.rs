//! The process's upload memory, in bytes, first come, first served.
//!
//! Reserved before a socket is read; given back when the bytes are durable or dropped.
//! Why nobody can be locked out: a holder that waits longer than `EVICT_AFTER` commits what it holds as a tail and gives
//! it back before it waits on, so no one holds and waits at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    limits::{EVICT_AFTER, IDLE_MAX},
    spare::Spare,
};

/// A share of the budget that ends with its value.
pub type Reserved = OwnedSemaphorePermit;

/// The budget. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Budget {
    bytes: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    spare: Arc<Spare>,
    shortage: Arc<Notify>,
    total: usize,
}

impl Budget {
    /// A budget of `bytes` (at most 4 GiB - 1, see `Limits::check`).
    pub fn new(bytes: u64) -> Self {
        let total = usize::try_from(bytes).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self {
            bytes: Arc::new(Semaphore::new(total)),
            waiting: Arc::default(),
            spare: Arc::default(),
            shortage: Arc::default(),
            total,
        }
    }

    /// Waits in line for `bytes`. Cancel-safe: a dropped wait gives up its place.
    pub async fn reserve(&self, bytes: u64) -> Reserved {
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX).min(u32::try_from(self.total).unwrap_or(u32::MAX));
        if let Ok(now) = Arc::clone(&self.bytes).try_acquire_many_owned(wanted) {
            return now;
        }
        self.spare.shed(u64::from(wanted).saturating_sub(self.bytes.available_permits() as u64));
        let _in_line = InLine::enter(&self.waiting);
        self.shortage.notify_waiters();
        Arc::clone(&self.bytes).acquire_many_owned(wanted).await.expect("the budget is never closed")
    }

    /// Bytes if they are free now: for branches that may go without.
    pub fn try_reserve(&self, bytes: usize) -> Option<Reserved> {
        Arc::clone(&self.bytes).try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()
    }

    /// What is kept as long as nobody needs its room.
    pub(crate) fn spare(&self) -> &Spare {
        &self.spare
    }

    /// Somebody waits: the idle should give back.
    pub fn is_short(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Resolves while somebody waits: for who holds what could be done without. Cancel-safe.
    pub async fn shortage(&self) {
        let begins = self.shortage.notified();
        tokio::pin!(begins);
        begins.as_mut().enable();
        if !self.is_short() {
            begins.await;
        }
    }

    /// Bytes that nobody has reserved.
    pub fn free(&self) -> usize {
        self.bytes.available_permits()
    }

    /// Bytes in all.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Bytes reserved now.
    pub fn used(&self) -> usize {
        self.total - self.bytes.available_permits()
    }
}

/// A client that sends nothing while others wait for memory: it stays away from the line, longer each time that it had
/// memory and let it lie. Many of them would take turns with those that do send, and each would wait for all.
#[derive(Debug, Default)]
pub(crate) struct Idle {
    times: u32,
}

impl Idle {
    /// Waits before the next place in line. Ends at once when the process does. Cancel-safe.
    pub(crate) async fn stay_away(&mut self, stop: &CancellationToken) {
        let pause = EVICT_AFTER.saturating_mul(1 << self.times.min(8)).min(IDLE_MAX);
        self.times += 1;
        let _stopped = tokio::time::timeout(pause, stop.cancelled()).await;
    }
}

struct InLine<'a>(&'a AtomicUsize);

impl<'a> InLine<'a> {
    fn enter(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dropped_wait_and_a_dropped_share_leave_the_budget_whole() {
        let budget = Budget::new(100);
        let held = budget.reserve(80).await;
        let wait = tokio::spawn({
            let budget = budget.clone();
            async move { budget.reserve(50).await }
        });
        while !budget.is_short() {
            tokio::task::yield_now().await;
        }
        assert!(budget.try_reserve(30).is_none());
        wait.abort();
        assert!(wait.await.unwrap_err().is_cancelled());
        assert!(!budget.is_short());
        drop(held);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn more_than_there_is_gets_all_there_is() {
        assert_eq!(Budget::new(10).reserve(1 << 20).await.num_permits(), 10);
    }
}
