//! A chunk that is there already: what comes is read and compared, and goes nowhere.

use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use super::ChunkError;
use crate::{
    check::{Check, Summing},
    digest,
    engine::Engine,
    limits::FRAME_BYTES,
    session::BodyBroken,
};

/// `Ok`: the same bytes, by length and CRC-64/NVME.
pub(super) async fn compare<B>(
    engine: &Engine,
    (len, crc64): (u64, u64),
    checks: Vec<Check>,
    mut body: B,
) -> Result<(), ChunkError>
where
    B: Stream<Item = Result<Bytes, BodyBroken>> + Send + Unpin,
{
    let mut summing: Vec<_> = checks.into_iter().map(Summing::start).collect();
    let (mut sent, mut crc) = (0, digest::crc64(&[]));
    loop {
        let share = engine.budget.reserve(FRAME_BYTES).await;
        let Some(frame) = body.next().await else { break };
        let frame = frame?;
        let more = frame.len() as u64;
        if sent + more > len {
            return Err(ChunkError::TooLong { len });
        }
        summing.iter_mut().for_each(|sum| sum.update(&frame));
        crc = digest::crc64_join(crc, digest::crc64(&[frame]), more);
        sent += more;
        drop(share);
    }
    if sent < len {
        return Err(ChunkError::TooShort { len, sent });
    }
    summing.into_iter().try_for_each(Summing::verdict)?;
    if crc == crc64 { Ok(()) } else { Err(ChunkError::Differs) }
}
