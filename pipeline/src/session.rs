//! One request's bytes into one upload: lease, offset, frames, parts, tail.
//!
//! ```text
//! Holders::enter → Lease::take → standing → [frame → digest, tee, filling part → store → commit]… → tail → seal | release
//! ```
//! Promise: what `append` answers is durable and committed. Whatever ends it (the body, the client, another writer, a full
//!          store, a drain), what came before is committed at the last durable edge, or the offset is unchanged.
//! Memory:  each frame's bytes are reserved before the socket is read, and given back when its part or tail is durable.
//! Absent:  knowledge of protocols. The doors translate.

use std::{collections::VecDeque, mem, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use schema::{
    Id,
    caller::Account,
    machine::{Refused, take},
    track::Track,
    upload::{self, Upload},
};
use tokio::{select, task::JoinHandle};

use crate::{
    budget::Reserved,
    digest::{self, Sha},
    engine::{Engine, Look, LookError},
    lease::{Ask, Holding, Lease},
    limits::{EVICT_AFTER, FRAME_BYTES, PartMap, SMALL_FRAME_BYTES},
    parts::{self, Piece, Standing},
    publish::SealError,
    store::{Multipart, Part, StoreError, Tail},
    tee::Window,
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

/// What this writer is asked, once it is asked anything.
async fn asked_to_stop(ask: &mut tokio::sync::watch::Receiver<Ask>) -> Ask {
    ask.wait_for(|a| *a != Ask::Nothing).await.map_or(Ask::Yield, |a| *a)
}

/// A part on its way to the store, with what must be committed when it is there.
struct InFlight {
    part: Part,
    sha_state: Option<Vec<u8>>,
    put: JoinHandle<Result<String, StoreError>>,
}

/// The state of one append between its frames.
struct Writing<'a> {
    engine: &'a Engine,
    lease: &'a Lease,
    to: Multipart,
    map: PartMap,
    length: Option<u64>,
    committed: u64,
    /// The offset of the next byte to come.
    at: u64,
    sha: Option<Sha>,
    /// Durable tails of the part that is filling, with the CRC over them.
    tails: Vec<Tail>,
    tails_crc: u64,
    /// Where `frames` starts.
    fresh_from: u64,
    frames: Vec<Bytes>,
    small: BytesMut,
    share: Option<Reserved>,
    in_flight: VecDeque<InFlight>,
    tail_count: u32,
    window: Arc<Window>,
}

impl<'a> Writing<'a> {
    fn new(engine: &'a Engine, lease: &'a Lease, to: Multipart, standing: Standing, window: Arc<Window>) -> Self {
        Self {
            engine,
            lease,
            to,
            map: PartMap { part_bytes: standing.part_bytes },
            length: standing.length,
            committed: standing.committed,
            at: standing.committed,
            sha: standing.sha_state.as_deref().and_then(Sha::resume),
            tails: standing.tails,
            tails_crc: standing.tails_crc,
            fresh_from: standing.committed,
            frames: Vec::new(),
            small: BytesMut::new(),
            share: None,
            in_flight: VecDeque::new(),
            tail_count: 0,
            window,
        }
    }

    /// Takes the body frame by frame until it ends.
    async fn receive<B>(&mut self, mut ask: tokio::sync::watch::Receiver<Ask>, mut body: B) -> Result<(), AppendError>
    where
        B: Stream<Item = Result<Bytes, BodyBroken>> + Send + Unpin,
    {
        loop {
            let mut share = self.reserve().await?;
            let frame = loop {
                select! {
                    biased;
                    // cancel-safe: a watch channel
                    asked = asked_to_stop(&mut ask) => return Err(match asked {
                        Ask::Flush => AppendError::Stopping,
                        _ => AppendError::Busy,
                    }),
                    () = self.lease.lost() => return Err(AppendError::Fenced),   // cancel-safe: a flag
                    frame = body.next() => break frame,                          // cancel-safe: an unread frame stays in the body
                    // cancel-safe: no state. A stalled client gives back what others wait for.
                    () = tokio::time::sleep(EVICT_AFTER) => if self.engine.budget.is_short() {
                        drop(share);
                        self.flush().await?;
                        share = self.reserve().await?;
                    }
                }
            };
            let Some(frame) = frame else { return Ok(()) };
            let frame = frame?;
            if self.length.is_some_and(|l| self.at + frame.len() as u64 > l) {
                return Err(AppendError::PastLength { length: self.length.unwrap_or(0), offset: self.committed });
            }
            let kept = share.split(frame.len().min(share.num_permits()));
            drop(share);
            self.hold(kept);
            self.push(frame).await?;
        }
    }

    /// Room for the next frame. One that can't have it at once first gives back what it holds.
    async fn reserve(&mut self) -> Result<Reserved, AppendError> {
        let budget = self.engine.budget.clone();
        match tokio::time::timeout(EVICT_AFTER, budget.reserve(FRAME_BYTES)).await {
            Ok(share) => Ok(share),
            Err(_) => {
                self.flush().await?;
                Ok(budget.reserve(FRAME_BYTES).await)
            }
        }
    }

    fn hold(&mut self, more: Option<Reserved>) {
        match (&mut self.share, more) {
            (Some(share), Some(more)) => share.merge(more),
            (none, more) => *none = more,
        }
    }

    fn holds_fresh(&self) -> bool {
        !self.frames.is_empty() || !self.small.is_empty()
    }

    /// One frame into digest, tee and the filling part; whole parts leave for the store.
    async fn push(&mut self, mut frame: Bytes) -> Result<(), AppendError> {
        while !frame.is_empty() {
            let end = self.map.end(self.at, self.length);
            let room = usize::try_from(end - self.at).unwrap_or(usize::MAX);
            let mut piece = frame.split_to(room.min(frame.len()));
            if piece.len() < SMALL_FRAME_BYTES {
                piece = Bytes::copy_from_slice(&piece);
                self.small.extend_from_slice(&piece);
                if self.small.len() >= 4 * SMALL_FRAME_BYTES {
                    self.gather();
                }
            } else {
                self.gather();
                self.frames.push(piece.clone());
            }
            if let Some(sha) = &mut self.sha {
                sha.update(&piece);
            }
            self.window.offer(self.at, &piece);
            self.at += piece.len() as u64;
            // The last part waits for the end of the body: a byte more, and it must not be committed.
            if self.at == end && Some(end) != self.length {
                self.send_part().await?;
            }
        }
        Ok(())
    }

    fn gather(&mut self) {
        if !self.small.is_empty() {
            self.frames.push(self.small.split().freeze());
        }
    }

    /// The filling part is full: off to the store with it, behind those that are under way.
    async fn send_part(&mut self) -> Result<(), AppendError> {
        if self.in_flight.len() >= self.engine.limits.parts_in_flight {
            self.commit_oldest().await?;
        }
        self.gather();
        let frames = mem::take(&mut self.frames);
        let (tails, share) = (mem::take(&mut self.tails), self.share.take());
        let (from, off) = (self.map.start(self.at - 1), mem::replace(&mut self.fresh_from, self.at));
        let crc64 = digest::crc64_join(self.tails_crc, digest::crc64(&frames), self.at - off);
        self.tails_crc = digest::crc64(&[]);
        let part = Part { part_no: self.map.part_no(from), off: from, len: self.at - from, etag: String::new(), crc64 };
        let (store, to, no) = (Arc::clone(&self.engine.store), self.to.clone(), part.part_no);
        let put = tokio::spawn(async move {
            let put = store.put_part(&to, no, &tails, off, frames).await;
            drop(share);
            put
        });
        let sha_state = self.sha.as_ref().map(Sha::midstate);
        self.in_flight.push_back(InFlight { part, sha_state, put });
        Ok(())
    }

    async fn commit_oldest(&mut self) -> Result<(), AppendError> {
        let Some(InFlight { mut part, sha_state, put }) = self.in_flight.pop_front() else { return Ok(()) };
        part.etag = put.await.map_err(|e| StoreError::Away(std::io::Error::other(e)))??;
        self.commit(Piece::Part(part), sha_state).await
    }

    /// Makes everything that came durable and committed: parts under way, then the rest as the last part or a tail.
    async fn flush(&mut self) -> Result<(), AppendError> {
        if Some(self.at) == self.length && self.holds_fresh() {
            self.send_part().await?;
        }
        while !self.in_flight.is_empty() {
            self.commit_oldest().await?;
        }
        self.gather();
        if self.frames.is_empty() {
            return Ok(());
        }
        let frames = mem::take(&mut self.frames);
        let (crc, off) = (digest::crc64(&frames), mem::replace(&mut self.fresh_from, self.at));
        self.tail_count += 1;
        let tail = Tail {
            key: format!("tails/{}/{off}-{}-{}", self.lease.upload, self.lease.epoch, self.tail_count),
            off,
            len: self.at - off,
        };
        self.engine.store.put_tail(&self.to, &tail, frames).await?;
        self.share = None;
        self.tails_crc = digest::crc64_join(self.tails_crc, crc, tail.len);
        self.tails.push(tail.clone());
        self.commit(Piece::Tail(tail, crc), self.sha.as_ref().map(Sha::midstate)).await
    }

    async fn commit(&mut self, piece: Piece, sha_state: Option<Vec<u8>>) -> Result<(), AppendError> {
        let expiry = self.engine.limits.expiry;
        let committed = parts::commit(&self.engine.db, self.lease, &piece, sha_state.as_deref(), expiry).await?;
        self.committed = committed.ok_or(AppendError::Fenced)?;
        self.window.commit(self.committed);
        Ok(())
    }

    /// Waits for what is under way in the store without committing it: nobody writes there after the lease is given back.
    async fn settle(&mut self) {
        for under_way in self.in_flight.drain(..) {
            let _ = under_way.put.await;
        }
        self.share = None;
    }
}
