//! Everything from one store to another, while nobody serves: object by object, then track by track.
//!
//! Order, for each track: 1 every object that its rows name is read here, compared with its row's SHA-256, and written
//! there, 2 one statement says where the track lies now. Dead at any step: the same command goes on; what is there already
//! isn't sent again. The old store keeps its bytes: nothing is deleted here.
//! Refused: while a node serves, and while uploads are under way, whose parts can't be moved.
//! Memory: one part.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    digest::crc64,
    engine::{db_int, from_db},
    limits::{MIB, S3_PARTS_MAX},
    publish::hex,
    store::{Part, Store, StoreError},
    verify::{Blob, blobs, tracks},
};

/// Up to here an object goes in one piece. Larger ones go in parts of this, or more where they would be too many.
const PART_BYTES: u64 = 16 * MIB;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Moved {
    /// Tracks that lie in the new store now.
    pub tracks: u64,
    /// Objects sent.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that were there already.
    pub there: u64,
}

/// Why not everything was moved. What was stays moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// A node listens for others.
    #[error("{0} node(s) serve from this database: stop them first")]
    Serving(i64),
    /// They would lose their bytes.
    #[error("{0} upload(s) are under way: let them end, or end them, first")]
    UnderWay(i64),
    /// What is stored isn't what the row says: `blobs verify` tells all of them.
    #[error("{key} {what}: nothing of its track was changed")]
    Wrong {
        /// Which.
        key: String,
        /// How it differs.
        what: String,
    },
    /// One of both stores.
    #[error("a store failed")]
    Store(#[from] StoreError),
    /// The database.
    #[error("the database failed")]
    Db(#[from] sqlx::Error),
}

/// Copies everything from `from` to `to`, and has the rows say so. `progress` is called after each track.
///
/// # Errors
/// [`MoveError`].
pub async fn migrate(
    db: &PgPool,
    from: &Arc<dyn Store>,
    to: &Arc<dyn Store>,
    mut progress: impl FnMut(&Moved),
) -> Result<Moved, MoveError> {
    nobody_else(db).await?;
    let mut moved = Moved::default();
    for blob in partials(db).await? {
        copy(from, to, &blob, &mut moved).await?;
    }
    let mut after = Uuid::nil();
    loop {
        let page = tracks(db, after).await?;
        let Some(last) = page.last() else { return Ok(moved) };
        after = last.id.uuid();
        for track in page.into_iter().filter(|track| track.backend == from.backend().name()) {
            for blob in blobs(db, track.id).await? {
                match copy(from, to, &blob, &mut moved).await {
                    // Of a track that never was whole some segments may be gone, and nobody misses them.
                    Err(MoveError::Store(StoreError::Missing(_))) if track.key.is_none() => continue,
                    other => other?,
                }
            }
            let path = track.key.as_deref().and_then(|key| to.local_path(key));
            sqlx::query!(
                "UPDATE tracks SET storage_backend = $2, file_path = $3, updated_at = now() WHERE id = $1",
                track.id.uuid(),
                to.backend().name(),
                path
            )
            .execute(db)
            .await?;
            moved.tracks += 1;
            progress(&moved);
        }
    }
}

/// A node that serves listens on a channel as long as it lives (`handover`).
async fn nobody_else(db: &PgPool) -> Result<(), MoveError> {
    let serving = sqlx::query_scalar!(
        "SELECT count(*) AS \"count!\" FROM pg_stat_activity
          WHERE datname = current_database() AND query ILIKE 'listen%millrace_release%'"
    )
    .fetch_one(db)
    .await?;
    if serving > 0 {
        return Err(MoveError::Serving(serving));
    }
    let under_way = sqlx::query_scalar!(
        "SELECT count(*) AS \"count!\" FROM uploads
          WHERE state = 'sealing'
             OR (state IN ('opened', 'receiving') AND expires_at > now() AND multipart_id IS NOT NULL)"
    )
    .fetch_one(db)
    .await?;
    if under_way > 0 { Err(MoveError::UnderWay(under_way)) } else { Ok(()) }
}

/// Stored partials wait for their final.
async fn partials(db: &PgPool) -> sqlx::Result<Vec<Blob>> {
    let rows = sqlx::query!(
        "SELECT key, committed, sha256 FROM uploads WHERE kind = 'partial' AND state = 'stored' AND expires_at > now()"
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Blob { key: row.key, size: Some(from_db(row.committed)), sha256: row.sha256 })
        .collect())
}

async fn copy(from: &Arc<dyn Store>, to: &Arc<dyn Store>, blob: &Blob, moved: &mut Moved) -> Result<(), MoveError> {
    let size = match blob.size {
        Some(size) => size,
        None => from.head(&blob.key).await?.ok_or_else(|| StoreError::Missing(blob.key.clone()))?.size,
    };
    // A final name means whole bytes, in every store.
    if to.head(&blob.key).await?.is_some_and(|there| there.size == size) {
        moved.there += 1;
        return Ok(());
    }
    if size <= PART_BYTES {
        let bytes = read(from, &blob.key, 0, size).await?;
        judge(blob, Sha256::new().chain_update(&bytes))?;
        to.put(&blob.key, bytes).await?;
    } else {
        copy_in_parts(from, to, blob, size).await?;
    }
    moved.objects += 1;
    moved.bytes += size;
    Ok(())
}

/// The object gets its name last, and only when its digest is its row's.
async fn copy_in_parts(from: &Arc<dyn Store>, to: &Arc<dyn Store>, blob: &Blob, size: u64) -> Result<(), MoveError> {
    let part_bytes = PART_BYTES.max(size.div_ceil(S3_PARTS_MAX - 1).next_multiple_of(MIB));
    let begun = to.begin(&blob.key).await?;
    let (mut sha, mut parts, mut off) = (Sha256::new(), Vec::new(), 0);
    while off < size {
        let bytes = read(from, &blob.key, off, part_bytes.min(size - off)).await?;
        sha.update(&bytes);
        let frames = vec![bytes];
        let part_no = i32::try_from(off / part_bytes + 1).unwrap_or(i32::MAX);
        let len = frames[0].len() as u64;
        let mut part = Part { part_no, off, len, etag: String::new(), crc64: crc64(&frames) };
        part.etag = to.put_part(&begun, &part, &[], off, frames).await?;
        parts.push(part);
        off += len;
    }
    if let Err(wrong) = judge(blob, sha) {
        to.abort(&begun).await?;
        return Err(wrong);
    }
    to.complete(&begun, &parts, size).await?;
    Ok(())
}

fn judge(blob: &Blob, sha: Sha256) -> Result<(), MoveError> {
    let found = sha.finalize();
    match blob.sha256.as_deref().filter(|wanted| *wanted != &found[..]) {
        None => Ok(()),
        Some(wanted) => Err(MoveError::Wrong {
            key: blob.key.clone(),
            what: format!("has SHA-256 {}, its row says {}", hex(&found), hex(wanted)),
        }),
    }
}

/// Exactly `len` bytes.
async fn read(from: &Arc<dyn Store>, key: &str, off: u64, len: u64) -> Result<Bytes, MoveError> {
    let bytes = from.read(key, off, usize::try_from(len).unwrap_or(usize::MAX)).await?;
    if bytes.len() as u64 == len {
        return Ok(bytes);
    }
    let what = format!("ends at {}, its row says {}", db_int(off + bytes.len() as u64), db_int(off + len));
    Err(MoveError::Wrong { key: key.into(), what })
}
