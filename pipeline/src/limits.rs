//! Every bound of the engine, with its unit and its reason, and the map from offset to part.

use std::time::Duration;

/// 2^20 bytes.
pub const MIB: u64 = 1 << 20;

/// Default part length. S3 wants at least 5 MiB; larger parts cost memory per upload, smaller ones requests.
pub const PART_BYTES: u64 = 10 * MIB;

/// Default largest upload. Two hours of 24-bit, 96 kHz stereo fit.
pub const UPLOAD_MAX_BYTES: u64 = 2048 * MIB;

/// Default for the whole process. Reserved before the socket is read, returned when the part's row is committed.
/// Too small: fast lines stall. Too large: a burst of uploads becomes a burst of memory.
pub const UPLOAD_MEMORY_BYTES: u64 = 128 * MIB;

/// Default. Parts of one upload on their way to the store at once: hides the store's latency.
pub const PARTS_IN_FLIGHT: u64 = 3;

/// S3 numbers parts from 1 to here.
pub const S3_PARTS_MAX: u64 = 10_000;

/// A margin below [`S3_PARTS_MAX`], so that rounding the part length up to a MiB can't reach it.
pub(crate) const PARTS_AIM: u64 = 9_900;

/// The share of the memory budget that bytes on their way to the media worker may pin: one in this many.
pub const MEDIA_SHARE: u64 = 4;

/// The media window of one track. Enough for the decoder to ride out a burst; beyond it media catches up from the store.
pub const MEDIA_WINDOW_BYTES: u64 = 8 * MIB;

/// Reserved before a socket is read: the most that a read brings. In a crowd it brings less, and this lasts for some: with
/// less, all would get on a little, and none to the end of its part.
pub const FRAME_BYTES: u64 = 1 << 20;

/// When no more than this is left of it, it is time for the next.
pub(crate) const FRAME_LEFT_BYTES: usize = 256 << 10;

/// Frames up to this are copied together, in blocks of this size: what a read brings in a crowd. Kept as they come, each would
/// be a piece of another size, and what an allocator adds to it isn't counted.
pub const SMALL_FRAME_BYTES: usize = 64 << 10;

/// How long an upload may hold a half-filled part while others wait for memory, before it commits it as a tail.
pub const EVICT_AFTER: Duration = Duration::from_millis(250);

/// How long parts that the store has may wait for more, to be committed with them: a fast upload fills one every few
/// milliseconds, and each commit is a write to the disk.
pub const COMMIT_EVERY: Duration = Duration::from_millis(100);

/// How long a silent client at most stays away from memory that others wait for. One that sends again waits so long for its
/// first byte to be read; shorter, a thousand silent ones would crowd the line.
pub const IDLE_MAX: Duration = Duration::from_secs(2);

/// Tails in one part. When there are so many they become one: each is a row, and on S3 an object to be read back.
pub const TAILS_MAX: usize = 64;

/// How long a newcomer waits for the running writer of the same upload to let go. It needs one store call at most.
pub const TAKEOVER_WAIT: Duration = Duration::from_secs(5);

/// How long a writer whose client is sending goes on after it was asked to let go. Without it, clients that retry at once
/// would stop each other for ever; with more, a resume on a new line would wait for the old one.
pub const YIELD_GRACE: Duration = Duration::from_millis(500);

/// How long such a client may pause within that grace: longer than the gap between two packets of a living line.
pub const YIELD_STALL: Duration = Duration::from_millis(100);

/// Default. An archive of thousands of files goes up some dozens at a time, each in a few parallel pieces: beyond this an
/// account leaves uploads behind rather than sends them. They would be rows until they expire.
pub const ACCOUNT_OPEN: u32 = 500;

/// Default. Ten a second is more than a folder of small files makes over a good line; a loop gone wild makes more. Browser
/// clients give up on a 429, so that nobody well-behaved may ever meet it.
pub const CREATIONS_PER_MINUTE: u32 = 600;

/// Final uploads that are joined from their partials at once, by one process: each moves as many bytes as a fast client.
pub const JOINS_AT_ONCE: usize = 2;

/// Parts of a join on their way to the store while the next is read: with more, two joins would take the whole memory from
/// the clients that wait for it.
pub const JOIN_PARTS_IN_FLIGHT: usize = 1;

/// What a join reads of a partial at once: few enough requests to a store far away.
pub const JOIN_READ_BYTES: usize = 4 << 20;

/// Default of what happens daily, and of how long an idle upload is kept.
pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// Tries of one encode before the track fails. More would let a poison file loop.
pub const ENCODE_ATTEMPTS: i32 = 3;

/// Segments of one track on their way to the store at once.
pub const SEGMENTS_IN_FLIGHT: usize = 4;

const _: () = assert!(PARTS_IN_FLIGHT * PART_BYTES <= UPLOAD_MEMORY_BYTES - UPLOAD_MEMORY_BYTES / MEDIA_SHARE);
const _: () = assert!(UPLOAD_MAX_BYTES.div_ceil(PART_BYTES) <= S3_PARTS_MAX);
const _: () = assert!(MEDIA_WINDOW_BYTES <= UPLOAD_MEMORY_BYTES / MEDIA_SHARE);

/// What the operator may set. [`Default`] holds the constants above.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes per part, at least (the map may choose more).
    pub part_bytes: u64,
    /// Bytes per upload.
    pub max_bytes: u64,
    /// Bytes in memory for all uploads of this process, the media share included.
    pub memory_bytes: u64,
    /// How long an upload may be idle.
    pub expiry: Duration,
    /// Parts of one upload on their way at once.
    pub parts_in_flight: usize,
    /// How long the right to write an upload, or to do a job, outlives its holder's last sign of life.
    pub lease: Duration,
    /// Media workers at once.
    pub workers: usize,
    /// A track that isn't ready and has no live job for this long is enqueued again.
    pub stuck_after: Duration,
    /// Bytes that one account may have stored and promised; `None`: as many as the store takes.
    pub account_bytes: Option<u64>,
    /// Uploads that one account may have open at once.
    pub account_open: u32,
    /// Uploads that one account may begin in a minute.
    pub creations_per_minute: u32,
    /// Between two looks through the store for what no row names.
    pub orphan_sweep: Duration,
    /// What is younger than this isn't judged.
    pub orphan_age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            part_bytes: PART_BYTES,
            max_bytes: UPLOAD_MAX_BYTES,
            memory_bytes: UPLOAD_MEMORY_BYTES,
            expiry: DAY,
            parts_in_flight: 3,
            lease: Duration::from_secs(15),
            workers: std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
            stuck_after: Duration::from_secs(15 * 60),
            account_bytes: None,
            account_open: ACCOUNT_OPEN,
            creations_per_minute: CREATIONS_PER_MINUTE,
            orphan_sweep: DAY,
            orphan_age: DAY,
        }
    }
}

impl Limits {
    /// Says why these limits can't work together.
    ///
    /// # Errors
    /// One sentence that names the variable.
    pub fn check(&self) -> Result<(), String> {
        let uploads = self.memory_bytes - self.memory_bytes / MEDIA_SHARE;
        if self.part_bytes < MIB {
            return Err(format!(
                "UPLOAD_PART_BYTES is {}: below 1 MiB every upload would be thousands of requests",
                self.part_bytes
            ));
        }
        if self.parts_in_flight == 0 {
            return Err("UPLOAD_PARTS_IN_FLIGHT is 0: no part could ever be sent".into());
        }
        if uploads < self.part_bytes + FRAME_BYTES {
            return Err(format!(
                "UPLOAD_MEMORY_BYTES is {}: three quarters of it must hold one part of {}",
                self.memory_bytes, self.part_bytes
            ));
        }
        if self.account_open == 0 || self.creations_per_minute == 0 {
            return Err("UPLOAD_ACCOUNT_OPEN and UPLOAD_CREATIONS_PER_MINUTE must be at least 1".into());
        }
        if u32::try_from(self.memory_bytes).is_err() {
            return Err(format!("UPLOAD_MEMORY_BYTES is {}: at most 4 GiB - 1", self.memory_bytes));
        }
        Ok(())
    }
}

/// The fixed map from offset to part of one upload. All parts are equal, the last may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartMap {
    /// Bytes per part.
    pub part_bytes: u64,
}

impl PartMap {
    /// Chosen once, at creation: large enough that `length` (or the limit, while it is unknown) fits in S3's numbers.
    pub fn choose(limits: &Limits, length: Option<u64>) -> Self {
        let most = length.unwrap_or(limits.max_bytes);
        let needed = most.div_ceil(PARTS_AIM).next_multiple_of(MIB);
        Self { part_bytes: limits.part_bytes.max(needed) }
    }

    /// The number, from 1, of the part that holds the byte at `offset`.
    pub fn part_no(self, offset: u64) -> i32 {
        i32::try_from(offset / self.part_bytes + 1).unwrap_or(i32::MAX)
    }

    /// The first byte of the part that holds `offset`.
    pub fn start(self, offset: u64) -> u64 {
        offset / self.part_bytes * self.part_bytes
    }

    /// One past the last byte of the part that holds `offset`, in a file of `length`.
    pub fn end(self, offset: u64, length: Option<u64>) -> u64 {
        let end = self.start(offset) + self.part_bytes;
        length.map_or(end, |l| end.min(l))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn two_gib_is_205_parts_by_default() {
        let map = PartMap::choose(&Limits::default(), Some(UPLOAD_MAX_BYTES));
        assert_eq!(map.part_bytes, PART_BYTES);
        assert_eq!(map.part_no(UPLOAD_MAX_BYTES - 1), 205);
    }

    #[test]
    fn ten_mib_and_one_byte_is_two_parts() {
        // UP-3
        let map = PartMap::choose(&Limits::default(), Some(10 * MIB + 1));
        assert_eq!(map.part_no(10 * MIB), 2);
        assert_eq!(map.end(10 * MIB, Some(10 * MIB + 1)) - map.start(10 * MIB), 1);
        assert_eq!(500 * MIB / PartMap::choose(&Limits::default(), Some(500 * MIB)).part_bytes, 50);
    }

    proptest! {
        #[test]
        fn part_10001_is_impossible(length in 1u64..(1 << 46)) {
            // U20, tusd #1247
            let map = PartMap::choose(&Limits::default(), Some(length));
            prop_assert!(map.part_no(length - 1) <= 10_000);
            prop_assert!(map.part_bytes.is_multiple_of(MIB));
        }

        #[test]
        fn parts_cover_every_byte_once(length in 1u64..(1 << 34), at in any::<prop::sample::Index>()) {
            let map = PartMap::choose(&Limits::default(), Some(length));
            let o = at.index(usize::try_from(length).unwrap()) as u64;
            prop_assert!(map.start(o) <= o && o < map.end(o, Some(length)));
            prop_assert_eq!(map.start(o), (map.part_no(o) as u64 - 1) * map.part_bytes);
        }
    }
}
