//! The rows of runs, rungs and segments. One function per statement or transaction; every write is fenced by the job's token.

use schema::{
    Id,
    job::{self, Job},
    machine::{Refused, take},
    track::{self, Track},
};
use sqlx::PgPool;

use super::byproducts::{self, Named};
use crate::{
    engine::{db_int, from_db},
    fenced::{RowError, fenced},
    media::{Grid, PlannedRung, Source as Opened},
};

/// A piece of media in the store.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) key: String,
    pub(super) len: u64,
    pub(super) sha: [u8; 32],
}

/// The run to write: the latest one if it was cut alike and isn't `fresh`ly wanted, else a new one.
pub(super) async fn open_run(
    db: &PgPool,
    job: &Job,
    track: Id<Track>,
    opened: &Opened,
    fresh: bool,
) -> Result<i32, RowError> {
    let mut tx = fenced(db, job).await?;
    sqlx::query!(
        "UPDATE tracks SET codec = $2, source_rate = $3, source_channels = $4, source_bits = $5, lossless = $6,
                rate = $7, updated_at = now() WHERE id = $1",
        track.uuid(),
        opened.codec,
        opened.rate.cast_signed(),
        i32::from(opened.channels),
        i32::from(opened.bits),
        opened.lossless,
        opened.grid.rate.cast_signed()
    )
    .execute(&mut *tx)
    .await?;
    let latest = sqlx::query!(
        "SELECT run, rate, first_samples, grid_samples, target_s FROM runs WHERE track_id = $1 ORDER BY run DESC LIMIT 1",
        track.uuid()
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Grid { rate, first_samples, grid_samples, target_s } = opened.grid;
    let run = match latest {
        Some(r)
            if !fresh
                && r.rate.cast_unsigned() == rate
                && from_db(r.first_samples) == first_samples
                && from_db(r.grid_samples) == grid_samples
                && r.target_s.cast_unsigned() == target_s =>
        {
            sqlx::query!("UPDATE runs SET token = $3 WHERE track_id = $1 AND run = $2", track.uuid(), r.run, job.token)
                .execute(&mut *tx)
                .await?;
            r.run
        }
        latest => {
            let run = latest.map_or(1, |r| r.run + 1);
            sqlx::query!(
                "INSERT INTO runs (track_id, run, token, rate, first_samples, grid_samples, target_s)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
                track.uuid(),
                run,
                job.token,
                rate.cast_signed(),
                db_int(first_samples),
                db_int(grid_samples),
                target_s.cast_signed()
            )
            .execute(&mut *tx)
            .await?;
            run
        }
    };
    tx.commit().await?;
    Ok(run)
}

/// A rung and its init, once; equal to what an earlier try published.
pub(super) async fn add_rung(
    db: &PgPool,
    job: &Job,
    track: Id<Track>,
    run: i32,
    rung: &PlannedRung,
    init: &Stored,
) -> Result<(), RowError> {
    let mut tx = fenced(db, job).await?;
    sqlx::query!(
        "INSERT INTO rungs (track_id, run, rung, name, codecs, bandwidth, init_key, init_len, init_sha)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
        track.uuid(),
        run,
        i32::from(rung.rung),
        rung.name,
        rung.codecs,
        db_int(rung.bandwidth),
        init.key,
        db_int(init.len),
        &init.sha[..]
    )
    .execute(&mut *tx)
    .await?;
    let same = sqlx::query_scalar!(
        "SELECT init_sha = $4 AND codecs = $5 AS \"same!\" FROM rungs WHERE track_id = $1 AND run = $2 AND rung = $3",
        track.uuid(),
        run,
        i32::from(rung.rung),
        &init.sha[..],
        rung.codecs
    )
    .fetch_one(&mut *tx)
    .await?;
    if !same {
        return Err(RowError::Differs);
    }
    tx.commit().await?;
    Ok(())
}

/// A segment of a rung.
#[derive(Clone, Debug)]
pub(super) struct SegmentRow {
    pub(super) rung: u8,
    pub(super) n: u32,
    pub(super) first_sample: u64,
    pub(super) samples: u64,
}

/// A segment, once. `plays`: with it every rung has its first segment, so the track is playable.
pub(super) async fn add_segment(
    db: &PgPool,
    job: &Job,
    track: Id<Track>,
    run: i32,
    segment: &SegmentRow,
    stored: &Stored,
    plays: bool,
) -> Result<(), RowError> {
    let mut tx = fenced(db, job).await?;
    let (rung, n) = (i32::from(segment.rung), segment.n.cast_signed());
    let added = sqlx::query!(
        "INSERT INTO segments (track_id, run, rung, n, first_sample, samples, key, len, sha)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
        track.uuid(),
        run,
        rung,
        n,
        db_int(segment.first_sample),
        db_int(segment.samples),
        stored.key,
        db_int(stored.len),
        &stored.sha[..]
    )
    .execute(&mut *tx)
    .await?;
    if added.rows_affected() == 0 {
        let same = sqlx::query_scalar!(
            "SELECT sha = $5 AND samples = $6 AS \"same!\" FROM segments
              WHERE track_id = $1 AND run = $2 AND rung = $3 AND n = $4",
            track.uuid(),
            run,
            rung,
            n,
            &stored.sha[..],
            db_int(segment.samples)
        )
        .fetch_one(&mut *tx)
        .await?;
        if !same {
            return Err(RowError::Differs);
        }
    }
    if plays {
        match take(&mut tx, track, track::Play { run }).await {
            Ok(_) => tracing::info!(track.id = %track, "track playable"),
            Err(Refused::Db(e)) => return Err(e.into()),
            Err(_) => {}
        }
    }
    sqlx::query!("UPDATE tracks SET updated_at = now() WHERE id = $1", track.uuid()).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

/// Every rung is whole: ENDLIST. `Differs` when an earlier try had published more than this one made.
pub(super) async fn finish_run(
    db: &PgPool,
    job: &Job,
    track: Id<Track>,
    run: i32,
    segments: u64,
) -> Result<(), RowError> {
    let mut tx = fenced(db, job).await?;
    let published = sqlx::query_scalar!(
        "SELECT count(*) AS \"count!\" FROM segments WHERE track_id = $1 AND run = $2",
        track.uuid(),
        run
    )
    .fetch_one(&mut *tx)
    .await?;
    if from_db(published) != segments {
        return Err(RowError::Differs);
    }
    sqlx::query!(
        "UPDATE runs SET finished_at = coalesce(finished_at, now()) WHERE track_id = $1 AND run = $2",
        track.uuid(),
        run
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// What the encode learnt about the whole track.
#[derive(Clone, Debug, Default)]
pub(super) struct Learnt {
    pub(super) samples: u64,
    pub(super) priming: u32,
    pub(super) named: Named,
}

/// Verified and encoded: the track is ready, other runs go, the job is done. All in one transaction.
pub(super) async fn finish_track(
    db: &PgPool,
    job: &Job,
    track: Id<Track>,
    run: i32,
    learnt: &Learnt,
) -> Result<(), RowError> {
    let mut tx = fenced(db, job).await?;
    match take(&mut tx, track, track::Finish { run, samples: db_int(learnt.samples) }).await {
        Ok(_) => {}
        Err(Refused::Db(e)) => return Err(e.into()),
        // Taken down or failed meanwhile, or ready before: the job has no more to do.
        Err(_) => {
            job::finish(&mut tx, job).await?;
            tx.commit().await?;
            return Ok(());
        }
    }
    sqlx::query!(
        "UPDATE tracks SET loudness = $2, peaks_key = $3, priming = $4, updated_at = now() WHERE id = $1",
        track.uuid(),
        learnt.named.loudness,
        learnt.named.peaks_key,
        learnt.priming.cast_signed()
    )
    .execute(&mut *tx)
    .await?;
    byproducts::name_pictures(&mut tx, track, run, &learnt.named).await?;
    let others =
        sqlx::query_scalar!("DELETE FROM runs WHERE track_id = $1 AND run <> $2 RETURNING run", track.uuid(), run)
            .fetch_all(&mut *tx)
            .await?;
    for other in others {
        sqlx::query!(
            "INSERT INTO store_trash (key, is_prefix) VALUES ($1, true)",
            format!("{}/", run_key(track, other))
        )
        .execute(&mut *tx)
        .await?;
    }
    if !job::finish(&mut tx, job).await? {
        return Err(RowError::Lost);
    }
    tx.commit().await?;
    tracing::info!(track.id = %track, samples = learnt.samples, "track ready");
    metrics::counter!("millrace_tracks_ready_total").increment(1);
    Ok(())
}

/// Below which a run's objects lie.
pub(super) fn run_key(track: Id<Track>, run: i32) -> String {
    format!("hls/{track}/{run}")
}
