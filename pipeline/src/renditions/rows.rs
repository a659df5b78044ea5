//! The rows of renditions and their pieces. One function per statement or transaction; what a render writes is fenced by its
//! job's token. Lock order: job, then rendition.

use std::time::Duration;

use schema::{
    Id, Tx,
    job::{self, Job},
    track::Track,
};
use sqlx::PgPool;
use uuid::Uuid;

use super::{KIND, Rendition, Standing, recipe};
use crate::{
    download::{File, Format, Piece},
    engine::{db_int, from_db},
    fenced::{RowError, fenced},
    lease::interval,
};

/// A file that nobody asks for is kept so long.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);

/// A failure stands so long; who asks later has it tried again.
const FAILED: Duration = Duration::from_secs(600);

/// Rows per statement of the sweep.
const BATCH: i64 = 100;

/// What a render is made of.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) track: Id<Track>,
    pub(super) format: Format,
    pub(super) attempt: i32,
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) seconds: u64,
    pub(super) rate: u32,
    pub(super) channels: u16,
    pub(super) title: String,
}

/// A piece that is in the store.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) n: i32,
    pub(super) key: String,
    pub(super) len: u64,
    pub(super) sha: [u8; 32],
}

/// How far a rendition's rows are, from piece `n` on.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) attempt: i32,
    pub(super) whole: bool,
    pub(super) failed: Option<String>,
    pub(super) piece: Option<Piece>,
}

/// The rendition, and whether it is wanted for the first time. With its job, in one transaction.
pub(super) async fn want(
    db: &PgPool,
    track: Id<Track>,
    format: Format,
    title: &str,
) -> sqlx::Result<(Rendition, bool)> {
    let mut tx = schema::begin(db).await?;
    let id = Uuid::now_v7();
    let row = sqlx::query!(
        "INSERT INTO renditions (id, track_id, format, recipe) VALUES ($1, $2, $3, $4)
         ON CONFLICT ON CONSTRAINT renditions_once DO UPDATE SET used_at = now()
         RETURNING id, len, sha256, whole_at IS NOT NULL AS \"whole!\", reason",
        id,
        track.uuid(),
        format.name(),
        recipe(format, title)
    )
    .fetch_one(&mut *tx)
    .await?;
    let is_new = row.id == id;
    if is_new {
        job::enqueue(&mut tx, KIND, id, 1, serde_json::json!({ "title": title }), true).await?;
    }
    tx.commit().await?;
    let standing = match (row.reason, row.len, row.sha256) {
        (Some(reason), ..) => Standing::Failed { reason },
        (None, Some(len), Some(sha256)) if row.whole => {
            Standing::Whole(File { pieces: pieces(db, row.id).await?, len: from_db(len), sha256 })
        }
        _ => Standing::Making,
    };
    Ok((Rendition { id: row.id, standing }, is_new))
}

async fn pieces(db: &PgPool, id: Uuid) -> sqlx::Result<Vec<Piece>> {
    let rows = sqlx::query!("SELECT key, len FROM rendition_pieces WHERE rendition_id = $1 ORDER BY n", id);
    let rows = rows.fetch_all(db).await?;
    Ok(rows.into_iter().map(|row| Piece { key: row.key, len: from_db(row.len) }).collect())
}

pub(super) async fn len(db: &PgPool, track: Id<Track>, recipe: &str) -> sqlx::Result<Option<u64>> {
    let len = sqlx::query_scalar!(
        "SELECT len FROM renditions WHERE track_id = $1 AND recipe = $2 AND whole_at IS NOT NULL",
        track.uuid(),
        recipe
    );
    Ok(len.fetch_optional(db).await?.flatten().map(from_db))
}

/// Whether some render waits for a holder.
pub(super) async fn is_due(db: &PgPool) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        "SELECT EXISTS (SELECT FROM jobs WHERE kind = $1 AND done_at IS NULL AND dead_at IS NULL AND run_after <= now()
                           AND (lease_until IS NULL OR lease_until < now())) AS \"due!\"",
        KIND
    )
    .fetch_one(db)
    .await
}

/// The rows from piece `n` on; `None` when there is no such rendition any more.
pub(super) async fn look(db: &PgPool, id: Uuid, n: i32) -> sqlx::Result<Option<Look>> {
    let row = sqlx::query!(
        "SELECT r.attempt, r.whole_at IS NOT NULL AS \"whole!\", r.reason, p.key AS \"key?\", p.len AS \"len?\"
           FROM renditions r LEFT JOIN rendition_pieces p ON p.rendition_id = r.id AND p.n = $2 WHERE r.id = $1",
        id,
        n
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|r| Look {
        attempt: r.attempt,
        whole: r.whole,
        failed: r.reason,
        piece: r.key.zip(r.len).map(|(key, len)| Piece { key, len: from_db(len) }),
    }))
}

/// What to make; `None` when it isn't wanted any more, or its track isn't there to be kept.
pub(super) async fn task(db: &PgPool, job: &Job) -> sqlx::Result<Option<Task>> {
    let row = sqlx::query!(
        "SELECT r.track_id, r.format, r.attempt, t.storage_key, t.size, t.samples, t.rate, t.source_rate, t.source_channels
           FROM renditions r JOIN tracks t ON t.id = r.track_id
          WHERE r.id = $1 AND t.state = 'ready' AND t.lossless",
        job.subject
    )
    .fetch_optional(db)
    .await?;
    Ok(row.and_then(|r| {
        let seconds = from_db(r.samples?) / u64::try_from(r.rate?.max(1)).ok()? + 1;
        Some(Task {
            track: r.track_id.into(),
            format: r.format.parse().ok()?,
            attempt: r.attempt,
            key: r.storage_key?,
            size: from_db(r.size?),
            seconds,
            rate: r.source_rate?.cast_unsigned(),
            channels: u16::try_from(r.source_channels?).ok()?,
            title: job.payload.get("title")?.as_str()?.to_owned(),
        })
    }))
}

/// A piece, once; equal to what an earlier try made.
pub(super) async fn add(db: &PgPool, job: &Job, stored: &Stored) -> Result<(), RowError> {
    let mut tx = fenced(db, job).await?;
    let added = sqlx::query!(
        "INSERT INTO rendition_pieces (rendition_id, n, key, len, sha) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        job.subject,
        stored.n,
        stored.key,
        db_int(stored.len),
        &stored.sha[..]
    )
    .execute(&mut *tx)
    .await?;
    if added.rows_affected() == 0 {
        let same = sqlx::query_scalar!(
            "SELECT sha = $3 AND key = $4 AS \"same!\" FROM rendition_pieces WHERE rendition_id = $1 AND n = $2",
            job.subject,
            stored.n,
            &stored.sha[..],
            stored.key
        );
        if !same.fetch_one(&mut *tx).await? {
            return Err(RowError::Differs);
        }
    }
    tx.commit().await?;
    Ok(())
}

/// All of it: the file is whole and the job done.
pub(super) async fn finish(db: &PgPool, job: &Job, pieces: i32, len: u64, sha256: [u8; 32]) -> Result<(), RowError> {
    let mut tx = fenced(db, job).await?;
    let made =
        sqlx::query_scalar!("SELECT count(*) AS \"count!\" FROM rendition_pieces WHERE rendition_id = $1", job.subject);
    if made.fetch_one(&mut *tx).await? != i64::from(pieces) {
        return Err(RowError::Differs);
    }
    sqlx::query!(
        "UPDATE renditions SET whole_at = now(), len = $2, sha256 = $3 WHERE id = $1",
        job.subject,
        db_int(len),
        &sha256[..]
    )
    .execute(&mut *tx)
    .await?;
    if !job::finish(&mut tx, job).await? {
        return Err(RowError::Lost);
    }
    tx.commit().await?;
    Ok(())
}

/// From the beginning, under keys of their own: what an earlier try made goes.
pub(super) async fn begin_anew(db: &PgPool, job: &Job, task: &Task) -> Result<(), RowError> {
    let mut tx = fenced(db, job).await?;
    sqlx::query!("DELETE FROM rendition_pieces WHERE rendition_id = $1", job.subject).execute(&mut *tx).await?;
    sqlx::query!("UPDATE renditions SET attempt = attempt + 1 WHERE id = $1", job.subject).execute(&mut *tx).await?;
    let prefix = format!("{}/", attempt_key(task.track, job.subject, task.attempt));
    sqlx::query!("INSERT INTO store_trash (key, is_prefix) VALUES ($1, true)", prefix).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

/// It can't be made. What there is of it goes with its row (`forget_unused`).
pub(super) async fn fail(tx: &mut Tx<'_>, job: &Job, reason: &str, detail: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE renditions SET failed_at = now(), reason = $2, detail = $3 WHERE id = $1 AND whole_at IS NULL",
        job.subject,
        reason,
        detail
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Forgets what nobody asked for in a while, what failed a while ago, and what is of a track that was taken down; their
/// objects go to the trash in the same transaction. What is being made stays.
pub(crate) async fn forget_unused(db: &PgPool) -> sqlx::Result<()> {
    let mut tx = schema::begin(db).await?;
    let old = sqlx::query_scalar!(
        "SELECT r.id FROM renditions r JOIN tracks t ON t.id = r.track_id
          WHERE (r.used_at < now() - $1::interval OR r.failed_at < now() - $2::interval OR t.state = 'taken_down')
            AND NOT EXISTS (SELECT FROM jobs j WHERE j.kind = $3 AND j.subject = r.id AND j.lease_until > now())
          LIMIT $4",
        interval(UNUSED),
        interval(FAILED),
        KIND,
        BATCH
    )
    .fetch_all(&mut *tx)
    .await?;
    if old.is_empty() {
        return Ok(());
    }
    sqlx::query!("DELETE FROM jobs WHERE kind = $1 AND subject = ANY($2)", KIND, &old).execute(&mut *tx).await?;
    let gone = sqlx::query!("DELETE FROM renditions WHERE id = ANY($1) RETURNING id, track_id", &old);
    for row in gone.fetch_all(&mut *tx).await? {
        let prefix = format!("{}/", key(row.track_id.into(), row.id));
        sqlx::query!("INSERT INTO store_trash (key, is_prefix) VALUES ($1, true)", prefix).execute(&mut *tx).await?;
    }
    tx.commit().await
}

/// Below which a rendition's objects lie.
fn key(track: Id<Track>, rendition: Uuid) -> String {
    format!("renditions/{track}/{}", rendition.simple())
}

/// The same of one attempt.
pub(super) fn attempt_key(track: Id<Track>, rendition: Uuid, attempt: i32) -> String {
    format!("{}/{attempt}", key(track, rendition))
}
