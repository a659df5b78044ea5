//! The bytes between the socket and their rows: frames fill a part, whole parts leave for the store, the rest is a tail.
//!
//! Promise: parts are committed in order, each after the store has it; nothing is acknowledged from here.
//! Memory:  every frame's share of the budget travels with its part and is given back when that is durable.
//! A request with a checksum commits all its pieces at its end, or none.
//! Absent:  leases, ends of uploads, and retries: an error ends the request, and the offset tells where to go on.

mod commit;
mod leave;

pub(crate) use leave::put_twice;

use std::{collections::VecDeque, ops::Range, pin::pin, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use time::OffsetDateTime;
use tokio::{
    select,
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use self::commit::Committing;
use crate::{
    budget::{Idle, Reserved},
    check::{Check, Summing},
    digest::Sha,
    engine::Engine,
    gathered::Gathered,
    hashing::Hashing,
    lease::{Ask, Lease},
    limits::{EVICT_AFTER, FRAME_BYTES, FRAME_LEFT_BYTES, PartMap, YIELD_GRACE, YIELD_STALL},
    origin::Origin,
    parts::{self, Piece, Standing, What},
    quota::Room,
    scan::Live,
    session::{AppendError, BodyBroken},
    spare::Kept,
    store::{Multipart, StoreError, Tail},
    tee::Window,
};

/// What this writer is asked, once it is asked anything and its client has sent nothing for a moment. A process that ends
/// asks everybody, also who comes late.
async fn asked_to_stop(ask: &mut watch::Receiver<Ask>, stop: &CancellationToken) -> Ask {
    let asked = select! {
        asked = ask.wait_for(|a| *a != Ask::Nothing) => asked.map_or(Ask::Yield, |a| *a),   // cancel-safe: a watch channel
        () = stop.cancelled() => Ask::Flush,                                                // cancel-safe: a flag
    };
    sleep(YIELD_STALL).await;
    asked
}

/// How that ends the request.
fn stopped(asked: Ask) -> AppendError {
    match asked {
        Ask::Flush => AppendError::Stopping,
        _ => AppendError::Busy,
    }
}

/// A part on its way to the store, and then what must be committed.
type InFlight = JoinHandle<Result<Piece, StoreError>>;

/// What a request with a checksum has in the store and not yet in the rows.
struct Checked {
    summing: Option<Summing>,
    pieces: Vec<Piece>,
}

/// The state of one append between its frames.
pub(crate) struct Writing<'a> {
    engine: &'a Engine,
    lease: &'a Lease,
    to: Multipart,
    map: PartMap,
    pub(crate) length: Option<u64>,
    pub(crate) committed: u64,
    /// The offset of the next byte to come.
    at: u64,
    hashing: Hashing,
    /// Durable tails of the part that is filling, with the CRC over them.
    tails: Vec<Tail>,
    tails_crc: u64,
    /// The bytes of all those tails, where the store would have to be asked for them and memory has room.
    kept: Option<(Vec<Bytes>, Option<Reserved>)>,
    /// Where `frames` starts.
    fresh_from: u64,
    frames: Gathered,
    share: Option<Reserved>,
    /// For frames that are still to come.
    ahead: Option<Reserved>,
    in_flight: VecDeque<InFlight>,
    /// What the store has, in order, and nobody commits yet.
    arrived: Vec<Piece>,
    committing: Option<Committing>,
    commit_begun: Option<Instant>,
    /// The lease may go back with the last commit, which saves a statement for every request.
    pub(crate) may_let_go: bool,
    /// It has: nothing may be written any more. When the upload is given up.
    pub(crate) freed_until: Option<OffsetDateTime>,
    object_count: u32,
    max_bytes: u64,
    /// Of the account, while the length is unknown.
    pub(crate) room: Option<Room>,
    /// Goes along while the bytes of the whole upload pass here in order.
    pub(crate) scan: Option<Live>,
    shadow: Range<i32>,
    checked: Option<Checked>,
    /// Of a final upload: which objects have its bytes already.
    pub(crate) origin: Option<Arc<Origin>>,
    pub(crate) window: Arc<Window>,
    /// Hears of what is committed.
    pub(crate) tell: Option<watch::Sender<u64>>,
}

impl<'a> Writing<'a> {
    pub(crate) fn new(
        engine: &'a Engine,
        lease: &'a Lease,
        to: Multipart,
        standing: Standing,
        window: Arc<Window>,
        check: Option<Check>,
    ) -> Self {
        let kept = match standing.tails.is_empty() {
            true => Some((Vec::new(), None)),
            false => {
                engine.budget.spare().take(lease.upload.uuid(), standing.committed).map(|k| (k.frames, Some(k.share)))
            }
        };
        Self {
            kept: kept.filter(|_| !engine.store.tails_in_place()),
            engine,
            lease,
            to,
            map: PartMap { part_bytes: standing.part_bytes },
            length: standing.length,
            committed: standing.committed,
            at: standing.committed,
            hashing: Hashing::new(standing.sha_state.as_deref().and_then(Sha::resume)),
            tails: standing.tails,
            tails_crc: standing.tails_crc,
            fresh_from: standing.committed,
            frames: Gathered::default(),
            share: None,
            ahead: None,
            in_flight: VecDeque::new(),
            arrived: Vec::new(),
            committing: None,
            commit_begun: None,
            may_let_go: false,
            freed_until: None,
            object_count: 0,
            shadow: standing.shadow,
            checked: check.map(|check| Checked { summing: Some(Summing::start(check)), pieces: Vec::new() }),
            origin: None,
            max_bytes: engine.limits.max_bytes,
            room: None,
            scan: None,
            window,
            tell: None,
        }
    }

    /// The offset of the next byte to come.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// All of this request, or nothing.
    pub(crate) fn is_checked(&self) -> bool {
        self.checked.is_some()
    }

    /// Takes the body frame by frame until it ends.
    pub(crate) async fn receive<B>(&mut self, ask: watch::Receiver<Ask>, body: B) -> Result<(), AppendError>
    where
        B: Stream<Item = Result<Bytes, BodyBroken>> + Send + Unpin,
    {
        self.close_full_part().await?;
        let received = self.take_frames(ask, body).await;
        self.ahead = None;
        if matches!(received, Err(AppendError::Store(_))) {
            // What came before that which failed is there.
            self.commit_now().await?;
        }
        received
    }

    async fn take_frames<B>(&mut self, mut ask: watch::Receiver<Ask>, mut body: B) -> Result<(), AppendError>
    where
        B: Stream<Item = Result<Bytes, BodyBroken>> + Send + Unpin,
    {
        let mut asked_at: Option<Instant> = None;
        let mut idle = Idle::default();
        // One that is early only looks again: set anew with each frame, it would wake a processor each time.
        let (mut alarm, mut heard) = (pin!(sleep(EVICT_AFTER)), Instant::now());
        loop {
            self.make_room(&mut ask, FRAME_LEFT_BYTES).await?;
            let frame = loop {
                select! {
                    biased;
                    () = self.lease.lost() => return Err(AppendError::Fenced),   // cancel-safe: a flag
                    frame = body.next() => break frame,                          // cancel-safe: an unread frame stays in the body
                    // cancel-safe: a watch channel and a timer. Only when the client sends nothing: who is sending gets some grace.
                    asked = asked_to_stop(&mut ask, &self.engine.stop) => return Err(stopped(asked)),
                    // cancel-safe: no state. A stalled client gives back what others wait for.
                    () = alarm.as_mut() => {
                        let is_stalled = heard.elapsed() >= EVICT_AFTER;
                        if is_stalled && self.engine.budget.is_short() {
                            self.give_back().await?;
                            self.unless_asked(&mut ask, idle.stay_away(&self.engine.stop)).await?;
                            self.make_room(&mut ask, FRAME_LEFT_BYTES).await?;
                        }
                        // A client that stops leaves nothing waiting to be committed.
                        self.commit_arrived().await?;
                        alarm.as_mut().reset(if is_stalled { Instant::now() } else { heard } + EVICT_AFTER);
                    }
                }
            };
            let Some(frame) = frame else { return Ok(()) };
            let frame = frame?;
            (idle, heard) = (Idle::default(), Instant::now());
            let asked = if self.engine.stop.is_cancelled() { Ask::Flush } else { *ask.borrow() };
            if asked != Ask::Nothing && asked_at.get_or_insert_with(Instant::now).elapsed() > YIELD_GRACE {
                return Err(stopped(asked));
            }
            self.fits(frame.len())?;
            self.make_room(&mut ask, frame.len()).await?;
            let kept = self.ahead.as_mut().and_then(|ahead| ahead.split(frame.len().min(ahead.num_permits())));
            self.hold(kept);
            self.push(frame).await?;
            self.commit_arrived().await?;
        }
    }

    fn fits(&self, more: usize) -> Result<(), AppendError> {
        let end = self.at + more as u64;
        match self.length {
            Some(length) if end > length => Err(AppendError::PastLength { length, offset: self.committed }),
            None if end > self.max_bytes => Err(AppendError::TooLarge { max: self.max_bytes }),
            None => Ok(self.room.map_or(Ok(()), |room| room.holds(end))?),
            Some(_) => Ok(()),
        }
    }

    /// Room for a frame of `len` bytes. Who can't have it at once first gives back all that it holds.
    async fn make_room(&mut self, ask: &mut watch::Receiver<Ask>, len: usize) -> Result<(), AppendError> {
        if self.ahead.as_ref().is_some_and(|ahead| ahead.num_permits() >= len) {
            return Ok(());
        }
        self.ahead = None;
        let budget = self.engine.budget.clone();
        self.ahead = match tokio::time::timeout(EVICT_AFTER, budget.reserve(FRAME_BYTES)).await {
            Ok(soon) => Some(soon),
            Err(_) => {
                self.give_back().await?;
                Some(self.unless_asked(ask, budget.reserve(FRAME_BYTES)).await?)
            }
        };
        Ok(())
    }

    /// A wait in which this writer hears when it isn't wanted any more. It holds nothing that isn't durable meanwhile.
    async fn unless_asked<T>(
        &self,
        ask: &mut watch::Receiver<Ask>,
        wait: impl Future<Output = T>,
    ) -> Result<T, AppendError> {
        select! {
            biased;
            () = self.lease.lost() => Err(AppendError::Fenced),                                     // cancel-safe: a flag
            done = wait => Ok(done),                                                               // cancel-safe: see the callers'
            asked = asked_to_stop(ask, &self.engine.stop) => Err(stopped(asked)),                  // cancel-safe: a watch channel
        }
    }

    /// Holds no memory after this: nobody waits for some while holding some.
    async fn give_back(&mut self) -> Result<(), AppendError> {
        (self.kept, self.ahead) = (None, None);
        self.put_rest().await
    }

    fn hold(&mut self, more: Option<Reserved>) {
        match (&mut self.share, more) {
            (Some(share), Some(more)) => share.merge(more),
            (none, more) => *none = more,
        }
    }

    /// One frame into digest, tee and the filling part; whole parts leave for the store.
    async fn push(&mut self, mut frame: Bytes) -> Result<(), AppendError> {
        while !frame.is_empty() {
            let end = self.map.end(self.at, self.length);
            let room = usize::try_from(end - self.at).unwrap_or(usize::MAX);
            let piece = frame.split_to(room.min(frame.len()));
            self.frames.push(&piece);
            self.hashing.update(&piece, self.engine.has_idle_processors()).await;
            if let Some(summing) = self.checked.as_mut().and_then(|checked| checked.summing.as_mut()) {
                summing.update(&piece);
            }
            self.window.offer(self.at, &piece);
            if let Some(scan) = &mut self.scan {
                scan.offer(self.at, &piece);
            }
            self.at += piece.len() as u64;
            // The last part waits for the end of the body: a byte more, and it must not be committed.
            if self.at == end && Some(end) != self.length {
                self.send_part().await?;
            }
        }
        Ok(())
    }

    /// Makes everything that came durable and committed: parts under way, then the rest as the last part or a tail. A
    /// request with a checksum is judged first.
    ///
    /// # Errors
    /// `Check`: nothing is committed, and `discard` has to follow.
    pub(crate) async fn flush(&mut self) -> Result<(), AppendError> {
        let put = self.put_all().await;
        if put.is_ok() {
            self.check_now()?;
            self.arrived.extend(self.checked.take().into_iter().flat_map(|checked| checked.pieces));
        }
        let lets_go = put.is_ok() && self.may_let_go && Some(self.at) != self.length;
        self.commit(lets_go).await?;
        put
    }

    /// The same, and committed, unless a checksum is to be waited for.
    async fn put_rest(&mut self) -> Result<(), AppendError> {
        let put = self.put_all().await;
        self.commit_now().await?;
        put
    }

    /// Everything that came is in the store after this.
    async fn put_all(&mut self) -> Result<(), AppendError> {
        let is_end = Some(self.at) == self.length && self.at > 0;
        if is_end && (!self.frames.is_empty() || !self.tails.is_empty()) {
            self.send_part().await?;
        }
        while !self.in_flight.is_empty() {
            self.take_oldest().await?;
        }
        self.put_tail().await
    }

    /// The bytes are all there: have they the checksum that the client said? Asked once; without one, they have.
    pub(crate) fn check_now(&mut self) -> Result<(), AppendError> {
        let summing = self.checked.as_mut().and_then(|checked| checked.summing.take());
        summing.map_or(Ok(()), |summing| summing.verdict().map_err(AppendError::Check))
    }

    /// Forgets what isn't committed. Parts that the store has are written again by whoever goes on; other objects are
    /// deleted.
    pub(crate) async fn discard(&mut self) -> Result<(), AppendError> {
        let Some(checked) = self.checked.take() else { return Ok(()) };
        let objects = checked.pieces.iter().filter_map(|piece| match &piece.what {
            What::Part(_, copy) => copy.as_ref(),
            What::Tail(tail) => Some(tail),
        });
        Ok(parts::bury(&self.engine.db, objects).await?)
    }

    /// Waits for what is under way in the store without committing it: nobody writes there after the lease is given back.
    pub(crate) async fn settle(&mut self) {
        for under_way in self.in_flight.drain(..) {
            let _ = under_way.await;
        }
        self.hear_last_commit().await;
        (self.share, self.ahead) = (None, None);
        // Whoever goes on from here finds the open part's bytes.
        if let Some((frames, Some(share))) = self.kept.take()
            && self.committed == self.at
            && !self.engine.budget.is_short()
        {
            let kept = Kept { at: self.at, frames, share };
            self.engine.budget.spare().keep(self.lease.upload.uuid(), kept);
        }
    }
}
