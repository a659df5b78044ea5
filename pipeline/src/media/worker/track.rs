//! The chosen stream of a source: its decoder, its claims, and how much damage it may have.
//!
//! Promise: a lossless stream decodes whole or fails; a lossy one may lose a few packets, as every player allows.

use ffmpeg_next::codec::decoder;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::frame::Audio;
use ffmpeg_next::{Dictionary, Error, Packet, Rational, codec, media, threading};

use super::decode::Production;
use super::{Trouble, av, m4a};
use crate::media::failure::Code;
use crate::media::ladder::{self, Sound};
use crate::media::sniff::Container;
use crate::media::wire::Start;
use crate::media::{Source, limits};

/// The decoders that may be opened. Audio only; none that reads a script or a picture.
const DECODERS: [&str; 29] = [
    "mp3float",
    "flac",
    "alac",
    "aac",
    "vorbis",
    "opus",
    "wavpack",
    "pcm_s8",
    "pcm_u8",
    "pcm_s16le",
    "pcm_s16be",
    "pcm_s24le",
    "pcm_s24be",
    "pcm_s32le",
    "pcm_s32be",
    "pcm_f32le",
    "pcm_f32be",
    "pcm_f64le",
    "pcm_f64be",
    "pcm_alaw",
    "pcm_mulaw",
    "pcm_u16le",
    "pcm_u16be",
    "pcm_u24le",
    "pcm_u24be",
    "pcm_u32le",
    "pcm_u32be",
    "pcm_s16le_planar",
    "pcm_s16be_planar",
];
/// Of the packets of a lossy source, one in so many may be broken.
const BROKEN_ONE_IN: u64 = 20;
/// Broken packets that are always allowed: a cut at either end.
const BROKEN_FREE: u64 = 3;

/// The chosen stream and its decoder.
pub(super) struct Track {
    pub(super) index: usize,
    container: Container,
    name: String,
    decoder: decoder::Audio,
    is_lossless: bool,
    pub(super) kbps: Option<u32>,
    time_base: Rational,
    /// Source samples that the file claims, where a shortfall means damage.
    declared: Option<(i64, Rational)>,
    /// Source samples to show at most.
    pub(super) limit: Option<u64>,
    /// The same in ticks, until the rate is known.
    pub(super) length: Option<m4a::Length>,
    last_duration: i64,
    packets: u64,
    broken: u64,
    /// The packet under way was cut by the file's end: of PCM, maybe in the middle of a sample.
    is_crumb: bool,
    decoded: u64,
}

impl Track {
    pub(super) fn choose(input: &mut Input, container: Container) -> Result<Self, Trouble> {
        let Some(stream) = input.streams().find(|s| s.parameters().medium() == media::Type::Audio) else {
            return Trouble::refused(Code::UnsupportedMedia, format!("{container} without audio"));
        };
        let (index, parameters, time_base) = (stream.index(), stream.parameters(), stream.time_base());
        let (id, kbps) = (parameters.id(), parameters.bit_rate() / 1000);
        let declared = matches!(container, Container::Flac | Container::Mp4 | Container::WavPack)
            .then(|| (stream.duration(), time_base))
            .filter(|(duration, _)| *duration > 0);
        let found = DECODERS.iter().filter_map(|name| decoder::find_by_name(name)).find(|d| d.id() == id);
        let Some(found) = found else {
            return Trouble::refused(Code::UnsupportedMedia, format!("{} audio", id.name()));
        };
        av::discard_others(input, index);
        let is_lossless =
            id.name().starts_with("pcm_") || matches!(id, codec::Id::FLAC | codec::Id::ALAC | codec::Id::WAVPACK);
        let mut options = Dictionary::new();
        options.set("codec_whitelist", &decoders());
        if is_lossless {
            options.set("err_detect", "crccheck+explode");
        }
        let decoder = codec::Context::from_parameters(parameters)
            .and_then(|context| {
                let mut decoder = context.decoder();
                decoder.set_threading(threading::Config::count(1));
                decoder.set_packet_time_base(time_base);
                decoder.open_as_with(found, options)?.audio()
            })
            .or_else(|e| {
                Trouble::refused(Code::CorruptMedia, format!("{} audio that can't be decoded: {e}", id.name()))
            })?;
        Ok(Self {
            index,
            container,
            name: id.name().to_owned(),
            is_lossless,
            kbps: u32::try_from(kbps).ok().filter(|k| *k > 0),
            decoder,
            time_base,
            declared,
            limit: None,
            length: None,
            last_duration: 0,
            packets: 0,
            broken: 0,
            is_crumb: false,
            decoded: 0,
        })
    }

    pub(super) fn packet(&mut self, packet: &Packet, output: &mut Production<'_>) -> Result<(), Trouble> {
        self.packets += 1;
        if packet.is_corrupt() && self.is_lossless && !self.name.starts_with("pcm_") {
            return Trouble::refused(Code::CorruptMedia, "the file is cut short");
        }
        self.last_duration = packet.duration();
        self.is_crumb = packet.is_corrupt();
        match self.decoder.send_packet(packet) {
            Ok(()) | Err(Error::Other { errno: libc::EAGAIN }) => {}
            Err(e) => self.forgive(e)?,
        }
        self.drain(output)
    }

    fn drain(&mut self, output: &mut Production<'_>) -> Result<(), Trouble> {
        loop {
            let mut frame = Audio::empty();
            match self.decoder.receive_frame(&mut frame) {
                Ok(()) if frame.samples() > 0 => {
                    let length = self.length.take().filter(|l| l.per_second == frame.rate());
                    self.limit = self.limit.or(length.map(|l| l.ticks));
                    self.decoded += frame.samples() as u64;
                    output.frame(frame, self)?;
                }
                Ok(()) => {}
                Err(Error::Eof | Error::Other { errno: libc::EAGAIN }) => return Ok(()),
                Err(e) => self.forgive(e)?,
            }
        }
    }

    /// Notes a broken packet, unless there are too many.
    fn forgive(&mut self, error: Error) -> Result<(), Trouble> {
        if error == (Error::Other { errno: libc::ENOMEM }) {
            return Trouble::refused(Code::WorkerMemory, "decoding took too much memory");
        }
        // A recording that was cut in the middle of a sample ends before it.
        if self.is_crumb && self.name.starts_with("pcm_") {
            return Ok(());
        }
        self.broken += 1;
        if self.is_lossless || self.broken > BROKEN_FREE + self.packets / BROKEN_ONE_IN {
            return Trouble::refused(
                Code::CorruptMedia,
                format!("packet {} of the {} audio is damaged", self.packets, self.name),
            );
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, output: &mut Production<'_>) -> Result<u64, Trouble> {
        // At the end every decoder lets go of what it holds; an error here has been counted before.
        let _ = self.decoder.send_eof();
        self.drain(output)?;
        let samples = output.finish(self)?;
        if samples == 0 {
            let (code, text) = if self.broken > 0 {
                (Code::CorruptMedia, "no packet could be decoded")
            } else {
                (Code::EmptyMedia, "there is no audio in it")
            };
            return Trouble::refused(code, text);
        }
        Ok(samples)
    }

    /// Whether less came out than the file claims, beyond what an edit list or a last frame may hide.
    pub(super) fn is_short(&self, rate: u32) -> bool {
        let slack = if self.container == Container::Mp4 { u64::from(rate) / 10 } else { 0 };
        self.declared.is_some_and(|(duration, base)| {
            let claimed = duration as f64 * f64::from(base) * f64::from(rate);
            (self.decoded + slack) as f64 + 0.5 < claimed
        })
    }

    /// Whether all that the file claims came out.
    pub(super) fn is_whole(&self) -> bool {
        self.declared.is_some() && !self.is_short(self.decoder.rate())
    }

    /// Samples of the last frame that belong to the audio: MP4 says so by the packet's duration alone.
    pub(super) fn last_samples(&self, frame: &Audio) -> usize {
        let samples = self.last_duration as f64 * f64::from(self.time_base) * f64::from(frame.rate());
        let is_shorter = self.container == Container::Mp4
            && self.limit.is_none()
            && samples >= 1.0
            && samples.round() < frame.samples() as f64;
        if is_shorter { samples.round() as usize } else { frame.samples() }
    }

    /// Significant bits of a sample; 0 where the codec is lossy.
    pub(super) fn bits(&self, frame: &Audio) -> u16 {
        if self.is_lossless { significant_bits(&self.decoder, frame) } else { 0 }
    }

    pub(super) fn source(&self, frame: &Audio, start: &Start) -> Result<Source, Trouble> {
        let (rate, channels) = (frame.rate(), frame.channels());
        if channels == 0 || channels > start.limits.channels_max {
            return Trouble::refused(
                Code::TooManyChannels,
                format!("{channels} channels; {} are the most", start.limits.channels_max),
            );
        }
        if !(limits::RATE_MIN..=limits::RATE_MAX).contains(&rate) {
            return Trouble::refused(Code::UnsupportedRate, format!("{rate} Hz"));
        }
        let bits = self.bits(frame);
        let sound = Sound { rate, bits, lossless: self.is_lossless, kbps: self.kbps };
        let grid = ladder::grid(ladder::ladder_rate(rate), start.segment_seconds);
        Ok(Source {
            container: self.container.to_string().to_lowercase(),
            codec: self.name.clone(),
            rate,
            channels,
            bits,
            lossless: self.is_lossless,
            converted: rate != grid.rate || channels != 2,
            plan: start.ladder.plan(&sound),
            grid,
        })
    }
}

fn significant_bits(decoder: &decoder::Audio, frame: &Audio) -> u16 {
    let raw = av::bits_per_raw_sample(decoder);
    let held = 8 * frame.format().bytes() as u16;
    if raw > 0 && raw <= held { raw } else { held }
}

/// The list as libav's options want it.
pub(super) fn decoders() -> String {
    DECODERS.join(",")
}
