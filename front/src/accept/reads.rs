//! How much one read of a socket may bring. All connections share the memory of their read buffers: a few have large ones,
//! which cost less for each byte, and of a crowd each has a small one.
//!
//! Memory: a connection keeps what it grew to while there were fewer. `n` connections that come one after another, each fast
//!         at once, hold `READ_BUFFERS_BYTES` times 1 + ln(n) at most, or `READ_LEAST` each if that is more.
//! How it is done: hyper's buffer grows when a read fills it and shrinks when two don't come to its half. So a read is stopped
//!         one byte before it would fill what there may be.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;

/// Of all connections, about.
const READ_BUFFERS_BYTES: usize = 4 << 20;

/// Of one. Half as much costs a fast upload a tenth more processor time.
const READ_MAX: usize = 1 << 20;

/// Of one in a crowd. Less costs more than it saves: each read is a turn through the whole program.
const READ_LEAST: usize = 32 << 10;

/// The size of a read, for as many connections as there are now.
#[derive(Debug, Default)]
pub struct Reads {
    open: AtomicUsize,
}

/// One connection's.
pub(super) struct Reader {
    reads: Arc<Reads>,
    /// What the buffer of the last read had room for.
    room: AtomicUsize,
}

impl Reads {
    /// The most that any read brings.
    pub(super) const MAX: usize = READ_MAX;

    pub(super) fn enter(self: &Arc<Self>) -> Reader {
        self.open.fetch_add(1, Ordering::Relaxed);
        Reader { reads: Arc::clone(self), room: AtomicUsize::new(0) }
    }

    fn size(&self) -> usize {
        size_for(self.open.load(Ordering::Relaxed))
    }
}

impl Reader {
    /// The most that the next read may bring into a buffer with so much room.
    pub(super) fn most(&self, room: usize) -> usize {
        self.room.store(room, Ordering::Relaxed);
        self.reads.size() - 1
    }

    /// What was read, for whoever may keep it for long: cut from a buffer that is much larger, it is copied.
    pub(super) fn apart(&self, bytes: Bytes) -> Bytes {
        let is_most = bytes.len() + bytes.len() / 8 >= self.room.load(Ordering::Relaxed);
        if is_most { bytes } else { Bytes::copy_from_slice(&bytes) }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.reads.open.fetch_sub(1, Ordering::Relaxed);
    }
}

fn size_for(open: usize) -> usize {
    let share = (READ_BUFFERS_BYTES / open.max(1)).clamp(READ_LEAST, READ_MAX);
    1 << share.ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_have_much_and_many_have_little() {
        assert_eq!(
            [1, 4, 5, 64, 200, 100_000].map(size_for),
            [1 << 20, 1 << 20, 512 << 10, 64 << 10, 32 << 10, 32 << 10]
        );
    }

    #[test]
    fn a_little_of_a_large_buffer_doesnt_keep_it() {
        let reader = Arc::new(Reads::default()).enter();
        assert_eq!(reader.most(1 << 20), (1 << 20) - 1);
        let buffer = Bytes::from(vec![7; 1 << 20]);
        let (whole, little) = (reader.apart(buffer.clone()), reader.apart(buffer.slice(..10)));
        assert_eq!(whole.as_ptr(), buffer.as_ptr());
        assert_ne!(little.as_ptr(), buffer.as_ptr());
        assert_eq!(little, buffer[..10]);
    }

    #[test]
    fn who_leaves_makes_room() {
        let reads = Arc::new(Reads::default());
        let all: Vec<_> = (0..8).map(|_| reads.enter()).collect();
        assert_eq!(reads.size(), 512 << 10);
        drop(all);
        assert_eq!(reads.size(), 1 << 20);
    }
}
