//! The right to write one upload, fenced by an epoch.
//!
//! Life: `take` raises the epoch and names this node; a task renews it; every commit says `AND epoch = $n`; `release` ends it.
//! Time is Postgres's. The holder's own monotonic deadline ends before the row's: a renewal that doesn't succeed in time
//! makes `lost` fire, and the holder stops and says nothing.
//! Within one process a second request asks the first to let go (`Holders`), which it does at a durable edge.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use schema::{Id, upload::Upload};
use sqlx::{PgPool, postgres::types::PgInterval};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::limits::TAKEOVER_WAIT;

/// How long before the row's end a holder that can't renew stops: longer than one commit.
const STOP_EARLY: Duration = Duration::from_secs(2);

/// A connection that ended takes one try, and the next has a new one. A database that is away isn't waited for.
const RELEASE_TRIES: u32 = 3;

/// A held lease. Dropping it stops the renewal; the row then runs out unless `release` was called.
#[derive(Debug)]
pub struct Lease {
    /// Which upload.
    pub upload: Id<Upload>,
    /// The fencing number.
    pub epoch: i64,
    lost: CancellationToken,
    _renewal: DropGuard,
}

/// What came of asking for a lease.
#[derive(Debug)]
pub enum Taken {
    /// It is ours.
    Ours(Lease),
    /// Another node has it, at this epoch.
    Held(i64),
    /// The upload takes no more writers.
    Over,
}

impl Lease {
    /// Takes the lease if nobody else holds it. A holder whose lease ran out may still be writing to the store: the first
    /// `shadows` parts after the committed end are marked, so that they are kept twice (see `parts`).
    ///
    /// # Errors
    /// Only the database's.
    pub async fn take(
        db: &PgPool,
        upload: Id<Upload>,
        node: Uuid,
        term: Duration,
        shadows: i32,
    ) -> sqlx::Result<Taken> {
        let row = sqlx::query!(
            "WITH found AS (
                 SELECT id, node, lease_until < now() AS ran_out, committed / part_bytes + 1 AS part_no FROM uploads
                  WHERE id = $1 AND state IN ('opened', 'receiving', 'sealing') FOR UPDATE)
             UPDATE uploads SET epoch = epoch + 1, node = $2, lease_until = now() + $3,
                    shadow = CASE WHEN $4 > 0 AND found.node <> $2 AND state <> 'sealing'
                                  THEN range_merge(coalesce(shadow, 'empty'), int4range(part_no::int, part_no::int + $4))
                                  ELSE shadow END
               FROM found
              WHERE uploads.id = found.id AND (found.node IS NULL OR found.node = $2 OR found.ran_out) RETURNING epoch",
            upload.uuid(),
            node,
            interval(term),
            shadows
        )
        .fetch_optional(db)
        .await?;
        let Some(row) = row else { return Self::not_taken(db, upload).await };
        let (lost, stop) = (CancellationToken::new(), CancellationToken::new());
        tokio::spawn(renew(db.clone(), upload, row.epoch, term, lost.clone(), stop.clone()));
        Ok(Taken::Ours(Self { upload, epoch: row.epoch, lost, _renewal: stop.drop_guard() }))
    }

    async fn not_taken(db: &PgPool, upload: Id<Upload>) -> sqlx::Result<Taken> {
        let held_at = sqlx::query_scalar!(
            "SELECT epoch FROM uploads WHERE id = $1 AND state IN ('opened', 'receiving', 'sealing')",
            upload.uuid()
        )
        .fetch_optional(db)
        .await?;
        Ok(held_at.map_or(Taken::Over, Taken::Held))
    }

    /// Resolves when the lease is no longer this holder's. Cancel-safe.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Gives the lease back. Nothing to do when it is lost already; twice is once, so a lost answer is asked for again.
    pub async fn release(self, db: &PgPool) {
        for tries_left in (0..RELEASE_TRIES).rev() {
            let done = sqlx::query!(
                "UPDATE uploads SET node = NULL, lease_until = NULL WHERE id = $1 AND epoch = $2",
                self.upload.uuid(),
                self.epoch
            )
            .execute(db)
            .await;
            match done {
                Ok(_) => return,
                Err(error) if tries_left == 0 => {
                    tracing::warn!(upload.id = %self.upload, %error, "lease not released; it runs out by itself")
                }
                Err(_) => {}
            }
        }
    }
}

async fn renew(
    db: PgPool,
    upload: Id<Upload>,
    epoch: i64,
    term: Duration,
    lost: CancellationToken,
    stop: CancellationToken,
) {
    let margin = STOP_EARLY.min(term / 4);
    let mut deadline = Instant::now() + term - margin;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,                       // cancel-safe: a flag
            () = tokio::time::sleep(term / 3) => {}                // cancel-safe: no state
        }
        let begun = Instant::now();
        let renewal = sqlx::query!(
            "UPDATE uploads SET lease_until = now() + $3 WHERE id = $1 AND epoch = $2",
            upload.uuid(),
            epoch,
            interval(term)
        )
        .execute(&db);
        match tokio::time::timeout_at(deadline, renewal).await {
            Ok(Ok(done)) if done.rows_affected() == 1 => deadline = begun + term - margin,
            Ok(Err(error)) if Instant::now() < deadline => {
                tracing::warn!(upload.id = %upload, %error, "lease not renewed yet")
            }
            _ => return lost.cancel(),
        }
    }
}

/// The leases of one node that an earlier process of it left behind: nobody can hold them now, as the data folder is
/// locked by this process. What it was sending may still arrive, so `shadows` parts of each upload are marked.
/// Returns how many leases there were.
///
/// # Errors
/// Only the database's.
pub async fn forget_own(db: &PgPool, node: Uuid, shadows: i32) -> sqlx::Result<u64> {
    let uploads = sqlx::query!(
        "UPDATE uploads SET node = NULL, lease_until = NULL,
                shadow = CASE WHEN $2 > 0 AND state <> 'sealing' THEN range_merge(coalesce(shadow, 'empty'),
                         int4range((committed / part_bytes + 1)::int, (committed / part_bytes + 1)::int + $2)) ELSE shadow END
          WHERE node = $1",
        node,
        shadows
    )
    .execute(db)
    .await?;
    let jobs =
        sqlx::query!("UPDATE jobs SET node = NULL, lease_until = NULL WHERE node = $1", node).execute(db).await?;
    Ok(uploads.rows_affected() + jobs.rows_affected())
}

/// How a writer is asked to let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Go on.
    Nothing,
    /// Another request stands at the committed offset: drop what isn't durable, so that its offset stays valid.
    Yield,
    /// The process ends, or a reader wants the offset to stand still: make durable what came, then stop.
    Flush,
}

/// The uploads that this process is writing.
#[derive(Debug, Default)]
pub struct Holders {
    by_upload: Mutex<HashMap<Uuid, Holder>>,
}

#[derive(Debug)]
struct Holder {
    ask: watch::Sender<Ask>,
    /// Of its lease, once it has one: what another node asks is meant for the holder of one epoch.
    epoch: Option<i64>,
}

/// A writer's place among the holders. It leaves when dropped, which is what newcomers wait for.
#[derive(Debug)]
pub struct Holding {
    holders: Arc<Holders>,
    upload: Uuid,
    /// What was asked of this writer.
    pub ask: watch::Receiver<Ask>,
}

impl Holders {
    /// Becomes the one writer in this process, asking the present one to yield. `None`: it didn't in time.
    pub async fn enter(self: &Arc<Self>, upload: Id<Upload>) -> Option<Holding> {
        let deadline = Instant::now() + TAKEOVER_WAIT;
        loop {
            let gone = {
                let mut by_upload = self.by_upload();
                match by_upload.get(&upload.uuid()) {
                    None => return Some(self.hold(&mut by_upload, upload)),
                    Some(holder) => {
                        holder.ask.send_replace(Ask::Yield);
                        holder.ask.clone()
                    }
                }
            };
            // Resolves when the holder's receiver is dropped, which is after its last store call.
            if tokio::time::timeout_at(deadline, gone.closed()).await.is_err() {
                return None;
            }
        }
    }

    /// The same if nobody is writing; who is isn't asked.
    pub fn try_enter(self: &Arc<Self>, upload: Id<Upload>) -> Option<Holding> {
        let mut by_upload = self.by_upload();
        if by_upload.contains_key(&upload.uuid()) {
            return None;
        }
        Some(self.hold(&mut by_upload, upload))
    }

    fn hold(self: &Arc<Self>, by_upload: &mut HashMap<Uuid, Holder>, upload: Id<Upload>) -> Holding {
        let (tx, ask) = watch::channel(Ask::Nothing);
        by_upload.insert(upload.uuid(), Holder { ask: tx, epoch: None });
        Holding { holders: Arc::clone(self), upload: upload.uuid(), ask }
    }

    /// Asks the writer that holds an upload at this epoch, if this process has it. One that came later isn't meant: the word
    /// may be old, or the writer's own.
    pub fn ask(&self, upload: Id<Upload>, epoch: i64, ask: Ask) {
        if let Some(holder) = self.by_upload().get(&upload.uuid()).filter(|holder| holder.epoch == Some(epoch)) {
            holder.ask.send_replace(ask);
        }
    }

    /// Asks the writer in this process, if there is one, to make durable what came, and waits until it has let go.
    pub async fn settle(&self, upload: Id<Upload>) {
        let gone = self.by_upload().get(&upload.uuid()).map(|holder| holder.ask.clone());
        if let Some(holder) = gone {
            holder.send_replace(Ask::Flush);
            let _ = tokio::time::timeout(TAKEOVER_WAIT, holder.closed()).await;
        }
    }

    /// How many uploads are being written.
    pub fn count(&self) -> usize {
        self.by_upload().len()
    }

    fn by_upload(&self) -> MutexGuard<'_, HashMap<Uuid, Holder>> {
        self.by_upload.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Holding {
    /// From now on it hears what is asked of the holder of this epoch.
    pub fn took(&self, epoch: i64) {
        if let Some(holder) = self.holders.by_upload().get_mut(&self.upload) {
            holder.epoch = Some(epoch);
        }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.holders.by_upload().remove(&self.upload);
    }
}

pub(crate) fn interval(d: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(d.as_micros()).unwrap_or(i64::MAX) }
}
