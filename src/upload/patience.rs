//! When to try again, and when to give up.

use std::time::{Duration, Instant};

use anyhow::bail;

/// Tried again after this …
const WAIT_MIN: Duration = Duration::from_millis(250);
/// … doubled up to this.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// A server that never answered has probably another address.
const PATIENCE_FIRST: Duration = Duration::from_secs(5);
/// One that did is probably coming back.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long it makes sense to go on trying.
pub struct Patience {
    since: Instant,
    answered: bool,
    next: Duration,
}

impl Patience {
    /// Before the first try.
    pub fn new() -> Self {
        Self { since: Instant::now(), answered: false, next: WAIT_MIN }
    }

    /// It got further.
    pub fn encouraged(&mut self) {
        *self = Self { since: Instant::now(), answered: true, next: WAIT_MIN };
    }

    /// Waits before the next try, unless it has been too long.
    pub async fn wait(
        &mut self,
        why: &str,
        asked: Option<Duration>,
        answered: bool,
        server: &url::Url,
    ) -> anyhow::Result<()> {
        self.answered |= answered;
        let limit = if self.answered { PATIENCE } else { PATIENCE_FIRST };
        if self.since.elapsed() > limit {
            bail!("{server} doesn't get further ({why}): the same command goes on from here when it does");
        }
        tokio::time::sleep(asked.unwrap_or(self.next)).await;
        self.next = (self.next * 2).min(WAIT_MAX);
        Ok(())
    }
}
