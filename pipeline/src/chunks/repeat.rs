//! A chunk that is there already: what comes is read and compared, and goes nowhere.

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::{select, time::sleep};

use super::ChunkError;
use crate::{
    budget::Idle,
    check::{Check, Summing},
    digest,
    engine::Engine,
    limits::{EVICT_AFTER, FRAME_BYTES, YIELD_STALL},
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
    let mut idle = Idle::default();
    loop {
        let mut share = engine.budget.reserve(FRAME_BYTES).await;
        let frame = loop {
            select! {
                biased;
                frame = body.next() => break frame,                          // cancel-safe: an unread frame stays in the body
                // cancel-safe: a flag and a timer. Only when the client sends nothing.
                () = async { engine.stop.cancelled().await; sleep(YIELD_STALL).await } => return Err(ChunkError::Stopping),
                // cancel-safe: no state. A stalled client holds nothing that others wait for.
                () = sleep(EVICT_AFTER) => if engine.budget.is_short() {
                    drop(share);
                    idle.stay_away(&engine.stop).await;
                    share = engine.budget.reserve(FRAME_BYTES).await;
                }
            }
        };
        let Some(frame) = frame else { break };
        let frame = frame?;
        idle = Idle::default();
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
