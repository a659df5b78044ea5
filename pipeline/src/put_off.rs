//! What failed here and is tried again later: each time after a longer wait, so that it takes no turn from what would work.
//!
//! Absent: memory across a restart. Then everything is tried at once, and once.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use uuid::Uuid;

/// The first wait; it doubles up to `AGAIN_MAX`.
const AGAIN: Duration = Duration::from_secs(1);

/// The longest wait between two tries.
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// How often each failed, and when it is tried again.
#[derive(Debug, Default)]
pub(crate) struct PutOff(Mutex<HashMap<Uuid, (u32, Instant)>>);

impl PutOff {
    /// Those whose time hasn't come. One that isn't tried again for long after its time has ended elsewhere.
    pub(crate) fn waiting(&self) -> Vec<Uuid> {
        let now = Instant::now();
        let mut put_off = self.lock();
        put_off.retain(|_, (_, until)| *until + AGAIN_MAX > now);
        put_off.iter().filter(|(_, (_, until))| *until > now).map(|(id, _)| *id).collect()
    }

    /// It failed once more.
    pub(crate) fn later(&self, id: Uuid) {
        let mut put_off = self.lock();
        let times = put_off.get(&id).map_or(0, |(times, _)| *times);
        let wait = AGAIN.saturating_mul(1 << times.min(8)).min(AGAIN_MAX);
        put_off.insert(id, (times + 1, Instant::now() + wait));
    }

    /// It is done.
    pub(crate) fn forget(&self, id: Uuid) {
        self.lock().remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, (u32, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
