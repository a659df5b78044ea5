//! From the last committed byte to a stored object: size and digest are judged before the object is completed.
//!
//! Order: 1 edge `Seal` (all parts committed), 2 size and SHA-256 agree, 3 the store completes the object, 4 one
//! transaction: edge `Store`, the track's place and digest, working rows away, the encode due.
//! Dead after 1 or 2: `recover` seals again, from the rows. Dead after 3: `complete` answers that it is whole, and 4 follows.
//! Never: an object under its final key that was not judged, unless the digest has a gap: then the object is completed under
//! its private key, read once, and only 4 makes it known.

use std::{sync::Arc, time::Duration};

use schema::{
    Id, Tx,
    caller::Account,
    machine::{Refused, take},
    track::Track,
    upload::{self, Upload},
};
use uuid::Uuid;

use crate::{
    digest::Sha,
    engine::{Engine, db_int},
    lease::{Lease, interval},
    parts::{self, Standing},
    quota::QuotaError,
    resource::{Look, LookError},
    scan::ScanError,
    session::AppendError,
    store::{Multipart, Object, Part, StoreError},
    tee::Phase,
};

/// How often the store's parts are brought back to what was acknowledged, before the upload fails. A dead holder's last
/// writes may come one after the other, but there are only so many of them.
const MENDS_MAX: usize = 3;

/// How much is read at once where the digest must be taken from the object.
const READ_BACK_BYTES: usize = 4 << 20;

/// Why an upload whose bytes are all committed didn't become an object.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// 422, for good: the bytes aren't those that the client promised.
    #[error("the bytes have SHA-256 {found}, the upload promised {wanted}")]
    DigestMismatch {
        /// Of the bytes received.
        found: String,
        /// As declared.
        wanted: String,
    },
    /// 410, for good: the store no longer has what it acknowledged.
    #[error("the store lost what it had of this upload")]
    Lost,
    /// 413, for good: the account's quota was lowered meanwhile.
    #[error(transparent)]
    Quota(QuotaError),
    /// 422, for good: the virus scanner found something.
    #[error("the virus scanner found {found}")]
    Infected {
        /// Its name for it.
        found: String,
    },
    /// 422, for good: the virus scanner doesn't take so much, and what isn't scanned isn't published.
    #[error("the file is larger than the virus scanner takes")]
    TooLargeToScan,
    /// 503: the virus scanner doesn't answer; sealed again later by itself.
    #[error("the virus scanner doesn't answer")]
    Unscanned(#[source] ScanError),
    /// 503: sealed again later by itself; the client may ask too.
    #[error("the object isn't complete yet")]
    NotYet(#[source] StoreError),
    /// Another node seals it.
    #[error("the lease went to another writer")]
    Fenced,
    /// 503.
    #[error("the database failed")]
    Db(#[from] sqlx::Error),
}

impl Engine {
    /// Seals an upload whose rows say `sealing`, and gives the lease back.
    ///
    /// # Errors
    /// [`SealError`]. After a transient one the row stays `sealing`, and `recover` tries again.
    pub(crate) async fn seal(&self, lease: Lease) -> Result<(), SealError> {
        let done = tokio::select! {
            done = self.seal_leased(&lease) => done,
            () = lease.lost() => Err(SealError::Fenced),     // cancel-safe: every step is repeatable, see the header
        };
        if let Err(error) = &done {
            tracing::warn!(upload.id = %lease.upload, %error, "upload not sealed");
        }
        if !matches!(done, Err(SealError::Fenced)) {
            lease.release(&self.db).await;
        }
        done
    }

    /// Seals an upload that stopped between its last byte and its object. For a client that asks again, and for `recover`.
    pub(crate) async fn seal_again(self: &Arc<Self>, owner: Id<Account>, id: Id<Upload>) -> Result<Look, AppendError> {
        let holding = self.holders.enter(id).await.ok_or(AppendError::Busy)?;
        if let Some(lease) = self.lease(id, &holding).await? {
            let mut tx = schema::begin(&self.db).await?;
            match take(&mut tx, id, upload::Seal {}).await {
                Ok(_) | Err(Refused::AlreadyThere) => tx.commit().await?,
                Err(Refused::Db(e)) => return Err(e.into()),
                Err(_) => return Err(AppendError::Fenced),
            }
            self.seal(lease).await?;
        }
        drop(holding);
        Ok(self.look(owner, id).await?)
    }

    async fn seal_leased(&self, lease: &Lease) -> Result<(), SealError> {
        let standing = parts::standing(&self.db, lease).await?.ok_or(SealError::Fenced)?;
        let length = standing.length.filter(|l| *l == standing.committed).ok_or(SealError::Fenced)?;
        self.quota_at_seal(lease, length).await?;
        let needs_scan = self.needs_scan(lease, length).await?;
        self.close_tail(lease, &standing).await?;
        let parts = parts::all(&self.db, lease.upload).await?;
        let inline = standing.sha_state.as_deref().and_then(Sha::resume).map(Sha::finish);
        if let Some(found) = inline {
            self.judge(lease, &standing, found).await?;
        }
        self.judge_joined(lease, &parts).await?;
        let (object, parts) = self.whole(lease, &standing, parts, length).await?;
        let found = match inline {
            Some(found) => found,
            None => {
                let found = self.read_back(lease, &object).await?;
                self.judge(lease, &standing, found).await?;
                found
            }
        };
        if needs_scan {
            self.scan_object(lease, &object).await?;
        }
        self.stored(lease, &object, found, Self::crc_of(&parts)).await
    }

    /// The object, out of parts that may have to be mended first.
    async fn whole(
        &self,
        lease: &Lease,
        standing: &Standing,
        mut parts: Vec<Part>,
        length: u64,
    ) -> Result<(Object, Vec<Part>), SealError> {
        for _ in 0..=MENDS_MAX {
            match self.completed(lease, standing, &parts, length).await? {
                Ok(object) => return Ok((object, parts)),
                Err(StoreError::Parts { what, .. }) => {
                    tracing::warn!(upload.id = %lease.upload, what, "the store has other parts than were acknowledged");
                    parts = self.mended(lease, standing, parts).await?;
                }
                Err(error @ (StoreError::Missing(_) | StoreError::Wrong { .. })) => {
                    tracing::error!(upload.id = %lease.upload, %error, "the store lost an upload");
                    self.fail(lease, "store_lost_upload", "the store lost what it had of this upload").await?;
                    return Err(SealError::Lost);
                }
                Err(error) => return Err(SealError::NotYet(error)),
            }
        }
        match parts.first() {
            Some(part) => Err(self.overwritten(lease, part).await),
            None => Err(SealError::Lost),
        }
    }

    async fn completed(
        &self,
        lease: &Lease,
        standing: &Standing,
        parts: &[Part],
        length: u64,
    ) -> Result<Result<Object, StoreError>, SealError> {
        match &standing.multipart_id {
            Some(id) if length > 0 => {
                let to = Multipart { key: standing.key.clone(), multipart_id: id.clone() };
                self.completed_alone(lease, &to, parts, length).await
            }
            // Not a byte came, and the store makes no object of no parts.
            _ => Ok(self.store.put(&standing.key, bytes::Bytes::new()).await),
        }
    }

    async fn judge(&self, lease: &Lease, standing: &Standing, found: [u8; 32]) -> Result<(), SealError> {
        let Some(wanted) = standing.sha256_want.as_deref().filter(|w| *w != found) else { return Ok(()) };
        let (found, wanted) = (hex(&found), hex(wanted));
        let detail = format!("the bytes have SHA-256 {found}, the upload promised {wanted}");
        self.fail(lease, "digest_mismatch", &detail).await?;
        Err(SealError::DigestMismatch { found, wanted })
    }

    /// A final upload has the bytes that its partials had when they were stored.
    async fn judge_joined(&self, lease: &Lease, parts: &[Part]) -> Result<(), SealError> {
        let found = Self::crc_of(parts);
        if self.joined_crc(lease.upload).await?.is_none_or(|wanted| wanted == found) {
            return Ok(());
        }
        tracing::error!(upload.id = %lease.upload, "the store gave other bytes of a partial upload than it was given");
        self.fail(lease, "partial_lost", "a partial upload that it is made of has other bytes than it was stored with")
            .await?;
        Err(SealError::Lost)
    }

    /// The digest of the object, from where it isn't known on.
    async fn read_back(&self, lease: &Lease, object: &Object) -> Result<[u8; 32], SealError> {
        let (mut at, mut sha) = parts::midstate_known(&self.db, lease.upload).await?;
        sqlx::query!("UPDATE uploads SET deferred = true WHERE id = $1", lease.upload.uuid()).execute(&self.db).await?;
        metrics::counter!("millrace_digests_deferred_total").increment(1);
        tracing::info!(upload.id = %lease.upload, from = at, size = object.size, "the digest has a gap; reading the object once");
        while at < object.size {
            let _share = self.budget.reserve(READ_BACK_BYTES as u64).await;
            let bytes = self.store.read(&object.key, at, READ_BACK_BYTES).await.map_err(SealError::NotYet)?;
            if bytes.is_empty() {
                return Err(SealError::Lost);
            }
            at += bytes.len() as u64;
            sha.update(&bytes);
        }
        Ok(sha.finish())
    }

    async fn stored(&self, lease: &Lease, object: &Object, sha256: [u8; 32], crc64: u64) -> Result<(), SealError> {
        let mut tx = schema::begin(&self.db).await?;
        if let Some(error) = self.still_fits(&mut tx, lease, object.size).await? {
            tx.rollback().await?;
            return self.over_quota(lease, error).await;
        }
        let track = fenced(&mut tx, lease).await?;
        let edge = upload::Store { sha256: sha256.to_vec(), stored_at: time::OffsetDateTime::now_utc() };
        match take(&mut tx, lease.upload, edge).await {
            Ok(_) => {}
            Err(Refused::AlreadyThere) => return Ok(()),
            Err(Refused::Db(e)) => return Err(e.into()),
            Err(_) => return Err(SealError::Fenced),
        }
        if let Some(track) = track {
            self.track_stored(&mut tx, track, object, sha256).await?;
        }
        sqlx::query!("UPDATE uploads SET crc64 = $2 WHERE id = $1", lease.upload.uuid(), crc64.cast_signed())
            .execute(&mut *tx)
            .await?;
        if object.size == 0 {
            // Put at once, beside what was begun for bytes that didn't come. The object stays.
            sqlx::query!(
                "INSERT INTO store_trash (key, multipart_id)
                 SELECT key, multipart_id FROM uploads WHERE id = $1 AND multipart_id IS NOT NULL",
                lease.upload.uuid()
            )
            .execute(&mut *tx)
            .await?;
        }
        forget_working_rows(&mut tx, lease.upload).await?;
        tx.commit().await?;
        let track = track.map(Id::<Track>::from);
        tracing::info!(upload.id = %lease.upload, track.id = track.map(tracing::field::display), size = object.size, sha256 = hex(&sha256), "upload stored");
        metrics::counter!("millrace_uploads_stored_total").increment(1);
        metrics::counter!("millrace_upload_bytes_stored_total").increment(object.size);
        match track {
            Some(track) => self.settle_window(track, Phase::Stored, object.size),
            None => self.joins.wake(),
        }
        self.work.notify_one();
        Ok(())
    }

    async fn track_stored(&self, tx: &mut Tx<'_>, track: Uuid, object: &Object, sha256: [u8; 32]) -> sqlx::Result<()> {
        // Upload, job, track: everybody locks in this order, or two of them would wait for each other.
        let owner = sqlx::query_scalar!("SELECT owner FROM tracks WHERE id = $1", track).fetch_one(&mut **tx).await?;
        let path = self.store.local_path(&object.key);
        // What a reader of the job needs to know where its bytes are, and no more: nothing of a disk where there is a bucket.
        let source = match &path {
            Some(path) => serde_json::json!({ "file_path": path }),
            None => serde_json::json!({ "storage_key": object.key }),
        };
        schema::job::make_due(tx, crate::encode::KIND, track, owner, source).await?;
        sqlx::query!(
            "UPDATE tracks SET stored_at = now(), updated_at = now(), size = $2, sha256 = $3, storage_key = $4, file_path = $5
              WHERE id = $1",
            track,
            db_int(object.size),
            &sha256[..],
            object.key,
            path
        )
        .execute(&mut **tx)
        .await?;
        Ok(())
    }

    /// Ends an upload for good. Its bytes stay until it would have expired, for whoever wants to look.
    pub(crate) async fn fail(&self, lease: &Lease, reason: &str, detail: &str) -> Result<(), SealError> {
        self.fail_keeping(lease, reason, detail, self.limits.expiry).await
    }

    /// The same; its bytes stay for so long.
    pub(crate) async fn fail_keeping(
        &self,
        lease: &Lease,
        reason: &str,
        detail: &str,
        wait: Duration,
    ) -> Result<(), SealError> {
        let mut tx = schema::begin(&self.db).await?;
        let track = fenced(&mut tx, lease).await?;
        match take(&mut tx, lease.upload, upload::Fail { reason: reason.into() }).await {
            Ok(_) => {}
            Err(Refused::AlreadyThere) => return Ok(()),
            Err(Refused::Db(e)) => return Err(e.into()),
            Err(_) => return Err(SealError::Fenced),
        }
        self.trash_bytes(&mut tx, lease.upload, wait).await?;
        bury_object(&mut tx, lease.upload, wait).await?;
        if let Some(track) = track {
            self.fail_track(&mut tx, track.into(), reason, detail).await?;
        }
        tx.commit().await?;
        metrics::counter!("millrace_uploads_failed_total", "reason" => reason.to_owned()).increment(1);
        match track {
            Some(track) => self.settle_window(track.into(), Phase::Gone, 0),
            None => self.joins.wake(),
        }
        Ok(())
    }
}

/// The track of the upload, which a partial has none of, if the lease still is this holder's; the row stays locked to the end of the transaction.
async fn fenced(tx: &mut Tx<'_>, lease: &Lease) -> Result<Option<Uuid>, SealError> {
    sqlx::query_scalar!(
        "SELECT track_id FROM uploads WHERE id = $1 AND epoch = $2 FOR UPDATE",
        lease.upload.uuid(),
        lease.epoch
    )
    .fetch_optional(&mut **tx)
    .await?
    .ok_or(SealError::Fenced)
}

/// A digest with a gap is judged after the object was completed: no row names it, and none ever will.
async fn bury_object(tx: &mut Tx<'_>, upload: Id<Upload>, wait: Duration) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO store_trash (key, not_before) SELECT key, now() + $2 FROM uploads WHERE id = $1",
        upload.uuid(),
        interval(wait)
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// UP-8: after success only the terminal row is left.
async fn forget_working_rows(tx: &mut Tx<'_>, upload: Id<Upload>) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH tails AS (DELETE FROM upload_tails WHERE upload_id = $1 RETURNING object_key)
         INSERT INTO store_trash (key) SELECT object_key FROM tails",
        upload.uuid()
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!("DELETE FROM upload_parts WHERE upload_id = $1", upload.uuid()).execute(&mut **tx).await?;
    Ok(())
}

/// Lower-case hex, as `sha256sum` prints it.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, b| {
        let _ = write!(text, "{b:02x}");
        text
    })
}

impl From<LookError> for SealError {
    fn from(error: LookError) -> Self {
        match error {
            LookError::Db(e) => Self::Db(e),
            _ => Self::Fenced,
        }
    }
}
