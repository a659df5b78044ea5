//! Every object that a row names, read and compared with its row: size, and SHA-256 where the row has it.
//!
//! Memory: one piece of one object, and the names of one track's objects. It may run beside everything else: what differs
//! is looked up again before it is told, so that an upload or a run that ended meanwhile isn't taken for damage.
//! Absent: repair. A segment can be made again (`millrace jobs retry` after the track failed), a source can't.

use std::sync::Arc;

use schema::{Id, track::Track};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    engine::from_db,
    publish::hex,
    store::{Store, StoreError},
};

/// Read at once.
pub(crate) const PIECE_BYTES: usize = 4 << 20;

/// Tracks asked for at once.
const PAGE: i64 = 100;

/// Differences that are told one by one; the rest is counted.
pub const TOLD_MAX: usize = 1_000;

/// An object as its row has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) key: String,
    pub(crate) size: Option<u64>,
    pub(crate) sha256: Option<Vec<u8>>,
}

/// A track as the row has it: where it lies, and under which key once its bytes are all there.
#[derive(Clone, Debug)]
pub(crate) struct Owned {
    pub(crate) id: Id<Track>,
    pub(crate) backend: String,
    pub(crate) key: Option<String>,
}

/// An object that isn't as its row says.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Wrong {
    /// Of which track.
    pub track: String,
    /// Under which key.
    pub key: String,
    /// How it differs.
    pub what: String,
}

/// What was read.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Report {
    /// Tracks looked at.
    pub tracks: u64,
    /// Objects read.
    pub objects: u64,
    /// Bytes read.
    pub bytes: u64,
    /// How many objects differ.
    pub wrong_count: u64,
    /// The first [`TOLD_MAX`] of them.
    pub wrong: Vec<Wrong>,
}

/// Why it couldn't be found out.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It doesn't answer.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The database doesn't.
    #[error("the database failed")]
    Db(#[from] sqlx::Error),
}

/// Reads everything. `progress` is called after each track.
///
/// # Errors
/// [`VerifyError`]: damage isn't one.
pub async fn verify(
    db: &PgPool,
    store: &Arc<dyn Store>,
    mut progress: impl FnMut(&Report),
) -> Result<Report, VerifyError> {
    let mut report = Report::default();
    let mut after = Uuid::nil();
    loop {
        let page = tracks(db, after).await?;
        let Some(last) = page.last() else { return Ok(report) };
        after = last.id.uuid();
        for track in page {
            report.tracks += 1;
            for blob in blobs(db, track.id).await? {
                let differs = if track.backend == store.backend().name() {
                    difference(store, &blob, &mut report).await?
                } else {
                    Some(format!("lies in {}, which isn't the store in use", track.backend))
                };
                let Some(what) = differs else { continue };
                if !blobs(db, track.id).await?.contains(&blob) {
                    continue;
                }
                report.wrong_count += 1;
                if report.wrong.len() < TOLD_MAX {
                    report.wrong.push(Wrong { track: track.id.to_string(), key: blob.key, what });
                }
            }
            progress(&report);
        }
    }
}

/// How an object differs from its row.
async fn difference(store: &Arc<dyn Store>, blob: &Blob, report: &mut Report) -> Result<Option<String>, VerifyError> {
    report.objects += 1;
    let (mut sha, mut size) = (Sha256::new(), 0);
    loop {
        let piece = match store.read(&blob.key, size, PIECE_BYTES).await {
            Ok(piece) => piece,
            Err(StoreError::Missing(_)) => return Ok(Some("missing".into())),
            Err(error) => return Err(error.into()),
        };
        if piece.is_empty() {
            break;
        }
        size += piece.len() as u64;
        report.bytes += piece.len() as u64;
        sha.update(&piece);
    }
    if let Some(wanted) = blob.size.filter(|wanted| *wanted != size) {
        return Ok(Some(format!("has {size} bytes, its row says {wanted}")));
    }
    let found = sha.finalize();
    let differs = blob.sha256.as_deref().filter(|wanted| *wanted != &found[..]);
    Ok(differs.map(|wanted| format!("has SHA-256 {}, its row says {}", hex(&found), hex(wanted))))
}

/// The next tracks after `after`, by id.
pub(crate) async fn tracks(db: &PgPool, after: Uuid) -> sqlx::Result<Vec<Owned>> {
    let rows = sqlx::query!(
        "SELECT id, storage_backend, CASE WHEN stored_at IS NOT NULL THEN storage_key END AS key
           FROM tracks WHERE id > $1 ORDER BY id LIMIT $2",
        after,
        PAGE
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| Owned { id: row.id.into(), backend: row.storage_backend, key: row.key }).collect())
}

/// Every object that the rows of a track name.
pub(crate) async fn blobs(db: &PgPool, track: Id<Track>) -> sqlx::Result<Vec<Blob>> {
    let rows = sqlx::query!(
        "SELECT storage_key AS \"key!\", size, sha256 FROM tracks
          WHERE id = $1 AND stored_at IS NOT NULL AND storage_key IS NOT NULL
         UNION ALL SELECT init_key, init_len, init_sha FROM rungs WHERE track_id = $1
         UNION ALL SELECT key, len, sha FROM segments WHERE track_id = $1
         UNION ALL SELECT key, len, sha FROM pictures WHERE track_id = $1
         UNION ALL SELECT p.key, p.len, p.sha FROM rendition_pieces p JOIN renditions r ON r.id = p.rendition_id
          WHERE r.track_id = $1
         UNION ALL SELECT peaks_key, NULL, NULL FROM tracks WHERE id = $1 AND peaks_key IS NOT NULL",
        track.uuid()
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| Blob { key: row.key, size: row.size.map(from_db), sha256: row.sha256 }).collect())
}
