//! Bodies on their way: collected, counted, slowed, cut, damaged.

use std::{future::Future, io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};

use super::meter::Meter;

/// Any body of a request or an answer.
pub(super) type Stream = UnsyncBoxBody<Bytes, io::Error>;

pub(super) fn of_bytes(bytes: impl Into<Bytes>) -> Stream {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

pub(super) fn of_frames(frames: Vec<Bytes>) -> Stream {
    let frames = frames.into_iter().map(|bytes| Ok(Frame::data(bytes)));
    StreamBody::new(stream::iter(frames)).boxed_unsync()
}

/// All of it, as it came. An error if it ends early.
pub(super) async fn frames_of(mut body: Stream) -> io::Result<Vec<Bytes>> {
    let mut frames = Vec::new();
    while let Some(frame) = body.frame().await {
        frames.extend(frame?.into_data());
    }
    Ok(frames)
}

pub(super) fn bytes_in(frames: &[Bytes]) -> u64 {
    frames.iter().map(|frame| frame.len() as u64).sum()
}

/// Counts what passes, and stops at the meter's mark.
pub(super) fn metered(body: Stream, meter: Arc<Meter>) -> Stream {
    in_pieces(body, move |len| {
        let meter = meter.clone();
        async move { Ok(meter.pass(len).await) }
    })
}

/// So many bytes at once, then a second of nothing.
pub(super) fn slowed(body: Stream, bytes_per_s: usize) -> Stream {
    in_pieces(body, move |len| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(len.min(bytes_per_s))
    })
}

/// Breaks after so many bytes, as a lost connection does.
pub(super) fn cut(body: Stream, after: u64) -> Stream {
    let mut left = usize::try_from(after).unwrap_or(usize::MAX);
    in_pieces(body, move |len| {
        let piece = len.min(left);
        left -= piece;
        async move {
            if piece == 0 {
                // What was handed on is sent before the end is seen.
                tokio::task::yield_now().await;
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            Ok(piece)
        }
    })
}

/// Flips the lowest bit of one byte; beyond the end, of the last one.
pub(super) fn flipped(frames: &[Bytes], at: u64) -> Vec<Bytes> {
    let mut all = frames.concat();
    let at = usize::try_from(at).unwrap_or(usize::MAX).min(all.len().saturating_sub(1));
    if let Some(byte) = all.get_mut(at) {
        *byte ^= 1;
    }
    vec![all.into()]
}

/// `len` bytes from `from` on.
pub(super) fn slice(frames: &[Bytes], from: u64, len: u64) -> Vec<Bytes> {
    let (mut skip, mut left) = (from, len);
    let mut found = Vec::new();
    for frame in frames {
        let all = frame.len() as u64;
        if skip >= all {
            skip -= all;
            continue;
        }
        let take = (all - skip).min(left);
        if take == 0 {
            break;
        }
        let start = usize::try_from(skip).expect("inside a frame");
        let end = usize::try_from(skip + take).expect("inside a frame");
        found.push(frame.slice(start..end));
        (skip, left) = (0, left - take);
    }
    found
}

/// Hands a body on in pieces; `allow` is told how much is there, and says how much of it may go.
fn in_pieces<A, F>(body: Stream, allow: A) -> Stream
where
    A: FnMut(usize) -> F + Send + 'static,
    F: Future<Output = io::Result<usize>> + Send,
{
    let pieces = stream::try_unfold((body, Bytes::new(), allow), |(mut body, mut rest, mut allow)| async move {
        while rest.is_empty() {
            match body.frame().await {
                Some(frame) => rest = frame?.into_data().unwrap_or_default(),
                None => return Ok(None),
            }
        }
        let piece = rest.split_to(allow(rest.len()).await?);
        Ok(Some((Frame::data(piece), (body, rest, allow))))
    });
    StreamBody::new(pieces).boxed_unsync()
}
