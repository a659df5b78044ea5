//! What lies in the store and no row names: left by a crash between two steps, by a store that said no and did yes, or by a
//! database that was restored from an older copy.
//!
//! Only below prefixes of ours, only keys that we could have made, only what is old enough; then the rows decide.
//! Why a live one is never taken: a row comes before its object everywhere, and these are listed first, asked after.
//! Where an object comes before its row (tails, segments, renditions) everything of an upload under way, of a track that
//! may still be encoded, or of a file that is being made, counts as named. An upload or a run that is over never comes back.
//! A sweep that would take most of what is there takes nothing: that is another database's store, not garbage.
//! Absent: deleting. What is found goes to `store_trash` (`trash`).

mod named;

use std::{sync::Arc, time::Duration};

use sqlx::{Connection, PgConnection, PgPool};
use time::OffsetDateTime;
use tokio::{select, time::sleep};

use crate::{
    engine::{Engine, db_int, from_db},
    lease::interval,
    store::{LIST_MAX, Store, StoreError},
};

/// Everything that we keep lies below one of these, and for a moment what we try a store with.
const PREFIXES: [&str; 6] = ["tracks/", "partials/", "tails/", "hls/", "renditions/", "probe/"];

/// Orphans taken in one sweep: what they need in memory is small. The rest is the next sweep's.
pub const TAKEN_MAX: usize = 10_000;

/// Up to here nothing is suspicious, however little else there is.
const FEW: u64 = 100;

/// A start shouldn't be busy with this; a sweep that is due waits so long.
const FIRST_AFTER: Duration = Duration::from_secs(300);

/// The session lock of whoever sweeps: one node at a time.
const LOCK: i64 = 0x6d72_6f72_7068_616e;

/// Why the store wasn't looked through.
#[derive(Debug, thiserror::Error)]
pub enum OrphanError {
    /// It doesn't answer.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The database doesn't.
    #[error("the database failed")]
    Db(#[from] sqlx::Error),
}

/// Something that no row names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// Under which key.
    pub key: String,
    /// Of a multipart object: which attempt.
    pub multipart_id: Option<String>,
    /// How large, where the store tells.
    pub bytes: u64,
}

/// What a look through the store found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The first [`TAKEN_MAX`] of them.
    pub orphans: Vec<Orphan>,
    /// How many there are.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is named, or too young to say.
    pub kept: u64,
}

impl Found {
    /// Garbage is the smaller part of a store. Where it is the larger, somebody took the wrong database or the wrong bucket.
    pub fn is_plausible(&self) -> bool {
        self.count <= FEW || self.count <= self.kept
    }

    fn add(&mut self, orphan: Orphan) {
        self.count += 1;
        self.bytes += orphan.bytes;
        if self.orphans.len() < TAKEN_MAX {
            self.orphans.push(orphan);
        }
    }
}

impl Engine {
    /// Looks through the store when that is due, until the process stops.
    pub(crate) async fn sweep_orphans(self: Arc<Self>) {
        let every = self.limits.orphan_sweep;
        let mut wait = FIRST_AFTER.min(every);
        loop {
            select! {
                () = self.stop.cancelled() => return,              // cancel-safe: a flag
                () = sleep(wait) => {}                             // cancel-safe: no state
            }
            wait = every / 4;
            let swept = select! {
                () = self.stop.cancelled() => return,              // cancel-safe: looking changes nothing, burying is one statement
                swept = self.sweep_orphans_once() => swept,
            };
            match swept {
                Ok(None) => {}
                Ok(Some(found)) if found.count == 0 => tracing::info!(kept = found.kept, "no orphans in the store"),
                Ok(Some(found)) if found.is_plausible() => {
                    tracing::warn!(
                        count = found.count,
                        bytes = found.bytes,
                        "orphans found in the store; they are deleted"
                    )
                }
                Ok(Some(found)) => tracing::error!(
                    count = found.count,
                    kept = found.kept,
                    "most of the store isn't in this database: nothing was deleted. Is it the right one? \
                     `millrace blobs gc` shows what it is"
                ),
                Err(error) => tracing::warn!(%error, "the store wasn't looked through for orphans; later again"),
            }
        }
    }

    /// `None`: not due, or another node is at it.
    async fn sweep_orphans_once(&self) -> Result<Option<Found>, OrphanError> {
        let mut alone = self.db.acquire().await?.detach();
        let mut done = Ok(None);
        if is_due(&mut alone, self.limits.orphan_sweep).await? {
            done = self.swept(&mut alone).await.map(Some);
        }
        // With the session goes its lock.
        let _ = alone.close().await;
        done
    }

    async fn swept(&self, alone: &mut PgConnection) -> Result<Found, OrphanError> {
        let found = find(&self.db, &self.store, self.limits.orphan_age).await?;
        if found.is_plausible() {
            bury(&self.db, &found.orphans).await?;
        }
        sqlx::query!(
            "INSERT INTO orphan_sweep (ended_at, kept, orphans, bytes) VALUES (now(), $1, $2, $3)
             ON CONFLICT (one) DO UPDATE SET ended_at = now(), kept = $1, orphans = $2, bytes = $3",
            db_int(found.kept),
            db_int(found.count),
            db_int(found.bytes)
        )
        .execute(alone)
        .await?;
        Ok(found)
    }
}

async fn is_due(alone: &mut PgConnection, every: Duration) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        "SELECT pg_try_advisory_lock($1)
            AND NOT EXISTS (SELECT FROM orphan_sweep WHERE ended_at > now() - $2::interval) AS \"due!\"",
        LOCK,
        interval(every)
    )
    .fetch_one(alone)
    .await
}

/// Looks through the store for what is older than `age` and that no row names.
///
/// # Errors
/// [`OrphanError`].
pub async fn find(db: &PgPool, store: &Arc<dyn Store>, age: Duration) -> Result<Found, OrphanError> {
    let before = OffsetDateTime::now_utc() - age;
    let mut found = Found::default();
    for prefix in PREFIXES {
        let mut after = String::new();
        loop {
            let page = store.list(prefix, &after).await?;
            let is_last = page.len() < LIST_MAX;
            if let Some(last) = page.last() {
                after.clone_from(&last.key);
            }
            named::judge(db, page, before, &mut found).await?;
            if is_last {
                break;
            }
        }
        for of in named::unnamed_multiparts(db, store, prefix, before, &mut found).await? {
            let bytes = store.listed(&of).await.map_or(0, |parts| parts.iter().map(|part| part.len).sum());
            found.add(Orphan { key: of.key, multipart_id: Some(of.multipart_id), bytes });
        }
    }
    Ok(found)
}

/// Names orphans in `store_trash`.
///
/// # Errors
/// Only the database's.
pub async fn bury(db: &PgPool, orphans: &[Orphan]) -> sqlx::Result<()> {
    let keys: Vec<_> = orphans.iter().map(|orphan| orphan.key.clone()).collect();
    let ids: Vec<_> = orphans.iter().map(|orphan| orphan.multipart_id.clone().unwrap_or_default()).collect();
    let bytes: Vec<_> = orphans.iter().map(|orphan| db_int(orphan.bytes)).collect();
    sqlx::query!(
        "INSERT INTO store_trash (key, multipart_id, bytes, orphan)
         SELECT key, nullif(multipart_id, ''), bytes, true FROM unnest($1::text[], $2::text[], $3::bigint[]) AS o(key, multipart_id, bytes)",
        &keys,
        &ids,
        &bytes
    )
    .execute(db)
    .await?;
    Ok(())
}

/// When the last sweep ended, and how many orphans it found.
///
/// # Errors
/// Only the database's.
pub async fn last(db: &PgPool) -> sqlx::Result<Option<(OffsetDateTime, u64)>> {
    let row = sqlx::query!("SELECT ended_at, orphans FROM orphan_sweep").fetch_optional(db).await?;
    Ok(row.map(|row| (row.ended_at, from_db(row.orphans))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_of_a_store_is_never_garbage() {
        let found = |count, kept| Found { count, kept, ..Found::default() };
        assert!(found(100, 0).is_plausible() && found(5_000, 5_000).is_plausible());
        assert!(!found(101, 100).is_plausible() && !found(1_000_000, 3).is_plausible());
    }
}
