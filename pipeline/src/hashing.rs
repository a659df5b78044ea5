//! Digests beside the reading of a socket: they are most of what an upload costs, and needn't hold up the line.
//!
//! Promise: bytes are hashed in the order in which they were offered; a mark answers SHA-256's midstate after all before it,
//!          and the CRC-64/NVME of what came since the mark before.
//! Memory:  what waits here belongs to a part or a tail, whose share of the budget its writer keeps until its mark answers.
//! Fairness: no thread is held by a client that is silent, and a fast one goes to the end of the line now and then.

use std::{
    io, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use crate::digest::{Crc, Sha};

/// Both digests take so much in turn: the second finds it in the cache.
const STEP_BYTES: usize = 64 << 10;

/// A piece below this is hashed at once where nothing is waiting: to wake a thread would cost more.
const ASIDE_BYTES: usize = 128 << 10;

/// How far the digest may fall behind before the line is held up.
const BEHIND_MAX: usize = 4 << 20;

/// After so much a thread lets others have their turn.
const TURN_BYTES: usize = 64 << 20;

/// The digests of one writer.
#[derive(Debug)]
pub(crate) struct Hashing {
    shared: Arc<Shared>,
}

/// What is known at some offset, once it is reached.
#[derive(Debug)]
pub(crate) struct Mark {
    coming: oneshot::Receiver<Marked>,
}

/// That.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Marked {
    /// SHA-256's midstate; `None` behind a hole.
    pub(crate) sha_state: Option<Vec<u8>>,
    /// Since the mark before.
    pub(crate) crc64: u64,
}

#[derive(Debug)]
struct Digests {
    sha: Option<Sha>,
    crc: Crc,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    caught_up: Notify,
}

#[derive(Debug)]
struct Inner {
    /// Away with the thread that is at work.
    digests: Option<Digests>,
    waiting: Vec<Step>,
    /// Bytes that wait or are at work.
    behind: usize,
}

#[derive(Debug)]
enum Step {
    Bytes(Bytes),
    Mark(oneshot::Sender<Marked>),
}

impl Hashing {
    /// Goes on from a digest; `None`: it isn't known behind a hole.
    pub(crate) fn new(sha: Option<Sha>) -> Self {
        let digests = Some(Digests { sha, crc: Crc::default() });
        let inner = Mutex::new(Inner { digests, waiting: Vec::new(), behind: 0 });
        Self { shared: Arc::new(Shared { inner, caught_up: Notify::new() }) }
    }

    /// The next bytes; `aside`: a thread of their own is worth it. Waits only while the digests are far behind. Cancel-safe:
    /// they are taken first.
    pub(crate) async fn update(&self, piece: &Bytes, aside: bool) {
        self.shared.take(piece, aside);
        loop {
            let caught_up = self.shared.caught_up.notified();
            tokio::pin!(caught_up);
            caught_up.as_mut().enable();
            if self.shared.lock().behind <= BEHIND_MAX {
                return;
            }
            caught_up.await;
        }
    }

    /// What is known after what was offered up to here.
    pub(crate) fn mark(&self) -> Mark {
        let (tell, coming) = oneshot::channel();
        let mut inner = self.shared.lock();
        match &mut inner.digests {
            // Whoever asked may have left.
            Some(digests) => drop(tell.send(digests.marked())),
            None => inner.waiting.push(Step::Mark(tell)),
        }
        Mark { coming }
    }
}

impl Mark {
    /// Waits until it is reached.
    ///
    /// # Errors
    /// The thread that was to tell it is gone: the process is ending.
    pub(crate) async fn reached(self) -> io::Result<Marked> {
        self.coming.await.map_err(|_| io::Error::other("the digests were given up"))
    }
}

impl Digests {
    fn update(&mut self, bytes: &[u8]) {
        for step in bytes.chunks(STEP_BYTES) {
            if let Some(sha) = &mut self.sha {
                sha.update(step);
            }
            self.crc.update(step);
        }
    }

    fn marked(&mut self) -> Marked {
        let crc64 = mem::take(&mut self.crc).value();
        Marked { sha_state: self.sha.as_ref().map(Sha::midstate), crc64 }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, piece: &Bytes, aside: bool) {
        let mut inner = self.lock();
        match inner.digests.take() {
            Some(mut digests) if !aside || piece.len() < ASIDE_BYTES => {
                digests.update(piece);
                inner.digests = Some(digests);
            }
            idle => {
                inner.behind += piece.len();
                inner.waiting.push(Step::Bytes(piece.clone()));
                if let Some(digests) = idle {
                    self.go_on(digests);
                }
            }
        }
    }

    fn go_on(self: &Arc<Self>, digests: Digests) {
        let shared = Arc::clone(self);
        tokio::task::spawn_blocking(move || shared.work(digests));
    }

    /// One turn of one thread.
    fn work(self: &Arc<Self>, mut digests: Digests) {
        let mut done = 0;
        loop {
            let steps = {
                let mut inner = self.lock();
                if inner.waiting.is_empty() {
                    inner.digests = Some(digests);
                    return;
                }
                if done > TURN_BYTES {
                    return self.go_on(digests);
                }
                mem::take(&mut inner.waiting)
            };
            for step in steps {
                match step {
                    Step::Bytes(bytes) => {
                        digests.update(&bytes);
                        done += bytes.len();
                        self.lock().behind -= bytes.len();
                        self.caught_up.notify_waiters();
                    }
                    // Whoever asked may have left.
                    Step::Mark(tell) => drop(tell.send(digests.marked())),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::digest::crc64;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn marks_are_where_they_were_set(lengths in prop::collection::vec((0..3 * ASIDE_BYTES, any::<bool>()), 1..12)) {
            tokio::runtime::Runtime::new().unwrap().block_on(async {
                let (hashing, mut whole, mut marks) = (Hashing::new(Some(Sha::new())), Sha::new(), Vec::new());
                for (i, (length, aside)) in lengths.into_iter().enumerate() {
                    let piece = Bytes::from(vec![u8::try_from(i).unwrap(); length]);
                    whole.update(&piece);
                    hashing.update(&piece, aside).await;
                    let expected = Marked { sha_state: Some(whole.midstate()), crc64: crc64(&[piece]) };
                    marks.push((hashing.mark(), expected));
                }
                for (mark, expected) in marks {
                    prop_assert_eq!(mark.reached().await.unwrap(), expected);
                }
                Ok(())
            })?;
        }
    }

    #[tokio::test]
    async fn behind_a_hole_only_the_crc_is_known() {
        let hashing = Hashing::new(None);
        let piece = Bytes::from_static(b"abc");
        hashing.update(&piece, true).await;
        let expected = Marked { sha_state: None, crc64: crc64(&[piece]) };
        assert_eq!(hashing.mark().reached().await.unwrap(), expected);
    }

    #[tokio::test]
    async fn never_falls_far_behind() {
        let hashing = Hashing::new(Some(Sha::new()));
        let piece = Bytes::from(vec![7; BEHIND_MAX / 2]);
        for _ in 0..20 {
            hashing.update(&piece, true).await;
            assert!(hashing.shared.lock().behind <= BEHIND_MAX);
        }
    }
}
