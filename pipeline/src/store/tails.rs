//! A tail read back: whatever is made of it is made of the bytes that were acknowledged.

use bytes::Bytes;

use super::{Store, StoreError, Tail};
use crate::digest::crc64;

/// Reads of one tail that come back damaged before it counts as damaged in the store.
const READS_MAX: u32 = 3;

/// The bytes of a tail, as they were acknowledged. Damage on the way is another read; damage in the store is `Wrong`.
pub(crate) async fn tail_read(store: &dyn Store, tail: &Tail) -> Result<Vec<Bytes>, StoreError> {
    let (mut found, mut came) = (0, 0);
    for _ in 0..READS_MAX {
        let bytes = store.read_pieces(&tail.key, 0, usize::try_from(tail.len).unwrap_or(usize::MAX)).await?;
        found = crc64(&bytes);
        came = bytes.iter().map(|piece| piece.len() as u64).sum();
        if came == tail.len && found == tail.crc64 {
            return Ok(bytes);
        }
    }
    Err(StoreError::Wrong { key: tail.key.clone(), what: format!("{came} bytes with CRC {found:016x} came back") })
}
