//! What one account may hold and begin: bytes, open uploads, creations a minute. The same through every door.
//!
//! Counted from the rows in the transaction that adds one, under a lock of the account: no race admits one too many, and
//! no counter can drift. Bytes are counted only where they are limited.
//! What counts: stored tracks; open uploads with their whole length, or what they committed while it is unknown; stored
//! partials until their final is stored. A final upload brings no bytes of its own.
//! Absent: limits of a process (`limits`), of a connection (`front`), and of the store, which says itself that it is full.

use std::time::Duration;

use schema::{Id, Tx, caller::Account, upload::Upload};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    engine::{Engine, db_int, from_db},
    lease::Lease,
    lease::interval,
    publish::SealError,
    session::AppendError,
};

/// Over which creations are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// An account whose uploads are all busy looks again after this: a file of ordinary size has ended by then.
const TOO_MANY_WAIT: Duration = Duration::from_secs(10);

/// Why an account gets no more.
#[derive(Debug, thiserror::Error)]
pub enum QuotaError {
    /// 429: as many are open as may be.
    #[error("{max} uploads are open, and one account may have no more: finish or end one")]
    TooMany {
        /// `UPLOAD_ACCOUNT_OPEN`.
        max: u32,
        /// When to look again.
        wait: Duration,
    },
    /// 429: too many in the last minute.
    #[error("one account may begin {max} uploads a minute")]
    TooFast {
        /// `UPLOAD_CREATIONS_PER_MINUTE`.
        max: u32,
        /// When the next one may begin.
        wait: Duration,
    },
    /// 413: the account's bytes.
    #[error("{left} of this account's {max} bytes are left")]
    Full {
        /// `UPLOAD_ACCOUNT_BYTES`.
        max: u64,
        /// What is neither stored nor promised.
        left: u64,
    },
    /// 503.
    #[error("the database failed")]
    Db(#[from] sqlx::Error),
}

impl Engine {
    /// May this account begin an upload of so many bytes? The answer holds until the transaction ends.
    pub(crate) async fn admit(&self, tx: &mut Tx<'_>, owner: Id<Account>, bytes: u64) -> Result<(), QuotaError> {
        lock(tx, owner).await?;
        self.not_too_fast(tx, owner).await?;
        self.not_too_many(tx, owner).await?;
        self.fits_account(tx, owner, None, bytes).await
    }

    async fn not_too_fast(&self, tx: &mut Tx<'_>, owner: Id<Account>) -> Result<(), QuotaError> {
        let max = self.limits.creations_per_minute;
        // The one that must be out of the window before another may begin.
        let since = sqlx::query_scalar!(
            "SELECT extract(epoch FROM clock_timestamp() - created_at)::float8 AS \"since!\" FROM uploads
              WHERE owner = $1 AND created_at > clock_timestamp() - $2::interval ORDER BY created_at DESC OFFSET $3 LIMIT 1",
            owner.uuid(),
            interval(WINDOW),
            i64::from(max) - 1
        )
        .fetch_optional(&mut **tx)
        .await?;
        match since {
            Some(since) => {
                let wait = WINDOW.saturating_sub(Duration::try_from_secs_f64(since).unwrap_or_default());
                Err(QuotaError::TooFast { max, wait })
            }
            None => Ok(()),
        }
    }

    async fn not_too_many(&self, tx: &mut Tx<'_>, owner: Id<Account>) -> Result<(), QuotaError> {
        let max = self.limits.account_open;
        let open = sqlx::query_scalar!(
            "SELECT count(*) AS \"count!\" FROM uploads
              WHERE owner = $1 AND state IN ('opened', 'receiving', 'sealing') AND (state = 'sealing' OR expires_at > now())",
            owner.uuid()
        )
        .fetch_one(&mut **tx)
        .await?;
        if open < i64::from(max) { Ok(()) } else { Err(QuotaError::TooMany { max, wait: TOO_MANY_WAIT }) }
    }

    /// Are so many bytes left, besides what `but` has already?
    async fn fits_account(
        &self,
        db: &mut PgConnection,
        owner: Id<Account>,
        but: Option<Id<Upload>>,
        bytes: u64,
    ) -> Result<(), QuotaError> {
        let Some(max) = self.limits.account_bytes else { return Ok(()) };
        let left = max.saturating_sub(held(db, owner, but).await?);
        if bytes <= left { Ok(()) } else { Err(QuotaError::Full { max, left }) }
    }

    /// Takes a length that is said late, if the account has room for it: from here on it is reserved.
    /// `ended`: the length is all that there was to say.
    pub(crate) async fn set_length(&self, lease: &Lease, length: u64, ended: bool) -> Result<(), AppendError> {
        let mut tx = schema::begin(&self.db).await?;
        if self.limits.account_bytes.is_some() {
            let owner = owner_of(&mut tx, lease).await?.ok_or(AppendError::Fenced)?;
            lock(&mut tx, owner).await?;
            self.fits_account(&mut tx, owner, Some(lease.upload), length).await?;
        }
        let done = sqlx::query!(
            "UPDATE uploads SET length = $3, ended = ended OR $4 WHERE id = $1 AND epoch = $2",
            lease.upload.uuid(),
            lease.epoch,
            db_int(length),
            ended
        )
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Err(AppendError::Fenced);
        }
        tx.commit().await?;
        Ok(())
    }

    /// Up to where an upload of unknown length may grow; `None`: the account's bytes aren't limited.
    pub(crate) async fn room(&self, lease: &Lease) -> Result<Option<Room>, AppendError> {
        let Some(max) = self.limits.account_bytes else { return Ok(None) };
        let mut db = self.db.acquire().await?;
        let owner = owner_of(&mut db, lease).await?.ok_or(AppendError::Fenced)?;
        Ok(Some(Room { max, end: max.saturating_sub(held(&mut db, owner, Some(lease.upload)).await?) }))
    }

    /// The last word, before any work is done for it and again by [`Engine::still_fits`].
    pub(crate) async fn quota_at_seal(&self, lease: &Lease, length: u64) -> Result<(), SealError> {
        let mut tx = schema::begin(&self.db).await?;
        let refused = self.still_fits(&mut tx, lease, length).await?;
        tx.rollback().await?;
        match refused {
            None => Ok(()),
            Some(error) => self.over_quota(lease, error).await,
        }
    }

    /// In the transaction that stores the bytes: an operator may have lowered the limit since they were promised, and a
    /// final upload was promised none. What is stored by now counts, and not what others were promised.
    pub(crate) async fn still_fits(
        &self,
        tx: &mut Tx<'_>,
        lease: &Lease,
        length: u64,
    ) -> sqlx::Result<Option<QuotaError>> {
        let Some(max) = self.limits.account_bytes else { return Ok(None) };
        let Some(owner) = owner_of(tx, lease).await? else { return Ok(None) };
        lock(tx, owner).await?;
        let stored = sqlx::query_scalar!(
            "SELECT coalesce(sum(size), 0)::bigint AS \"sum!\" FROM tracks WHERE owner = $1 AND stored_at IS NOT NULL",
            owner.uuid()
        )
        .fetch_one(&mut **tx)
        .await?;
        let left = max.saturating_sub(from_db(stored));
        Ok((length > left).then_some(QuotaError::Full { max, left }))
    }

    /// Ends an upload that the account has no room for any more.
    pub(crate) async fn over_quota(&self, lease: &Lease, error: QuotaError) -> Result<(), SealError> {
        self.fail(lease, "quota_exceeded", &error.to_string()).await?;
        Err(SealError::Quota(error))
    }
}

/// How far an upload of unknown length may go now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    max: u64,
    end: u64,
}

impl Room {
    /// May the upload reach `end`?
    pub(crate) fn holds(self, end: u64) -> Result<(), QuotaError> {
        if end <= self.end { Ok(()) } else { Err(QuotaError::Full { max: self.max, left: self.end }) }
    }
}

/// One creation of an account at a time. It ends with the transaction, and comes before every row's lock.
async fn lock(tx: &mut Tx<'_>, owner: Id<Account>) -> sqlx::Result<()> {
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(hashtextextended('uploads of ' || $1::text, 0))",
        owner.uuid().to_string()
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(())
}

async fn owner_of(db: &mut PgConnection, lease: &Lease) -> sqlx::Result<Option<Id<Account>>> {
    let owner =
        sqlx::query_scalar!("SELECT owner FROM uploads WHERE id = $1 AND epoch = $2", lease.upload.uuid(), lease.epoch)
            .fetch_optional(db)
            .await?;
    Ok(owner.map(Into::into))
}

/// Bytes stored and promised.
async fn held(db: &mut PgConnection, owner: Id<Account>, but: Option<Id<Upload>>) -> sqlx::Result<u64> {
    let held = sqlx::query_scalar!(
        "SELECT (coalesce((SELECT sum(size) FROM tracks WHERE owner = $1 AND stored_at IS NOT NULL), 0)
               + coalesce((SELECT sum(coalesce(u.length, u.committed)) FROM uploads u
                  WHERE u.owner = $1 AND u.id <> $2 AND u.kind <> 'final'
                    AND (u.state IN ('opened', 'receiving', 'sealing') AND (u.state = 'sealing' OR u.expires_at > now())
                      OR u.kind = 'partial' AND u.state = 'stored' AND u.expires_at > now() AND NOT EXISTS (
                         SELECT FROM upload_joins j JOIN uploads f ON f.id = j.final_id
                          WHERE j.partial_id = u.id AND f.state = 'stored'))), 0))::bigint AS \"held!\"",
        owner.uuid(),
        but.map_or(Uuid::nil(), Id::uuid)
    )
    .fetch_one(db)
    .await?;
    Ok(from_db(held))
}
