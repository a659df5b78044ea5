//! A final upload becomes whole: the bytes of its stored partials, in order, as the parts of its own object.
//!
//! ```text
//! due: all partials stored ─► lease ─► length ─► [read → digest, tee → part copied or sent → commit]… ─► seal
//! lost: a partial ended    ─► lease ─► failed(partial_lost)
//! ```
//! Promise: begun when the last partial is stored, by the node that stored it, or within `POLL` by any; what a crash or a
//! store that is away interrupts goes on from the committed offset. At most `JOINS_AT_ONCE` in one process.
//! Dead at any step: the lease ends, and the next holder reads the rows. A partial isn't removed before its finals are done.
//! Absent: bytes from clients. What is read here was verified when its partial was stored, and is verified again at the seal.

use std::{sync::Arc, time::Duration};

use schema::{Id, track::Track};
use tokio::{
    select,
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
};

use crate::{
    engine::Engine,
    lease::{Holding, Lease, Taken},
    limits::JOINS_AT_ONCE,
    origin::Origin,
    parts,
    publish::SealError,
    put_off::PutOff,
    session::{AppendError, Ends},
    store::StoreError,
    writing::Writing,
};

/// How often the rows are looked at when nobody announces anything.
const POLL: Duration = Duration::from_secs(2);

/// Candidates of one look.
const BATCH: i64 = 20;

/// What the joins of one process share.
#[derive(Debug)]
pub(crate) struct Joins {
    wake: Notify,
    slots: Arc<Semaphore>,
    put_off: PutOff,
}

impl Joins {
    pub(crate) fn new() -> Self {
        Self { wake: Notify::new(), slots: Arc::new(Semaphore::new(JOINS_AT_ONCE)), put_off: PutOff::default() }
    }

    /// A partial was stored or has ended, or a final upload is there.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }
}

/// A final upload that can be worked on.
struct Due {
    lease: Lease,
    holding: Holding,
    track: Option<Id<Track>>,
    /// One of its partials has ended without its bytes.
    is_lost: bool,
}

impl Engine {
    /// Joins what is due until the process stops.
    pub(crate) async fn join_due(self: Arc<Self>) {
        loop {
            let slot = select! {
                () = self.stop.cancelled() => return,                                          // cancel-safe: a flag
                slot = Arc::clone(&self.joins.slots).acquire_owned() => slot,                  // cancel-safe: gives up its place
            };
            let Ok(slot) = slot else { return };
            match self.next_due().await {
                Ok(Some(due)) => {
                    let engine = Arc::clone(&self);
                    self.tasks.spawn(async move { engine.settle_due(due, slot).await });
                    continue;
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "no final uploads could be looked for"),
            }
            drop(slot);
            select! {
                () = self.stop.cancelled() => return,                                          // cancel-safe: a flag
                () = self.joins.wake.notified() => {}                                          // cancel-safe: a missed one waits for the poll
                () = tokio::time::sleep(POLL) => {}                                            // cancel-safe: no state
            }
        }
    }

    /// A final upload whose partials are all stored, or one of which is lost; with its lease.
    async fn next_due(&self) -> sqlx::Result<Option<Due>> {
        let waiting = self.joins.put_off.waiting();
        let rows = sqlx::query!(
            "SELECT f.id, f.track_id, bool_or(p.state IN ('aborted', 'expired', 'failed')) AS \"lost!\"
               FROM uploads f JOIN upload_joins j ON j.final_id = f.id JOIN uploads p ON p.id = j.partial_id
              WHERE f.kind = 'final' AND f.state IN ('opened', 'receiving') AND (f.node IS NULL OR f.lease_until < now())
                AND f.id <> ALL($1)
              GROUP BY f.id HAVING bool_or(p.state IN ('aborted', 'expired', 'failed')) OR bool_and(p.state = 'stored')
              ORDER BY f.created_at LIMIT $2",
            &waiting,
            BATCH
        )
        .fetch_all(&self.db)
        .await?;
        for row in rows {
            let id = Id::from(row.id);
            let Some(holding) = self.holders.try_enter(id) else { continue };
            let taken = Lease::take(&self.db, id, self.node, self.limits.lease, self.shadows()).await?;
            if let Taken::Ours(lease) = taken {
                holding.took(lease.epoch);
                return Ok(Some(Due { lease, holding, track: row.track_id.map(Id::from), is_lost: row.lost }));
            }
        }
        Ok(None)
    }

    /// Joins one, or ends it.
    async fn settle_due(self: Arc<Self>, due: Due, slot: OwnedSemaphorePermit) {
        let Due { lease, holding, track, is_lost } = due;
        let id = lease.upload;
        let done = match is_lost {
            true => self.lost(&lease, "a partial upload that it is made of ended before it was whole").await,
            false => self.join(&lease, &holding, track).await,
        };
        let done = match done {
            // Gives the lease back, and says itself what went wrong. What isn't sealed then, `recover` takes up.
            Ok(true) => {
                let _told = self.seal(lease).await;
                Ok(())
            }
            other => {
                lease.release(&self.db).await;
                other.map(|_| ())
            }
        };
        match done {
            Ok(()) => self.joins.put_off.forget(id.uuid()),
            Err(AppendError::Fenced | AppendError::Busy | AppendError::Stopping) => {}
            Err(error) => {
                tracing::warn!(upload.id = %id, %error, "final upload not joined yet; it goes on by itself");
                self.joins.put_off.later(id.uuid());
            }
        }
        drop((holding, slot));
        self.joins.wake();
    }

    /// `true`: all bytes are committed, and the row says `sealing`.
    async fn join(
        self: &Arc<Self>,
        lease: &Lease,
        holding: &Holding,
        track: Option<Id<Track>>,
    ) -> Result<bool, AppendError> {
        let origin = Origin::of(self, lease.upload).await?;
        if origin.length() > self.limits.max_bytes {
            self.fail(lease, "too_long", "its partial uploads have more bytes together than one upload may have")
                .await?;
            return Ok(false);
        }
        self.set_joined(lease, origin.length()).await?;
        match self.copied(lease, holding, track, &origin).await {
            Ok(()) => self.seal_if_whole(lease, Ends::AtLength).await,
            Err(AppendError::Body(broken)) => match origin.trouble() {
                // Asked once more before a finished upload is given up.
                Some(StoreError::Missing(key)) if matches!(self.store.head(key).await, Ok(None)) => {
                    self.lost(lease, "the store lost a partial upload that it is made of").await
                }
                _ => Err(AppendError::Store(StoreError::Away(std::io::Error::other(broken)))),
            },
            Err(AppendError::Store(StoreError::Missing(_))) => {
                self.fail(lease, "store_lost_upload", "the store lost what it had of this upload").await?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// From the committed offset to the end.
    async fn copied(
        self: &Arc<Self>,
        lease: &Lease,
        holding: &Holding,
        track: Option<Id<Track>>,
        origin: &Arc<Origin>,
    ) -> Result<(), AppendError> {
        let standing = parts::standing(&self.db, lease).await?.ok_or(AppendError::Fenced)?;
        let (from, to) = (standing.committed, self.opened(lease, &standing).await?);
        tracing::info!(upload.id = %lease.upload, upload.offset = from, upload.length = origin.length(), "joining");
        let window = self.follow(track, from, standing.length);
        let mut writing = Writing::new(self, lease, to, standing, window, None);
        writing.origin = Some(Arc::clone(origin));
        let received = writing.receive(holding.ask.clone(), origin.frames(from)).await;
        // What isn't a whole part by now is read again.
        let kept = if received.is_ok() { writing.flush().await } else { Ok(()) };
        writing.settle().await;
        writing.window.end(writing.committed);
        received.and(kept)
    }

    /// Ends a final upload whose bytes won't be there.
    async fn lost(&self, lease: &Lease, detail: &str) -> Result<bool, AppendError> {
        match self.fail(lease, "partial_lost", detail).await {
            Ok(()) => Ok(false),
            Err(SealError::Fenced) => Err(AppendError::Fenced),
            Err(error) => Err(error.into()),
        }
    }
}
