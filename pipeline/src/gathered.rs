//! The frames of one part until it leaves. Small ones are copied together: pieces of all sizes leave gaps between them.
//!
//! Memory: what is copied lies in blocks of `SMALL_FRAME_BYTES` that are full when they close, or cut to their length. The open
//!         one is charged by what is in it; the rest of it is the connection's, like its read buffer.

use std::mem;

use bytes::Bytes;

use crate::limits::SMALL_FRAME_BYTES;

/// Frames in their order.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    frames: Vec<Bytes>,
    open: Vec<u8>,
}

impl Gathered {
    /// The next bytes.
    pub(crate) fn push(&mut self, frame: &Bytes) {
        if frame.len() > SMALL_FRAME_BYTES {
            self.close();
            return self.frames.push(frame.clone());
        }
        self.copy(frame);
    }

    /// The next bytes, from where they can't stay.
    pub(crate) fn copy(&mut self, mut rest: &[u8]) {
        while !rest.is_empty() {
            if self.open.capacity() == 0 {
                self.open = Vec::with_capacity(SMALL_FRAME_BYTES);
            }
            let (now, later) = rest.split_at(rest.len().min(SMALL_FRAME_BYTES - self.open.len()));
            self.open.extend_from_slice(now);
            rest = later;
            if self.open.len() == SMALL_FRAME_BYTES {
                self.close();
            }
        }
    }

    /// Nothing is here.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.open.is_empty()
    }

    /// All of it, and it stays here.
    pub(crate) fn frames(&mut self) -> &[Bytes] {
        self.close();
        &self.frames
    }

    /// All of it.
    pub(crate) fn take(&mut self) -> Vec<Bytes> {
        self.close();
        mem::take(&mut self.frames)
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.frames.push(mem::take(&mut self.open).into_boxed_slice().into());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_come_out_as_one_run_in_few_pieces(frames in prop::collection::vec((0..3 * SMALL_FRAME_BYTES, any::<bool>()), 0..40)) {
            let (mut gathered, mut came, mut large) = (Gathered::default(), Vec::new(), 0);
            for (i, (length, looked_at)) in frames.into_iter().enumerate() {
                let frame = Bytes::from(vec![u8::try_from(i).unwrap(); length]);
                came.extend_from_slice(&frame);
                gathered.push(&frame);
                large += usize::from(length > SMALL_FRAME_BYTES || looked_at);
                if looked_at {
                    prop_assert_eq!(gathered.frames().concat(), came.clone());
                }
            }
            prop_assert_eq!(gathered.is_empty(), came.is_empty());
            let frames = gathered.take();
            prop_assert!(frames.len() <= came.len() / SMALL_FRAME_BYTES + 2 * large + 1);
            prop_assert_eq!(frames.concat(), came);
            prop_assert!(gathered.is_empty());
        }
    }

    #[test]
    fn small_frames_dont_keep_what_they_were_cut_from() {
        let (mut gathered, buffer) = (Gathered::default(), Bytes::from(vec![7; 1 << 20]));
        for at in 0..9 {
            gathered.push(&buffer.slice(at * SMALL_FRAME_BYTES..(at + 1) * SMALL_FRAME_BYTES));
        }
        assert!(gathered.take().iter().all(|frame| frame.is_unique()) && buffer.is_unique());
    }
}
