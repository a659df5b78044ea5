//! What nobody wants any more, and what got stuck.
//!
//! Order of an expiry: 1 one transaction: edge `Expire`, the track failed, the bytes named in `store_trash`; 2 the bytes.
//! Dead after 1: the rows of `store_trash` are still there, and the next tick deletes (`trash`).
//! Never: a stored object, a live upload (its edge refuses), or a key that isn't ours.

use std::{sync::Arc, time::Duration};

use schema::{
    Id, job,
    machine::{Refused, take},
    track::Track,
    upload::{self, Upload},
};
use tokio::select;

use crate::{encode, engine::Engine, lease::interval, renditions::forget_unused, tee::Phase};

/// Between two ticks. An expired upload is gone within this and the batch before it.
const TICK: Duration = Duration::from_secs(2);

/// Rows per statement: keeps each transaction short.
const BATCH: i64 = 100;

/// How often a stuck track is enqueued again before it fails (UP-23).
const RESCUES_MAX: i32 = 5;

/// The code of what failed so.
const STUCK: &str = "stuck";

/// The code of a track whose upload isn't there any more, though nobody told the track.
const LOST: &str = "upload_lost";

/// What one tick did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Uploads expired.
    pub expired: usize,
    /// Objects and prefixes deleted.
    pub deleted: usize,
    /// Tracks enqueued again.
    pub rescued: usize,
}

impl Engine {
    /// Runs the background work until the process stops: due encodes, recovery, sweeps. Returns when all of it ended.
    pub async fn run(self: Arc<Self>) {
        let encoding = tokio::spawn(Arc::clone(&self).encode_due());
        let rendering = tokio::spawn(Arc::clone(&self).render_due());
        let joining = tokio::spawn(Arc::clone(&self).join_due());
        let hearing = tokio::spawn(Arc::clone(&self).hear_others());
        let orphans = tokio::spawn(Arc::clone(&self).sweep_orphans());
        let keeping = tokio::spawn(Arc::clone(&self).keep_room());
        loop {
            self.budget.spare().air();
            if let Err(error) = self.recover_once().await {
                tracing::warn!(%error, "recovery not done; next tick");
            }
            if let Err(error) = self.sweep_once().await {
                tracing::warn!(%error, "sweep not done; next tick");
            }
            select! {
                () = self.stop.cancelled() => break,               // cancel-safe: a flag
                () = tokio::time::sleep(TICK) => {}                // cancel-safe: no state
            }
        }
        let _ = encoding.await;
        let _ = rendering.await;
        let _ = joining.await;
        let _ = hearing.await;
        let _ = orphans.await;
        let _ = keeping.await;
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Begins the end: writers flush what came and stop, workers are ended, jobs go back.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// One tick.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn sweep_once(&self) -> sqlx::Result<Swept> {
        self.keep_finals().await?;
        self.forget_partials().await?;
        forget_unused(&self.db).await?;
        Ok(Swept { expired: self.expire().await?, deleted: self.empty_trash().await?, rescued: self.rescue().await? })
    }

    async fn expire(&self) -> sqlx::Result<usize> {
        let mut tx = schema::begin(&self.db).await?;
        let rows = sqlx::query!(
            "SELECT id, track_id FROM uploads
              WHERE state IN ('opened', 'receiving') AND expires_at < now() AND (node IS NULL OR lease_until < now())
                AND NOT coalesce(ended AND committed = length, false)
                AND NOT EXISTS (SELECT 1 FROM upload_claims c WHERE c.upload_id = uploads.id AND c.claim_until > now())
              ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED",
            BATCH
        )
        .fetch_all(&mut *tx)
        .await?;
        for row in &rows {
            let id = Id::<Upload>::from(row.id);
            match take(&mut tx, id, upload::Expire {}).await {
                Ok(_) => {}
                Err(Refused::Db(e)) => return Err(e),
                Err(_) => continue,
            }
            self.trash_bytes(&mut tx, id, Duration::ZERO).await?;
            if let Some(track) = row.track_id {
                self.fail_track(&mut tx, track.into(), "upload_expired", "the upload was not finished in time").await?;
            }
            tracing::info!(upload.id = %id, track.id = row.track_id.map(tracing::field::display), "upload expired");
        }
        tx.commit().await?;
        for track in rows.iter().filter_map(|row| row.track_id) {
            self.settle_window(track.into(), Phase::Gone, 0);
        }
        if rows.iter().any(|row| row.track_id.is_none()) {
            self.joins.wake();
        }
        Ok(rows.len())
    }

    /// Tracks that nobody would ever move: stored ones without a job that can be claimed, whose job is due again until
    /// `RESCUES_MAX` times were in vain (UP-23), and others whose upload is gone, as after a lost transaction.
    async fn rescue(&self) -> sqlx::Result<usize> {
        let rows = sqlx::query!(
            "SELECT t.id, coalesce(j.rescues, 0) AS \"rescues!\", t.stored_at IS NULL AS \"lost!\" FROM tracks t
               LEFT JOIN jobs j ON j.kind = $1 AND j.subject = t.id
              WHERE t.state IN ('ingesting', 'playable') AND t.updated_at < now() - $2::interval
                AND CASE WHEN t.stored_at IS NULL THEN
                        NOT EXISTS (SELECT FROM uploads u WHERE u.track_id = t.id
                                     AND u.state IN ('opened', 'receiving', 'sealing'))
                    ELSE j.id IS NULL OR j.done_at IS NOT NULL OR j.dead_at IS NOT NULL
                        OR (j.run_after = 'infinity' AND (j.lease_until IS NULL OR j.lease_until < now())) END
              ORDER BY t.updated_at LIMIT $3",
            encode::KIND,
            interval(self.limits.stuck_after),
            BATCH
        )
        .fetch_all(&self.db)
        .await?;
        for row in &rows {
            let track = Id::<Track>::from(row.id);
            if row.lost {
                self.give_up(track, LOST, "its upload is gone").await?;
            } else if row.rescues >= RESCUES_MAX {
                self.give_up(track, STUCK, "encoding was tried again and again without an end").await?;
            } else {
                self.take_up(track).await?;
            }
        }
        Ok(rows.len())
    }

    async fn take_up(&self, track: Id<Track>) -> sqlx::Result<()> {
        let mut tx = schema::begin(&self.db).await?;
        encode::enqueue(&mut tx, track).await?;
        let rescues = job::rescue(&mut tx, encode::KIND, track.uuid()).await?;
        tx.commit().await?;
        if let Some(rescues) = rescues {
            tracing::warn!(track.id = %track, rescues, "stuck track taken up again");
            metrics::counter!("millrace_tracks_rescued_total").increment(1);
        }
        Ok(())
    }

    async fn give_up(&self, track: Id<Track>, code: &'static str, text: &str) -> sqlx::Result<()> {
        let mut tx = schema::begin(&self.db).await?;
        let is_failed = self.fail_track(&mut tx, track, code, text).await?;
        tx.commit().await?;
        if is_failed {
            tracing::warn!(track.id = %track, code, "track failed");
            metrics::counter!("millrace_tracks_failed_total", "reason" => code).increment(1);
        }
        Ok(())
    }
}
