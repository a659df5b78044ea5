//! The media branch of the tee: a bounded window of the bytes that just passed.
//!
//! Promise: `offer` never waits and never fails. When the window is full it is emptied and starts anew at the next byte:
//!          the reader then catches up from what is durable. Ingest doesn't notice either way.
//! Memory:  `MEDIA_WINDOW_BYTES` for one track, a `MEDIA_SHARE` of the process's budget for all.
//! Trust:   what was read here may never become durable (a broken connection). `fed` remembers how far reading went, and
//!          a writer that leaves `committed` below it marks the stream tainted: its encode is done again from the object.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard},
};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::{
    budget::{Budget, Reserved},
    limits::MEDIA_WINDOW_BYTES,
};

/// What is known of an upload while somebody follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Bytes may still come.
    Receiving,
    /// Whole, verified, under its final key.
    Stored,
    /// It won't come: aborted, expired or failed.
    Gone,
}

/// One upload's window. Shared by its writer and its follower.
#[derive(Debug)]
pub struct Window {
    inner: Mutex<Inner>,
    changed: Notify,
    budget: Budget,
}

#[derive(Debug)]
struct Inner {
    frames: VecDeque<(u64, Bytes, Reserved)>,
    held: u64,
    next: u64,
    committed: u64,
    phase: Phase,
    fed: u64,
    tainted: bool,
    length: Option<u64>,
    followers: u32,
    /// Somebody waits for a worker, to follow then.
    is_awaited: bool,
    /// The waveform so far, as the encode that follows draws it.
    peaks: Vec<u8>,
}

/// What a reader finds at an offset.
#[derive(Debug)]
pub enum Found {
    /// Bytes that are passing now.
    Passing(Bytes),
    /// Durable, so to be read from the store; this many bytes.
    Durable(u64),
    /// Not yet: wait for `changed`.
    NotYet,
    /// The end of a stored upload.
    End,
    /// The upload is gone.
    Gone,
}

impl Window {
    /// An empty window at `committed` of `length`. `budget` is the media share of the process.
    pub fn new(budget: Budget, committed: u64, length: Option<u64>, phase: Phase) -> Self {
        let inner = Inner {
            frames: VecDeque::new(),
            held: 0,
            next: committed,
            committed,
            phase,
            fed: 0,
            tainted: false,
            length,
            followers: 0,
            is_awaited: false,
            peaks: Vec::new(),
        };
        Self { inner: Mutex::new(inner), changed: Notify::new(), budget }
    }

    /// A writer starts at `offset`: what an earlier one had offered beyond it is void.
    pub fn begin(&self, offset: u64) {
        let mut inner = self.lock();
        inner.clear(offset);
        inner.committed = inner.committed.max(offset);
    }

    /// Somebody reads here, or no longer: without a reader the window keeps nothing.
    pub fn follow(&self, comes: bool) {
        let mut inner = self.lock();
        inner.followers = if comes { inner.followers + 1 } else { inner.followers.saturating_sub(1) };
        if inner.followers == 0 {
            let next = inner.next;
            inner.clear(next);
        }
    }

    /// Somebody reads here.
    pub fn is_followed(&self) -> bool {
        self.lock().followers > 0
    }

    /// Somebody waits for a worker from now on, or no longer. `false`: it was so before.
    pub fn awaits(&self, waits: bool) -> bool {
        let mut inner = self.lock();
        std::mem::replace(&mut inner.is_awaited, waits) != waits
    }

    /// Resolves when no more bytes can come. Cancel-safe.
    pub async fn ended(&self) {
        loop {
            let changed = self.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.phase() != Phase::Receiving {
                return;
            }
            changed.await;
        }
    }

    /// The next bytes, at `offset`, on their way to the store.
    pub fn offer(&self, offset: u64, bytes: &Bytes) {
        let mut inner = self.lock();
        let len = bytes.len() as u64;
        let fits = inner.followers > 0 && inner.next == offset && inner.held + len <= MEDIA_WINDOW_BYTES;
        match fits.then(|| self.budget.try_reserve(bytes.len())).flatten() {
            Some(share) => {
                inner.frames.push_back((offset, bytes.clone(), share));
                inner.held += len;
                inner.next = offset + len;
            }
            None => inner.clear(offset + len),
        }
        drop(inner);
        self.changed.notify_waiters();
    }

    /// More is durable.
    pub fn commit(&self, committed: u64) {
        let mut inner = self.lock();
        inner.committed = inner.committed.max(committed);
        drop(inner);
        self.changed.notify_waiters();
    }

    /// The writer is gone, leaving this much durable.
    pub fn end(&self, committed: u64) {
        let mut inner = self.lock();
        inner.committed = inner.committed.max(committed);
        inner.tainted |= inner.fed > committed;
        inner.clear(committed);
        drop(inner);
        self.changed.notify_waiters();
    }

    /// The upload came to an end.
    pub fn settle(&self, phase: Phase, committed: u64) {
        let mut inner = self.lock();
        inner.phase = phase;
        inner.committed = inner.committed.max(committed);
        if phase == Phase::Gone {
            inner.clear(committed);
        }
        drop(inner);
        self.changed.notify_waiters();
    }

    /// What there is at `offset`.
    pub fn find(&self, offset: u64) -> Found {
        let mut inner = self.lock();
        if inner.phase == Phase::Gone {
            return Found::Gone;
        }
        // The one reader of a window reads forwards: what lies before it is done with. Beyond what has come it looks for an
        // index, and comes back.
        while offset <= inner.next
            && inner.frames.front().is_some_and(|(at, bytes, _)| at + bytes.len() as u64 <= offset)
        {
            if let Some((_, bytes, _)) = inner.frames.pop_front() {
                inner.held -= bytes.len() as u64;
            }
        }
        if let Some((at, bytes, _)) = inner.frames.front()
            && (*at..at + bytes.len() as u64).contains(&offset)
        {
            let found = bytes.slice(usize::try_from(offset - at).unwrap_or(usize::MAX)..);
            inner.fed = inner.fed.max(offset + found.len() as u64);
            return Found::Passing(found);
        }
        match inner.phase {
            _ if offset < inner.committed => Found::Durable(inner.committed - offset),
            Phase::Stored => Found::End,
            _ if Some(offset) == inner.length => Found::End,
            _ => Found::NotYet,
        }
    }

    /// Resolves at the next change after this call. Create it before `find`, then await it. Cancel-safe.
    pub fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Bytes were read here that never became durable.
    pub fn is_tainted(&self) -> bool {
        self.lock().tainted
    }

    /// The stored bytes are encoded again: what was read before no longer counts.
    pub fn forget_taint(&self) {
        let mut inner = self.lock();
        inner.tainted = false;
        inner.fed = 0;
    }

    /// More of the waveform: pairs of minimum and maximum, from pair `first` on. A new encode starts at 0 again.
    pub fn add_peaks(&self, first: u64, pairs: &[u8]) {
        let mut inner = self.lock();
        let keep = usize::try_from(first * 2).unwrap_or(usize::MAX).min(inner.peaks.len());
        inner.peaks.truncate(keep);
        inner.peaks.extend_from_slice(pairs);
    }

    /// The waveform so far.
    pub fn peaks(&self) -> Vec<u8> {
        self.lock().peaks.clone()
    }

    /// How long the upload will be, where that is known.
    pub fn length(&self) -> Option<u64> {
        self.lock().length
    }

    /// How much is durable.
    pub fn committed(&self) -> u64 {
        self.lock().committed
    }

    /// Where the upload stands.
    pub fn phase(&self) -> Phase {
        self.lock().phase
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Inner {
    fn clear(&mut self, next: u64) {
        self.frames.clear();
        self.held = 0;
        self.next = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window() -> Window {
        let window = Window::new(Budget::new(16 << 20), 0, None, Phase::Receiving);
        window.follow(true);
        window
    }

    #[test]
    fn bytes_pass_in_order_and_then_are_durable() {
        let w = window();
        w.begin(0);
        w.offer(0, &Bytes::from_static(b"abc"));
        w.offer(3, &Bytes::from_static(b"def"));
        assert!(matches!(w.find(1), Found::Passing(b) if b == "bc"));
        assert!(matches!(w.find(3), Found::Passing(b) if b == "def"));
        assert!(matches!(w.find(6), Found::NotYet));
        w.commit(6);
        assert!(matches!(w.find(0), Found::Durable(6)));
        w.settle(Phase::Stored, 6);
        assert!(matches!(w.find(6), Found::End));
    }

    #[test]
    fn a_full_window_starts_anew_and_gives_its_memory_back() {
        let w = window();
        w.begin(0);
        let mib = Bytes::from(vec![7; 1 << 20]);
        for i in 0..9 {
            w.offer(i << 20, &mib);
        }
        assert!(matches!(w.find(0), Found::NotYet), "emptied: not even committed yet");
        assert_eq!(w.budget.used(), 0);
        w.offer(9 << 20, &mib);
        assert!(matches!(w.find(9 << 20), Found::Passing(_)));
        assert_eq!(w.budget.used(), 1 << 20);
    }

    #[test]
    fn a_look_far_ahead_takes_nothing_of_what_passes() {
        let w = window();
        w.begin(0);
        w.offer(0, &Bytes::from_static(b"abc"));
        assert!(matches!(w.find(1000), Found::NotYet));
        assert!(matches!(w.find(0), Found::Passing(b) if b == "abc"));
    }

    #[test]
    fn read_but_never_committed_is_tainted() {
        let w = window();
        w.begin(0);
        w.offer(0, &Bytes::from_static(b"abc"));
        w.end(0);
        assert!(!w.is_tainted(), "nobody had read them");
        w.begin(0);
        w.offer(0, &Bytes::from_static(b"abc"));
        assert!(matches!(w.find(0), Found::Passing(_)));
        w.end(2);
        assert!(w.is_tainted());
    }
}
