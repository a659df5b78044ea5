//! Where an upload's SHA-256 stands while its chunks arrive in any order.
//!
//! ```text
//! [0 … at) hashed and committed │ the chunk at `at`: hashed as it comes │ chunks beyond: held until their turn, or lost
//! ```
//! Promise: the state at `at` is that of the committed bytes below it: the cursor passes a chunk only once its row is
//!          there, so what breaks off or is refused needs no way back. One hashes at a time.
//! Lost:    a chunk whose bytes left memory before their turn is a gap; the cursor never passes it, nothing behind it is
//!          held, and the digest is taken from the object before publication.
//! Absent:  locks, rows, memory accounts. `line` has them.

use std::collections::BTreeMap;

use crate::digest::Sha;

/// The cursor of one upload in this process; `H` is what keeps a waiting chunk's bytes.
pub(crate) struct Cursor<H> {
    at: u64,
    sha: Sha,
    held: BTreeMap<u64, H>,
    gap: Option<u64>,
    /// Somebody hashes the chunk at `at` out of what was held.
    busy: bool,
}

impl<H> Cursor<H> {
    /// At byte 0, with nothing waiting.
    pub(crate) fn new() -> Self {
        Self { at: 0, sha: Sha::new(), held: BTreeMap::new(), gap: None, busy: false }
    }

    /// Everything below is hashed.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// The state at the cursor, for a row that has none yet.
    pub(crate) fn midstate(&self) -> Vec<u8> {
        self.sha.midstate()
    }

    /// Held chunks wait for their turn, or one has it.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Whether bytes at `off` can still come to their turn.
    pub(crate) fn is_open_to(&self, off: u64) -> bool {
        off >= self.at && self.gap.is_none_or(|gap| off < gap)
    }

    /// The state with which the chunk at `off` begins, when it is its turn.
    pub(crate) fn state_at(&self, off: u64) -> Option<Sha> {
        (self.at == off && !self.busy).then(|| self.sha.clone())
    }

    /// The chunk `[off, end)` is committed, and `sha` is the state behind it.
    pub(crate) fn passed(&mut self, off: u64, end: u64, sha: Sha) {
        if self.at == off && !self.busy {
            self.moved(end, sha);
        }
    }

    /// Somebody else got further: another node, or an earlier process.
    pub(crate) fn moved(&mut self, at: u64, sha: Sha) {
        if at <= self.at {
            return;
        }
        (self.at, self.sha) = (at, sha);
        self.held = self.held.split_off(&at);
        self.gap = self.gap.filter(|gap| *gap >= at);
    }

    /// A committed chunk waits for its turn.
    pub(crate) fn hold(&mut self, off: u64, bytes: H) {
        if self.is_open_to(off) {
            self.held.insert(off, bytes);
        }
    }

    /// A committed chunk's bytes are gone before their turn: so is the use of all behind it.
    pub(crate) fn lose(&mut self, off: u64) {
        if self.is_open_to(off) {
            self.gap = Some(off);
            drop(self.held.split_off(&off));
        }
    }

    /// Takes up the held chunk whose turn it is. `done` or `lose` must follow.
    pub(crate) fn next(&mut self) -> Option<(u64, H, Sha)> {
        if self.busy {
            return None;
        }
        let bytes = self.held.remove(&self.at)?;
        self.busy = true;
        Some((self.at, bytes, self.sha.clone()))
    }

    /// What `next` took up is hashed, up to `end`.
    pub(crate) fn done(&mut self, end: u64, sha: Sha) {
        self.busy = false;
        self.moved(end, sha);
    }

    /// The chunk farthest ahead, whose loss costs least, gives its bytes back. `false`: none waits.
    pub(crate) fn evict(&mut self) -> bool {
        let Some((&off, _)) = self.held.last_key_value() else { return false };
        self.lose(off);
        true
    }

    /// The held chunk that starts at `off` or before it, nearest, and where it starts.
    pub(crate) fn held_at(&self, off: u64) -> Option<(u64, &H)> {
        self.held.range(..=off).next_back().map(|(at, held)| (*at, held))
    }

    /// How far ahead of the cursor the farthest held chunk is.
    pub(crate) fn ahead(&self) -> Option<u64> {
        self.held.last_key_value().map(|(off, _)| off - self.at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const P: usize = 7;

    /// An upload as its rows have it, with the state of each part where it is known.
    struct Model {
        data: Vec<u8>,
        rows: BTreeMap<usize, Option<Vec<u8>>>,
        cursor: Cursor<usize>,
        lost: bool,
        forgot: bool,
    }

    impl Model {
        fn span(&self, n: usize) -> (usize, usize) {
            (n * P, ((n + 1) * P).min(self.data.len()))
        }

        /// What a put does: hash at once if it is its turn, commit, then hold or lose; then whoever may hashes on.
        fn put(&mut self, n: usize, holds: bool) {
            let (off, end) = self.span(n);
            let state = self.cursor.state_at(off as u64).map(|mut sha| {
                sha.update(&self.data[off..end]);
                sha
            });
            self.rows.insert(n, state.as_ref().map(Sha::midstate));
            match state {
                Some(sha) => self.cursor.passed(off as u64, end as u64, sha),
                None if holds => self.cursor.hold(off as u64, n),
                None => {
                    self.cursor.lose(off as u64);
                    self.lost = true;
                }
            }
            self.catch_up();
        }

        fn catch_up(&mut self) {
            while let Some((at, n, mut sha)) = self.cursor.next() {
                let (off, end) = self.span(n);
                assert_eq!(at, off as u64);
                assert!(self.cursor.state_at(at).is_none(), "two hash the same");
                sha.update(&self.data[off..end]);
                self.rows.insert(n, Some(sha.midstate()));
                self.cursor.done(end as u64, sha);
            }
        }

        fn restart(&mut self) {
            self.cursor = Cursor::new();
            let known = self.rows.iter().rev().find_map(|(n, state)| Some((*n, Sha::resume(state.as_deref()?)?)));
            if let Some((n, sha)) = known {
                let end = self.span(n).1;
                self.cursor.moved(end as u64, sha);
            }
            // What was held went with the process.
            self.forgot |= self.rows.values().any(Option::is_none);
            self.lost |= self.forgot;
        }

        fn check(&self) {
            for (n, state) in &self.rows {
                if let Some(state) = state {
                    let mut sha = Sha::new();
                    sha.update(&self.data[..self.span(*n).1]);
                    assert_eq!(&sha.midstate(), state, "part {n} has a state of other bytes");
                }
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(prop::sample::Index, bool),
        Evict,
        Restart,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            20 => (any::<prop::sample::Index>(), prop::bool::weighted(0.9)).prop_map(|(n, holds)| Step::Put(n, holds)),
            1 => Just(Step::Evict),
            1 => Just(Step::Restart),
        ]
    }

    proptest! {
        #[test]
        fn whatever_the_order_no_state_is_wrong_and_without_a_loss_all_are_known(
            data in prop::collection::vec(any::<u8>(), 1..150), steps in prop::collection::vec(step(), 0..40), quiet: bool,
        ) {
            let mut missing: Vec<usize> = (0..data.len().div_ceil(P)).collect();
            let mut model = Model { data, rows: BTreeMap::new(), cursor: Cursor::new(), lost: false, forgot: false };
            for step in steps {
                match step {
                    Step::Put(n, holds) if !missing.is_empty() => {
                        let n = missing.swap_remove(n.index(missing.len()));
                        model.put(n, holds || quiet);
                    }
                    Step::Evict if !quiet => model.lost |= model.cursor.evict(),
                    Step::Restart if !quiet => model.restart(),
                    _ => {}
                }
                model.check();
            }
            while let Some(n) = missing.pop() {
                model.put(n, true);
            }
            model.check();
            prop_assert!(!(quiet && model.lost));
            if !model.lost {
                prop_assert!(model.rows.values().all(Option::is_some));
                prop_assert_eq!(model.cursor.at(), model.data.len() as u64);
            }
            // A restart doesn't know what an earlier process had in memory: what it holds behind that goes when it idles.
            prop_assert!(model.forgot || model.cursor.ahead().is_none(), "something waits for a turn that never comes");
        }
    }

    #[test]
    fn the_farthest_goes_first_and_nothing_behind_a_gap_is_kept() {
        let mut cursor = Cursor::new();
        for off in [30, 10, 20] {
            cursor.hold(off, off);
        }
        assert!(cursor.evict());
        assert_eq!((cursor.ahead(), cursor.is_open_to(20), cursor.is_open_to(30)), (Some(20), true, false));
        cursor.hold(40, 40);
        assert_eq!(cursor.ahead(), Some(20));
        cursor.lose(10);
        assert_eq!(cursor.ahead(), None);
        assert!(!cursor.evict());
    }
}
