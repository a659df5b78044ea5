//! What there is of an upload, and its end, which its client says by itself.
//!
//! Order of an end: 1 the digest's state as far as it is known, 2 `ended` and the edge `Seal` together, under the lease, when
//! every chunk is committed, 3 the seal (`publish`). No chunk is on its way then: a claim ends with its part's commit.
//! Dead after 1: nothing was said. Dead after 2: `recover` seals, and a repeated call waits for it.

use std::{sync::Arc, time::Duration};

use schema::{
    Id,
    caller::Account,
    machine::{Refused, State as _, take},
    upload::{self, Upload},
};
use tokio::time::{Instant, sleep};

use super::{DOOR, chunk_count, line::Line, rows};
use crate::{
    engine::Engine,
    lease::Lease,
    publish::SealError,
    resource::{Look, LookError},
    store::StoreError,
};

/// How long the call waits for the seal: below what a request may take in all.
const SEAL_WAIT: Duration = Duration::from_secs(25);

/// How long it waits for chunks that somebody is sending just now.
const CLAIMS_WAIT: Duration = Duration::from_secs(2);

/// Between two looks at a row that somebody else moves.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How many missing chunks are named. More wouldn't help anybody.
const MISSING_NAMED: usize = 1000;

/// An upload and what is durable of it.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The upload.
    pub look: Look,
    /// What is committed: ranges in order, merged.
    pub received: Vec<(u64, u64)>,
}

/// Why an upload isn't stored.
#[derive(Debug, thiserror::Error)]
pub enum CompleteError {
    /// 404, 410.
    #[error(transparent)]
    Look(#[from] LookError),
    /// 409: this upload's bytes come by `/files`.
    #[error("this upload isn't made of chunks")]
    OtherDoor,
    /// 409.
    #[error("{count} chunks are missing")]
    Missing {
        /// The first of them.
        chunks: Vec<u64>,
        /// How many there are.
        count: u64,
    },
    /// 503: it goes on by itself; ask again.
    #[error("the upload isn't stored yet")]
    NotYet,
    /// The bytes can't become the object.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// 503.
    #[error("the database failed")]
    Db(#[from] sqlx::Error),
}

impl Engine {
    /// Shows an upload with all that came of it, also where it is behind a hole.
    ///
    /// # Errors
    /// As [`Engine::look`]; an upload that failed is shown too.
    pub async fn progress(&self, owner: Id<Account>, id: Id<Upload>) -> Result<Progress, LookError> {
        let look = self.look_at_any(owner, id).await?;
        let received = match (look.state, look.length) {
            (upload::State::Stored, Some(length)) if length > 0 => vec![(0, length)],
            _ => rows::received(&self.db, id).await?,
        };
        Ok(Progress { look, received })
    }

    /// Ends an upload whose chunks are all there. `Ok`: it is stored, by this call or an earlier one. A dropped call ends
    /// only the waiting.
    ///
    /// # Errors
    /// [`CompleteError`].
    pub async fn complete(self: &Arc<Self>, owner: Id<Account>, id: Id<Upload>) -> Result<Look, CompleteError> {
        let begun = Instant::now();
        let deadline = begun + SEAL_WAIT;
        while Instant::now() < deadline {
            let look = self.look(owner, id).await?;
            match look.state {
                upload::State::Stored => return Ok(look),
                // Somebody seals it: this process, another, or `recover` in a moment.
                upload::State::Sealing => {}
                _ if look.door != DOOR => return Err(CompleteError::OtherDoor),
                _ if Some(look.offset) != look.length => {
                    if begun.elapsed() > CLAIMS_WAIT || !rows::is_claimed(&self.db, id).await? {
                        return Err(self.missing(&look).await?);
                    }
                }
                _ => {
                    let engine = Arc::clone(self);
                    let sealing = self.tasks.spawn(async move { engine.end_and_seal(id).await });
                    match tokio::time::timeout_at(deadline, sealing).await {
                        Ok(Ok(sealed)) => sealed?,
                        Ok(Err(panic)) => {
                            return Err(SealError::NotYet(StoreError::Away(std::io::Error::other(panic))).into());
                        }
                        Err(_) => break,
                    }
                    continue;
                }
            }
            sleep(LOOK_EVERY).await;
        }
        Err(CompleteError::NotYet)
    }

    async fn missing(&self, look: &Look) -> sqlx::Result<CompleteError> {
        let received = rows::received(&self.db, look.id).await?;
        let all = chunk_count(look.length.unwrap_or(0), look.part_bytes);
        let is_there = |n: &u64| received.iter().any(|(from, to)| (*from..*to).contains(&(n * look.part_bytes)));
        let missing: Vec<u64> = (0..all).filter(|n| !is_there(n)).collect();
        let count = missing.len() as u64;
        Ok(CompleteError::Missing { chunks: missing.into_iter().take(MISSING_NAMED).collect(), count })
    }

    /// `Ok` says nothing about who sealed it: the row does.
    async fn end_and_seal(self: &Arc<Self>, id: Id<Upload>) -> Result<(), SealError> {
        let line = self.lines.of(id);
        if let Some(line) = &line {
            self.end_digest(line).await;
        }
        let Some(holding) = self.holders.enter(id).await else { return Ok(()) };
        let Some(lease) = self.lease(id, &holding).await? else { return Ok(()) };
        if self.end_if_whole(&lease).await? {
            self.seal(lease).await?;
        } else {
            lease.release(&self.db).await;
        }
        drop((holding, line));
        self.lines.end(id);
        Ok(())
    }

    /// What is held is hashed, and the state is in the rows, where the seal looks for it.
    async fn end_digest(&self, line: &Line) {
        self.catch_up(line).await;
        line.settled(Instant::now() + CLAIMS_WAIT).await;
        self.keep_midstate(line).await;
    }

    async fn end_if_whole(&self, lease: &Lease) -> sqlx::Result<bool> {
        let mut tx = schema::begin(&self.db).await?;
        let done = sqlx::query!(
            "UPDATE uploads SET ended = true WHERE id = $1 AND epoch = $2 AND committed = length
                AND state IN ('opened', 'receiving')",
            lease.upload.uuid(),
            lease.epoch
        )
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        match take(&mut tx, lease.upload, upload::Seal {}).await {
            Ok(_proof) => {}
            Err(Refused::Db(e)) => return Err(e),
            Err(_) => return Ok(false),
        }
        tx.commit().await?;
        Ok(true)
    }

    /// As `look`, but what failed is shown with its reason, not refused.
    async fn look_at_any(&self, owner: Id<Account>, id: Id<Upload>) -> Result<Look, LookError> {
        match self.look_at(owner, id).await? {
            look if matches!(look.state, upload::State::Aborted | upload::State::Expired) => {
                tracing::trace!(upload.id = %id, state = look.state.name(), "not shown");
                Err(LookError::Gone { state: look.state, reason: look.reason })
            }
            look => Ok(look),
        }
    }
}
