//! The parsers of hostile bytes by themselves, without a process or a socket: for tests that try many bytes in little time.

use bytes::Bytes;

use super::guard::{Guard, Said};
use super::sniff::find_moov;
use super::wire::{HEADER, Header};
use super::{Order, worker};

/// Judges whole frames, one behind another, as a worker with this order may have said them; how many were believed before
/// one was a breach, an end, or cut short.
pub fn believed(order: Order, mut frames: &[u8]) -> usize {
    let mut guard = Guard::new(order);
    for n in 0.. {
        let Some((head, rest)) = frames.split_first_chunk::<HEADER>() else { return n };
        let Ok(head) = Header::read(head) else { return n };
        let Some((body, rest)) = rest.split_at_checked(head.length as usize) else { return n };
        match guard.judge(head, Bytes::copy_from_slice(body)) {
            Ok(Said::Done(_) | Said::Failed(_)) => return n + 1,
            Ok(_) => frames = rest,
            Err(_) => return n,
        }
    }
    unreachable!("frames are finite")
}

/// A frame's head, read and written again.
pub fn header(bytes: &[u8; HEADER]) -> Option<[u8; HEADER]> {
    Header::read(bytes).ok().map(Header::write)
}

/// Ticks and ticks per second that the headers of an MP4 file give; of a bare index, without a file around it, too.
pub fn m4a_length(file: &[u8]) -> Option<(u64, u32)> {
    let rest = |at: u64| file.get(usize::try_from(at).ok()?..);
    let moov_at = find_moov(|at| rest(at)?.first_chunk().copied()).unwrap_or(0);
    let length = worker::m4a::length(moov_at, |at, len| rest(at).map(|rest| rest[..rest.len().min(len)].to_vec()))?;
    Some((length.ticks, length.per_second))
}
