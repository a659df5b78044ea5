//! What precedes the music of an MP3: a silent frame that says how much there is, and what to cut off at both ends.
//!
//! Xing's frame count and LAME's delay and padding; neither length in bytes nor table of contents, which only who goes back
//! can know. Decoders that cut (most do) get every sample of the source and no more.

/// LAME's own delay, and what it always adds behind.
const DELAY_SAMPLES: u64 = 576;
/// A frame at this rate holds the information at every sample rate.
const INFO_KBPS: u32 = 64;

/// Frames of a file of so many samples, and the samples that LAME adds at its end.
pub(super) fn frames(samples: u64, step: u64) -> (u64, u64) {
    let fed = DELAY_SAMPLES + samples;
    let padding = step - fed % step;
    let padding = if padding < DELAY_SAMPLES { padding + step } else { padding };
    ((fed + padding) / step, padding)
}

/// The frame.
pub(super) fn information(rate: u32, channels: u16, frames: u64, padding: u64) -> Vec<u8> {
    // MPEG version bits, and the index of the bit rate in its table.
    let (version, bitrate, is_full): (u8, u8, bool) = match rate {
        32_000.. => (0b11, 5, true),
        16_000.. => (0b10, 8, false),
        _ => (0b00, 8, false),
    };
    let index: u8 = match rate {
        44_100 | 22_050 | 11_025 => 0,
        48_000 | 24_000 | 12_000 => 1,
        _ => 2,
    };
    let mode: u8 = if channels == 1 { 0b11 } else { 0b01 };
    let side = match (is_full, channels) {
        (true, 1) | (false, 2) => 17,
        (true, _) => 32,
        (false, _) => 9,
    };
    let len = (if is_full { 144 } else { 72 }) * INFO_KBPS * 1000 / rate;
    let mut out = vec![0xff, 0xe0 | version << 3 | 0b011, bitrate << 4 | index << 2, mode << 6];
    out.resize(4 + side, 0);
    out.extend(b"Xing");
    out.extend(1u32.to_be_bytes()); // the frames alone
    out.extend((frames as u32).to_be_bytes());
    out.extend(b"LAME3.100");
    out.extend([4, 0]); // VBR of the newer kind; no lowpass told
    out.extend([0; 8]); // no gain
    out.extend([0, 0]);
    let gap = (DELAY_SAMPLES as u32) << 12 | padding as u32 & 0xfff;
    out.extend(&gap.to_be_bytes()[1..]);
    out.resize(len as usize, 0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::mpeg;

    #[test]
    fn the_frame_tells_the_exact_length_at_every_rate() {
        for rate in [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000] {
            let step = if rate >= 32_000 { 1152 } else { 576 };
            for (samples, channels) in [(1, 1), (575, 2), (576, 1), (577, 2), (44_100, 2), (1_000_003, 1)] {
                let (count, padding) = frames(samples, step);
                assert_eq!(count * step, 576 + samples + padding);
                assert!((576..576 + step).contains(&padding) || padding == step + 575, "{padding}");
                let frame = information(rate, channels, count, padding);
                let tag = mpeg::tag(&frame).expect("a tag that our own reader finds");
                assert_eq!(tag.samples, Some(samples), "{rate} {channels}");
            }
        }
    }
}
