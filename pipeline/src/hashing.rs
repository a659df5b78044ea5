//! SHA-256 beside the reading of a socket: the digest is most of what an upload costs, and needn't hold up the line.
//!
//! Promise: bytes are hashed in the order in which they were offered; a mark answers the midstate after all before it.
//! Memory:  what waits here belongs to a part or a tail, whose share of the budget its writer keeps until its mark answers.
//! Fairness: no thread is held by a client that is silent, and a fast one goes to the end of the line now and then.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use crate::digest::Sha;

/// A piece below this is hashed at once where nothing is waiting: to wake a thread would cost more.
const ASIDE_BYTES: usize = 128 << 10;

/// How far the digest may fall behind before the line is held up.
const BEHIND_MAX: usize = 4 << 20;

/// After so much a thread lets others have their turn.
const TURN_BYTES: usize = 64 << 20;

/// The digest of one writer. `None` inside: it isn't known behind a hole, and nothing is hashed.
#[derive(Debug)]
pub(crate) struct Hashing {
    shared: Option<Arc<Shared>>,
}

/// The digest's midstate at some offset, once it is reached. `None`: it isn't known there.
#[derive(Debug)]
pub(crate) struct Mark {
    coming: Option<oneshot::Receiver<Vec<u8>>>,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    caught_up: Notify,
}

#[derive(Debug)]
struct Inner {
    /// Away with the thread that is at work.
    sha: Option<Sha>,
    waiting: Vec<Step>,
    /// Bytes that wait or are at work.
    behind: usize,
}

#[derive(Debug)]
enum Step {
    Bytes(Bytes),
    Mark(oneshot::Sender<Vec<u8>>),
}

impl Hashing {
    /// Goes on from a digest.
    pub(crate) fn new(sha: Option<Sha>) -> Self {
        let inner = |sha| Inner { sha: Some(sha), waiting: Vec::new(), behind: 0 };
        let shared = sha.map(|sha| Arc::new(Shared { inner: Mutex::new(inner(sha)), caught_up: Notify::new() }));
        Self { shared }
    }

    /// The next bytes; `aside`: a thread of their own is worth it. Waits only while the digest is far behind. Cancel-safe:
    /// they are taken first.
    pub(crate) async fn update(&self, piece: &Bytes, aside: bool) {
        let Some(shared) = &self.shared else { return };
        shared.take(piece, aside);
        loop {
            let caught_up = shared.caught_up.notified();
            tokio::pin!(caught_up);
            caught_up.as_mut().enable();
            if shared.lock().behind <= BEHIND_MAX {
                return;
            }
            caught_up.await;
        }
    }

    /// The midstate after what was offered up to here.
    pub(crate) fn mark(&self) -> Mark {
        let Some(shared) = &self.shared else { return Mark { coming: None } };
        let (tell, coming) = oneshot::channel();
        let mut inner = shared.lock();
        match &inner.sha {
            // Whoever asked may have left.
            Some(sha) => drop(tell.send(sha.midstate())),
            None => inner.waiting.push(Step::Mark(tell)),
        }
        Mark { coming: Some(coming) }
    }
}

impl Mark {
    /// Waits until it is reached. Cancel-safe.
    pub(crate) async fn midstate(self) -> Option<Vec<u8>> {
        self.coming?.await.ok()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, piece: &Bytes, aside: bool) {
        let mut inner = self.lock();
        match inner.sha.take() {
            Some(mut sha) if !aside || piece.len() < ASIDE_BYTES => {
                sha.update(piece);
                inner.sha = Some(sha);
            }
            idle => {
                inner.behind += piece.len();
                inner.waiting.push(Step::Bytes(piece.clone()));
                if let Some(sha) = idle {
                    self.go_on(sha);
                }
            }
        }
    }

    fn go_on(self: &Arc<Self>, sha: Sha) {
        let shared = Arc::clone(self);
        tokio::task::spawn_blocking(move || shared.work(sha));
    }

    /// One turn of one thread.
    fn work(self: &Arc<Self>, mut sha: Sha) {
        let mut done = 0;
        loop {
            let steps = {
                let mut inner = self.lock();
                if inner.waiting.is_empty() {
                    inner.sha = Some(sha);
                    return;
                }
                if done > TURN_BYTES {
                    return self.go_on(sha);
                }
                mem::take(&mut inner.waiting)
            };
            for step in steps {
                match step {
                    Step::Bytes(bytes) => {
                        sha.update(&bytes);
                        done += bytes.len();
                        self.lock().behind -= bytes.len();
                        self.caught_up.notify_waiters();
                    }
                    // Whoever asked may have left.
                    Step::Mark(tell) => drop(tell.send(sha.midstate())),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
                    marks.push((hashing.mark(), whole.midstate()));
                }
                for (mark, expected) in marks {
                    prop_assert_eq!(mark.midstate().await, Some(expected));
                }
                Ok(())
            })?;
        }
    }

    #[tokio::test]
    async fn nothing_is_known_behind_a_hole() {
        let hashing = Hashing::new(None);
        hashing.update(&Bytes::from_static(b"abc"), true).await;
        assert_eq!(hashing.mark().midstate().await, None);
    }

    #[tokio::test]
    async fn never_falls_far_behind() {
        let hashing = Hashing::new(Some(Sha::new()));
        let piece = Bytes::from(vec![7; BEHIND_MAX / 2]);
        for _ in 0..20 {
            hashing.update(&piece, true).await;
            assert!(hashing.shared.as_ref().unwrap().lock().behind <= BEHIND_MAX);
        }
    }
}
