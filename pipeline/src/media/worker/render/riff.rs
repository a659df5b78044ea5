//! WAV, and RF64 (EBU Tech 3306) where 32 bits don't count its bytes. The samples are the decoder's own.

use ffmpeg_next::format::Sample;
use ffmpeg_next::frame::Audio;

use super::id3;
use super::out::Out;
use super::whole::Counting;
use super::words::Words;
use super::{Maker, Sound};
use crate::media::failure::Code;
use crate::media::worker::{Trouble, shape};

/// `KSDATAFORMAT_SUBTYPE_PCM` and `_IEEE_FLOAT` but for their first two bytes.
const SUBTYPE: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];
/// Where a size of 32 bits says to look into `ds64`.
const ELSEWHERE: u32 = u32::MAX;

/// How a sample is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    U8,
    S16,
    S24,
    S32,
    F32,
    F64,
}

impl Width {
    /// Of the decoder's samples: as many bytes as they need.
    fn of(format: Sample, bits: u16) -> Option<Self> {
        Some(match format {
            Sample::U8(_) => Self::U8,
            Sample::I16(_) => Self::S16,
            Sample::I32(_) if bits <= 24 => Self::S24,
            Sample::I32(_) => Self::S32,
            Sample::F32(_) => Self::F32,
            Sample::F64(_) => Self::F64,
            _ => return None,
        })
    }

    fn bytes(self) -> u16 {
        match self {
            Self::U8 => 1,
            Self::S16 => 2,
            Self::S24 => 3,
            Self::S32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// Samples on their way into the `data` chunk.
pub(super) struct Wav {
    channels: usize,
    width: Width,
    is_odd: bool,
}

impl Wav {
    pub(super) fn begin(
        sound: Sound,
        first: &Audio,
        counted: &Counting,
        words: &Words,
        out: &mut Out,
    ) -> Result<Self, Trouble> {
        let Some(width) = Width::of(first.format(), sound.bits) else {
            return Trouble::refused(Code::UnsupportedMedia, "a sample format of another kind");
        };
        let mask = shape::layout(first, sound.channels).bits();
        let data = counted.samples * u64::from(sound.channels) * u64::from(width.bytes());
        out.put(&header(sound, width, mask, counted.samples, data, words))?;
        Ok(Self { channels: usize::from(sound.channels), width, is_odd: data % 2 == 1 })
    }
}

impl Maker for Wav {
    fn take(&mut self, frame: &Audio, count: usize, out: &mut Out) -> Result<(), Trouble> {
        let of = (frame, self.channels, count);
        let bytes = match self.width {
            Width::U8 => gathered(of, |v: u8| [v]),
            Width::S16 => gathered(of, i16::to_le_bytes),
            Width::S24 => gathered(of, |v: i32| {
                let [_, low, middle, high] = v.to_le_bytes();
                [low, middle, high]
            }),
            Width::S32 => gathered(of, i32::to_le_bytes),
            Width::F32 => gathered(of, f32::to_le_bytes),
            Width::F64 => gathered(of, f64::to_le_bytes),
        };
        out.put(&bytes)
    }

    fn finish(self: Box<Self>, out: &mut Out) -> Result<(), Trouble> {
        if self.is_odd { out.put(&[0]) } else { Ok(()) }
    }
}

fn gathered<T, const N: usize>(
    (frame, channels, count): (&Audio, usize, usize),
    write: impl Fn(T) -> [u8; N],
) -> Vec<u8>
where
    T: Copy + ffmpeg_next::frame::audio::Sample,
{
    if !frame.is_planar() {
        let all = frame.plane::<T>(0);
        return all[..count * channels].iter().flat_map(|v| write(*v)).collect();
    }
    let planes: Vec<&[T]> = (0..channels).map(|channel| frame.plane::<T>(channel)).collect();
    (0..count).flat_map(|at| planes.iter().flat_map(move |plane| [plane[at]])).flat_map(write).collect()
}

/// Everything up to the first sample.
fn header(sound: Sound, width: Width, mask: u64, samples: u64, data: u64, words: &Words) -> Vec<u8> {
    let mut chunks = vec![];
    chunk(&mut chunks, b"fmt ", &format(sound, width, mask));
    let info = info(words);
    if info.len() > 4 {
        chunk(&mut chunks, b"LIST", &info);
    }
    if words.picture.is_some() {
        chunk(&mut chunks, b"id3 ", &id3::tag(words));
    }
    let padded = data + data % 2;
    let is_long = 4 + chunks.len() as u64 + 8 + padded > u64::from(ELSEWHERE) - 1;
    let mut out = vec![];
    if is_long {
        let riff = 4 + 36 + chunks.len() as u64 + 8 + padded;
        out.extend(b"RF64");
        out.extend(ELSEWHERE.to_le_bytes());
        out.extend(b"WAVE");
        let sizes = [riff, data, samples].map(u64::to_le_bytes).concat();
        chunk(&mut out, b"ds64", &[sizes, vec![0; 4]].concat());
    } else {
        out.extend(b"RIFF");
        out.extend((4 + chunks.len() as u32 + 8 + padded as u32).to_le_bytes());
        out.extend(b"WAVE");
    }
    out.extend(chunks);
    out.extend(b"data");
    out.extend(if is_long { ELSEWHERE } else { data as u32 }.to_le_bytes());
    out
}

fn chunk(out: &mut Vec<u8>, name: &[u8; 4], body: &[u8]) {
    out.extend(name);
    out.extend((body.len() as u32).to_le_bytes());
    out.extend(body);
    out.extend(vec![0; body.len() % 2]);
}

/// The plain form where it says all; else the extensible one.
fn format(sound: Sound, width: Width, mask: u64) -> Vec<u8> {
    let code: u16 = if matches!(width, Width::F32 | Width::F64) { 3 } else { 1 };
    let is_plain = sound.channels <= 2 && matches!(width, Width::U8 | Width::S16 | Width::F32 | Width::F64);
    let block = sound.channels * width.bytes();
    let mut out = vec![];
    out.extend((if is_plain { code } else { 0xfffe }).to_le_bytes());
    out.extend(sound.channels.to_le_bytes());
    out.extend(sound.rate.to_le_bytes());
    out.extend((sound.rate * u32::from(block)).to_le_bytes());
    out.extend(block.to_le_bytes());
    out.extend((width.bytes() * 8).to_le_bytes());
    if !is_plain {
        out.extend(22u16.to_le_bytes());
        out.extend(sound.bits.min(width.bytes() * 8).to_le_bytes());
        out.extend((mask as u32).to_le_bytes());
        out.extend(code.to_le_bytes());
        out.extend(SUBTYPE);
    }
    out
}

fn info(words: &Words) -> Vec<u8> {
    let mut out = b"INFO".to_vec();
    for (field, value) in words.said() {
        if let Some(name) = field.info.as_bytes().first_chunk() {
            chunk(&mut out, name, &[value.as_bytes(), b"\0"].concat());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: Sound = Sound { rate: 44_100, channels: 2, bits: 16 };

    #[test]
    fn a_short_file_has_the_plain_header() {
        let words = Words::of(&[], "", None);
        let head = header(SOUND, Width::S16, 3, 10, 40, &words);
        assert_eq!(head.len(), 44);
        assert_eq!(
            (&head[..4], &head[4..8], &head[40..]),
            (&b"RIFF"[..], &76u32.to_le_bytes()[..], &40u32.to_le_bytes()[..])
        );
    }

    #[test]
    fn beyond_four_gigabytes_the_sizes_have_64_bits() {
        let words = Words::of(&[], "Long", None);
        let samples = (1u64 << 32) / 4 + 7;
        let head = header(SOUND, Width::S16, 3, samples, samples * 4, &words);
        assert_eq!((&head[..8], &head[8..16]), (&b"RF64\xff\xff\xff\xff"[..], &b"WAVEds64"[..]));
        let at = |from: usize| u64::from_le_bytes(head[from..from + 8].try_into().unwrap());
        assert_eq!((at(20), at(28), at(36)), (head.len() as u64 - 8 + samples * 4, samples * 4, samples));
        assert!(head.ends_with(b"data\xff\xff\xff\xff"));
        let just = header(SOUND, Width::S16, 3, 0, u64::from(u32::MAX) - 101, &Words::of(&[], "", None));
        assert!(just.starts_with(b"RIFF"));
    }
}
