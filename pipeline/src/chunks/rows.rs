//! What is durable of an upload whose parts come in any order, as rows.

use std::time::Duration;

use schema::{Id, upload::Upload};
use sqlx::PgPool;

use super::claim::Claim;
use crate::{
    engine::{db_int, from_db},
    lease::interval,
    parts,
    store::{Part, Tail},
};

/// How long the store may keep what a chunk was parked as, if nobody says that it is done with: a body at the lowest rate
/// that is let through needs less.
const PARKED_FOR: Duration = Duration::from_secs(48 * 3600);

/// A part that the store has and the rows don't yet.
pub(super) struct Arrived<'a> {
    pub(super) part: &'a Part,
    /// Its copy, where a dead holder may still overwrite it.
    pub(super) copy: Option<&'a Tail>,
    /// The digest's midstate at its end, where it is known.
    pub(super) sha_state: Option<Vec<u8>>,
    /// What it was parked as meanwhile.
    pub(super) parked: &'a [Tail],
}

/// Commits a part and tells the new committed end; `None`: the claim or the upload is gone, and nothing happened.
pub(super) async fn commit(
    db: &PgPool,
    claim: &Claim,
    arrived: Arrived<'_>,
    expiry: Duration,
) -> sqlx::Result<Option<u64>> {
    let (mut tx, id) = (schema::begin(db).await?, claim.upload);
    let epoch = sqlx::query_scalar!(
        "SELECT epoch FROM uploads WHERE id = $1 AND state IN ('opened', 'receiving') FOR NO KEY UPDATE",
        id.uuid()
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(epoch) = epoch else { return Ok(None) };
    let ours = sqlx::query!(
        "DELETE FROM upload_claims WHERE upload_id = $1 AND part_no = $2 AND token = $3",
        id.uuid(),
        claim.part_no,
        claim.token
    )
    .execute(&mut *tx)
    .await?;
    if ours.rows_affected() == 0 {
        return Ok(None);
    }
    parts::insert_part(&mut tx, id, epoch, arrived.part, arrived.sha_state.as_deref()).await?;
    if let Some(copy) = arrived.copy {
        parts::insert_tail(&mut tx, id, epoch, copy, None, Some(claim.part_no)).await?;
    }
    unpark(&mut *tx, arrived.parked).await?;
    let committed = sqlx::query_scalar!(
        "UPDATE uploads SET committed = upload_prefix(id, committed), expires_at = now() + $2 WHERE id = $1 RETURNING committed",
        id.uuid(),
        interval(expiry)
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Some(from_db(committed)))
}

/// Says before the store has it that an object of ours is to be deleted: whatever happens now, it will be.
pub(super) async fn park(db: &PgPool, tail: &Tail) -> sqlx::Result<()> {
    sqlx::query!("INSERT INTO store_trash (key, not_before) VALUES ($1, now() + $2)", tail.key, interval(PARKED_FOR))
        .execute(db)
        .await?;
    Ok(())
}

/// Nobody needs these any more.
pub(super) async fn unpark<'e, E: sqlx::PgExecutor<'e>>(db: E, tails: &[Tail]) -> sqlx::Result<()> {
    if !tails.is_empty() {
        let keys: Vec<_> = tails.iter().map(|tail| tail.key.clone()).collect();
        sqlx::query!("UPDATE store_trash SET not_before = now() WHERE key = ANY($1)", &keys).execute(db).await?;
    }
    Ok(())
}

/// The digest's midstate at `at`, in the row that ends there.
pub(super) async fn keep_midstate(db: &PgPool, upload: Id<Upload>, at: u64, state: &[u8]) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE upload_parts SET sha_state = $3 WHERE upload_id = $1 AND off + len = $2 AND sha_state IS NULL",
        upload.uuid(),
        db_int(at),
        state
    )
    .execute(db)
    .await?;
    Ok(())
}

/// What is committed, as merged ranges in order.
pub(super) async fn received(db: &PgPool, upload: Id<Upload>) -> sqlx::Result<Vec<(u64, u64)>> {
    let rows = sqlx::query!(
        "SELECT off AS \"off!\", off + len AS \"end!\" FROM upload_parts WHERE upload_id = $1
         UNION ALL SELECT off, off + len FROM upload_tails WHERE upload_id = $1 AND shadows_part IS NULL ORDER BY 1",
        upload.uuid()
    )
    .fetch_all(db)
    .await?;
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for row in rows {
        let (off, end) = (from_db(row.off), from_db(row.end));
        match merged.last_mut() {
            Some(last) if off <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((off, end)),
        }
    }
    Ok(merged)
}

/// Where the part ends that has the byte at `off`, if it is committed.
pub(crate) async fn part_end(db: &PgPool, upload: Id<Upload>, off: u64) -> sqlx::Result<Option<u64>> {
    let end = sqlx::query_scalar!(
        "SELECT off + len AS \"end!\" FROM upload_parts WHERE upload_id = $1 AND off <= $2 AND off + len > $2",
        upload.uuid(),
        db_int(off)
    );
    Ok(end.fetch_optional(db).await?.map(from_db))
}

/// Whether somebody is writing a part now.
pub(super) async fn is_claimed(db: &PgPool, upload: Id<Upload>) -> sqlx::Result<bool> {
    let any = sqlx::query_scalar!(
        "SELECT EXISTS (SELECT 1 FROM upload_claims WHERE upload_id = $1 AND claim_until > now()) AS \"any!\"",
        upload.uuid()
    );
    any.fetch_one(db).await
}
