//! A file whose bytes are in the store: one object, or several in a row.
//!
//! Memory: `AHEAD` reads of `READ_BYTES` for each reader, whatever the file's length.
//! Promise: the bytes that come are those that the rows name, all of them, or the stream ends in an error.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};

use crate::store::{Store, StoreError};

/// What is read at once: few enough requests to a store far away, little enough for many readers.
const READ_BYTES: u64 = 512 << 10;

/// Reads under way at once: one is sent while the other is read.
const AHEAD: usize = 2;

/// An object that holds a stretch of a file.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Where it is.
    pub key: String,
    /// Its length in bytes.
    pub len: u64,
}

/// A file, whole.
#[derive(Clone, Debug)]
pub struct File {
    /// In order, without a gap.
    pub pieces: Vec<Piece>,
    /// Of all of them.
    pub len: u64,
    /// Of all of it.
    pub sha256: Vec<u8>,
}

impl File {
    /// In one object.
    pub fn whole(key: String, len: u64, sha256: Vec<u8>) -> Self {
        Self { pieces: vec![Piece { key, len }], len, sha256 }
    }

    /// `len` of its bytes from `from` on. Dropping the stream ends the reading.
    pub fn read(
        &self,
        store: &Arc<dyn Store>,
        from: u64,
        len: u64,
    ) -> impl Stream<Item = Result<Bytes, StoreError>> + Send + use<> {
        let reads = self.reads(from, len);
        let store = Arc::clone(store);
        stream::iter(reads).map(move |read| one(Arc::clone(&store), read)).buffered(AHEAD)
    }

    /// Of which object, from where, and how many bytes.
    fn reads(&self, from: u64, len: u64) -> impl Iterator<Item = (String, u64, u64)> + Send + use<> {
        let end = from.saturating_add(len);
        let starts = self.pieces.clone().into_iter().scan(0, |at, piece| {
            let start = *at;
            *at += piece.len;
            Some((start, piece))
        });
        starts.flat_map(move |(start, piece)| {
            let (first, last) = (from.max(start), end.min(start + piece.len));
            let offsets = (first..last.max(first)).step_by(READ_BYTES as usize);
            offsets.map(move |at| (piece.key.clone(), at - start, READ_BYTES.min(last - at)))
        })
    }
}

async fn one(store: Arc<dyn Store>, (key, off, len): (String, u64, u64)) -> Result<Bytes, StoreError> {
    let bytes = store.read(&key, off, usize::try_from(len).unwrap_or(usize::MAX)).await?;
    if bytes.len() as u64 == len {
        return Ok(bytes);
    }
    let what = format!("{} of {len} bytes at {off}", bytes.len());
    tracing::error!(key, answer = what, "the store lost a part of an object");
    Err(StoreError::Away(io::Error::other(what)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reads_cover_the_range_once_and_in_order(
            lens in prop::collection::vec(0u64..3 * READ_BYTES, 0..6), from in 0u64..8 * READ_BYTES, len in 0u64..8 * READ_BYTES,
        ) {
            let total: u64 = lens.iter().sum();
            let (from, len) = (from.min(total), len.min(total - from.min(total)));
            let pieces = lens.iter().enumerate().map(|(n, len)| Piece { key: n.to_string(), len: *len }).collect();
            let file = File { pieces, len: total, sha256: vec![] };
            let mut at = from;
            for (key, off, n) in file.reads(from, len) {
                let start: u64 = lens[..key.parse::<usize>().unwrap()].iter().sum();
                prop_assert!(start + off == at && n > 0 && n <= READ_BYTES);
                at += n;
            }
            prop_assert_eq!(at, from + len);
        }
    }
}
