//! A reader that can't go back, into one object.
//!
//! One future reads and sends: while it fills a part, up to `IN_FLIGHT_MAX` are on their way. So the first thing that goes
//! wrong, on either side, ends both at once, and is what the caller hears; there is no pipe between them that could break
//! first, and a reader's error can't be taken for its end.
//! Order of a failure: 1 parts on their way are dropped, 2 the upload is aborted, 3 the caller hears. When 2 fails, or a
//! Complete was sent, the caller is told which upload is left; so is the log.
//! Memory: `IN_FLIGHT_MAX + 1` parts, whatever the size.
//! Absent: resuming, and digests; whoever needs one reads through it. Dropping the future leaves an open upload, which the
//! sweep of orphans finds.

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{Multipart, Object, Part, Store, StoreError};
use crate::{
    digest::crc64,
    limits::{Limits, PartMap},
};

/// Parts on their way at once: they hide the store's latency, and each is memory.
const IN_FLIGHT_MAX: usize = 3;

/// Why there is no object.
#[derive(Debug, thiserror::Error)]
#[error("{root}")]
pub struct StreamFailed {
    /// What went wrong first.
    #[source]
    pub root: StreamError,
    /// An upload that is still open in the store, for whoever keeps a list of what must go.
    pub left: Option<Multipart>,
}

/// What went wrong first.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The reader failed.
    #[error("the source can't be read")]
    Read(#[source] std::io::Error),
    /// The reader ended early.
    #[error("the source ended after {came} of {size} bytes")]
    Short {
        /// Bytes that came.
        came: u64,
        /// Bytes that were announced.
        size: u64,
    },
    /// The reader has more than was announced.
    #[error("the source has more than {size} bytes")]
    Long {
        /// Bytes that were announced.
        size: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Stores `size` bytes of `reader` under `key`, which nothing may have yet.
///
/// # Errors
/// [`StreamFailed`], with the first cause. Unless it names an upload, nothing of this one is left in the store.
pub async fn upload_stream(
    store: &dyn Store,
    key: &str,
    mut reader: impl AsyncRead + Send + Unpin,
    size: u64,
) -> Result<Object, StreamFailed> {
    let nothing_left = |root| StreamFailed { root, left: None };
    if size == 0 {
        at_end(&mut reader, 0).await.map_err(nothing_left)?;
        return store.put(key, Bytes::new()).await.map_err(|e| nothing_left(e.into()));
    }
    let to = store.begin(key).await.map_err(|e| nothing_left(e.into()))?;
    let parts = match parts_sent(store, &to, &mut reader, size).await {
        Ok(parts) => parts,
        Err(root) => return Err(StreamFailed { left: aborted(store, &to).await, root }),
    };
    match store.complete(&to, &parts, size).await {
        Ok(object) => Ok(object),
        // It may have worked, or may yet: to abort now could destroy a whole object.
        Err(error) => Err(StreamFailed { root: error.into(), left: Some(to) }),
    }
}

async fn parts_sent(
    store: &dyn Store,
    to: &Multipart,
    reader: &mut (impl AsyncRead + Send + Unpin),
    size: u64,
) -> Result<Vec<Part>, StreamError> {
    let map = PartMap::choose(&Limits::default(), Some(size));
    let (mut sent, mut on_their_way, mut off) = (Vec::new(), FuturesUnordered::new(), 0);
    let mut filling = BytesMut::new();
    while off < size || !on_their_way.is_empty() {
        let wanted = map.end(off, Some(size)) - off;
        tokio::select! {
            // Cancel-safe: a part that isn't done stays in the set.
            Some(part) = on_their_way.next() => sent.push(part?),
            // Cancel-safe: what was read is in `filling`.
            read = filled(reader, &mut filling, wanted), if off < size && on_their_way.len() < IN_FLIGHT_MAX => {
                if !read? {
                    return Err(StreamError::Short { came: off + filling.len() as u64, size });
                }
                let frames = vec![filling.split().freeze()];
                let part = Part { part_no: map.part_no(off), off, len: wanted, etag: String::new(), crc64: crc64(&frames) };
                on_their_way.push(async move {
                    let etag = store.put_part(to, &part, &[], part.off, frames).await?;
                    Ok::<_, StoreError>(Part { etag, ..part })
                });
                off += wanted;
                if off == size {
                    at_end(reader, size).await?;
                }
            }
        }
    }
    sent.sort_by_key(|part| part.part_no);
    Ok(sent)
}

/// Reads until `wanted` bytes are there; false when the reader ended before.
async fn filled(
    reader: &mut (impl AsyncRead + Send + Unpin),
    filling: &mut BytesMut,
    wanted: u64,
) -> Result<bool, StreamError> {
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    // One piece, so that a part is one frame.
    filling.reserve(wanted - filling.len());
    while filling.len() < wanted {
        let left = (wanted - filling.len()) as u64;
        // Cancel-safe: `read_buf` keeps what it read.
        if (&mut *reader).take(left).read_buf(filling).await.map_err(StreamError::Read)? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn at_end(reader: &mut (impl AsyncRead + Send + Unpin), size: u64) -> Result<(), StreamError> {
    match reader.read(&mut [0]).await.map_err(StreamError::Read)? {
        0 => Ok(()),
        _ => Err(StreamError::Long { size }),
    }
}

/// What is left after an abort: nothing, or the upload.
async fn aborted(store: &dyn Store, to: &Multipart) -> Option<Multipart> {
    match store.abort(to).await {
        Ok(()) => None,
        Err(error) => {
            tracing::error!(key = to.key, multipart_id = to.multipart_id, %error, "an upload that failed isn't aborted");
            Some(to.clone())
        }
    }
}
