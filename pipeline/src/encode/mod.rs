//! The encode of a track, as a leased job: enqueued when the track is created, taken up live at its first byte, and due
//! from the moment that its object is stored.
//!
//! Order: 1 segment to the store, 2 its row (fenced by the job's token), 3 with the last rung's first segment the edge
//! `Play`; at the end 4 the run finished, 5 when the bytes are verified the edge `Finish`.
//! Dead after 1: the same bytes are put again (equal: fine). Dead after 2 to 4: the job's lease ends, the next holder encodes
//! again, compares each segment with the row, and goes on with the same run; one that differs starts a new run.
//! Never: a row that names a missing object; a `ready` track whose ladder wasn't made from the verified bytes.

mod alike;
mod byproducts;
mod probe;
mod rows;
mod run;
mod slots;

use std::{sync::Arc, time::Duration};

use schema::{
    Id, Tx,
    job::{self, Job},
    machine::{Refused, take},
    track::{self, Track},
};
use sqlx::PgPool;
use tokio::select;
use tokio_util::sync::CancellationToken;

use crate::{
    engine::Engine,
    limits::ENCODE_ATTEMPTS,
    source::{Source, standing},
    tee::{Phase, Window},
};
use run::{Ended, Run};
pub(crate) use slots::{Rank, Slot, Slots};

/// The job's kind.
pub(crate) const KIND: &str = "encode";

/// How often due jobs are looked for when nothing announces one.
const POLL: Duration = Duration::from_secs(1);

/// The first wait after a failed try; it doubles, but no more often than `RETRY_DOUBLINGS`: 32 s at most, so that a track is
/// taken up within a minute once the store and the database are well again.
const RETRY_BASE: Duration = Duration::from_secs(1);
/// See [`RETRY_BASE`].
const RETRY_DOUBLINGS: u32 = 5;

/// Wants the track encoded; not due until its bytes are stored.
pub(crate) async fn enqueue(tx: &mut Tx<'_>, track: Id<Track>) -> sqlx::Result<()> {
    job::enqueue(tx, KIND, track.uuid(), 1, serde_json::json!({}), false).await
}

/// Why a track isn't encoded again.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// 404.
    #[error("no such track")]
    Missing,
    /// 409: it isn't failed.
    #[error("the track is {found:?}, not failed")]
    NotFailed {
        /// Where it stands.
        found: track::State,
    },
    /// 409: its upload can't be taken up again; upload it anew.
    #[error("the track's bytes were never stored")]
    NotStored,
    /// 503.
    #[error("the database failed")]
    Db(#[from] sqlx::Error),
}

/// Encodes a failed track again from its stored bytes. Whose it is, the caller has checked.
///
/// # Errors
/// [`RetryError`].
pub async fn retry(db: &PgPool, id: Id<Track>) -> Result<(), RetryError> {
    let mut tx = schema::begin(db).await?;
    // The job before the track, as everywhere (`publish`). What is refused below is rolled back with it.
    job::reopen(&mut tx, KIND, id.uuid()).await?;
    let stored = sqlx::query_scalar!(
        "SELECT stored_at IS NOT NULL AS \"stored!\" FROM tracks WHERE id = $1 FOR UPDATE",
        id.uuid()
    )
    .fetch_optional(&mut *tx)
    .await?
    .ok_or(RetryError::Missing)?;
    match take(&mut tx, id, track::Retry { run: None, reason: None, detail: None }).await {
        Ok(_proof) => {}
        Err(Refused::Missing) => return Err(RetryError::Missing),
        Err(Refused::AlreadyThere) => return Err(RetryError::NotFailed { found: track::State::Ingesting }),
        Err(Refused::Illegal { found }) => return Err(RetryError::NotFailed { found }),
        Err(Refused::Db(e)) => return Err(e.into()),
    }
    if !stored {
        return Err(RetryError::NotStored);
    }
    tx.commit().await?;
    Ok(())
}

impl Engine {
    /// As [`retry`], and wakes this process's workers.
    ///
    /// # Errors
    /// [`RetryError`].
    pub async fn retry(&self, id: Id<Track>) -> Result<(), RetryError> {
        retry(&self.db, id).await?;
        self.work.notify_one();
        Ok(())
    }

    /// The window of a track whose upload goes on at `offset`, with an encode that follows it if a worker is free.
    ///
    /// Where an unfinished upload can't be read back, that is only from its first byte on, and only at once: the track is encoded
    /// when it is stored otherwise. Elsewhere a late encode catches up from what is durable.
    pub(crate) fn follow(self: &Arc<Self>, track: Option<Id<Track>>, offset: u64, length: Option<u64>) -> Arc<Window> {
        // Of a partial nobody listens to the bytes.
        let new = |budget| Window::new(budget, offset, length, Phase::Receiving);
        let Some(track) = track else { return Arc::new(new(self.media_budget.clone())) };
        let window = self.window_or(track, new);
        window.begin(offset);
        let catches_up = self.store.reads_unfinished();
        if offset > 0 && !catches_up {
            return window;
        }
        let slot = self.slots.try_live();
        if slot.is_some() {
            // Before the first byte is offered: what comes while the job is claimed must not be missed.
            window.follow(true);
        } else if !catches_up || !window.awaits(true) {
            return window;
        }
        let (engine, held) = (Arc::clone(self), Arc::clone(&window));
        self.tasks.spawn(async move {
            match slot {
                Some(slot) => engine.encode_live(track, &held, slot).await,
                None => engine.encode_late(track, &held).await,
            }
            held.follow(false);
        });
        window
    }

    /// When a worker is free for it, unless the upload has ended before: then its job is due, as everybody's.
    async fn encode_late(self: &Arc<Self>, track: Id<Track>, window: &Arc<Window>) {
        let slot = select! {
            slot = self.slots.live() => Some(slot),                                    // cancel-safe: gives up its place
            () = window.ended() => None,                                               // cancel-safe: reads a state
            () = self.stop.cancelled() => None,                                        // cancel-safe: a flag
        };
        window.awaits(false);
        window.follow(true);
        if let Some(slot) = slot {
            self.encode_live(track, window, slot).await;
        }
    }

    async fn encode_live(self: &Arc<Self>, track: Id<Track>, window: &Arc<Window>, slot: Slot) {
        match job::claim_for(&self.db, KIND, track.uuid(), self.node, self.limits.lease).await {
            Ok(Some(job)) => Arc::clone(self).encode(job, Arc::clone(window), slot).await,
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(track.id = %track, %error, "live encode not started; it starts when stored")
            }
        }
    }

    /// Claims due jobs while workers are free, until the process stops.
    pub(crate) async fn encode_due(self: Arc<Self>) {
        loop {
            let slot = select! {
                () = self.stop.cancelled() => return,                                  // cancel-safe: a flag
                slot = self.slots.backlog() => slot,                                   // cancel-safe: gives up its place
            };
            match job::claim(&self.db, KIND, self.node, self.limits.lease).await {
                Ok(Some(job)) => {
                    let engine = Arc::clone(&self);
                    self.tasks.spawn(async move {
                        let track = job.subject.into();
                        match engine.window_of(track).await {
                            Ok(window) => engine.encode(job, window, slot).await,
                            Err(error) => {
                                tracing::warn!(track.id = %track, %error, "encode not started; its lease ends")
                            }
                        }
                    });
                    continue;
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "no jobs could be claimed"),
            }
            drop(slot);
            select! {
                () = self.stop.cancelled() => return,                                  // cancel-safe: a flag
                () = self.work.notified() => {}                                        // cancel-safe: a missed one waits for the poll
                () = tokio::time::sleep(POLL) => {}                                    // cancel-safe: no state
            }
        }
    }

    /// The window of a track, as its upload's row has it.
    async fn window_of(&self, track: Id<Track>) -> sqlx::Result<Arc<Window>> {
        let (phase, committed, length) = standing(self, track).await?;
        let window = self.window_or(track, |budget| Window::new(budget, committed, length, phase));
        window.settle(phase, committed);
        Ok(window)
    }

    /// Does the job while its lease is kept, and says in rows how it ended.
    async fn encode(self: Arc<Self>, job: Job, window: Arc<Window>, slot: Slot) {
        let track: Id<Track> = job.subject.into();
        window.follow(true);
        let lost = CancellationToken::new();
        let ended = {
            let source = Source::new(Arc::clone(&self), track, Arc::clone(&window));
            let work = self.attempts(&job, &source, slot);
            select! {
                ended = work => Some(ended),
                () = self.beat(&job, &lost) => None,                                   // cancel-safe: the worker dies with `work`
                () = self.stop.cancelled() => None,                                    // the same; the job goes back below
            }
        };
        window.follow(false);
        let said = match ended {
            None if lost.is_cancelled() => Ok(()),
            None => self.give_back(&job).await,
            Some(ended) => self.conclude(&job, track, ended).await,
        };
        if let Err(error) = said {
            tracing::warn!(track.id = %track, %error, "the end of an encode isn't recorded; its lease ends");
        }
        self.work.notify_one();
    }

    /// One run, and another where the first one's segments turn out not to be of the stored bytes.
    async fn attempts(self: &Arc<Self>, job: &Job, source: &Source, slot: Slot) -> Ended {
        let mut slot = Some(slot);
        let mut fresh = false;
        loop {
            let mut run = Run::new(self, job, source, fresh, slot.take()).await;
            let ended = run.drive().await;
            // Given back here: what follows may wait for the rest of a slow upload.
            drop(run);
            let again = match &ended {
                Ended::Differs => true,
                // It may have been fed bytes that the object never got.
                Ended::Failed(_) | Ended::Finished => source.window.is_tainted() && !fresh,
                _ => false,
            };
            if !again {
                return ended;
            }
            match source.settled().await {
                Ok(true) => source.window.forget_taint(),
                Ok(false) => return Ended::Gone,
                Err(error) => return Ended::Trouble(error.to_string()),
            }
            fresh = matches!(ended, Ended::Differs);
        }
    }

    async fn conclude(&self, job: &Job, track: Id<Track>, ended: Ended) -> sqlx::Result<()> {
        let mut tx = schema::begin(&self.db).await?;
        // The job before the track, as everywhere (`publish`).
        if !job::still_mine(&mut tx, job).await? {
            return Ok(());
        }
        let mine = match &ended {
            Ended::Finished | Ended::Lost => return Ok(()),
            Ended::Waiting | Ended::Differs => job::give_back(&mut tx, job).await?,
            Ended::Gone => job::finish(&mut tx, job).await?,
            Ended::Trouble(why) => {
                tracing::warn!(track.id = %track, error = %why, "encode interrupted; it goes on by itself");
                job::put_off(&mut tx, job, wait(job.troubles), why).await?
            }
            Ended::Failed(f) if f.retryable && job.failures + 1 < ENCODE_ATTEMPTS => {
                tracing::warn!(track.id = %track, code = f.code.as_str(), text = %f.text, "worker failed; trying again");
                job::retry(&mut tx, job, wait(job.failures), &f.to_string()).await?
            }
            Ended::Failed(f) => {
                tracing::warn!(track.id = %track, code = f.code.as_str(), text = %f.text, "track failed");
                metrics::counter!("millrace_tracks_failed_total", "reason" => f.code.as_str()).increment(1);
                self.fail_track(&mut tx, track, f.code.as_str(), &f.text).await?;
                job::bury(&mut tx, job, &f.to_string()).await?
            }
        };
        if mine { tx.commit().await } else { tx.rollback().await }
    }

    async fn give_back(&self, job: &Job) -> sqlx::Result<()> {
        let mut tx = schema::begin(&self.db).await?;
        job::give_back(&mut tx, job).await?;
        tx.commit().await
    }

    /// Keeps the job's lease; resolves when it is lost.
    pub(crate) async fn beat(&self, job: &Job, lost: &CancellationToken) {
        let mut misses = 0;
        loop {
            tokio::time::sleep(self.limits.lease / 4).await;
            match job::beat(&self.db, job, self.limits.lease).await {
                Ok(true) => misses = 0,
                Ok(false) => return lost.cancel(),
                Err(error) => {
                    tracing::warn!(%error, "job lease not renewed yet");
                    misses += 1;
                    if misses >= 3 {
                        return lost.cancel();
                    }
                }
            }
        }
    }
}

/// How long to wait after so many tries in vain.
fn wait(tries: i32) -> Duration {
    RETRY_BASE * 2u32.pow(tries.unsigned_abs().min(RETRY_DOUBLINGS))
}
