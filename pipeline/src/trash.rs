//! Deletions, carried out: each is a row of `store_trash`, written in the transaction that made it right.
//!
//! Order: 1 the store has deleted (or has aborted, and lists no part any more), 2 the row goes.
//! Dead after 1: it is deleted again, which changes nothing. Every node may do it at once.
//! Promise: a deletion that the store refuses is tried again for ever, ever more rarely; its row says why.
//! Absent: the decision. Who writes the row has made it.

use std::{sync::Arc, time::Duration};

use sqlx::PgPool;

use crate::{
    engine::{Engine, from_db},
    lease::interval,
    store::{LIST_MAX, Multipart, Store, StoreError},
};

/// Rows that are carried out one by one in a tick.
const BATCH: i64 = 100;

/// The longest wait between two tries of one deletion.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// What waits for deletion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Objects, multipart objects and prefixes.
    pub count: u64,
    /// Bytes of those that the orphan sweep found, where it knew them.
    pub orphan_bytes: u64,
}

impl Engine {
    pub(crate) async fn empty_trash(&self) -> sqlx::Result<usize> {
        let deleted = empty(&self.db, &self.store).await?;
        let Waiting { count, orphan_bytes } = waiting(&self.db).await?;
        metrics::gauge!("millrace_store_trash").set(count as f64);
        metrics::gauge!("millrace_orphan_bytes").set(orphan_bytes as f64);
        Ok(deleted)
    }
}

/// One round of what is due; returns how many rows are done.
///
/// # Errors
/// Only the database's.
pub async fn empty(db: &PgPool, store: &Arc<dyn Store>) -> sqlx::Result<usize> {
    Ok(delete_together(db, store).await? + delete_singly(db, store).await?)
}

/// What waits, due or not.
///
/// # Errors
/// Only the database's.
pub async fn waiting(db: &PgPool) -> sqlx::Result<Waiting> {
    let row = sqlx::query!(
        "SELECT count(*) AS \"count!\", coalesce(sum(bytes) FILTER (WHERE orphan), 0)::bigint AS \"bytes!\" FROM store_trash"
    )
    .fetch_one(db)
    .await?;
    Ok(Waiting { count: from_db(row.count), orphan_bytes: from_db(row.bytes) })
}

/// Plain objects, at the first try: many in one request.
async fn delete_together(db: &PgPool, store: &Arc<dyn Store>) -> sqlx::Result<usize> {
    let rows = sqlx::query!(
        "SELECT id, key FROM store_trash
          WHERE not_before <= now() AND tries = 0 AND multipart_id IS NULL AND NOT is_prefix ORDER BY not_before LIMIT $1",
        i64::try_from(LIST_MAX).unwrap_or(i64::MAX)
    )
    .fetch_all(db)
    .await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let (ids, keys): (Vec<_>, Vec<_>) = rows.into_iter().map(|row| (row.id, row.key)).unzip();
    if let Err(error) = store.delete_all(&keys).await {
        tracing::warn!(count = keys.len(), %error, "not all deleted; tried again one by one");
        sqlx::query!("UPDATE store_trash SET tries = 1, last_error = $2 WHERE id = ANY($1)", &ids, error.to_string())
            .execute(db)
            .await?;
        return Ok(0);
    }
    sqlx::query!("DELETE FROM store_trash WHERE id = ANY($1)", &ids).execute(db).await?;
    Ok(ids.len())
}

async fn delete_singly(db: &PgPool, store: &Arc<dyn Store>) -> sqlx::Result<usize> {
    let rows = sqlx::query!(
        "SELECT id, key, multipart_id, is_prefix, tries FROM store_trash
          WHERE not_before <= now() AND (tries > 0 OR multipart_id IS NOT NULL OR is_prefix) ORDER BY not_before LIMIT $1",
        BATCH
    )
    .fetch_all(db)
    .await?;
    let mut deleted = 0;
    for row in rows {
        let gone = match row.multipart_id {
            Some(multipart_id) => aborted(store, Multipart { key: row.key.clone(), multipart_id }).await,
            None if row.is_prefix => delete_below(store, &row.key).await,
            None => store.delete(&row.key).await,
        };
        match gone {
            Ok(()) => {
                sqlx::query!("DELETE FROM store_trash WHERE id = $1", row.id).execute(db).await?;
                deleted += 1;
            }
            Err(error) => {
                let wait = Duration::from_secs(1 << row.tries.clamp(0, 12)).min(WAIT_MAX);
                tracing::error!(key = row.key, %error, "not deleted; it is tried again");
                sqlx::query!(
                    "UPDATE store_trash SET tries = tries + 1, last_error = $2, not_before = now() + $3 WHERE id = $1",
                    row.id,
                    error.to_string(),
                    interval(wait)
                )
                .execute(db)
                .await?;
            }
        }
    }
    Ok(deleted)
}

/// A part that was on its way when the store aborted may land after it, and stay: it is over when none is listed.
async fn aborted(store: &Arc<dyn Store>, of: Multipart) -> Result<(), StoreError> {
    store.abort(&of).await?;
    match store.listed(&of).await {
        Err(StoreError::Missing(_)) => Ok(()),
        Err(error) => Err(error),
        Ok(parts) if parts.is_empty() => Ok(()),
        Ok(parts) => {
            let text = format!("{} parts are listed after the abort", parts.len());
            Err(StoreError::Away(std::io::Error::other(text)))
        }
    }
}

async fn delete_below(store: &Arc<dyn Store>, prefix: &str) -> Result<(), StoreError> {
    loop {
        let keys: Vec<_> = store.list(prefix, "").await?.into_iter().map(|object| object.key).collect();
        if keys.is_empty() {
            return Ok(());
        }
        store.delete_all(&keys).await?;
    }
}
