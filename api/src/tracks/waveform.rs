//! Peaks as the store keeps them (audiowaveform's .dat, version 2), told as JSON. Pure.
//!
//! Little-endian: i32 version, u32 flags (bit 0: 8 bits), i32 rate, i32 samples per pixel, u32 length, i32 channels,
//! then `length` × `channels` pairs of minimum and maximum.

use super::model::Waveform;

const HEADER_BYTES: usize = 24;

/// `None`: not that format, or cut short. Ours is neither.
pub(super) fn read(dat: &[u8]) -> Option<Waveform> {
    let (head, peaks) = dat.split_at_checked(HEADER_BYTES)?;
    let word = |at: usize| head.get(at..at + 4)?.try_into().ok().map(i32::from_le_bytes);
    let (version, flags, channels) = (word(0)?, word(4)?, word(20)?);
    let length = u32::from_le_bytes(head.get(16..20)?.try_into().ok()?);
    let bits = if flags & 1 == 1 { 8 } else { 16 };
    let values = usize::try_from(length).ok()?.checked_mul(2)?.checked_mul(usize::try_from(channels).ok()?)?;
    let data: Vec<i16> = match bits {
        8 => peaks.iter().map(|byte| i16::from(byte.cast_signed())).collect(),
        _ => peaks.as_chunks().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect(),
    };
    (version == 2 && channels > 0 && data.len() == values).then_some(Waveform {
        version,
        channels,
        sample_rate: word(8)?,
        samples_per_pixel: word(12)?,
        bits,
        length,
        data,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dat(flags: u32, length: u32, peaks: &[u8]) -> Vec<u8> {
        let head = [2, flags, 48_000, 256, length, 1].map(u32::to_le_bytes);
        [head.as_flattened(), peaks].concat()
    }

    #[test]
    fn both_depths_are_read_and_what_is_cut_short_is_not() {
        let wide = read(&dat(0, 2, &[0xff, 0xff, 1, 0, 0x00, 0x80, 0xff, 0x7f])).unwrap();
        assert_eq!((wide.bits, wide.data), (16, vec![-1, 1, -32768, 32767]));
        let narrow = read(&dat(1, 1, &[0x80, 0x7f])).unwrap();
        assert_eq!((narrow.bits, narrow.samples_per_pixel, narrow.data), (8, 256, vec![-128, 127]));
        assert_eq!(read(&dat(0, 2, &[0; 7])), None);
        assert_eq!(read(&dat(0, 1, &[])[..20]), None);
        assert_eq!(read(&dat(0, u32::MAX, &[0; 4])), None);
    }
}
