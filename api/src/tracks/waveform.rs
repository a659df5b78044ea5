//! Peaks as the store keeps them (audiowaveform's .dat, version 2), told as JSON. Pure.
//!
//! Little-endian: i32 version, u32 flags (bit 0: 8 bits), i32 rate, i32 samples per pixel, u32 length, i32 channels,
//! then `length` × `channels` pairs of minimum and maximum. A coarser zoom is made of them when it is asked for.

use super::model::Waveform;

const HEADER_BYTES: usize = 24;

/// Samples of the coarsest pixel: some twenty seconds, an hour in two hundred pixels.
const ZOOM_MAX: i32 = 1 << 20;

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

/// The same with so many samples to a pixel: a multiple of what it has. `None`: it isn't one, or is out of reach.
pub(super) fn zoomed(wave: Waveform, samples_per_pixel: i32) -> Option<Waveform> {
    let is_multiple = wave.samples_per_pixel > 0 && samples_per_pixel % wave.samples_per_pixel == 0;
    if !is_multiple || !(wave.samples_per_pixel..=ZOOM_MAX).contains(&samples_per_pixel) {
        return None;
    }
    let (factor, channels) = (usize::try_from(samples_per_pixel / wave.samples_per_pixel).ok()?, wave.channels);
    let values = usize::try_from(channels).ok()? * 2;
    let mut data = Vec::with_capacity(wave.data.len() / factor + values);
    for pixel in wave.data.chunks(factor * values) {
        for at in 0..values {
            let of_one = pixel.iter().skip(at).step_by(values).copied();
            // Minimum and maximum take turns.
            data.extend(if at % 2 == 0 { of_one.min() } else { of_one.max() });
        }
    }
    let length = u32::try_from(data.len() / values).ok()?;
    Some(Waveform { samples_per_pixel, length, data, ..wave })
}

/// As a .dat again.
pub(super) fn write(wave: &Waveform) -> Vec<u8> {
    let flags = i32::from(wave.bits == 8);
    let length = wave.length.cast_signed();
    let head = [wave.version, flags, wave.sample_rate, wave.samples_per_pixel, length, wave.channels];
    let mut out: Vec<u8> = head.into_iter().flat_map(i32::to_le_bytes).collect();
    match wave.bits {
        8 => out.extend(wave.data.iter().map(|value| value.to_le_bytes()[0])),
        _ => out.extend(wave.data.iter().flat_map(|value| value.to_le_bytes())),
    }
    out
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

    #[test]
    fn a_pixel_of_many_has_their_extremes() {
        let fine = dat(1, 5, &[0xff, 1, 0xf0, 2, 0xfe, 9, 0, 0, 3, 4]);
        let wave = || read(&fine).unwrap();
        assert_eq!(write(&wave()), fine);
        let twice = zoomed(wave(), 512).unwrap();
        assert_eq!((twice.length, &twice.data[..]), (3, &[-16, 2, -2, 9, 3, 4][..]));
        assert_eq!(write(&twice)[12..20], [0, 2, 0, 0, 3, 0, 0, 0]);
        assert_eq!(read(&write(&twice)), Some(twice));
        assert_eq!(zoomed(wave(), 1 << 20).unwrap().data, [-16, 9]);
        for bad in [0, 1, 128, 300, -256, i32::MAX, 1 << 21] {
            assert_eq!(zoomed(wave(), bad), None, "{bad}");
        }
        let stereo = Waveform { channels: 2, length: 2, data: vec![-1, 1, -7, 7, -3, 3, -2, 2], ..wave() };
        assert_eq!(zoomed(stereo, 512).unwrap().data, [-3, 3, -7, 7]);
    }
}
