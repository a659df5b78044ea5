//! How well a client keeps up, measured only while it is the one that is waited for.
//!
//! `wait` starts the clock, `pause` and `progress` stop it. So our own slowness (a store that is away, a full byte
//! budget) is never held against a client. Pure: `now` is an argument.

use std::time::{Duration, Instant};

use super::Limits;

/// What the client did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lag {
    /// Nothing came for too long.
    Stalled,
    /// Too little came.
    Slow,
}

/// The bounds, taken from [`Limits`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    stalled: Duration,
    window: Duration,
    rate: u64,
}

impl From<&Limits> for Pace {
    fn from(limits: &Limits) -> Self {
        Self { stalled: limits.stalled, window: limits.rate_window, rate: limits.rate }
    }
}

/// One direction of one exchange.
#[derive(Debug)]
pub(super) struct Flow {
    pace: Pace,
    since: Option<Instant>,
    without_a_byte: Duration,
    in_window: Duration,
    bytes: u64,
}

impl Flow {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, since: None, without_a_byte: Duration::ZERO, in_window: Duration::ZERO, bytes: 0 }
    }

    /// We wait for the client from now on.
    pub(super) fn wait(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// It isn't the client that is waited for any more.
    pub(super) fn pause(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            let waited = now.saturating_duration_since(since);
            self.without_a_byte += waited;
            self.in_window += waited;
        }
    }

    /// The client moved `bytes`.
    pub(super) fn progress(&mut self, now: Instant, bytes: usize) {
        self.pause(now);
        if bytes > 0 {
            self.without_a_byte = Duration::ZERO;
            self.bytes += bytes as u64;
        }
    }

    /// When to look again, or what is wrong. `None`: nobody is waited for.
    pub(super) fn verdict(&mut self, now: Instant) -> Result<Option<Instant>, Lag> {
        if self.since.is_none() {
            return Ok(None);
        }
        self.pause(now);
        if self.without_a_byte >= self.pace.stalled {
            return Err(Lag::Stalled);
        }
        if self.in_window >= self.pace.window {
            if (self.bytes as f64) < self.pace.rate as f64 * self.in_window.as_secs_f64() {
                return Err(Lag::Slow);
            }
            (self.in_window, self.bytes) = (Duration::ZERO, 0);
        }
        self.wait(now);
        let left = (self.pace.stalled - self.without_a_byte).min(self.pace.window - self.in_window);
        Ok(Some(now + left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow() -> (Flow, Instant) {
        let pace = Pace { stalled: Duration::from_secs(30), window: Duration::from_secs(30), rate: 1024 };
        (Flow::new(pace), Instant::now())
    }

    #[test]
    fn a_client_that_sends_nothing_is_stalled_at_the_limit_and_not_before() {
        let (mut flow, t) = flow();
        flow.wait(t);
        assert_eq!(flow.verdict(t + Duration::from_secs(29)), Ok(Some(t + Duration::from_secs(30))));
        assert_eq!(flow.verdict(t + Duration::from_secs(30)), Err(Lag::Stalled));
    }

    #[test]
    fn drops_that_keep_it_from_stalling_dont_keep_it_from_being_slow() {
        let (mut flow, t) = flow();
        for second in 1..=30 {
            flow.wait(t + Duration::from_secs(second - 1));
            flow.progress(t + Duration::from_secs(second), 1000);
        }
        flow.wait(t + Duration::from_secs(30));
        assert_eq!(flow.verdict(t + Duration::from_secs(30)), Err(Lag::Slow));
    }

    #[test]
    fn the_minimum_rate_held_is_enough_window_after_window() {
        let (mut flow, t) = flow();
        for second in 1..=90 {
            flow.wait(t + Duration::from_secs(second - 1));
            flow.progress(t + Duration::from_secs(second), 1024);
            flow.wait(t + Duration::from_secs(second));
            assert!(flow.verdict(t + Duration::from_secs(second)).is_ok(), "second {second}");
        }
    }

    #[test]
    fn our_own_pauses_cost_the_client_nothing() {
        let (mut flow, t) = flow();
        flow.wait(t);
        flow.pause(t + Duration::from_secs(1));
        assert_eq!(flow.verdict(t + Duration::from_secs(1000)), Ok(None));
        flow.wait(t + Duration::from_secs(1000));
        assert!(flow.verdict(t + Duration::from_secs(1028)).is_ok());
        assert_eq!(flow.verdict(t + Duration::from_secs(1029)), Err(Lag::Stalled));
    }
}
