//! One chunk on its way through memory: frames are taken from the socket, summed, hashed when it is their turn, and leave
//! for the store as one part.
//!
//! Memory: a frame's share is reserved before it is read. Nobody holds some and waits for more: who waits longer than
//!         `EVICT_AFTER`, and whose client sends nothing for so long while others wait, first gives back what it holds, by
//!         parking it: in its place where the store can, else as an object of its own that the trash already names. So
//!         clients that stall, however many, keep a frame's room each and nothing else, and nobody is sent away.
//! Order of parking: 1 the row of the trash, far in the future, 2 the object. The part's commit makes the row due.
//! Absent: claims and commits. A chunk is committed whole or not at all, so what breaks off leaves nothing to resume.

use std::{mem, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::{
    select,
    time::{Instant, timeout},
};

use super::{
    ChunkError, Span,
    claim::Claim,
    line::{Held, Line, Slot, hashed_apart},
    rows,
};
use crate::{
    budget::{Idle, Reserved},
    check::{Check, Summing},
    digest::{self, Sha},
    engine::Engine,
    gathered::Gathered,
    limits::{EVICT_AFTER, FRAME_BYTES, FRAME_LEFT_BYTES, YIELD_GRACE, YIELD_STALL},
    session::BodyBroken,
    store::{Multipart, Part, StoreError, Tail},
    tee::Window,
    writing::put_twice,
};

/// A chunk between its frames.
pub(super) struct Filling<'a> {
    engine: &'a Arc<Engine>,
    line: &'a Arc<Line>,
    claim: &'a Claim,
    span: Span,
    to: Multipart,
    at: u64,
    frames: Gathered,
    /// Where `frames` starts.
    fresh_from: u64,
    share: Option<Reserved>,
    /// For frames that are still to come.
    ahead: Option<Reserved>,
    tails: Vec<Tail>,
    tails_crc: u64,
    /// The digest up to `at`, from the moment on that it is this chunk's turn.
    sha: Option<Sha>,
    summing: Vec<Summing>,
    /// Set while the media has been shown bytes that aren't durable.
    shown: Option<Shown>,
}

/// Bytes that the media may have read: unless they become durable, it must hear that they don't count.
struct Shown {
    window: Arc<Window>,
    /// Where they begin: that another request has made others durable there doesn't make these count.
    from: u64,
    is_durable: bool,
}

impl Drop for Shown {
    fn drop(&mut self) {
        if !self.is_durable {
            self.window.end(self.from);
        }
    }
}

/// A part that the store has.
pub(super) struct Put {
    pub(super) part: Part,
    pub(super) copy: Option<Tail>,
    share: Arc<Option<Reserved>>,
}

impl<'a> Filling<'a> {
    pub(super) fn new(
        engine: &'a Arc<Engine>,
        line: &'a Arc<Line>,
        claim: &'a Claim,
        span: Span,
        to: Multipart,
        checks: Vec<Check>,
    ) -> Self {
        Self {
            engine,
            line,
            claim,
            span,
            to,
            at: span.off,
            frames: Gathered::default(),
            fresh_from: span.off,
            share: None,
            ahead: None,
            tails: Vec::new(),
            tails_crc: digest::crc64(&[]),
            sha: None,
            summing: checks.into_iter().map(Summing::start).collect(),
            shown: None,
        }
    }

    /// The body, and then the part.
    pub(super) async fn arrive<B>(&mut self, body: B, slot: Slot) -> Result<Put, ChunkError>
    where
        B: Stream<Item = Result<Bytes, BodyBroken>> + Send + Unpin,
    {
        self.receive(body).await?;
        self.put(slot).await
    }

    /// Takes the body to its end. It is the chunk then: as long as it must be, and with the checksum that was said.
    async fn receive<B>(&mut self, mut body: B) -> Result<(), ChunkError>
    where
        B: Stream<Item = Result<Bytes, BodyBroken>> + Send + Unpin,
    {
        let engine = Arc::clone(self.engine);
        let mut stopping_since: Option<Instant> = None;
        let mut idle = Idle::default();
        loop {
            self.make_room(FRAME_LEFT_BYTES).await?;
            let frame = loop {
                select! {
                    biased;
                    frame = body.next() => break frame,                          // cancel-safe: an unread frame stays in the body
                    // cancel-safe: a flag and a timer. Only when the client sends nothing: who is sending gets some grace.
                    () = async { engine.stop.cancelled().await; tokio::time::sleep(YIELD_STALL).await } => return Err(ChunkError::Stopping),
                    // cancel-safe: no state. A stalled client gives back what others wait for.
                    () = tokio::time::sleep(EVICT_AFTER) => {
                        self.take_turn().await;
                        if engine.budget.is_short() {
                            self.park().await?;
                            idle.stay_away(&engine.stop).await;
                            self.make_room(FRAME_LEFT_BYTES).await?;
                        }
                    }
                }
            };
            let Some(frame) = frame else { break };
            let frame = frame?;
            idle = Idle::default();
            if engine.stop.is_cancelled() && stopping_since.get_or_insert_with(Instant::now).elapsed() > YIELD_GRACE {
                return Err(ChunkError::Stopping);
            }
            if self.at + frame.len() as u64 > self.span.end {
                return Err(ChunkError::TooLong { len: self.span.len() });
            }
            self.make_room(frame.len()).await?;
            let kept = self.ahead.as_mut().and_then(|ahead| ahead.split(frame.len().min(ahead.num_permits())));
            self.hold(kept);
            self.take_turn().await;
            self.push(frame);
        }
        if self.at < self.span.end {
            return Err(ChunkError::TooShort { len: self.span.len(), sent: self.at - self.span.off });
        }
        mem::take(&mut self.summing).into_iter().try_for_each(|sum| sum.verdict())?;
        Ok(())
    }

    /// Room for a frame of `len` bytes.
    async fn make_room(&mut self, len: usize) -> Result<(), ChunkError> {
        if self.ahead.as_ref().is_some_and(|ahead| ahead.num_permits() >= len) {
            return Ok(());
        }
        self.ahead = None;
        let budget = self.engine.budget.clone();
        self.ahead = match timeout(EVICT_AFTER, budget.reserve(FRAME_BYTES)).await {
            Ok(soon) => Some(soon),
            Err(_) => {
                self.park().await?;
                Some(budget.reserve(FRAME_BYTES).await)
            }
        };
        Ok(())
    }

    fn hold(&mut self, more: Option<Reserved>) {
        match (&mut self.share, more) {
            (Some(share), Some(more)) => share.merge(more),
            (none, more) => *none = more,
        }
    }

    fn push(&mut self, frame: Bytes) {
        self.summing.iter_mut().for_each(|sum| sum.update(&frame));
        if let Some(sha) = &mut self.sha {
            sha.update(&frame);
            self.line.window.offer(self.at, &frame);
        }
        self.at += frame.len() as u64;
        self.frames.push(&frame);
    }

    /// If the cursor has come to this chunk, what came of it is hashed, and what comes will be at once.
    pub(super) async fn take_turn(&mut self) {
        if self.sha.is_some() || !self.tails.is_empty() {
            return;
        }
        let Some(sha) = self.line.cursor().state_at(self.span.off) else { return };
        let (sha, frames) = hashed_apart(sha, self.frames.frames().to_vec()).await;
        self.engine.follow_line(self.line, self.span.off);
        self.shown = Some(Shown { window: Arc::clone(&self.line.window), from: self.span.off, is_durable: false });
        let mut at = self.span.off;
        for frame in &frames {
            self.line.window.offer(at, frame);
            at += frame.len() as u64;
        }
        self.sha = Some(sha);
    }

    /// Gives back all memory: what came is put where the part will find it.
    async fn park(&mut self) -> Result<(), ChunkError> {
        self.ahead = None;
        if self.frames.is_empty() {
            self.share = None;
            return Ok(());
        }
        let tail = Tail {
            key: format!("tails/{}/{}-{}", self.claim.upload, self.fresh_from, self.claim.token.simple()),
            off: self.fresh_from,
            len: self.at - self.fresh_from,
            crc64: digest::crc64(self.frames.frames()),
        };
        let store = &self.engine.store;
        if !store.tails_in_place() {
            rows::park(&self.engine.db, &tail).await?;
        }
        store.put_tail(&self.to, &tail, self.frames.take()).await?;
        self.share = None;
        self.fresh_from = self.at;
        self.tails_crc = digest::crc64_join(self.tails_crc, tail.crc64, tail.len);
        self.tails.push(tail);
        metrics::counter!("millrace_chunks_parked_total").increment(1);
        Ok(())
    }

    /// Sends the part. The call to the store ends before anybody else writes this part in this process, whatever becomes
    /// of the caller: the slot goes along.
    async fn put(&mut self, slot: Slot) -> Result<Put, ChunkError> {
        self.ahead = None;
        self.room_for_tails().await?;
        let crc64 = match (self.tails.is_empty(), digest::crc64(self.frames.frames())) {
            (true, crc) => crc,
            (false, crc) => digest::crc64_join(self.tails_crc, crc, self.at - self.fresh_from),
        };
        let Span { part_no, off, .. } = self.span;
        let mut part = Part { part_no, off, len: self.span.len(), etag: String::new(), crc64 };
        let copy = self.claim.is_shadowed.then(|| Tail {
            key: format!("tails/{}/copy-{part_no}-{}", self.claim.upload, self.claim.token.simple()),
            off,
            len: part.len,
            crc64,
        });
        let share = Arc::new(self.share.take());
        let (store, to, sent, copied) = (Arc::clone(&self.engine.store), self.to.clone(), part.clone(), copy.clone());
        let (tails, from, frames) = (self.tails.clone(), self.fresh_from, self.frames.frames().to_vec());
        let along = (slot, Arc::clone(&share));
        let put = self.engine.tasks.spawn(async move {
            let put = put_twice(&*store, &to, &sent, copied, &tails, from, frames).await;
            drop(along);
            put
        });
        part.etag = put.await.map_err(|e| StoreError::Away(std::io::Error::other(e)))??;
        Ok(Put { part, copy, share })
    }

    /// A store that can't build on parked bytes where they are is sent them again: they need room while they pass.
    async fn room_for_tails(&mut self) -> Result<(), ChunkError> {
        if self.tails.is_empty() || self.engine.store.tails_in_place() {
            return Ok(());
        }
        let parked = usize::try_from(self.fresh_from - self.span.off).unwrap_or(usize::MAX);
        if let Some(now) = self.engine.budget.try_reserve(parked) {
            self.hold(Some(now));
            return Ok(());
        }
        self.park().await?;
        let share = self.engine.budget.clone().reserve(self.span.len()).await;
        self.hold(Some(share));
        Ok(())
    }

    /// The digest's state at the chunk's end, if its turn has come.
    pub(super) fn sha_state(&self) -> Option<Vec<u8>> {
        self.sha.as_ref().map(Sha::midstate)
    }

    /// What it was parked as.
    pub(super) fn parked(&self) -> &[Tail] {
        match self.engine.store.tails_in_place() {
            true => &[],
            false => &self.tails,
        }
    }

    /// The chunk is committed: the cursor passes it, or it waits for its turn while nobody lacks the memory.
    pub(super) fn committed(mut self, put: Put, committed: u64) {
        let Span { off, end, .. } = self.span;
        self.shown.iter_mut().for_each(|shown| shown.is_durable = true);
        let mut cursor = self.line.cursor();
        if let Some(sha) = self.sha {
            cursor.passed(off, end, sha);
        } else {
            let len = usize::try_from(end - off).unwrap_or(usize::MAX);
            let is_whole = self.tails.is_empty() && (cursor.at() == off || !self.engine.budget.is_short());
            match is_whole.then(|| self.engine.lines.ahead.try_reserve(len)).flatten() {
                Some(ahead) => {
                    cursor.hold(off, Held { frames: self.frames.take(), end, share: put.share, _ahead: ahead })
                }
                None => cursor.lose(off),
            }
        }
        drop(cursor);
        // Not before: who reads ahead looks for what waits when it hears of this.
        self.line.window.commit(committed);
        self.line.tell_moved();
    }
}
