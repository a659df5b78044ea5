//! The waveform as audiowaveform's data file, version 2: 8 bit, one channel, 512 samples to a pair.

use bytes::{BufMut, Bytes, BytesMut};

/// Ladder samples that one pair stands for.
pub const SAMPLES_PER_PAIR: u32 = 512;
/// The header's flag for 8-bit values.
const FLAG_8_BIT: u32 = 1;

/// Header and pairs in one piece.
pub fn dat(rate: u32, pairs: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(24 + pairs.len());
    out.put_i32_le(2);
    out.put_u32_le(FLAG_8_BIT);
    out.put_i32_le(rate as i32);
    out.put_i32_le(SAMPLES_PER_PAIR as i32);
    out.put_u32_le((pairs.len() / 2) as u32);
    out.put_i32_le(1);
    out.put_slice(pairs);
    out.freeze()
}

/// Folds samples into pairs.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    pairs: Vec<u8>,
    low: f32,
    high: f32,
    filled: u32,
}

impl Folder {
    /// Adds one stereo sample.
    pub(crate) fn add(&mut self, left: f32, right: f32) {
        let mid = (left + right) * 0.5;
        if self.filled == 0 {
            (self.low, self.high) = (mid, mid);
        }
        self.low = self.low.min(mid);
        self.high = self.high.max(mid);
        self.filled += 1;
        if self.filled == SAMPLES_PER_PAIR {
            self.close();
        }
    }

    /// Ends the last, shorter pair.
    pub(crate) fn finish(&mut self) {
        if self.filled > 0 {
            self.close();
        }
    }

    /// The pairs since the last call.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pairs)
    }

    fn close(&mut self) {
        self.pairs.extend([byte(self.low), byte(self.high)]);
        self.filled = 0;
    }
}

fn byte(value: f32) -> u8 {
    (value * 128.0).floor().clamp(-128.0, 127.0) as i8 as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_hold_the_extremes_and_the_rest() {
        let mut folder = Folder::default();
        for n in 0..600 {
            let value = if n == 100 { -1.0 } else { 0.5 };
            folder.add(value, value);
        }
        folder.finish();
        assert_eq!(folder.take(), [128, 64, 64, 64]);
    }

    #[test]
    fn the_header_says_what_follows() {
        let dat = dat(44_100, &[128, 64, 64, 64]);
        assert_eq!(dat.len(), 28);
        assert_eq!(&dat[0..8], [2, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(&dat[16..20], [2, 0, 0, 0]);
    }
}
