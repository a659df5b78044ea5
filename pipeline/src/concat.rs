//! Uploads made of others (tus extensions concatenation and concatenation-unfinished): a final upload is created, and partials
//! that nobody needs any more go.
//!
//! Promise: a final upload's partials are its owner's, alive when it is created, and kept until it is stored or has ended.
//! One that ends before it is whole takes the final upload with it (`join`).
//! Dead before the commit of a creation: nothing is there. Dead after it: `join` finds it in the rows.
//! Absent: an order between partials and finals. A final upload may come first, and partials may serve several.

use std::{collections::HashMap, sync::Arc};

use schema::{
    Id, Tx,
    machine::State as _,
    upload::{State, Upload},
};

use crate::{
    create::tell,
    digest,
    engine::{Engine, db_int, from_db},
    lease::{Lease, interval},
    resource::{CreateError, Kind, Look, NewUpload},
    session::AppendError,
};

/// Rows per statement: keeps each transaction short.
const BATCH: i64 = 100;

/// Why a final upload wasn't created.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// 400: one that it names can't be joined.
    #[error("the partial upload {partial} {why}")]
    Partial {
        /// Which.
        partial: Id<Upload>,
        /// Why not.
        why: &'static str,
    },
    /// As any creation.
    #[error(transparent)]
    Create(#[from] CreateError),
}

/// A partial as its row has it.
struct Partial {
    kind: Kind,
    is_over: bool,
    length: Option<u64>,
    committed: u64,
}

impl Engine {
    /// Creates an upload that is made of `partials`, in their order, and its track. It is joined by itself as soon as all of
    /// them are stored.
    ///
    /// # Errors
    /// [`JoinError`].
    pub async fn create_final(self: &Arc<Self>, new: NewUpload, partials: &[Id<Upload>]) -> Result<Look, JoinError> {
        let mut tx = schema::begin(&self.db).await.map_err(CreateError::from)?;
        self.admit(&mut tx, new.owner, 0).await.map_err(CreateError::from)?;
        let length = self.measured(&mut tx, &new, partials).await?;
        let new = NewUpload { length, kind: Kind::Final, ends_at_length: false, ..new };
        let look = self.open_joined(&mut tx, &new, partials).await.map_err(CreateError::from)?;
        tx.commit().await.map_err(CreateError::from)?;
        tell(&look);
        self.joins.wake();
        Ok(look)
    }

    /// The length of the partials together, once each has one. They stay locked, so that none ends before it is joined.
    async fn measured(
        &self,
        tx: &mut Tx<'_>,
        new: &NewUpload,
        partials: &[Id<Upload>],
    ) -> Result<Option<u64>, JoinError> {
        let found = locked(tx, new, partials).await.map_err(CreateError::from)?;
        let (mut length, mut least) = (Some(0_u64), 0_u64);
        for id in partials {
            let refused = |why| JoinError::Partial { partial: *id, why };
            let partial = found.get(id).ok_or_else(|| refused("isn't there"))?;
            if partial.kind != Kind::Partial {
                return Err(refused("isn't one: it was created without Upload-Concat: partial"));
            }
            if partial.is_over {
                return Err(refused("has ended"));
            }
            length = length.zip(partial.length).map(|(sum, more)| sum.saturating_add(more));
            least = least.saturating_add(partial.length.unwrap_or(partial.committed));
        }
        match least > self.limits.max_bytes {
            true => Err(CreateError::TooLarge { length: least, max: self.limits.max_bytes }.into()),
            false => Ok(length),
        }
    }

    async fn open_joined(&self, tx: &mut Tx<'_>, new: &NewUpload, partials: &[Id<Upload>]) -> sqlx::Result<Look> {
        let look = self.open(tx, new).await?;
        let ids: Vec<_> = partials.iter().map(|id| id.uuid()).collect();
        sqlx::query!(
            "INSERT INTO upload_joins (final_id, n, partial_id)
             SELECT $1, (n - 1)::int, partial FROM unnest($2::uuid[]) WITH ORDINALITY AS said(partial, n)",
            look.id.uuid(),
            &ids
        )
        .execute(&mut **tx)
        .await?;
        Ok(look)
    }

    /// The length of a final upload whose partials are all stored, and that this is all. No bytes of its own: the account's
    /// quota has them already.
    pub(crate) async fn set_joined(&self, lease: &Lease, length: u64) -> Result<(), AppendError> {
        let done = sqlx::query!(
            "UPDATE uploads SET length = $3, ended = true WHERE id = $1 AND epoch = $2",
            lease.upload.uuid(),
            lease.epoch,
            db_int(length)
        )
        .execute(&self.db)
        .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(AppendError::Fenced) }
    }

    /// CRC-64/NVME of a final upload, as its stored partials add up to it; `None` of any other upload.
    pub(crate) async fn joined_crc(&self, id: Id<Upload>) -> sqlx::Result<Option<u64>> {
        let rows = sqlx::query!(
            "SELECT p.crc64 AS \"crc64!\", p.length AS \"length!\" FROM upload_joins j JOIN uploads p ON p.id = j.partial_id
              WHERE j.final_id = $1 ORDER BY j.n",
            id.uuid()
        )
        .fetch_all(&self.db)
        .await?;
        let join = |crc, row: (i64, i64)| digest::crc64_join(crc, row.0.cast_unsigned(), from_db(row.1));
        let sum = rows.iter().map(|row| (row.crc64, row.length)).fold(digest::crc64(&[]), join);
        Ok((!rows.is_empty()).then_some(sum))
    }

    /// What happens to its partials is what happens to a final upload: while none of them has ended, it hasn't been idle.
    pub(crate) async fn keep_finals(&self) -> sqlx::Result<()> {
        sqlx::query!(
            "UPDATE uploads f SET expires_at = now() + $1::interval
              WHERE f.kind = 'final' AND f.state IN ('opened', 'receiving') AND f.expires_at < now() + 0.75 * $1::interval
                AND NOT EXISTS (SELECT FROM upload_joins j JOIN uploads p ON p.id = j.partial_id
                                 WHERE j.final_id = f.id AND (p.state IN ('aborted', 'expired', 'failed')
                                       OR p.state IN ('opened', 'receiving') AND p.expires_at <= now()))",
            interval(self.limits.expiry)
        )
        .execute(&self.db)
        .await?;
        Ok(())
    }

    /// Stored partials that have expired and that no unfinished final upload needs: their rows go, and their objects are
    /// named in `store_trash`, in one transaction. Returns how many.
    pub(crate) async fn forget_partials(&self) -> sqlx::Result<usize> {
        let mut tx = schema::begin(&self.db).await?;
        let due = sqlx::query_scalar!(
            "SELECT p.id FROM uploads p
              WHERE p.kind = 'partial' AND p.state = 'stored' AND p.expires_at < now()
                AND NOT EXISTS (SELECT FROM upload_joins j JOIN uploads f ON f.id = j.final_id
                                 WHERE j.partial_id = p.id AND f.state IN ('opened', 'receiving', 'sealing'))
              ORDER BY p.expires_at LIMIT $1 FOR UPDATE OF p SKIP LOCKED",
            BATCH
        )
        .fetch_all(&mut *tx)
        .await?;
        // Looked at again, now that they are locked: a final upload may have been created meanwhile.
        sqlx::query!(
            "DELETE FROM upload_joins j USING uploads f
              WHERE j.partial_id = ANY($1) AND f.id = j.final_id AND f.state NOT IN ('opened', 'receiving', 'sealing')",
            &due
        )
        .execute(&mut *tx)
        .await?;
        let gone = sqlx::query!(
            "WITH gone AS (DELETE FROM uploads p WHERE p.id = ANY($1)
                              AND NOT EXISTS (SELECT FROM upload_joins j WHERE j.partial_id = p.id) RETURNING p.key)
             INSERT INTO store_trash (key) SELECT key FROM gone",
            &due
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(usize::try_from(gone.rows_affected()).unwrap_or(usize::MAX))
    }
}

/// Those of `partials` that are there and the owner's. In one order, as everybody who locks several.
async fn locked(
    tx: &mut Tx<'_>,
    new: &NewUpload,
    partials: &[Id<Upload>],
) -> sqlx::Result<HashMap<Id<Upload>, Partial>> {
    let ids: Vec<_> = partials.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query!(
        "SELECT id, kind, state, length, committed, expires_at <= now() AS \"overdue!\" FROM uploads
          WHERE id = ANY($1) AND owner = $2 ORDER BY id FOR SHARE",
        &ids,
        new.owner.uuid()
    )
    .fetch_all(&mut **tx)
    .await?;
    let read = rows.into_iter().map(|row| {
        let is_over = match State::named(&row.state) {
            Some(State::Opened | State::Receiving | State::Stored) => row.overdue,
            Some(State::Sealing) => false,
            _ => true,
        };
        let (length, committed) = (row.length.map(from_db), from_db(row.committed));
        (row.id.into(), Partial { kind: Kind::named(&row.kind), is_over, length, committed })
    });
    Ok(read.collect())
}
