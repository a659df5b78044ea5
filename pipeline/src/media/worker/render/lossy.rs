//! MP3, AAC and Opus: converted, cut into the coder's frames, and put into a container that is written front to back.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ffmpeg_next::codec::{self, encoder};
use ffmpeg_next::format::Sample;
use ffmpeg_next::format::context::{Output, StreamIo};
use ffmpeg_next::format::sample::Type;
use ffmpeg_next::frame::Audio;
use ffmpeg_next::{Dictionary, Error, Packet, Rational, threading};

use super::convert::{Converter, Planes, output_layout, scaled};
use super::ilst::Gap;
use super::out::Out;
use super::words::Words;
use super::{Maker, Sound, id3, ilst, mp3, received};
use crate::media::Coding;
use crate::media::failure::Code;
use crate::media::ladder::ladder_rate;
use crate::media::worker::mux::Sink;
use crate::media::worker::{Trouble, av};

/// The rates that MPEG audio layer III has.
const MP3_RATES: [u32; 9] = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];
/// Opus always plays at this one.
const OPUS_RATE: u32 = 48_000;
const AAC_BPS: usize = 256_000;
const OPUS_BPS: usize = 160_000;
/// Between two fragments of an MP4: what a player needs before it can go on.
const FRAGMENT_SECONDS: u32 = 5;
/// Cuts where we say, the edit list in the init, offsets from the moof, no trailer.
const MOVFLAGS: &str = "frag_custom+delay_moov+default_base_moof+skip_trailer";

/// The coder, and its container.
pub(super) struct Lossy {
    converter: Converter,
    encoder: encoder::Audio,
    format: Sample,
    channels: u16,
    rate: u32,
    step: usize,
    held: Planes,
    fed: i64,
    container: Container,
}

enum Container {
    /// Bare frames: so many are left.
    Mp3 {
        left: u64,
    },
    Mp4 {
        muxer: Output,
        sink: Sink,
        words: Option<(Words, Gap)>,
        cut_at: i64,
    },
    Ogg {
        muxer: Output,
        sink: Sink,
    },
}

impl Lossy {
    /// `samples`: of the source, where they were counted.
    pub(super) fn begin(
        coding: Coding,
        sound: Sound,
        first: &Audio,
        samples: u64,
        words: Words,
        out: &mut Out,
    ) -> Result<Self, Trouble> {
        let rate = match coding {
            Coding::Opus => OPUS_RATE,
            _ if MP3_RATES.contains(&sound.rate) => sound.rate,
            _ => ladder_rate(sound.rate),
        };
        let channels = sound.channels.min(2);
        let format = Sample::F32(if coding == Coding::Opus { Type::Packed } else { Type::Planar });
        let encoder = open(coding, rate, channels, format).map_err(trouble)?;
        let step = usize::try_from(encoder.frame_size()).unwrap_or(0).max(1);
        let container = match coding {
            Coding::Aac => {
                mp4(&encoder, rate, (words, gap(&encoder, step, scaled(samples, sound.rate, rate)))).map_err(trouble)?
            }
            Coding::Opus => ogg(&encoder, rate, &words).map_err(trouble)?,
            _ => {
                let (left, padding) = mp3::frames(scaled(samples, sound.rate, rate), step as u64);
                out.put(&id3::tag(&words))?;
                out.put(&mp3::information(rate, channels, left, padding))?;
                Container::Mp3 { left }
            }
        };
        let converter = Converter::new(sound, first, rate)?;
        let held = vec![vec![]; usize::from(channels)];
        Ok(Self { converter, encoder, format, channels, rate, step, held, fed: 0, container })
    }

    fn keep(&mut self, planes: Planes, out: &mut Out) -> Result<(), Trouble> {
        self.held.iter_mut().zip(planes).for_each(|(held, more)| held.extend(more));
        while self.held[0].len() >= self.step {
            self.encode(self.step, out)?;
        }
        Ok(())
    }

    fn encode(&mut self, samples: usize, out: &mut Out) -> Result<(), Trouble> {
        let mut frame = Audio::new(self.format, samples, output_layout(self.channels));
        let planes = self.held.iter_mut().map(|held| held.drain(..samples).collect::<Vec<f32>>());
        if frame.is_planar() {
            planes.enumerate().for_each(|(n, plane)| frame.plane_mut::<f32>(n).copy_from_slice(&plane));
        } else {
            let all = frame.plane_mut::<f32>(0);
            for (n, plane) in planes.enumerate() {
                let to = all.iter_mut().skip(n).step_by(usize::from(self.channels));
                to.zip(plane).for_each(|(to, from)| *to = from);
            }
        }
        frame.set_rate(self.rate);
        frame.set_pts(Some(self.fed));
        self.fed += samples as i64;
        self.encoder.send_frame(&frame).map_err(trouble)?;
        self.drain(out)
    }

    fn drain(&mut self, out: &mut Out) -> Result<(), Trouble> {
        while let Some(packet) = received(&mut self.encoder).map_err(trouble)? {
            self.container.put(packet, self.rate, out)?;
        }
        Ok(())
    }
}

impl Maker for Lossy {
    fn take(&mut self, frame: &Audio, count: usize, out: &mut Out) -> Result<(), Trouble> {
        let planes = self.converter.take(frame, count)?;
        self.keep(planes, out)
    }

    fn finish(mut self: Box<Self>, out: &mut Out) -> Result<(), Trouble> {
        let planes = self.converter.finish()?;
        self.keep(planes, out)?;
        let left = self.held[0].len();
        if left > 0 {
            self.encode(left, out)?;
        }
        self.encoder.send_eof().map_err(trouble)?;
        self.drain(out)?;
        self.container.end(out)
    }
}

impl Container {
    fn put(&mut self, mut packet: Packet, rate: u32, out: &mut Out) -> Result<(), Trouble> {
        packet.set_stream(0);
        match self {
            Self::Mp3 { left } => {
                // The first frame has told how many there are.
                *left = left.checked_sub(1).ok_or_else(|| miscounted(1))?;
                out.put(packet.data().unwrap_or_default())
            }
            Self::Mp4 { muxer, sink, words, cut_at } => {
                if packet.pts().unwrap_or(0) >= *cut_at {
                    *cut_at += i64::from(FRAGMENT_SECONDS * rate);
                    fragment(muxer, sink, words, out)?;
                }
                packet.write(muxer).map_err(trouble).map(|_| ())
            }
            Self::Ogg { muxer, sink } => {
                packet.write(muxer).map_err(trouble)?;
                out.put(&sink.take())
            }
        }
    }

    fn end(self, out: &mut Out) -> Result<(), Trouble> {
        match self {
            Self::Mp3 { left: 0 } => Ok(()),
            Self::Mp3 { left } => Err(miscounted(left)),
            Self::Mp4 { mut muxer, sink, mut words, .. } => fragment(&mut muxer, &sink, &mut words, out),
            Self::Ogg { mut muxer, sink } => {
                muxer.write_trailer().map_err(trouble)?;
                av::flush_bytes(&mut muxer);
                out.put(&sink.take())
            }
        }
    }
}

/// What the muxer holds becomes a fragment; before the first one comes the init, with the words in it.
fn fragment(muxer: &mut Output, sink: &Sink, words: &mut Option<(Words, Gap)>, out: &mut Out) -> Result<(), Trouble> {
    if let Some((words, gap)) = words.take() {
        av::flush(muxer).map_err(trouble)?;
        out.put(&ilst::put_into(&sink.take(), &words, gap))?;
    }
    av::flush(muxer).map_err(trouble)?;
    out.put(&sink.take())
}

/// What an encoder of whole frames adds at both ends.
fn gap(encoder: &encoder::Audio, step: usize, samples: u64) -> Gap {
    let padding = samples.next_multiple_of(step as u64) - samples;
    Gap { priming: av::initial_padding(encoder), padding, samples }
}

fn open(coding: Coding, rate: u32, channels: u16, format: Sample) -> Result<encoder::Audio, Error> {
    let name = match coding {
        Coding::Aac => "aac",
        Coding::Opus => "libopus",
        _ => "libmp3lame",
    };
    let found = encoder::find_by_name(name).ok_or(Error::EncoderNotFound)?;
    let mut encoder = codec::Context::new_with_codec(found).encoder().audio()?;
    encoder.set_rate(rate as i32);
    encoder.set_format(format);
    encoder.set_channel_layout(output_layout(channels));
    encoder.set_time_base(Rational(1, rate as i32));
    encoder.set_threading(threading::Config::count(1));
    let mut options = Dictionary::new();
    let mut flags = codec::Flags::BITEXACT;
    match coding {
        Coding::Aac => {
            encoder.set_bit_rate(AAC_BPS);
            options.set("aac_coder", "twoloop");
            flags |= codec::Flags::GLOBAL_HEADER;
        }
        Coding::Opus => {
            encoder.set_bit_rate(OPUS_BPS);
            flags |= codec::Flags::GLOBAL_HEADER;
        }
        // The best of the variable rates: V0.
        _ => {
            options.set("global_quality", "0");
            flags |= codec::Flags::QSCALE;
        }
    }
    encoder.set_flags(flags);
    encoder.open_as_with(found, options)
}

fn mp4(encoder: &encoder::Audio, rate: u32, words: (Words, Gap)) -> Result<Container, Error> {
    let (mut muxer, sink) = muxer("ipod", encoder, rate, None)?;
    let options: Dictionary<'_> = [("movflags", MOVFLAGS), ("fflags", "+bitexact")].iter().collect();
    muxer.write_header_with(options)?;
    Ok(Container::Mp4 { muxer, sink, words: Some(words), cut_at: i64::from(FRAGMENT_SECONDS * rate) })
}

fn ogg(encoder: &encoder::Audio, rate: u32, words: &Words) -> Result<Container, Error> {
    let mut said = Dictionary::new();
    words.said().for_each(|(field, value)| said.set(field.vorbis, value));
    if let Some(picture) = &words.picture {
        said.set("METADATA_BLOCK_PICTURE", &STANDARD.encode(picture.block()));
    }
    let (mut muxer, sink) = muxer("ogg", encoder, rate, Some(said))?;
    let options: Dictionary<'_> = [("fflags", "+bitexact")].iter().collect();
    muxer.write_header_with(options)?;
    Ok(Container::Ogg { muxer, sink })
}

fn muxer(
    name: &str,
    encoder: &encoder::Audio,
    rate: u32,
    said: Option<Dictionary<'_>>,
) -> Result<(Output, Sink), Error> {
    let sink = Sink::default();
    let mut muxer = ffmpeg_next::format::output_to_stream(StreamIo::from_write(sink.clone())?, None, Some(name))?;
    let mut stream = muxer.add_stream_with(encoder)?;
    stream.set_time_base(Rational(1, rate as i32));
    if let Some(said) = said {
        stream.set_metadata(said);
    }
    Ok((muxer, sink))
}

fn trouble(error: Error) -> Trouble {
    av::trouble("the file", error)
}

fn miscounted(frames: u64) -> Trouble {
    Trouble::Refused(Code::WorkerCrashed, format!("the coder made {frames} frames more or fewer than were told"))
}
