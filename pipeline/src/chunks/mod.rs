//! The door of numbered chunks: any order, in parallel, repeatable, on any node. Chunk `n` is part `n + 1`.
//!
//! ```text
//! slot in this process → claim → body → store → [claim away, part's row, committed end] → digest's cursor → answer
//! ```
//! Order: 1 the claim's row, 2 the bytes in the store, 3 one transaction: the claim is deleted by its token, the part's row
//! inserted, the committed end walked on, 4 the answer.
//! Dead after 1 or 2: the claim runs out, or goes with this node's next start; the chunk isn't there, and its client sends
//! it again. Its part is shadowed, as what was on its way may still arrive. Dead after 3: a repeat is compared and accepted.
//! Never: a part without its bytes, two writers of one part, or a committed part sent to the store again.
//! Absent: sums over what came. What is there is told from rows.

pub(crate) mod claim;
mod complete;
mod cursor;
mod filling;
pub(crate) mod line;
mod repeat;
pub(crate) mod rows;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::Stream;
use schema::{
    Id,
    caller::Account,
    machine::{Refused, take},
    upload::{self, Upload},
};
use tokio::{select, time::Instant};

pub use complete::{CompleteError, Progress};

use crate::{
    check::{Check, CheckError},
    engine::Engine,
    limits::{FRAME_BYTES, PartMap},
    publish::SealError,
    resource::{Look, LookError},
    session::BodyBroken,
    store::{Multipart, StoreError},
    to_the_end::ToTheEnd,
};
use claim::{Claim, Claimant, Claimed};
use filling::{Filling, Put};
use line::{Line, Slot};

/// As the column `door` has it.
pub const DOOR: &str = "chunks";

/// How long a chunk waits for another request that is sending the same one.
const CLAIM_WAIT: Duration = Duration::from_secs(2);

/// Between two tries to claim a part.
const CLAIM_AGAIN: Duration = Duration::from_millis(50);

/// What a request says about the chunk that it brings.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// From 0.
    pub n: u64,
    /// `Content-Length`, where there is one.
    pub announced: Option<u64>,
    /// What the bytes must sum to, or they aren't kept.
    pub checks: Vec<Check>,
}

/// Why a chunk isn't there.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// 404, 410.
    #[error(transparent)]
    Look(#[from] LookError),
    /// 409: this upload's bytes come by `/files`.
    #[error("this upload isn't made of chunks")]
    OtherDoor,
    /// 404.
    #[error("the upload has {count} chunks, counted from 0")]
    NoSuchChunk {
        /// How many there are.
        count: u64,
    },
    /// 409: the upload takes no more chunks.
    #[error("the upload is complete")]
    Complete,
    /// 413.
    #[error("this chunk has {len} bytes, and more came")]
    TooLong {
        /// As it must be.
        len: u64,
    },
    /// 400.
    #[error("this chunk has {len} bytes, and {sent} came")]
    TooShort {
        /// As it must be.
        len: u64,
        /// What came.
        sent: u64,
    },
    /// 400: the bytes were discarded.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// 409: the chunk is there already, with other bytes.
    #[error("this chunk is there already, with other bytes")]
    Differs,
    /// 409: another request is sending it.
    #[error("another request is sending this chunk")]
    Busy,
    /// The client is gone; nobody hears this.
    #[error(transparent)]
    Body(#[from] BodyBroken),
    /// 503: the process is ending.
    #[error("the server is stopping")]
    Stopping,
    /// 507, 503.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// 503.
    #[error("the database failed")]
    Db(#[from] sqlx::Error),
}

/// Where a chunk's bytes are in the upload.
#[derive(Clone, Copy, Debug)]
struct Span {
    part_no: i32,
    off: u64,
    end: u64,
}

impl Span {
    fn len(self) -> u64 {
        self.end - self.off
    }

    /// Of chunk `n`, if the upload has that many.
    fn of(look: &Look, n: u64) -> Result<Self, ChunkError> {
        let (length, map) = (look.length.unwrap_or(0), PartMap { part_bytes: look.part_bytes });
        let count = chunk_count(length, look.part_bytes);
        if n >= count {
            return Err(ChunkError::NoSuchChunk { count });
        }
        let off = n * look.part_bytes;
        Ok(Self { part_no: map.part_no(off), off, end: map.end(off, look.length) })
    }

    /// What `Content-Length` already gives away.
    fn check(self, announced: Option<u64>) -> Result<(), ChunkError> {
        match announced {
            Some(sent) if sent > self.len() => Err(ChunkError::TooLong { len: self.len() }),
            Some(sent) if sent < self.len() => Err(ChunkError::TooShort { len: self.len(), sent }),
            _ => Ok(()),
        }
    }
}

/// How many chunks an upload of `length` bytes has.
pub fn chunk_count(length: u64, chunk_bytes: u64) -> u64 {
    length.div_ceil(chunk_bytes)
}

impl Engine {
    /// Takes one chunk. `Ok`: it is durable and committed, by this call or an earlier one with the same bytes. A dropped
    /// call ends only the waiting.
    ///
    /// # Errors
    /// [`ChunkError`]; with any of them the chunk isn't there, unless it was before.
    pub async fn put_chunk<B>(
        self: &Arc<Self>,
        owner: Id<Account>,
        id: Id<Upload>,
        chunk: Chunk,
        body: B,
    ) -> Result<(), ChunkError>
    where
        B: Stream<Item = Result<Bytes, BodyBroken>> + Send + Unpin + 'static,
    {
        let look = self.look(owner, id).await?;
        if look.door != DOOR {
            return Err(ChunkError::OtherDoor);
        }
        let span = Span::of(&look, chunk.n)?;
        span.check(chunk.announced)?;
        let engine = Arc::clone(self);
        ToTheEnd::new(&self.tasks, async move { engine.put_alone(owner, look, span, chunk.checks, body).await }).await
    }

    async fn put_alone<B>(
        self: &Arc<Self>,
        owner: Id<Account>,
        look: Look,
        span: Span,
        checks: Vec<Check>,
        body: B,
    ) -> Result<(), ChunkError>
    where
        B: Stream<Item = Result<Bytes, BodyBroken>> + Send + Unpin,
    {
        let deadline = Instant::now() + CLAIM_WAIT;
        let line = self.line(&look);
        let slot = line.enter(span.part_no, deadline).await.ok_or(ChunkError::Busy)?;
        let claim = match self.claim(look.id, span, deadline).await? {
            Claimed::Ours(claim) => claim,
            Claimed::Committed(len, crc64) => return repeat::compare(self, (len, crc64), checks, body).await,
            Claimed::Busy => return Err(ChunkError::Busy),
            Claimed::Over => return Err(self.why_over(owner, look.id).await),
        };
        let done = self.put_claimed(&line, slot, &claim, span, checks, body).await;
        match done {
            Ok(()) => {
                self.catch_up(&line).await;
                Ok(())
            }
            Err(ChunkError::Busy) => Err(self.why_over(owner, look.id).await),
            Err(error) => {
                claim.release(&self.db).await;
                Err(error)
            }
        }
    }

    async fn claim(&self, id: Id<Upload>, span: Span, deadline: Instant) -> sqlx::Result<Claimed> {
        let claimant = Claimant { db: &self.db, node: self.node, term: self.limits.lease, shadows: self.shadows() > 0 };
        loop {
            match claimant.claim(id, span.part_no).await? {
                Claimed::Busy if Instant::now() < deadline => tokio::time::sleep(CLAIM_AGAIN).await,
                claimed => return Ok(claimed),
            }
        }
    }

    /// What has become of an upload that takes no chunk any more, or of a claim that somebody else has.
    async fn why_over(&self, owner: Id<Account>, id: Id<Upload>) -> ChunkError {
        match self.look(owner, id).await {
            Err(error) => error.into(),
            Ok(look) if look.ended => ChunkError::Complete,
            Ok(_) => ChunkError::Busy,
        }
    }

    /// What the claim's holder does. `Busy`: the right to commit is gone.
    async fn put_claimed<B>(
        self: &Arc<Self>,
        line: &Arc<Line>,
        slot: Slot,
        claim: &Claim,
        span: Span,
        checks: Vec<Check>,
        body: B,
    ) -> Result<(), ChunkError>
    where
        B: Stream<Item = Result<Bytes, BodyBroken>> + Send + Unpin,
    {
        if line.cursor().at() < span.off {
            // Another node may have brought the digest further.
            let (at, sha) = crate::parts::midstate_known(&self.db, line.upload).await?;
            line.cursor().moved(at, sha);
        }
        self.wait_behind(line, span.off, span.len()).await;
        let to = line.object.get_or_try_init(|| self.begun(line.upload)).await?.clone();
        let mut filling = Filling::new(self, line, claim, span, to, checks);
        filling.take_turn().await;
        let arrived = select! {
            arrived = filling.arrive(body, slot) => arrived,
            // cancel-safe, both: nothing is committed, and the store's call keeps the slot until it has ended
            () = claim.lost() => {
                tracing::warn!(upload.id = %line.upload, span.part_no, "the claim of a chunk ran out while it came");
                Err(ChunkError::Busy)
            }
            () = line.over.cancelled() => Err(ChunkError::Busy),
        };
        // From here on the token decides.
        filling.take_turn().await;
        let committed = match arrived {
            Ok(put) => self.commit_chunk(claim, &filling, put).await,
            Err(error) => Err(error),
        };
        match committed {
            Ok((put, committed)) => {
                filling.committed(put, committed);
                Ok(())
            }
            Err(error) => {
                rows::unpark(&self.db, filling.parked()).await?;
                Err(error)
            }
        }
    }

    async fn commit_chunk(&self, claim: &Claim, filling: &Filling<'_>, put: Put) -> Result<(Put, u64), ChunkError> {
        let arrived = rows::Arrived {
            part: &put.part,
            copy: put.copy.as_ref(),
            sha_state: filling.sha_state(),
            parked: filling.parked(),
        };
        let committed = rows::commit(&self.db, claim, arrived, self.limits.expiry).await?;
        Ok((put, committed.ok_or(ChunkError::Busy)?))
    }

    /// The multipart object of an upload, begun at its first chunk, by whichever node has it first.
    ///
    /// Order: 1 the object, 2 its row with the edge `Receive`. Who loses the race has its object deleted.
    async fn begun(&self, id: Id<Upload>) -> Result<Multipart, ChunkError> {
        let look =
            || sqlx::query!("SELECT key, multipart_id FROM uploads WHERE id = $1", id.uuid()).fetch_one(&self.db);
        let row = look().await?;
        if let Some(multipart_id) = row.multipart_id {
            return Ok(Multipart { key: row.key, multipart_id });
        }
        let to = self.store.begin(&row.key).await?;
        let mut tx = schema::begin(&self.db).await?;
        match take(&mut tx, id, upload::Receive {}).await {
            Ok(_) | Err(Refused::AlreadyThere | Refused::Illegal { .. } | Refused::Missing) => {}
            Err(Refused::Db(e)) => return Err(e.into()),
        }
        let row = sqlx::query!(
            "UPDATE uploads SET multipart_id = coalesce(multipart_id, $2) WHERE id = $1 AND state = 'receiving'
             RETURNING multipart_id AS \"multipart_id!\"",
            id.uuid(),
            to.multipart_id
        )
        .fetch_optional(&mut *tx)
        .await?;
        if row.as_ref().is_none_or(|row| row.multipart_id != to.multipart_id) {
            sqlx::query!("INSERT INTO store_trash (key, multipart_id) VALUES ($1, $2)", to.key, to.multipart_id)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        let row = row.ok_or(ChunkError::Busy)?;
        Ok(Multipart { key: to.key, multipart_id: row.multipart_id })
    }

    /// Has an encode follow the bytes, unless one does.
    fn follow_line(self: &Arc<Self>, line: &Line, off: u64) {
        if !line.window.is_followed() {
            self.follow(line.track, off, line.length);
        }
    }

    /// Whether a chunk of that map fits into memory, as it must.
    pub(crate) fn chunks_fit(&self, map: PartMap) -> bool {
        map.part_bytes + FRAME_BYTES <= self.budget.total() as u64
    }

    /// The longest upload that this door takes.
    pub(crate) fn chunked_max(&self) -> u64 {
        self.limits.max_bytes.min((self.budget.total() as u64).saturating_mul(crate::limits::PARTS_AIM))
    }
}

impl From<SealError> for ChunkError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Db(e) => Self::Db(e),
            SealError::NotYet(e) => Self::Store(e),
            _ => Self::Busy,
        }
    }
}
