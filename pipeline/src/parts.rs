//! What is durable of an upload, as rows: parts, tails, and the committed prefix that follows from them.
//!
//! Order: 1 bytes in the store, 2 one transaction: the row, the tails that it covers to the trash, `committed` walked on,
//! 3 the acknowledgement.
//! Dead after 1: bytes beyond the committed end, written again on resume or deleted with the upload.
//! Dead after 2: the client asks HEAD, and hears the new offset.
//! Never: an acknowledged byte without a row, or an offset computed from sizes.

use std::ops::Range;

use schema::{Id, Tx, upload::Upload};
use sqlx::PgPool;

use crate::{
    engine::{db_int, from_db},
    lease::{Lease, interval},
    store::{Part, Tail},
};

/// A piece that the store has and the rows don't yet.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) what: What,
    /// The digest's midstate at its end, if it is known.
    pub(crate) sha_state: Option<Vec<u8>>,
}

/// Which kind of piece.
#[derive(Debug)]
pub(crate) enum What {
    /// A whole part, and its copy where a dead holder may still overwrite it.
    Part(Part, Option<Tail>),
    /// Less than a part.
    Tail(Tail),
}

/// Where the committed end stands.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) committed: u64,
    pub(crate) length: Option<u64>,
    pub(crate) part_bytes: u64,
    pub(crate) key: String,
    pub(crate) multipart_id: Option<String>,
    pub(crate) sha256_want: Option<Vec<u8>>,
    /// The midstate at `committed`, if it is known.
    pub(crate) sha_state: Option<Vec<u8>>,
    /// The tails of the part that is open at `committed`.
    pub(crate) tails: Vec<Tail>,
    /// CRC of those tails.
    pub(crate) tails_crc: u64,
    /// Parts that a dead holder may still overwrite.
    pub(crate) shadow: Range<i32>,
}

/// Commits durable pieces and tells the new committed end; `None`: the lease is gone, stop and say nothing.
pub(crate) async fn commit(
    db: &PgPool,
    lease: &Lease,
    pieces: &[Piece],
    expiry: std::time::Duration,
) -> sqlx::Result<Option<u64>> {
    let mut tx = db.begin().await?;
    let id = lease.upload.uuid();
    for piece in pieces {
        match &piece.what {
            What::Part(part, copy) => {
                insert_part(&mut tx, lease.upload, lease.epoch, part, piece.sha_state.as_deref()).await?;
                bury_covered(&mut tx, lease.upload, part.off, part.len).await?;
                if let Some(copy) = copy {
                    insert_tail(&mut tx, lease.upload, lease.epoch, copy, None, Some(part.part_no)).await?;
                }
            }
            What::Tail(tail) => {
                bury_covered(&mut tx, lease.upload, tail.off, tail.len).await?;
                insert_tail(&mut tx, lease.upload, lease.epoch, tail, piece.sha_state.as_deref(), None).await?;
            }
        }
    }
    let row = sqlx::query!(
        "UPDATE uploads SET committed = upload_prefix(id, committed), expires_at = now() + $3
          WHERE id = $1 AND epoch = $2 AND state IN ('opened', 'receiving', 'sealing') RETURNING committed",
        id,
        lease.epoch,
        interval(expiry)
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    tx.commit().await?;
    Ok(Some(from_db(row.committed)))
}

/// The tails that a part or a merged tail replaces are deleted later; copies of shadowed parts stay until the object is whole.
async fn bury_covered(tx: &mut Tx<'_>, upload: Id<Upload>, off: u64, len: u64) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH covered AS (DELETE FROM upload_tails
                           WHERE upload_id = $1 AND off >= $2 AND off + len <= $3 AND shadows_part IS NULL
                           RETURNING object_key)
         INSERT INTO store_trash (key) SELECT object_key FROM covered",
        upload.uuid(),
        db_int(off),
        db_int(off + len)
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(crate) async fn insert_tail(
    tx: &mut Tx<'_>,
    upload: Id<Upload>,
    epoch: i64,
    tail: &Tail,
    sha_state: Option<&[u8]>,
    shadows_part: Option<i32>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO upload_tails (upload_id, off, len, object_key, crc64, sha_state, epoch, shadows_part)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        upload.uuid(),
        db_int(tail.off),
        db_int(tail.len),
        tail.key,
        tail.crc64.cast_signed(),
        sha_state,
        epoch,
        shadows_part
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(crate) async fn insert_part(
    tx: &mut Tx<'_>,
    upload: Id<Upload>,
    epoch: i64,
    part: &Part,
    sha_state: Option<&[u8]>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO upload_parts (upload_id, part_no, off, len, etag, crc64, sha_state, epoch)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        upload.uuid(),
        part.part_no,
        db_int(part.off),
        db_int(part.len),
        part.etag,
        part.crc64.cast_signed(),
        sha_state,
        epoch
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Objects of a discarded request: no row names them, so a row of the trash must.
pub(crate) async fn bury(db: &PgPool, tails: impl Iterator<Item = &Tail>) -> sqlx::Result<()> {
    let keys: Vec<_> = tails.map(|tail| tail.key.clone()).collect();
    if !keys.is_empty() {
        sqlx::query!("INSERT INTO store_trash (key) SELECT unnest($1::text[])", &keys).execute(db).await?;
    }
    Ok(())
}

/// Reads where an upload stands, for its lease holder.
pub(crate) async fn standing(db: &PgPool, lease: &Lease) -> sqlx::Result<Option<Standing>> {
    let id = lease.upload.uuid();
    let row = sqlx::query!(
        "SELECT committed, length, part_bytes, key, multipart_id, sha256_want,
                coalesce(lower(shadow), 0) AS \"shadow_from!\", coalesce(upper(shadow), 0) AS \"shadow_to!\"
           FROM uploads WHERE id = $1 AND epoch = $2",
        id,
        lease.epoch
    )
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    // The part that is open at the end; of a whole upload, the last one.
    let last = if row.length == Some(row.committed) { (row.committed - 1).max(0) } else { row.committed };
    let open_from = last / row.part_bytes * row.part_bytes;
    let tails = sqlx::query!(
        "SELECT off, len, object_key, crc64 FROM upload_tails
          WHERE upload_id = $1 AND off >= $2 AND off < $3 AND shadows_part IS NULL ORDER BY off",
        id,
        open_from,
        row.committed
    )
    .fetch_all(db)
    .await?;
    let tails_crc = tails.iter().fold(crate::digest::crc64(&[]), |crc, t| {
        crate::digest::crc64_join(crc, t.crc64.cast_unsigned(), from_db(t.len))
    });
    Ok(Some(Standing {
        sha_state: midstate_at(db, lease.upload, from_db(row.committed)).await?,
        committed: from_db(row.committed),
        length: row.length.map(from_db),
        part_bytes: from_db(row.part_bytes),
        key: row.key,
        multipart_id: row.multipart_id,
        sha256_want: row.sha256_want,
        tails: tails
            .into_iter()
            .map(|t| Tail {
                key: t.object_key,
                off: from_db(t.off),
                len: from_db(t.len),
                crc64: t.crc64.cast_unsigned(),
            })
            .collect(),
        tails_crc,
        shadow: row.shadow_from..row.shadow_to,
    }))
}

/// How far the digest is known, and its midstate there: nowhere behind it does it have to begin again.
pub(crate) async fn midstate_known(db: &PgPool, upload: Id<Upload>) -> sqlx::Result<(u64, crate::digest::Sha)> {
    let row = sqlx::query!(
        "SELECT off + len AS \"at!\", sha_state AS \"sha_state!\" FROM upload_parts
          WHERE upload_id = $1 AND sha_state IS NOT NULL ORDER BY part_no DESC LIMIT 1",
        upload.uuid()
    )
    .fetch_optional(db)
    .await?;
    let known = row.and_then(|r| Some((from_db(r.at), crate::digest::Sha::resume(&r.sha_state)?)));
    Ok(known.unwrap_or_default())
}

/// The digest's midstate at `offset`: the row that ends there brought it along. `None`: a hole came before.
async fn midstate_at(db: &PgPool, upload: Id<Upload>, offset: u64) -> sqlx::Result<Option<Vec<u8>>> {
    if offset == 0 {
        return Ok(Some(crate::digest::Sha::new().midstate()));
    }
    let row = sqlx::query_scalar!(
        "SELECT sha_state FROM upload_tails WHERE upload_id = $1 AND off + len = $2 AND shadows_part IS NULL
         UNION ALL SELECT sha_state FROM upload_parts WHERE upload_id = $1 AND off + len = $2",
        upload.uuid(),
        db_int(offset)
    )
    .fetch_optional(db)
    .await?;
    Ok(row.flatten())
}

/// All parts, in order.
pub(crate) async fn all(db: &PgPool, upload: Id<Upload>) -> sqlx::Result<Vec<Part>> {
    let rows = sqlx::query!(
        "SELECT part_no, off, len, etag, crc64 FROM upload_parts WHERE upload_id = $1 ORDER BY part_no",
        upload.uuid()
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Part {
            part_no: r.part_no,
            off: from_db(r.off),
            len: from_db(r.len),
            etag: r.etag,
            crc64: r.crc64.cast_unsigned(),
        })
        .collect())
}
