//! Where one connection stands, and until when it may stand there.
//!
//! ```text
//! Head ──request──► Busy ──answer written──► Idle ──first byte──► Head        (HTTP/1)
//! Idle ◄──────────► Busy                                                      (HTTP/2: bytes alone mean nothing)
//! ```
//! The I/O wrapper reports bytes, the service reports requests; `verdict` is pure but for the lock.
//! Absent: the first byte and the version, which `connection` takes before any of this exists.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    Cut, Limits,
    flow::{Flow, Lag, Pace},
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

#[derive(Clone, Copy)]
enum Phase {
    Head { since: Instant },
    Busy,
    Idle { since: Instant },
    Lingering { since: Instant },
}

pub(super) struct Watch {
    version: Version,
    head: Duration,
    idle: Duration,
    linger: Duration,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    requests: usize,
    writes: Flow,
    unread: bool,
}

/// One request in progress; its drop is the end of its answer.
pub(super) struct Exchange(Arc<Watch>);

impl Watch {
    /// `since` is when the first byte came.
    pub(super) fn new(version: Version, limits: &Limits, since: Instant) -> Arc<Self> {
        let phase = match version {
            Version::Http1 => Phase::Head { since },
            Version::Http2 => Phase::Idle { since },
        };
        let state = State { phase, requests: 0, writes: Flow::new(Pace::from(limits)), unread: false };
        Arc::new(Self {
            version,
            head: limits.head,
            idle: limits.idle,
            linger: limits.linger,
            state: Mutex::new(state),
        })
    }

    /// A whole head was read.
    pub(super) fn request(self: &Arc<Self>) -> Exchange {
        let mut state = self.state();
        state.requests += 1;
        state.unread = false;
        state.phase = Phase::Busy;
        Exchange(Arc::clone(self))
    }

    /// Bytes came in.
    pub(super) fn read(&self, now: Instant) {
        let mut state = self.state();
        if self.version == Version::Http1 && matches!(state.phase, Phase::Idle { .. }) {
            state.phase = Phase::Head { since: now };
        }
    }

    /// The socket took `bytes`.
    pub(super) fn wrote(&self, now: Instant, bytes: usize) {
        self.state().writes.progress(now, bytes);
    }

    /// The socket takes nothing: the client doesn't read.
    pub(super) fn blocked(&self, now: Instant) {
        self.state().writes.wait(now);
    }

    /// A body was left unread, so the client may be sending still when we close.
    pub(super) fn left_unread(&self) {
        // HTTP/2 resets the stream instead.
        self.state().unread = self.version == Version::Http1;
    }

    /// Our side is closed. `true`: wait until the client has seen the answer.
    pub(super) fn closed(&self, now: Instant) -> bool {
        let mut state = self.state();
        if state.unread && !matches!(state.phase, Phase::Lingering { .. }) {
            state.phase = Phase::Lingering { since: now };
        }
        state.unread
    }

    /// When to look again, or why to cut.
    pub(super) fn verdict(&self, now: Instant) -> Result<Instant, Cut> {
        let mut state = self.state();
        let writes = state.writes.verdict(now).map_err(|lag| match lag {
            Lag::Stalled => Cut::ReaderStalled,
            Lag::Slow => Cut::ReaderSlow,
        })?;
        let (until, cut) = match state.phase {
            Phase::Busy => (None, Cut::Idle),
            Phase::Head { since } => (Some(since + self.head), Cut::SlowHead),
            Phase::Idle { since } => (Some(since + self.idle), Cut::Idle),
            Phase::Lingering { since } => (Some(since + self.linger), Cut::Lingered),
        };
        match until {
            Some(until) if until <= now => Err(cut),
            // Without a deadline of its own a connection is looked at once in a while: another task may move it to idle.
            _ => Ok([until, writes, Some(now + self.idle)].into_iter().flatten().min().unwrap_or(now + self.idle)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.requests -= 1;
        if state.requests == 0 && matches!(state.phase, Phase::Busy) {
            state.phase = Phase::Idle { since: Instant::now() };
        }
    }
}
