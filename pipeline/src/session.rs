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
    track::Track,
    upload::{self, Upload},
};
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::{
    check::{Check, CheckError},
    chunks,
    engine::Engine,
    lease::{Holding, Lease},
    parts,
    publish::SealError,
    quota::QuotaError,
    resource::{Kind, Look, LookError},
    store::{Multipart, StoreError},
    to_the_end::ToTheEnd,
    writing::Writing,
};

/// A request's body broke.
#[derive(Debug, thiserror::Error)]
pub enum BodyBroken {
    /// The client went, or was too slow: it should come back.
    #[error("the body ended early: {0}")]
    Early(String),
    /// It isn't what its head says: the same again won't be either.
    #[error("the body isn't what the request's head says: {0}")]
    Malformed(String),
}

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
    /// 413: no upload may be longer.
    #[error("one upload may have {max} bytes")]
    TooLarge {
        /// `UPLOAD_MAX_BYTES`.
        max: u64,
    },
    /// 413: the account has no room for more.
    #[error(transparent)]
    Quota(#[from] QuotaError),
    /// 400: a length is said once, and not below what is there.
    #[error("the upload's length can't be {said}")]
    BadLength {
        /// What the request said.
        said: u64,
        /// What the upload has: its length where it is known.
        length: Option<u64>,
        /// The committed offset.
        offset: u64,
    },
    /// 400: nothing comes after the end. Only for clients that said it.
    #[error("the upload is complete")]
    Completed(Box<Look>),
    /// 403: the bytes of a final upload come from its partials.
    #[error("this upload is made of others")]
    Final,
    /// 460 or 400: nothing of this request was kept.
    #[error(transparent)]
    Check(#[from] CheckError),
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

/// When an upload is whole, as its client has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// As soon as its length is known and there (tus).
    AtLength,
    /// Not with this request, even if the length is there (IETF draft, `Upload-Complete: ?0`).
    No,
    /// With the last byte of this request (`Upload-Complete: ?1`).
    Yes,
}

/// What a request says about the bytes that it brings.
#[derive(Clone, Debug)]
pub struct Append {
    /// Where they start.
    pub offset: u64,
    /// How many there are, where the request says it (`Content-Length`).
    pub announced: Option<u64>,
    /// Whether they are the last.
    pub ends: Ends,
    /// The upload's length, where this request says it.
    pub length: Option<u64>,
    /// What the bytes must sum to, or none of them is kept.
    pub check: Option<Check>,
    /// Hears of every committed offset on the way, for whoever wants to tell it before the end.
    pub committed: Option<watch::Sender<u64>>,
}

impl Append {
    /// Bytes at `offset`, as tus has them.
    pub fn at(offset: u64, announced: Option<u64>) -> Self {
        Self { offset, announced, ends: Ends::AtLength, length: None, check: None, committed: None }
    }
}

/// What was appended.
#[derive(Debug)]
pub struct Appended {
    /// The upload after it.
    pub upload: Look,
}

/// How a request left its upload.
enum Left {
    /// Every byte is committed, and the upload is `sealing`.
    Whole,
    /// Open, its lease still held.
    Held,
    /// Open, its lease given back with the last commit.
    Free(At),
}

/// Where that was.
struct At {
    committed: u64,
    length: Option<u64>,
    expires_at: OffsetDateTime,
}

impl Engine {
    /// Appends `body`. The last byte seals the upload: then the answer comes after verification. What was begun is
    /// finished even when nobody waits for the answer any more: a dropped call ends only the waiting.
    ///
    /// # Errors
    /// [`AppendError`]; with any of them the committed offset is what HEAD says, never less than before.
    pub async fn append<B>(
        self: &Arc<Self>,
        owner: Id<Account>,
        id: Id<Upload>,
        request: Append,
        body: B,
    ) -> Result<Appended, AppendError>
    where
        B: Stream<Item = Result<Bytes, BodyBroken>> + Send + Unpin + 'static,
    {
        let look = self.look(owner, id).await?;
        if let Some(early) = self.answered(owner, &look, &request).await {
            return early;
        }
        let engine = Arc::clone(self);
        ToTheEnd::new(&self.tasks, async move { engine.append_alone(owner, look, request, body).await }).await
    }

    /// What needs no lease: refusals, and the repeated end of a finished upload.
    async fn answered(
        self: &Arc<Self>,
        owner: Id<Account>,
        look: &Look,
        request: &Append,
    ) -> Option<Result<Appended, AppendError>> {
        let &Append { offset, announced, ends, length: said, .. } = request;
        if look.door == chunks::DOOR {
            // Its parts have writers of their own.
            return Some(Err(LookError::Missing.into()));
        }
        if look.kind == Kind::Final {
            return Some(Err(AppendError::Final));
        }
        if let Some(said) = said.filter(|said| ends == Ends::AtLength && look.length.is_some_and(|l| l != *said)) {
            return Some(Err(AppendError::BadLength { said, length: look.length, offset: look.offset }));
        }
        if matches!(look.state, upload::State::Stored | upload::State::Sealing) {
            if ends != Ends::AtLength {
                return Some(Err(AppendError::Completed(Box::new(look.clone()))));
            }
            return Some(match Some(offset) == look.length && announced.unwrap_or(0) == 0 {
                true if look.state == upload::State::Stored => Ok(Appended { upload: look.clone() }),
                true => self.seal_again(owner, look.id).await.map(|upload| Appended { upload }),
                false => Err(AppendError::WrongOffset { expected: look.offset, sent: offset }),
            });
        }
        // Who says where it ends also says when it went wrong: that upload is made void, under the lease.
        let length = look.length.or(said).filter(|_| ends == Ends::AtLength)?;
        let past = offset.saturating_add(announced?) > length;
        past.then_some(Err(AppendError::PastLength { length, offset: look.offset }))
    }

    /// One writer in this process, one lease among all.
    async fn append_alone<B>(
        self: &Arc<Self>,
        owner: Id<Account>,
        look: Look,
        request: Append,
        body: B,
    ) -> Result<Appended, AppendError>
    where
        B: Stream<Item = Result<Bytes, BodyBroken>> + Send + Unpin,
    {
        let id = look.id;
        let holding = self.holders.enter(id).await.ok_or(AppendError::Busy)?;
        let lease = self.lease(id, &holding).await?.ok_or(AppendError::Busy)?;
        // `holding` stays until the seal is over: a second request must not take the lease from under it.
        let void = request.ends != Ends::AtLength;
        let answer = match self.append_leased(&lease, &holding, look.track, request, body).await {
            Ok(Left::Whole) => {
                self.seal(lease).await?;
                Ok(None)
            }
            Ok(Left::Free(at)) => Ok(Some(at)),
            Ok(Left::Held) => {
                lease.release(&self.db).await;
                Ok(None)
            }
            Err(AppendError::Fenced) => Err(AppendError::Fenced),
            Err(error @ AppendError::PastLength { .. }) if void => {
                self.fail(&lease, "too_long", "more bytes came than the upload was said to have").await?;
                lease.release(&self.db).await;
                Err(error)
            }
            Err(AppendError::Store(error)) if self.is_lost(&lease, &error).await => {
                self.fail(&lease, "store_lost_upload", "the store lost what it had of this upload").await?;
                Err(SealError::Lost.into())
            }
            Err(error) => {
                lease.release(&self.db).await;
                Err(error)
            }
        };
        let answer = match answer {
            Ok(Some(At { committed, length, expires_at })) if !void => {
                let state = upload::State::Receiving;
                Ok(Appended { upload: Look { state, offset: committed, length, expires_at, ..look } })
            }
            Ok(_) => Ok(Appended { upload: self.look(owner, id).await? }),
            Err(error) => Err(error),
        };
        drop(holding);
        answer
    }

    /// Whether the store forgot the upload, or a tail of it, or has other bytes than it acknowledged: no try helps any more.
    /// What it says to have forgotten is asked for twice before anything is given up.
    pub(crate) async fn is_lost(&self, lease: &Lease, error: &StoreError) -> bool {
        let (StoreError::Missing(key) | StoreError::Wrong { key, .. }) = error else { return false };
        let Ok(Some(standing)) = parts::standing(&self.db, lease).await else { return false };
        if standing.tails.iter().any(|tail| tail.key == *key) {
            return matches!(error, StoreError::Wrong { .. }) || matches!(self.store.head(key).await, Ok(None));
        }
        let (Some(multipart_id), StoreError::Missing(_)) = (standing.multipart_id, error) else { return false };
        matches!(self.store.listed(&Multipart { key: standing.key, multipart_id }).await, Err(StoreError::Missing(_)))
    }

    /// The part of `append` that holds the lease.
    async fn append_leased<B>(
        self: &Arc<Self>,
        lease: &Lease,
        holding: &Holding,
        track: Option<Id<Track>>,
        request: Append,
        body: B,
    ) -> Result<Left, AppendError>
    where
        B: Stream<Item = Result<Bytes, BodyBroken>> + Send + Unpin,
    {
        let mut standing = parts::standing(&self.db, lease).await?.ok_or(AppendError::Fenced)?;
        if standing.committed != request.offset {
            return Err(AppendError::WrongOffset { expected: standing.committed, sent: request.offset });
        }
        let late = self.extend(lease, &mut standing, &request).await?;
        let to = self.opened(lease, &standing).await?;
        let window = self.follow(track, standing.committed, standing.length);
        let room = if standing.length.is_none() { self.room(lease).await? } else { None };
        let scan = self.scan_live(track.is_some(), standing.committed);
        let mut writing = Writing::new(self, lease, to, standing, window, request.check);
        (writing.room, writing.scan, writing.tell) = (room, scan, request.committed);
        // Who says that these were the last bytes still writes that down.
        writing.may_let_go = request.ends != Ends::Yes;
        let ended = writing.receive(holding.ask.clone(), body).await;
        let cut = matches!(ended, Err(AppendError::Body(_) | AppendError::Stopping)) && !writing.is_checked();
        let kept = match ended {
            Ok(()) => self.flush_last(lease, &mut writing, request.ends, late).await,
            Err(_) if cut => writing.flush().await,
            // Bytes that aren't durable are dropped, so that a newcomer's offset stays valid and no overlong file is whole.
            Err(_) => Ok(()),
        };
        let discarded = writing.discard().await;
        writing.settle().await;
        let (committed, length) = (writing.committed, writing.length);
        let freed = writing.freed_until.map(|expires_at| At { committed, length, expires_at });
        writing.window.end(committed);
        let scan = writing.scan.take();
        drop(writing);
        kept.and(discarded)?;
        // A client that left after its last byte still gets its file.
        let may_be_whole = length == Some(committed) && (ended.is_ok() || cut);
        if may_be_whole && self.seal_if_whole(lease, request.ends).await? {
            self.keep_verdict(lease, scan, committed).await?;
            return Ok(Left::Whole);
        }
        ended.map(|()| freed.map_or(Left::Held, Left::Free))
    }
}
