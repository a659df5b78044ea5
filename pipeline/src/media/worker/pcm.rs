//! Decoded audio in the ladder's shape: stereo blocks of one size, as floats and, for FLAC, as integers.
//!
//! Integers are left-justified in 32 bits, as libav has them. A lossless source of the ladder's rate passes unchanged.

use ffmpeg_next::format::Sample;
use ffmpeg_next::frame::Audio;

/// Samples of a block: one FLAC frame, four of AAC.
pub(super) const BLOCK_SAMPLES: usize = 4096;

/// Up to [`BLOCK_SAMPLES`] stereo samples; only the last is shorter.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) floats: Floats,
    /// Left and right by turns; empty when no rung wants it.
    pub(super) ints: Vec<i32>,
}

/// The same for AAC and the meter.
#[derive(Debug, Default)]
pub(super) struct Floats {
    pub(super) left: Vec<f32>,
    pub(super) right: Vec<f32>,
}

impl Block {
    pub(super) fn len(&self) -> usize {
        self.floats.left.len()
    }
}

/// One channel of a decoded frame.
pub(super) enum Plane {
    Ints(Vec<i32>),
    Floats(Vec<f32>),
}

/// Takes a frame apart, one plane per channel. None for a sample format that no listed decoder has.
pub(super) fn planes(frame: &Audio, channels: usize) -> Option<Vec<Plane>> {
    (0..channels).map(|channel| plane(frame, channel, channels)).collect()
}

fn plane(frame: &Audio, channel: usize, channels: usize) -> Option<Plane> {
    let at = if frame.is_planar() { (channel, 0, 1) } else { (0, channel, channels) };
    Some(match frame.format() {
        Sample::U8(_) => Plane::Ints(pick(frame, at, |v: u8| i32::from(v.wrapping_sub(128).cast_signed()) << 24)),
        Sample::I16(_) => Plane::Ints(pick(frame, at, |v: i16| i32::from(v) << 16)),
        Sample::I32(_) => Plane::Ints(pick(frame, at, |v: i32| v)),
        Sample::F32(_) => Plane::Floats(pick(frame, at, tame)),
        Sample::F64(_) => Plane::Floats(pick(frame, at, |v: f64| tame(v as f32))),
        _ => return None,
    })
}

fn pick<T, U>(frame: &Audio, (index, skip, step): (usize, usize, usize), read: impl Fn(T) -> U) -> Vec<U>
where
    T: Copy + ffmpeg_next::frame::audio::Sample,
{
    frame.plane::<T>(index).iter().skip(skip).step_by(step).take(frame.samples()).map(|v| read(*v)).collect()
}

/// Loud enough for any recording: +24 dB over full scale.
const FLOAT_MAX: f32 = 16.0;

/// A float file may hold anything; the coders can't take infinities.
fn tame(value: f32) -> f32 {
    if value.is_nan() { 0.0 } else { value.clamp(-FLOAT_MAX, FLOAT_MAX) }
}

impl Plane {
    pub(super) fn floats(&self) -> Vec<f32> {
        match self {
            Self::Ints(ints) => ints.iter().map(|v| to_float(*v)).collect(),
            Self::Floats(floats) => floats.clone(),
        }
    }

    /// The integers, or the floats rounded to `bits`.
    pub(super) fn ints(&self, bits: u16) -> Vec<i32> {
        match self {
            Self::Ints(ints) => ints.clone(),
            Self::Floats(floats) => floats.iter().map(|v| to_int(*v, bits)).collect(),
        }
    }
}

fn to_float(value: i32) -> f32 {
    value as f32 / 2_147_483_648.0
}

fn to_int(value: f32, bits: u16) -> i32 {
    let full = f64::from(1u32 << (bits - 1));
    let rounded = (f64::from(value) * full).round().clamp(-full, full - 1.0);
    (rounded as i32) << (32 - bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_round_and_clip_into_integers() {
        assert_eq!(to_int(1.0, 16), 32_767 << 16);
        assert_eq!(to_int(-2.0, 16), i32::MIN);
        assert_eq!(to_int(0.5, 24), 1 << 30);
        assert_eq!(to_int(to_float(-12_345 << 16), 16), -12_345 << 16);
        assert_eq!(tame(f32::NAN), 0.0);
        assert_eq!(tame(f32::INFINITY), FLOAT_MAX);
    }
}
