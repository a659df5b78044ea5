//! An AAC rung is encoded in stretches of about a minute, each by an encoder of its own, so that several cores can work on
//! one track. Here is where they begin and end, and how they are joined. Pure functions.
//!
//! ```text
//! blocks   0 ───────────── 640 ── 642        an encoder begins some blocks before its stretch, so that its state is what it
//!                    637 ── 640 ───────      would be anyway, and goes on for some beyond it
//! ```
//! An AAC packet is half of what a decoder plays at its place; the packet before it is the other half. So packets of two
//! encoders fit together wherever both had the same window at the place before.
//! Promise: the cuts follow from the number of samples alone, so what is made is the same however many encoders work at once.

use super::pcm::BLOCK_SAMPLES;

/// Blocks that may wait for one encoder: 1.5 s of audio, so a slow rung holds the others back early.
pub(super) const QUEUE_BLOCKS: usize = 16;
/// Blocks of a stretch: 59 s at 44.1 kHz. Shorter, and more is encoded twice (0.8 % here); longer, and more decoded sound
/// waits in memory where several are made at once (21 MB each).
pub(super) const BLOCKS: u64 = 640;
/// Blocks encoded before a stretch and thrown away: twelve frames. The coder's rate control and its windows look back on two
/// or three.
const LEAD: u64 = 3;
/// Blocks encoded beyond a stretch: room for six places to join at.
const TRAIL: u64 = 2;

/// First block that the encoder of stretch `k` gets.
pub(super) fn begin(k: u64) -> u64 {
    (k * BLOCKS).saturating_sub(LEAD)
}

/// The first block that the encoder of stretch `k` doesn't get any more. Where there is one, there is a stretch `k + 1`.
pub(super) fn end(k: u64) -> u64 {
    (k + 1) * BLOCKS + TRAIL
}

/// The stretches that want block `n`: one, or two around a join.
pub(super) fn of(n: u64) -> std::ops::RangeInclusive<u64> {
    n.saturating_sub(TRAIL) / BLOCKS..=(n + LEAD) / BLOCKS
}

/// The place at or after which stretch `k` takes over from the one before it, in samples.
pub(super) fn seam(k: u64) -> i64 {
    (k * BLOCKS * BLOCK_SAMPLES as u64).cast_signed()
}

/// The stretch that a track of so many samples ends in.
pub(super) fn last(samples: u64) -> u64 {
    let blocks = samples.div_ceil(BLOCK_SAMPLES as u64);
    blocks.saturating_sub(TRAIL + 1) / BLOCKS
}

/// The stretch that is over when block `n` comes.
pub(super) fn over(n: u64) -> Option<u64> {
    (n >= end(0) && (n - TRAIL).is_multiple_of(BLOCKS)).then(|| n / BLOCKS - 1)
}

/// How a rung's threads share its stretches.
#[derive(Debug, Clone, Copy)]
pub(super) struct AtOnce {
    /// Threads of one rung.
    pub(super) threads: usize,
    /// Blocks that wait for one of them.
    pub(super) queue_blocks: usize,
}

/// More would hold more decoded sound than a worker may (see [`BLOCKS`]), and few machines have cores for them.
const THREADS_MAX: usize = 4;

/// For so many AAC rungs on so many cores. Two threads at the least: around a seam two stretches are worked on by turns.
pub(super) fn at_once(cores: usize, rungs: usize) -> AtOnce {
    let threads = cores.div_ceil(rungs.max(1)).clamp(2, THREADS_MAX);
    let is_ahead = cores > rungs;
    AtOnce { threads, queue_blocks: if is_ahead { (BLOCKS + LEAD + TRAIL) as usize } else { QUEUE_BLOCKS } }
}

/// How far the decoder may be ahead of the slowest rung, in samples.
pub(in crate::media) fn ahead_samples(cores: usize, rungs: usize) -> u64 {
    let AtOnce { threads, queue_blocks } = at_once(cores, rungs);
    // In the queues, and in what was made before its turn.
    2 * (threads * queue_blocks) as u64 * BLOCK_SAMPLES as u64
}

/// How an AAC frame was windowed: sequence and shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window(u8);

/// The window of a stereo packet (ISO/IEC 14496-3, 4.4.2.1); none where its channels have one each.
pub(super) fn window(packet: &[u8]) -> Option<Window> {
    const CHANNEL_PAIR: u8 = 1;
    let [first, second, ..] = *packet else { return None };
    // id 3, tag 4, common window 1; reserved 1, sequence 2, shape 1.
    let is_common = first >> 5 == CHANNEL_PAIR && first & 1 == 1;
    is_common.then_some(Window(second >> 4 & 0b111))
}

/// Where the later of two encoders takes over: the first place at or after `seam` before which both used the same window. What
/// each made is told by place and window, place after place. `seam` itself where there is none.
pub(super) fn join(seam: i64, earlier: &[(i64, Option<Window>)], later: &[(i64, Option<Window>)]) -> i64 {
    let alike = earlier.iter().filter(|(at, window)| window.is_some() && later.contains(&(*at, *window)));
    let step = super::encode::AAC_SAMPLES as i64;
    alike.map(|(at, _)| at + step).find(|at| *at >= seam).unwrap_or(seam)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_block_has_its_stretch_and_two_around_a_join() {
        assert_eq!([0, 636, 637, 641, 642, 1276, 1277].map(of), [0..=0, 0..=0, 0..=1, 0..=1, 1..=1, 1..=1, 1..=2]);
        assert_eq!((begin(0), end(0), begin(1), end(1)), (0, 642, 637, 1282));
    }

    proptest! {
        #[test]
        fn begin_end_of_and_last_agree(samples in 1u64..30_000_000) {
            let blocks = samples.div_ceil(BLOCK_SAMPLES as u64);
            let k = last(samples);
            prop_assert!(blocks <= end(k) && (k == 0 || blocks > end(k - 1)));
            let n = samples % 5000;
            for k in 0..9 {
                prop_assert_eq!(of(n).contains(&k), (begin(k)..end(k)).contains(&n));
                prop_assert_eq!(over(n) == Some(k), end(k) == n);
            }
        }
    }

    #[test]
    fn windows_are_read_where_both_channels_share_one() {
        assert_eq!(window(&[0b0010_0001, 0b0011_0000]), Some(Window(0b011)));
        assert_eq!(window(&[0b0010_0000, 0b0011_0000]), None);
        assert_eq!(window(&[0b0000_0001, 0]), None);
        assert_eq!(window(&[0x21]), None);
    }

    #[test]
    fn they_join_behind_the_first_window_alike() {
        let (long, short) = (Some(Window(1)), Some(Window(4)));
        let places = |windows: [Option<Window>; 4]| -> Vec<_> { (-1..3).map(|n| n * 1024).zip(windows).collect() };
        let same = places([long; 4]);
        assert_eq!(join(0, &same, &same), 0);
        assert_eq!(join(0, &same, &places([short, short, long, long])), 2048);
        assert_eq!(join(0, &places([None; 4]), &places([None; 4])), 0);
        assert_eq!(join(0, &same, &places([short; 4])), 0);
    }
}
