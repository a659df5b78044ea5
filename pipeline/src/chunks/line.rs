//! The uploads whose chunks this process takes: who writes which part, and the digest's cursor over them.
//!
//! Promise: of one part there is one writer in this process, until its last store call has ended. Chunks that wait for
//!          the cursor cost nobody anything: once somebody waits for memory, they give it back, the farthest first.
//! Memory:  a waiting chunk keeps its share of the budget; all together at most one in `AHEAD_SHARE` of it.
//! Absent:  other processes. A claim's row keeps those away, and the midstates in the parts' rows bring the cursor on.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use schema::{Id, track::Track, upload::Upload};
use tokio::{
    select,
    sync::{Notify, OnceCell},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{cursor::Cursor, rows};
use crate::{
    budget::{Budget, Reserved},
    digest::Sha,
    engine::Engine,
    limits::EVICT_AFTER,
    resource::Look,
    store::Multipart,
    tee::{Phase, Window},
};

/// Chunks that wait for their turn may keep one in this many bytes of the budget.
const AHEAD_SHARE: u64 = 2;

/// How long a chunk ahead of the cursor is kept waiting for room, so that the one at the cursor gets it: long enough for
/// one chunk on a slow line, shorter than anybody's patience.
const AHEAD_WAIT: Duration = Duration::from_secs(2);

/// A line that nobody put a chunk into for this long is forgotten, with what waits in it: the rows bring it back.
const IDLE: Duration = Duration::from_secs(60);

/// Between two looks for idle lines.
const IDLE_LOOK: Duration = Duration::from_secs(5);

/// Between two evictions: whoever waits takes what the first gave back before the next is judged.
const EVICT_PAUSE: Duration = Duration::from_millis(5);

/// A chunk that is committed and waits for the cursor.
pub(super) struct Held {
    pub(super) frames: Vec<Bytes>,
    pub(super) end: u64,
    pub(super) share: Arc<Option<Reserved>>,
    pub(super) _ahead: Reserved,
}

/// One upload's chunks in this process.
pub(crate) struct Line {
    pub(crate) upload: Id<Upload>,
    pub(super) track: Option<Id<Track>>,
    pub(super) length: Option<u64>,
    part_bytes: u64,
    cursor: Mutex<Cursor<Held>>,
    moved: Notify,
    writing: Mutex<HashSet<i32>>,
    left: Notify,
    /// Where the parts go, once that is begun.
    pub(super) object: OnceCell<Multipart>,
    pub(super) over: CancellationToken,
    pub(super) window: Arc<Window>,
    used: Mutex<Instant>,
}

/// All lines of a process.
pub(crate) struct Lines {
    by_upload: Mutex<HashMap<Uuid, Arc<Line>>>,
    pub(super) ahead: Budget,
}

/// The right to write one part, in this process. It ends when dropped.
pub(super) struct Slot {
    line: Arc<Line>,
    part_no: i32,
}

impl Lines {
    /// For a process whose uploads have `bytes` of memory.
    pub(crate) fn new(bytes: u64) -> Self {
        Self { by_upload: Mutex::default(), ahead: Budget::new(bytes / AHEAD_SHARE) }
    }

    /// The upload takes no more chunks: whoever is sending one is stopped.
    pub(crate) fn end(&self, upload: Id<Upload>) {
        if let Some(line) = lock(&self.by_upload).remove(&upload.uuid()) {
            line.over.cancel();
        }
    }

    /// The line of an upload that somebody puts chunks into.
    pub(super) fn of(&self, upload: Id<Upload>) -> Option<Arc<Line>> {
        lock(&self.by_upload).get(&upload.uuid()).cloned()
    }

    /// The same, by its track.
    pub(crate) fn of_track(&self, track: Id<Track>) -> Option<Arc<Line>> {
        lock(&self.by_upload).values().find(|line| line.track == Some(track)).cloned()
    }

    /// The chunk that is farthest ahead gives its memory back. `false`: none waits.
    fn evict(&self) -> bool {
        let lines: Vec<_> = lock(&self.by_upload).values().cloned().collect();
        let farthest = lines.iter().max_by_key(|line| lock(&line.cursor).ahead());
        farthest.is_some_and(|line| lock(&line.cursor).evict())
    }

    fn forget_idle(&self) {
        lock(&self.by_upload).retain(|_, line| {
            let is_written = !lock(&line.writing).is_empty() || Arc::strong_count(line) > 1;
            is_written || lock(&line.used).elapsed() < IDLE
        });
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} lines", lock(&self.by_upload).len())
    }
}

impl Line {
    fn new(look: &Look, window: Arc<Window>) -> Self {
        Self {
            upload: look.id,
            track: look.track,
            length: look.length,
            part_bytes: look.part_bytes,
            cursor: Mutex::new(Cursor::new()),
            moved: Notify::new(),
            writing: Mutex::default(),
            left: Notify::new(),
            object: OnceCell::new(),
            over: CancellationToken::new(),
            window,
            used: Mutex::new(Instant::now()),
        }
    }

    /// Becomes the part's writer; `None`: another one wasn't done in time.
    pub(super) async fn enter(self: &Arc<Self>, part_no: i32, deadline: Instant) -> Option<Slot> {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            if lock(&self.writing).insert(part_no) {
                return Some(Slot { line: Arc::clone(self), part_no });
            }
            timeout_at(deadline, left).await.ok()?;
        }
    }

    pub(super) fn cursor(&self) -> MutexGuard<'_, Cursor<Held>> {
        lock(&self.cursor)
    }

    /// What there is from `off` on, to its frame's end, of a chunk that is committed and waits in memory for its turn.
    pub(crate) fn waiting(&self, off: u64) -> Option<Bytes> {
        let cursor = self.cursor();
        let (mut at, held) = cursor.held_at(off)?;
        for frame in &held.frames {
            let end = at + frame.len() as u64;
            if off < end {
                return Some(frame.slice(usize::try_from(off - at).ok()?..));
            }
            at = end;
        }
        None
    }

    /// The byte at `off` is of a later chunk than the one whose turn it is.
    pub(crate) fn is_ahead(&self, off: u64) -> bool {
        off >= self.cursor().at() + self.part_bytes
    }

    /// The cursor has moved, by whomever.
    pub(super) fn tell_moved(&self) {
        self.moved.notify_waiters();
    }

    /// Until nobody hashes what was held.
    pub(super) async fn settled(&self, deadline: Instant) {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if !self.cursor().is_busy() || timeout_at(deadline, moved).await.is_err() {
                return;
            }
        }
    }
}

impl Engine {
    /// The line of an upload.
    pub(super) fn line(&self, look: &Look) -> Arc<Line> {
        let mut lines = lock(&self.lines.by_upload);
        let line = lines.entry(look.id.uuid()).or_insert_with(|| {
            let new = |budget| Window::new(budget, look.offset, look.length, Phase::Receiving);
            let window = match look.track {
                Some(track) => self.window_or(track, new),
                None => Arc::new(new(self.media_budget.clone())),
            };
            Arc::new(Line::new(look, window))
        });
        *lock(&line.used) = Instant::now();
        Arc::clone(line)
    }

    /// A chunk far ahead waits a moment for the cursor while memory is scarce: read now, it could only be thrown away.
    pub(super) async fn wait_behind(&self, line: &Line, off: u64, len: u64) {
        let deadline = Instant::now() + AHEAD_WAIT;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        loop {
            let moved = line.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            let is_ahead = line.cursor().is_open_to(off) && line.cursor().at() != off;
            if !is_ahead || (self.budget.free() >= len && self.lines.ahead.free() >= len) || Instant::now() >= deadline
            {
                return;
            }
            select! {
                () = moved => {}                                                      // cancel-safe: a notice
                () = tokio::time::sleep(EVICT_AFTER) => {}                            // cancel-safe: no state
            }
        }
    }

    /// Hashes what waits at the cursor, as far as it goes, shows it to the media, and remembers the state in the rows.
    pub(super) async fn catch_up(&self, line: &Line) {
        let mut hashed = false;
        loop {
            let next = line.cursor().next();
            let Some((off, held, sha)) = next else { break };
            let (sha, frames) = hashed_apart(sha, held.frames).await;
            let mut at = off;
            for frame in &frames {
                line.window.offer(at, frame);
                at += frame.len() as u64;
            }
            drop((frames, held.share));
            line.cursor().done(held.end, sha);
            line.tell_moved();
            hashed = true;
        }
        if hashed {
            self.keep_midstate(line).await;
        }
    }

    /// Puts the state at the cursor into the row that ends there, where it isn't yet. Lost, it costs a read at the end.
    pub(super) async fn keep_midstate(&self, line: &Line) {
        let (at, state) = {
            let cursor = line.cursor();
            (cursor.at(), cursor.midstate())
        };
        if at > 0
            && let Err(error) = rows::keep_midstate(&self.db, line.upload, at, &state).await
        {
            tracing::warn!(upload.id = %line.upload, %error, "a digest's midstate isn't kept");
        }
    }

    /// Gives back what waits in memory as soon as somebody lacks it, and forgets idle lines; until the process stops.
    pub(crate) async fn keep_room(self: Arc<Self>) {
        loop {
            let pause = select! {
                () = self.stop.cancelled() => return,                                 // cancel-safe: a flag
                () = self.budget.shortage() => match self.lines.evict() {             // cancel-safe: a notice
                    true => EVICT_PAUSE,
                    false => EVICT_AFTER,
                },
                () = tokio::time::sleep(IDLE_LOOK) => {                               // cancel-safe: no state
                    self.lines.forget_idle();
                    Duration::ZERO
                }
            };
            tokio::time::sleep(pause).await;
        }
    }
}

/// A chunk takes milliseconds: away from the threads that serve sockets.
pub(super) async fn hashed_apart(mut sha: Sha, frames: Vec<Bytes>) -> (Sha, Vec<Bytes>) {
    let work = tokio::task::spawn_blocking(move || {
        frames.iter().for_each(|frame| sha.update(frame));
        (sha, frames)
    });
    work.await.expect("hashing doesn't panic, and the runtime waits for what it began")
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.line.writing).remove(&self.part_no);
        self.line.left.notify_waiters();
    }
}
