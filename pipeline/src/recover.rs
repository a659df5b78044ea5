//! What a crash left half-done, taken up again.
//!
//! At start: leases and claims of this node's earlier process are void, as the data folder is locked by this one. Then, and at every
//! tick: uploads whose last byte is committed and whose writer is gone are sealed from their rows.
//! Absent: bytes in memory. What wasn't committed wasn't acknowledged, and the client sends it again.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use schema::{Id, caller::Account, upload::Upload};

use crate::{chunks, engine::Engine, lease};

/// Uploads taken up in one tick.
const BATCH: i64 = 50;

/// Of them at once: each waits for the store more than it works.
const SEALS_AT_ONCE: usize = 8;

impl Engine {
    /// Voids what an earlier process of this node held. Call it before anything is served.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn start(&self) -> sqlx::Result<()> {
        let held = lease::forget_own(&self.db, self.node, self.shadows()).await?
            + chunks::claim::forget_own(&self.db, self.node, self.shadows() > 0).await?;
        if held > 0 {
            tracing::info!(held, "took back what an earlier process of this node held");
        }
        Ok(())
    }

    /// Seals what stopped short of it. Returns how many.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn recover_once(self: &Arc<Self>) -> sqlx::Result<usize> {
        let waiting = self.unsealed.waiting();
        let rows = sqlx::query!(
            "SELECT id, owner FROM uploads
              WHERE (state = 'sealing' OR (state IN ('opened', 'receiving') AND ended AND committed = length))
                AND (node IS NULL OR lease_until < now()) AND id <> ALL($2) ORDER BY created_at LIMIT $1",
            BATCH,
            &waiting
        )
        .fetch_all(&self.db)
        .await?;
        // Several at once: a store that doesn't answer about one must not keep the others waiting.
        let sealed = stream::iter(rows)
            .map(|row| async move {
                let (id, owner) = (Id::<Upload>::from(row.id), Id::<Account>::from(row.owner));
                let done = self.seal_again(owner, id).await;
                match &done {
                    Ok(_) => self.unsealed.forget(row.id),
                    // The many that can't be sealed now must not keep one that can from its turn.
                    Err(error) => {
                        tracing::warn!(upload.id = %id, %error, "upload not sealed yet");
                        self.unsealed.later(row.id);
                    }
                }
                usize::from(done.is_ok())
            })
            .buffer_unordered(SEALS_AT_ONCE)
            .fold(0, |sum, one| async move { sum + one })
            .await;
        Ok(sealed)
    }
}
