//! One Complete of an upload at a time, among all processes that share the store.
//!
//! Two at once have cost whole objects on some stores; and a request outlives whoever sent it.
//! Order: 1 the row says until when a Complete may work, and goes on saying it while one is under way, 2 Complete,
//! 3 the row forgets it, once the store has said how it ended.
//! Dead after 1 or 2: the next holder of the lease waits until the object is there, or that moment has passed.
//! Never: a Complete while one of another process may still work.

use std::time::Duration;

use tokio::select;

use crate::{
    engine::Engine,
    lease::{Lease, interval},
    publish::SealError,
    store::{Multipart, Object, Part, StoreError},
};

/// Between two looks at the key while another process's Complete may still work.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The row is ahead of a Complete that is under way by its whole span, and by so many parts of it more.
const AHEAD_PARTS: u32 = 3;

impl Engine {
    /// Makes the object whole. The inner result is the store's.
    ///
    /// # Errors
    /// `Fenced`, `NotYet`, `Db`.
    pub(crate) async fn completed_alone(
        &self,
        lease: &Lease,
        to: &Multipart,
        parts: &[Part],
        length: u64,
    ) -> Result<Result<Object, StoreError>, SealError> {
        let span = self.store.complete_span();
        if span.is_zero() {
            // Nobody else's call can reach into this store.
            return Ok(self.store.complete(to, parts, length).await);
        }
        self.others_are_over(lease, to).await?;
        self.say_until(lease, Some(span + span / AHEAD_PARTS)).await?;
        let done = select! {
            done = self.store.complete(to, parts, length) => done,
            // cancel-safe: the row stays ahead of what was sent
            Err(error) = self.keep_saying(lease, span) => return Err(error),
        };
        if !self.store.may_complete(to) {
            self.say_until(lease, None).await?;
        }
        Ok(done)
    }

    /// What another process sent has ended, one way or the other.
    async fn others_are_over(&self, lease: &Lease, to: &Multipart) -> Result<(), SealError> {
        loop {
            let left = sqlx::query_scalar!(
                "SELECT coalesce(extract(epoch FROM complete_until - now()), 0)::float8 AS \"left_s!\" FROM uploads
                  WHERE id = $1 AND epoch = $2",
                lease.upload.uuid(),
                lease.epoch
            )
            .fetch_optional(&self.db)
            .await?
            .ok_or(SealError::Fenced)?;
            // The moment first, the look second: what lands between the two is seen.
            let is_there = left > 0.0 && self.store.head(&to.key).await.map_err(SealError::NotYet)?.is_some();
            if left <= 0.0 || is_there {
                return Ok(());
            }
            tracing::info!(upload.id = %lease.upload, left_s = left, "a Complete of another process may still work");
            tokio::time::sleep(Duration::from_secs_f64(left).min(LOOK_AGAIN)).await;
        }
    }

    /// Keeps the row ahead. Ends only with an error.
    async fn keep_saying(&self, lease: &Lease, span: Duration) -> Result<(), SealError> {
        loop {
            tokio::time::sleep(span / AHEAD_PARTS).await;
            self.say_until(lease, Some(span + span / AHEAD_PARTS)).await?;
        }
    }

    async fn say_until(&self, lease: &Lease, from_now: Option<Duration>) -> Result<(), SealError> {
        let done = sqlx::query!(
            "UPDATE uploads SET complete_until = now() + $3::interval WHERE id = $1 AND epoch = $2",
            lease.upload.uuid(),
            lease.epoch,
            from_now.map(interval)
        )
        .execute(&self.db)
        .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(SealError::Fenced) }
    }
}
