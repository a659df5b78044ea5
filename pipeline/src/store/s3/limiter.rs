//! How many payloads are on their way to the bucket at once: more while that goes well, half of it when it doesn't.
//!
//! Grows by one for each round of successes while the limit is felt; is halved, at most once per `COOLING`, by "slow down"
//! (503, 429) and by a part that takes several times what parts usually take.
//! Promise: first come, first served. Absent: limits per upload; the engine has those.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

/// Until we know better: enough for one fast upload, not too much for a small store.
const FIRST: usize = 8;

/// Never fewer: one slow part must not stop all others.
const LEAST: usize = 2;

/// Between two halvings: the answers of what was already on its way don't count again.
const COOLING: Duration = Duration::from_secs(1);

/// A part that takes this many times what parts usually take is a sign of a queue in the store.
const JUMP: f64 = 4.0;

/// Unless it was quick all the same.
const JUMP_LEAST: Duration = Duration::from_secs(2);

/// How much of the usual pace one part changes.
const WEIGHT: f64 = 0.1;

/// Smaller payloads tell more about latency than about pace.
const PACED_BYTES_LEAST: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Limiter {
    slots: Semaphore,
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: usize,
    /// Slots that were taken away while somebody had them.
    owed: usize,
    successes: usize,
    /// Milliseconds per MiB.
    usual: Option<f64>,
    halved: Option<Instant>,
}

/// The right to send one payload.
pub(super) struct Turn<'a> {
    limiter: &'a Limiter,
    slot: Option<SemaphorePermit<'a>>,
    began: Instant,
    felt: bool,
}

impl Limiter {
    pub(super) fn new(most: usize) -> Self {
        let most = most.max(LEAST);
        let limit = FIRST.min(most);
        let state = State { limit, owed: 0, successes: 0, usual: None, halved: None };
        Self { slots: Semaphore::new(limit), most, state: Mutex::new(state) }
    }

    pub(super) async fn enter(&self) -> Turn<'_> {
        let slot = self.slots.acquire().await.ok(); // never closed
        Turn { limiter: self, slot, began: Instant::now(), felt: self.slots.available_permits() == 0 }
    }

    /// The store is overrun.
    pub(super) fn slow_down(&self) {
        self.slow_down_at(Instant::now());
    }

    fn slow_down_at(&self, now: Instant) {
        let mut state = self.state();
        if state.halved.is_some_and(|at| now < at + COOLING) {
            return;
        }
        let limit = (state.limit / 2).max(LEAST);
        let fewer = state.limit - limit;
        state.owed += fewer - self.slots.forget_permits(fewer);
        (state.limit, state.successes, state.halved) = (limit, 0, Some(now));
        metrics::gauge!("millrace_s3_parts_in_flight_limit").set(limit as f64);
    }

    fn succeeded(&self, felt: bool) {
        let mut state = self.state();
        if !felt || state.limit >= self.most {
            return;
        }
        state.successes += 1;
        if state.successes >= state.limit {
            (state.limit, state.successes) = (state.limit + 1, 0);
            match state.owed {
                0 => self.slots.add_permits(1),
                _ => state.owed -= 1,
            }
            metrics::gauge!("millrace_s3_parts_in_flight_limit").set(state.limit as f64);
        }
    }

    /// Whether this payload took much longer than usual; it counts for the next.
    fn jumped(&self, bytes: u64, took: Duration) -> bool {
        if bytes < PACED_BYTES_LEAST {
            return false;
        }
        let pace = took.as_secs_f64() * 1e3 / (bytes as f64 / f64::from(1 << 20));
        let mut state = self.state();
        let usual = *state.usual.get_or_insert(pace);
        state.usual = Some(usual * (1.0 - WEIGHT) + pace * WEIGHT);
        took > JUMP_LEAST && pace > usual * JUMP
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn limit(&self) -> usize {
        self.state().limit
    }
}

impl Turn<'_> {
    /// So many bytes are durable.
    pub(super) fn succeeded(self, bytes: u64) {
        if self.limiter.jumped(bytes, self.began.elapsed()) {
            self.limiter.slow_down();
        } else {
            self.limiter.succeeded(self.felt);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.limiter.state();
        if state.owed > 0 {
            state.owed -= 1;
            if let Some(slot) = self.slot.take() {
                slot.forget();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn round(limiter: &Limiter) {
        let mut turns = Vec::new();
        for _ in 0..limiter.limit() {
            turns.push(limiter.enter().await);
        }
        assert_eq!(limiter.slots.available_permits(), 0);
        // Only the last of a round feels the limit: it takes several rounds to grow.
        turns.into_iter().for_each(|turn| turn.succeeded(10));
    }

    #[tokio::test]
    async fn it_grows_by_one_and_halves() {
        let (limiter, now) = (Limiter::new(10), Instant::now());
        assert_eq!(limiter.limit(), FIRST);
        for _ in 0..8 {
            round(&limiter).await;
        }
        assert_eq!(limiter.limit(), FIRST + 1);
        limiter.slow_down_at(now);
        limiter.slow_down_at(now);
        assert_eq!(limiter.limit(), 4, "one queue is one sign");
        for n in 1..9 {
            limiter.slow_down_at(now + n * COOLING);
        }
        assert_eq!((limiter.limit(), limiter.slots.available_permits()), (LEAST, LEAST));
        for _ in 0..200 {
            round(&limiter).await;
        }
        assert_eq!((limiter.limit(), limiter.slots.available_permits()), (10, 10), "never beyond the most");
    }

    #[tokio::test]
    async fn slots_in_use_are_taken_back_when_they_come_free() {
        let limiter = Limiter::new(64);
        let mut turns = Vec::new();
        for _ in 0..FIRST {
            turns.push(limiter.enter().await);
        }
        limiter.slow_down();
        turns.truncate(4);
        assert_eq!(limiter.slots.available_permits(), 0);
        drop(turns);
        assert_eq!(limiter.slots.available_permits(), 4);
    }

    #[test]
    fn a_part_that_takes_far_longer_is_a_sign_and_a_small_one_is_none() {
        let limiter = Limiter::new(64);
        let jumped = |s, bytes| limiter.jumped(bytes, Duration::from_secs(s));
        let part = 10 << 20;
        assert_eq!([1, 3, 9].map(|s| jumped(s, part)), [false, false, true]);
        assert!(!jumped(60, 1000));
        assert!(!Limiter::new(64).jumped(part, Duration::from_secs(60)), "the first is the measure");
    }
}
