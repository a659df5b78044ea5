//! Every request, in the order of arrival: what was asked, what the client was told, what really happened.

use std::sync::Mutex;

use super::call::{Call, Op};

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub op: Op,
    pub key: String,
    pub part: Option<u64>,
    /// Of the request's body, as announced.
    pub bytes: u64,
    /// The status of the answer that the client got; none yet, or none ever.
    pub told: Option<u16>,
    /// The status that the store itself gave, also where the answer was lost or another; none if it was never asked.
    pub done: Option<u16>,
}

impl Entry {
    pub fn succeeded(&self) -> bool {
        self.done.is_some_and(|status| status < 300)
    }
}

#[derive(Default)]
pub struct Log(Mutex<Vec<Entry>>);

impl Log {
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().clone()
    }

    /// Requests of a kind so far.
    pub fn count(&self, op: Op) -> usize {
        self.lock().iter().filter(|entry| entry.op == op).count()
    }

    /// Those that concern keys with this text.
    pub fn about(&self, key: &str) -> Vec<Entry> {
        self.lock().iter().filter(|entry| entry.key.contains(key)).cloned().collect()
    }

    /// All after the first so many.
    pub fn since(&self, entries: usize) -> Vec<Entry> {
        self.lock()[entries..].to_vec()
    }

    pub fn len(&self) -> usize {
        self.lock().len()
    }

    pub(super) fn begin(&self, call: &Call) -> usize {
        let mut entries = self.lock();
        entries.push(Entry {
            op: call.op,
            key: call.key.clone(),
            part: call.part(),
            bytes: call.body_bytes.unwrap_or(0),
            told: None,
            done: None,
        });
        entries.len() - 1
    }

    pub(super) fn told(&self, entry: usize, status: u16) {
        if let Some(entry) = self.lock().get_mut(entry) {
            entry.told = Some(status);
        }
    }

    pub(super) fn done(&self, entry: usize, status: u16) {
        if let Some(entry) = self.lock().get_mut(entry) {
            entry.done = Some(status);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.0.lock().expect("nothing panics while it writes here")
    }
}
