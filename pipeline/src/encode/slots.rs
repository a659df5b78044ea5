//! Who may encode now: as many tracks as there are workers, those whose uploads are still coming before all others.
//!
//! Promise: a live track waits for live ones alone. It begins beside a backlog that fills every slot; at its next need for bytes,
//!          tenths of a second later, one of the backlog gives way, and goes on when there is room. So for that moment there
//!          are more workers than slots, at most twice as many.
//! Order:   who gave way goes before backlog that hasn't begun: else ever more workers would wait half-way.
//! A crash: leaves nothing. A slot is this process's alone, and who gave way still holds its job.
//! Absent:  signals. A worker whose need isn't answered sleeps by itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Whose slot it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rank {
    /// Of a track whose upload is still coming.
    Live,
    /// Of one whose bytes are all there.
    Backlog,
}

/// The slots of a process.
#[derive(Debug)]
pub(crate) struct Slots {
    all: usize,
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    live: usize,
    backlog: usize,
    /// Began, gave way, and wait to go on.
    returning: usize,
}

/// The right to have a worker working. It ends when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    rank: Rank,
}

impl Slots {
    pub(crate) fn new(all: usize) -> Arc<Self> {
        Arc::new(Self { all, taken: Mutex::default(), freed: Notify::new() })
    }

    /// A slot for a live track, if live ones don't have them all.
    pub(crate) fn try_live(self: &Arc<Self>) -> Option<Slot> {
        self.take(Rank::Live, |taken| taken.live < self.all)
    }

    /// The same, when there is one. Cancel-safe.
    pub(crate) async fn live(self: &Arc<Self>) -> Slot {
        self.when(|| self.try_live()).await
    }

    /// A slot for a track of the backlog that hasn't begun. Cancel-safe.
    pub(crate) async fn backlog(self: &Arc<Self>) -> Slot {
        let is_free = |taken: &Taken| taken.returning == 0 && taken.live + taken.backlog < self.all;
        self.when(|| self.take(Rank::Backlog, is_free)).await
    }

    /// A slot for a track that has begun and had none for a while. Cancel-safe.
    pub(crate) async fn again(self: &Arc<Self>, rank: Rank) -> Slot {
        if rank == Rank::Live {
            return self.live().await;
        }
        let _returning = Returning::of(self);
        self.when(|| self.take(Rank::Backlog, |taken| taken.live + taken.backlog < self.all)).await
    }

    async fn when(&self, mut take: impl FnMut() -> Option<Slot>) -> Slot {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if let Some(slot) = take() {
                return slot;
            }
            freed.await;
        }
    }

    fn take(self: &Arc<Self>, rank: Rank, is_free: impl Fn(&Taken) -> bool) -> Option<Slot> {
        let mut taken = self.lock();
        if !is_free(&taken) {
            return None;
        }
        *taken.of(rank) += 1;
        Some(Slot { slots: Arc::clone(self), rank })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn of(&mut self, rank: Rank) -> &mut usize {
        match rank {
            Rank::Live => &mut self.live,
            Rank::Backlog => &mut self.backlog,
        }
    }
}

impl Slot {
    /// Said between two pieces of work: keeps the slot as what the track is by now, unless it is the backlog's turn to give way.
    pub(crate) fn kept(mut self, rank: Rank) -> Option<Self> {
        let mut taken = self.slots.lock();
        let may_change = rank == Rank::Backlog || taken.live < self.slots.all;
        if rank != self.rank && may_change {
            *taken.of(self.rank) -= 1;
            *taken.of(rank) += 1;
        }
        let is_over = taken.live + taken.backlog > self.slots.all;
        drop(taken);
        if rank != self.rank && may_change {
            self.rank = rank;
            self.slots.freed.notify_waiters();
        }
        (self.rank == Rank::Live || !is_over).then_some(self)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *self.slots.lock().of(self.rank) -= 1;
        self.slots.freed.notify_waiters();
    }
}

/// Counted while it waits, also when the wait is given up.
struct Returning<'a>(&'a Slots);

impl<'a> Returning<'a> {
    fn of(slots: &'a Slots) -> Self {
        slots.lock().returning += 1;
        Self(slots)
    }
}

impl Drop for Returning<'_> {
    fn drop(&mut self) {
        self.0.lock().returning -= 1;
        self.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn counts(slots: &Slots) -> (usize, usize, usize) {
        let taken = slots.lock();
        (taken.live, taken.backlog, taken.returning)
    }

    #[test]
    fn a_live_track_begins_beside_a_full_backlog_and_as_much_of_it_gives_way() {
        let slots = Slots::new(2);
        let backlog = [slots.backlog().now_or_never().unwrap(), slots.backlog().now_or_never().unwrap()];
        assert!(slots.backlog().now_or_never().is_none());
        let live = slots.try_live().expect("live before backlog");
        let [one, two] = backlog;
        assert!(one.kept(Rank::Backlog).is_none(), "there is one too many");
        let two = two.kept(Rank::Backlog).expect("and not two");
        let mut back = Box::pin(slots.again(Rank::Backlog));
        assert!(back.as_mut().now_or_never().is_none());
        drop(live);
        assert!(slots.backlog().now_or_never().is_none(), "who has begun goes first");
        let one = back.now_or_never().unwrap();
        drop((one, two));
        assert_eq!(counts(&slots), (0, 0, 0));
    }

    #[test]
    fn live_ones_wait_for_live_ones_and_a_wait_that_is_given_up_leaves_nothing() {
        let slots = Slots::new(1);
        let live = slots.try_live().unwrap();
        assert!(slots.try_live().is_none());
        let (waits, returns) = (slots.live().now_or_never(), slots.again(Rank::Backlog).now_or_never());
        assert!(waits.is_none() && returns.is_none());
        assert_eq!(counts(&slots), (1, 0, 0));
        drop(live);
        assert!(slots.try_live().is_some());
    }

    #[test]
    fn a_track_that_has_all_its_bytes_joins_the_backlog() {
        let slots = Slots::new(1);
        let first = slots.try_live().unwrap().kept(Rank::Backlog).unwrap();
        assert_eq!(counts(&slots), (0, 1, 0));
        let second = slots.try_live().unwrap();
        assert!(first.kept(Rank::Backlog).is_none());
        assert!(second.kept(Rank::Live).is_some());
        // A job that is tried again while its bytes still come is live again.
        let third = slots.backlog().now_or_never().unwrap();
        drop(third.kept(Rank::Live).unwrap());
        assert_eq!(counts(&slots), (0, 0, 0));
    }
}
