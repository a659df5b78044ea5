//! One request's bytes into one upload: lease, offset, frames, parts, tail.
//!
//! ```text
//! Holders::enter → Lease::take → standing → [frame → digest, tee, filling part → store → commit]… → tail → seal | release
//! ```
//! Promise: what `append` answers is durable and committed. Whatever ends it (the body, the client, another writer, a full
//!          store, a drain), what came before is committed at the last durable edge, or the offset is unchanged.
//! Memory:  each frame's bytes are reserved before the socket is read, and given back when its part or tail is durable.
//! Absent:  knowledge of protocols. The doors translate.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use schema::{
    Id,
    caller::Account,
    machine::{Refused, take},
    track::Track,
    upload::{self, Upload},
};

use crate::{
    engine::{Engine, Look, LookError},
    lease::{Holding, Lease},
    parts::{self, Standing},
    publish::SealError,
    store::{Multipart, StoreError},
    writing::Writing,
};

/// A request's body broke: the client went, or was too slow.
#[derive(Debug, thiserror::Error)]
#[error("the body ended early: {0}")]
pub struct BodyBroken(pub String);

/// Why bytes weren't appended, or not all.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// 404, 410.
    #[error(transparent)]
    Look(#[from] LookError),
    /// 409: ask HEAD, go on from there.
    #[error("the upload stands at {expected}, the request said {sent}")]
    WrongOffset {
        /// The committed offset.
        expected: u64,
        /// What the request said.
        sent: u64,
    },
    /// 413: nothing of this request was kept beyond the length.
    #[error("the body goes past the upload's length of {length}")]
    PastLength {
        /// As declared.
        length: u64,
        /// The committed offset.
        offset: u64,
    },
    /// 423: another connection or node is writing, and doesn't let go.
    #[error("another connection is writing this upload")]
    Busy,
    /// Hang up, say nothing: another writer has it now.
    #[error("the lease went to another writer")]
    Fenced,
    /// The client is gone; nobody hears this. What came is committed.
    #[error(transparent)]
    Body(#[from] BodyBroken),
    /// 503 with Retry-After: the process is ending; what came is committed.
    #[error("the server is stopping")]
    Stopping,
    /// 507, 503.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The bytes are all there and can't become the object.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// 503.
    #[error("the database failed")]
    Db(#[from] sqlx::Error),
}

/// What was appended.
#[derive(Debug)]
pub struct Appended {
    /// The upload after it.
    pub upload: Look,
}

impl Engine {
    /// Appends `body` at `offset`. The last byte seals the upload: then the answer comes after verification.
    ///
    /// # Errors
    /// [`AppendError`]; with any of them the committed offset is what HEAD says, never less than before.
    pub async fn append<B>(
        self: &Arc<Self>,
        owner: Id<Account>,
        id: Id<Upload>,
        offset: u64,
        content_length: Option<u64>,
        body: B,
    ) -> Result<Appended, AppendError>
    where
        B: Stream<Item = Result<Bytes, BodyBroken>> + Send + Unpin,
    {
        let look = self.look(owner, id).await?;
        if matches!(look.state, upload::State::Stored | upload::State::Sealing) {
            return match Some(offset) == look.length && content_length.unwrap_or(0) == 0 {
                true if look.state == upload::State::Stored => Ok(Appended { upload: look }),
                true => Ok(Appended { upload: self.seal_again(owner, id).await? }),
                false => Err(AppendError::WrongOffset { expected: look.offset, sent: offset }),
            };
        }
        if let (Some(length), Some(more)) = (look.length, content_length)
            && offset.saturating_add(more) > length
        {
            return Err(AppendError::PastLength { length, offset: look.offset });
        }
        let holding = self.holders.enter(id).await.ok_or(AppendError::Busy)?;
        let lease = Lease::take(&self.db, id, self.node, self.limits.lease).await?.ok_or(AppendError::Busy)?;
        // `holding` stays until the seal is over: a second request must not take the lease from under it.
        let result = self.append_leased(&lease, &holding, look.track, offset, body).await;
        let answer = match result {
            Ok(sealing) => {
                if sealing {
                    self.seal(lease).await?;
                } else {
                    lease.release(&self.db).await;
                }
                Ok(Appended { upload: self.look(owner, id).await? })
            }
            Err(AppendError::Fenced) => Err(AppendError::Fenced),
            Err(error) => {
                lease.release(&self.db).await;
                Err(error)
            }
        };
        drop(holding);
        answer
    }

    /// The part of `append` that holds the lease. `true`: every byte is committed, and the upload is `sealing`.
    async fn append_leased<B>(
        self: &Arc<Self>,
        lease: &Lease,
        holding: &Holding,
        track: Id<Track>,
        offset: u64,
        body: B,
    ) -> Result<bool, AppendError>
    where
        B: Stream<Item = Result<Bytes, BodyBroken>> + Send + Unpin,
    {
        let standing = parts::standing(&self.db, lease).await?.ok_or(AppendError::Fenced)?;
        if standing.committed != offset {
            return Err(AppendError::WrongOffset { expected: standing.committed, sent: offset });
        }
        let to = self.opened(lease, &standing).await?;
        let window = self.follow(track, offset, standing.length);
        let mut writing = Writing::new(self, lease, to, standing, window);
        let ended = writing.receive(holding.ask.clone(), body).await;
        let flushed = match ended {
            Ok(()) | Err(AppendError::Body(_) | AppendError::Stopping) => writing.flush().await,
            // Bytes that aren't durable are dropped, so that a newcomer's offset stays valid and no overlong file is whole.
            Err(_) => Ok(()),
        };
        writing.settle().await;
        let (committed, whole) = (writing.committed, Some(writing.committed) == writing.length);
        writing.window.end(committed);
        drop(writing);
        flushed?;
        // A client that left after its last byte still gets its file.
        if whole {
            return self.seal_if_whole(lease).await;
        }
        ended.map(|()| false)
    }

    /// The multipart object of an upload; begun at its first byte.
    async fn opened(&self, lease: &Lease, standing: &Standing) -> Result<Multipart, AppendError> {
        if let Some(multipart_id) = &standing.multipart_id {
            return Ok(Multipart { key: standing.key.clone(), multipart_id: multipart_id.clone() });
        }
        let to = self.store.begin(&standing.key).await?;
        let mut tx = self.db.begin().await?;
        match take(&mut tx, lease.upload, upload::Receive {}).await {
            Ok(_) | Err(Refused::AlreadyThere) => {}
            Err(Refused::Db(e)) => return Err(e.into()),
            Err(_) => return Err(AppendError::Fenced),
        }
        let done = sqlx::query!(
            "UPDATE uploads SET multipart_id = $3 WHERE id = $1 AND epoch = $2",
            lease.upload.uuid(),
            lease.epoch,
            to.multipart_id
        )
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Err(AppendError::Fenced);
        }
        tx.commit().await?;
        Ok(to)
    }

    async fn seal_if_whole(&self, lease: &Lease) -> Result<bool, AppendError> {
        let mut tx = self.db.begin().await?;
        let whole = sqlx::query_scalar!(
            "SELECT committed = length FROM uploads WHERE id = $1 AND epoch = $2",
            lease.upload.uuid(),
            lease.epoch
        )
        .fetch_optional(&mut *tx)
        .await?;
        if whole.flatten() != Some(true) {
            return Ok(false);
        }
        match take(&mut tx, lease.upload, upload::Seal {}).await {
            Ok(_) | Err(Refused::AlreadyThere) => {}
            Err(Refused::Db(e)) => return Err(e.into()),
            Err(_) => return Err(AppendError::Fenced),
        }
        tx.commit().await?;
        Ok(true)
    }
}
