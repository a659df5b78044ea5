//! Who writes one part: a row with a token, kept alive while the chunk comes.
//!
//! Life: `claim` inserts it while the part isn't committed; a task renews it; the commit deletes it by its token, and
//! whoever can't isn't the writer any more. A claim that ran out may still be writing from afar: its part is shadowed,
//! so that the next writer's bytes are kept twice (see `mend`). Time is Postgres's; the holder's own clock ends earlier.
//! Order of locks: the upload's row, then its claims.

use std::time::Duration;

use schema::{Id, upload::Upload};
use sqlx::PgPool;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::{engine::from_db, lease::interval};

/// How long before the row's end a holder that can't renew stops: longer than one commit.
const STOP_EARLY: Duration = Duration::from_secs(2);

/// The right to commit one part. Dropping it stops the renewal; the row then runs out unless `release` was called.
pub(crate) struct Claim {
    pub(super) upload: Id<Upload>,
    pub(super) part_no: i32,
    pub(super) token: Uuid,
    /// A dead holder may still overwrite this part.
    pub(super) is_shadowed: bool,
    lost: CancellationToken,
    _renewal: DropGuard,
}

/// What came of asking for a claim.
pub(super) enum Claimed {
    /// It is ours.
    Ours(Claim),
    /// Another process is writing this part.
    Busy,
    /// It is there already: its length and its CRC-64/NVME.
    Committed(u64, u64),
    /// The upload takes no more chunks.
    Over,
}

/// Whose claim, and for how long.
pub(super) struct Claimant<'a> {
    pub(super) db: &'a PgPool,
    pub(super) node: Uuid,
    pub(super) term: Duration,
    /// Whether a part can be overwritten from afar.
    pub(super) shadows: bool,
}

impl Claimant<'_> {
    /// Claims a part. A claim of this very node is nobody's: the caller holds the part's slot in this process.
    pub(super) async fn claim(&self, upload: Id<Upload>, part_no: i32) -> sqlx::Result<Claimed> {
        let mut tx = schema::begin(self.db).await?;
        let row = sqlx::query!(
            "SELECT coalesce(shadow @> $2::int, false) AS \"is_shadowed!\" FROM uploads
              WHERE id = $1 AND state IN ('opened', 'receiving') AND NOT ended FOR NO KEY UPDATE",
            upload.uuid(),
            part_no
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(Claimed::Over) };
        let there = sqlx::query!(
            "SELECT len, crc64 FROM upload_parts WHERE upload_id = $1 AND part_no = $2",
            upload.uuid(),
            part_no
        )
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(there) = there {
            return Ok(Claimed::Committed(from_db(there.len), there.crc64.cast_unsigned()));
        }
        let token = Uuid::new_v4();
        let taken = sqlx::query!(
            "WITH found AS (SELECT node <> $4 AS another FROM upload_claims WHERE upload_id = $1 AND part_no = $2)
             INSERT INTO upload_claims (upload_id, part_no, token, node, claim_until) VALUES ($1, $2, $3, $4, now() + $5)
             ON CONFLICT (upload_id, part_no) DO UPDATE
                SET token = excluded.token, node = excluded.node, claim_until = excluded.claim_until
              WHERE upload_claims.claim_until < now() OR upload_claims.node = excluded.node
             RETURNING coalesce((SELECT another FROM found), false) AS \"ran_out!\"",
            upload.uuid(),
            part_no,
            token,
            self.node,
            interval(self.term)
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(taken) = taken else { return Ok(Claimed::Busy) };
        let is_unclean = taken.ran_out && self.shadows;
        if is_unclean {
            sqlx::query!(
                "UPDATE uploads SET shadow = range_merge(coalesce(shadow, 'empty'), int4range($2, $2 + 1)) WHERE id = $1",
                upload.uuid(),
                part_no
            )
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        let (lost, stop) = (CancellationToken::new(), CancellationToken::new());
        let key = (upload.uuid(), part_no, token);
        tokio::spawn(renew(self.db.clone(), key, self.term, lost.clone(), stop.clone()));
        let is_shadowed = row.is_shadowed || is_unclean;
        Ok(Claimed::Ours(Claim { upload, part_no, token, is_shadowed, lost, _renewal: stop.drop_guard() }))
    }
}

impl Claim {
    /// Resolves when the part is no longer this holder's. Cancel-safe.
    pub(super) async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Gives it back without a commit. Nothing to do when it is lost already.
    pub(super) async fn release(self, db: &PgPool) {
        let done = sqlx::query!(
            "DELETE FROM upload_claims WHERE upload_id = $1 AND part_no = $2 AND token = $3",
            self.upload.uuid(),
            self.part_no,
            self.token
        )
        .execute(db)
        .await;
        if let Err(error) = done {
            tracing::warn!(upload.id = %self.upload, %error, "claim not released; it runs out by itself");
        }
    }
}

async fn renew(
    db: PgPool,
    (upload, part_no, token): (Uuid, i32, Uuid),
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
            "UPDATE upload_claims SET claim_until = now() + $4 WHERE upload_id = $1 AND part_no = $2 AND token = $3",
            upload,
            part_no,
            token,
            interval(term)
        )
        .execute(&db);
        match tokio::time::timeout_at(deadline, renewal).await {
            Ok(Ok(done)) if done.rows_affected() == 1 => deadline = begun + term - margin,
            Ok(Err(error)) if Instant::now() < deadline => tracing::warn!(%error, "claim not renewed yet"),
            _ => return lost.cancel(),
        }
    }
}

/// The claims of one node that an earlier process of it left behind: nobody holds them now. What it was sending may
/// still arrive, so where that matters (`shadows`) their parts are marked. Returns how many there were.
pub(crate) async fn forget_own(db: &PgPool, node: Uuid, shadows: bool) -> sqlx::Result<u64> {
    let mut tx = schema::begin(db).await?;
    // Uploads before claims, as everybody: another node may be claiming what this one left.
    sqlx::query!(
        "SELECT FROM uploads WHERE id IN (SELECT upload_id FROM upload_claims WHERE node = $1)
          ORDER BY id FOR NO KEY UPDATE",
        node
    )
    .fetch_all(&mut *tx)
    .await?;
    let count = sqlx::query_scalar!(
        "WITH gone AS (DELETE FROM upload_claims WHERE node = $1 RETURNING upload_id, part_no),
              span AS (SELECT upload_id, int4range(min(part_no), max(part_no) + 1) AS parts FROM gone GROUP BY upload_id),
              marked AS (UPDATE uploads SET shadow = range_merge(coalesce(shadow, 'empty'), span.parts) FROM span
                          WHERE uploads.id = span.upload_id AND $2 AND state IN ('opened', 'receiving'))
         SELECT count(*) AS \"count!\" FROM gone",
        node,
        shadows
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(from_db(count))
}
