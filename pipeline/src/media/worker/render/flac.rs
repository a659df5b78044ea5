//! FLAC (RFC 9639): our own header before libavcodec's frames, since its muxer goes back to write the digest.

use ffmpeg_next::codec::{self, encoder};
use ffmpeg_next::format::Sample;
use ffmpeg_next::format::sample::Type;
use ffmpeg_next::frame::Audio;
use ffmpeg_next::{ChannelLayout, Dictionary, Error, Rational, threading};

use super::out::Out;
use super::whole::Counting;
use super::words::Words;
use super::{Maker, Sound, received};
use crate::media::failure::Code;
use crate::media::worker::pcm::{BLOCK_SAMPLES, planes};
use crate::media::worker::{Trouble, av, shape};

/// Names no version: the same file from every build.
const VENDOR: &str = "millrace";
/// A block's length has 24 bits.
const BLOCK_BYTES_MAX: usize = (1 << 24) - 1;
/// Samples in all have 36 bits; beyond, the count is unknown.
const SAMPLES_MAX: u64 = (1 << 36) - 1;

/// Bits of a FLAC file of a source of so many. It has at most 24.
pub(super) fn bits(source: u16) -> u16 {
    if (1..=16).contains(&source) { 16 } else { 24 }
}

/// The samples by turns, left-justified in 32 bits; whatever is beyond `bits` is 0.
pub(super) fn interleaved(frame: &Audio, count: usize, bits: u16) -> Result<Vec<i32>, Trouble> {
    let channels = usize::from(frame.channels());
    let Some(planes) = planes(frame, channels) else {
        return Trouble::refused(Code::UnsupportedMedia, "a sample format of another kind");
    };
    let planes: Vec<_> = planes.iter().map(|plane| plane.ints(bits)).collect();
    let mask = i32::MIN >> (bits - 1);
    let mut out = Vec::with_capacity(count * channels);
    for at in 0..count {
        out.extend(planes.iter().map(|plane| plane[at] & mask));
    }
    Ok(out)
}

/// The encoder, and what waits for a whole block.
pub(super) struct Flac {
    encoder: encoder::Audio,
    layout: ChannelLayout,
    sound: Sound,
    bits: u16,
    held: Vec<i32>,
    fed: i64,
}

impl Flac {
    pub(super) fn begin(
        sound: Sound,
        first: &Audio,
        counted: Counting,
        words: &Words,
        out: &mut Out,
    ) -> Result<Self, Trouble> {
        let bits = bits(sound.bits);
        out.put(&header(sound, bits, counted, words))?;
        let layout = shape::layout(first, sound.channels);
        let encoder = open(sound, bits, layout).map_err(trouble)?;
        Ok(Self { encoder, layout, sound, bits, held: vec![], fed: 0 })
    }

    fn encode(&mut self, samples: usize, out: &mut Out) -> Result<(), Trouble> {
        let channels = usize::from(self.sound.channels);
        let rest = self.held.split_off(samples * channels);
        let block = std::mem::replace(&mut self.held, rest);
        let kind = if self.bits == 16 { Sample::I16(Type::Packed) } else { Sample::I32(Type::Packed) };
        let mut frame = Audio::new(kind, samples, self.layout);
        if self.bits == 16 {
            let to = frame.plane_mut::<i16>(0);
            to.iter_mut().zip(&block).for_each(|(to, from)| *to = (*from >> 16) as i16);
        } else {
            frame.plane_mut::<i32>(0).copy_from_slice(&block);
        }
        frame.set_rate(self.sound.rate);
        frame.set_pts(Some(self.fed));
        self.fed += samples as i64;
        self.encoder.send_frame(&frame).map_err(trouble)?;
        self.drain(out)
    }

    fn drain(&mut self, out: &mut Out) -> Result<(), Trouble> {
        while let Some(packet) = received(&mut self.encoder).map_err(trouble)? {
            // The last one is empty: it carries a header for who can go back.
            out.put(packet.data().unwrap_or_default())?;
        }
        Ok(())
    }
}

impl Maker for Flac {
    fn take(&mut self, frame: &Audio, count: usize, out: &mut Out) -> Result<(), Trouble> {
        self.held.extend(interleaved(frame, count, self.bits)?);
        while self.held.len() >= BLOCK_SAMPLES * usize::from(self.sound.channels) {
            self.encode(BLOCK_SAMPLES, out)?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, out: &mut Out) -> Result<(), Trouble> {
        let left = self.held.len() / usize::from(self.sound.channels);
        if left > 0 {
            self.encode(left, out)?;
        }
        self.encoder.send_eof().map_err(trouble)?;
        self.drain(out)
    }
}

fn open(sound: Sound, bits: u16, layout: ChannelLayout) -> Result<encoder::Audio, Error> {
    let found = encoder::find_by_name("flac").ok_or(Error::EncoderNotFound)?;
    let mut encoder = codec::Context::new_with_codec(found).encoder().audio()?;
    encoder.set_rate(sound.rate as i32);
    encoder.set_format(if bits == 16 { Sample::I16(Type::Packed) } else { Sample::I32(Type::Packed) });
    encoder.set_channel_layout(layout);
    encoder.set_time_base(Rational(1, sound.rate as i32));
    encoder.set_threading(threading::Config::count(1));
    encoder.set_flags(codec::Flags::BITEXACT);
    let mut options = Dictionary::new();
    options.set("frame_size", &BLOCK_SAMPLES.to_string());
    if bits > 16 {
        options.set("bits_per_raw_sample", "24");
    }
    encoder.open_as_with(found, options)
}

fn trouble(error: Error) -> Trouble {
    av::trouble("flac", error)
}

/// `fLaC`, STREAMINFO, the comments, and the picture.
fn header(sound: Sound, bits: u16, counted: Counting, words: &Words) -> Vec<u8> {
    let samples = if counted.samples <= SAMPLES_MAX { counted.samples } else { 0 };
    let mut info = Vec::with_capacity(34);
    info.extend((BLOCK_SAMPLES as u16).to_be_bytes());
    info.extend((BLOCK_SAMPLES as u16).to_be_bytes());
    info.extend([0; 6]); // the frames' sizes are unknown
    let packed =
        u64::from(sound.rate) << 44 | u64::from(sound.channels - 1) << 41 | u64::from(bits - 1) << 36 | samples;
    info.extend(packed.to_be_bytes());
    info.extend(counted.digest());
    let picture = words.picture.as_ref().map(super::words::Picture::block).filter(|p| p.len() <= BLOCK_BYTES_MAX);
    let mut out = b"fLaC".to_vec();
    block(&mut out, 0, &info, false);
    block(&mut out, 4, &comments(words), picture.is_none());
    if let Some(picture) = picture {
        block(&mut out, 6, &picture, true);
    }
    out
}

fn block(out: &mut Vec<u8>, kind: u8, body: &[u8], is_last: bool) {
    out.push(kind | u8::from(is_last) << 7);
    out.extend(&(body.len() as u32).to_be_bytes()[1..]);
    out.extend(body);
}

fn comments(words: &Words) -> Vec<u8> {
    let lines: Vec<String> = words.said().map(|(field, value)| format!("{}={value}", field.vorbis)).collect();
    let counted = |text: &str| [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    let mut out = counted(VENDOR);
    out.extend((lines.len() as u32).to_le_bytes());
    lines.iter().for_each(|line| out.extend(counted(line)));
    out
}
