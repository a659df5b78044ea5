//! Opens the source, decodes it once, and hands the audio to the crew.
//!
//! Promise: one demuxer, the one that the first bytes name; one decoder, from the list; no picture, no script, no URL.
//! Lossless sources decode whole or fail; lossy ones may lose a few packets, as every player allows.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use ffmpeg_next::codec::decoder;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::frame::Audio;
use ffmpeg_next::{Dictionary, Error, Packet, Rational, codec, media, threading};

use super::link::{self, Outlet};
use super::shape::Shaper;
use super::source::Feeder;
use super::{Crew, Trouble, av, m4a};
use crate::media::failure::Code;
use crate::media::ladder::{self, Grid, Sound};
use crate::media::sniff::{Container, HEAD_BYTES, Sniffed, find_moov, sniff};
use crate::media::wire::{Kind, Start};
use crate::media::{Access, Source, Tag, limits, mpeg};

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
/// An MP3's first frame with room for what precedes it.
const FIRST_FRAME_BYTES: usize = 4096;

/// Decodes the whole source; the number of ladder samples.
pub(super) fn run(start: Start, mut source: Feeder, outlet: &Mutex<Outlet>, crew: &mut Crew) -> Result<u64, Trouble> {
    let (container, is_index_last) = recognise(&mut source, start.access)?;
    let tag = if container == Container::Mp3 { mp3_tag(&mut source)? } else { None };
    let length = if container == Container::Mp4 { m4a_length(&mut source) } else { None };
    let reached = source.reached();
    let mut input = open(source, container, is_index_last)?;
    let mut track = Track::choose(&mut input, container)?;
    track.limit = tag.and_then(|t| t.samples);
    track.length = length;
    track.kbps = tag.and_then(|t| t.kbps).or(track.kbps);
    let tags = av::tags(&input, track.index);
    if container == Container::Mp4 {
        track.limit = tags.iter().find(|(key, _)| key == "itunsmpb").and_then(|(_, text)| m4a::itunes_samples(text));
    }
    let tags = tags.into_iter().take(limits::TAGS_MAX).map(short).collect();
    let mut output = Production { start, outlet, crew, reached, tags, line: None, told: 0, pending: None };
    let mut packet = Packet::empty();
    loop {
        match packet.read(&mut input) {
            Ok(()) if packet.stream() == track.index => track.packet(&packet, &mut output)?,
            Ok(()) => {}
            Err(Error::Eof) => break,
            // WavPack's demuxer trips over the tag behind the audio.
            Err(_) if container == Container::WavPack && track.is_whole() => break,
            Err(e) => return Trouble::refused(Code::CorruptMedia, format!("the {container:?} file is damaged: {e}")),
        }
        packet = Packet::empty();
    }
    track.finish(&mut output)
}

fn short((key, mut value): (String, String)) -> (String, String) {
    value.truncate(value.floor_char_boundary(limits::TAG_CHARS));
    (key, value)
}

fn recognise(source: &mut Feeder, access: Access) -> Result<(Container, bool), Trouble> {
    let mut seen = 0;
    let sniffed = source.head(|head, ended| {
        seen = head.len();
        match sniff(head) {
            Sniffed::NeedMore if !ended && head.len() < HEAD_BYTES => None,
            other => Some(other),
        }
    })?;
    match sniffed {
        Sniffed::Progressive(container) => Ok((container, false)),
        Sniffed::IndexLast(container) if access == Access::Ranges => Ok((container, true)),
        Sniffed::IndexLast(_) => Trouble::refused(Code::IndexAtEnd, "the file's index is behind its audio"),
        Sniffed::Unsupported { found } => Trouble::refused(Code::UnsupportedMedia, format!("this is {found}")),
        Sniffed::NeedMore if seen == 0 => Trouble::refused(Code::EmptyMedia, "the file is empty"),
        Sniffed::NeedMore => Trouble::refused(Code::UnsupportedMedia, format!("{seen} bytes are too few to tell")),
    }
}

/// The tag in an MP3's first frame.
fn mp3_tag(source: &mut Feeder) -> Result<Option<mpeg::Tag>, Trouble> {
    source.head(|head, ended| {
        let skip = usize::try_from(mpeg::id3v2_len(head)).unwrap_or(usize::MAX);
        let rest = head.get(skip..).unwrap_or_default();
        if rest.len() < FIRST_FRAME_BYTES && !ended && head.len() < HEAD_BYTES {
            return None;
        }
        let at = (0..rest.len()).find(|at| mpeg::frame(&rest[*at..]).is_some());
        Some(at.and_then(|at| mpeg::tag(&rest[at..])))
    })
}

/// The exact length that an MP4's headers give; reads the boxes and goes back to the start.
fn m4a_length(source: &mut Feeder) -> Option<m4a::Length> {
    let at = find_moov(|at| source.peek(at, 16).and_then(|b| b.first_chunk().copied()))?;
    m4a::length(&source.peek(at, m4a::MOOV_BYTES)?)
}

fn open(source: Feeder, container: Container, can_seek: bool) -> Result<Input, Trouble> {
    let decoders = DECODERS.join(",");
    let probe = limits::PROBE_BYTES.to_string();
    let options: Dictionary<'_> = [
        ("protocol_whitelist", "none"),
        ("format_whitelist", container.demuxer()),
        ("codec_whitelist", decoders.as_str()),
        ("probesize", probe.as_str()),
        ("enable_drefs", "0"),
        ("use_absolute_path", "0"),
    ]
    .iter()
    .collect();
    av::open(source, can_seek, container.demuxer(), options).or_else(|e| match e {
        Error::Other { errno: libc::ENOMEM } => {
            Trouble::refused(Code::WorkerMemory, "opening the file took too much memory")
        }
        e => Trouble::refused(Code::CorruptMedia, format!("the {container:?} file can't be opened: {e}")),
    })
}

/// The chosen stream and its decoder.
struct Track {
    index: usize,
    container: Container,
    name: String,
    decoder: decoder::Audio,
    is_lossless: bool,
    kbps: Option<u32>,
    time_base: Rational,
    /// Source samples that the file claims, where a shortfall means damage.
    declared: Option<(i64, Rational)>,
    /// Source samples to show at most.
    limit: Option<u64>,
    /// The same in ticks, until the rate is known.
    length: Option<m4a::Length>,
    last_duration: i64,
    packets: u64,
    broken: u64,
    decoded: u64,
}

impl Track {
    fn choose(input: &mut Input, container: Container) -> Result<Self, Trouble> {
        let Some(stream) = input.streams().find(|s| s.parameters().medium() == media::Type::Audio) else {
            return Trouble::refused(Code::UnsupportedMedia, format!("a {container:?} file without audio"));
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
        options.set("codec_whitelist", &DECODERS.join(","));
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
            decoded: 0,
        })
    }

    fn packet(&mut self, packet: &Packet, output: &mut Production<'_>) -> Result<(), Trouble> {
        self.packets += 1;
        if packet.is_corrupt() && self.is_lossless && !self.name.starts_with("pcm_") {
            return Trouble::refused(Code::CorruptMedia, "the file is cut short");
        }
        self.last_duration = packet.duration();
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
        self.broken += 1;
        if self.is_lossless || self.broken > BROKEN_FREE + self.packets / BROKEN_ONE_IN {
            return Trouble::refused(
                Code::CorruptMedia,
                format!("packet {} of the {} audio is damaged", self.packets, self.name),
            );
        }
        Ok(())
    }

    fn finish(&mut self, output: &mut Production<'_>) -> Result<u64, Trouble> {
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
    fn is_short(&self, rate: u32) -> bool {
        let slack = if self.container == Container::Mp4 { u64::from(rate) / 10 } else { 0 };
        self.declared.is_some_and(|(duration, base)| {
            let claimed = duration as f64 * f64::from(base) * f64::from(rate);
            (self.decoded + slack) as f64 + 0.5 < claimed
        })
    }

    /// Whether all that the file claims came out.
    fn is_whole(&self) -> bool {
        self.declared.is_some() && !self.is_short(self.decoder.rate())
    }

    /// Samples of the last frame that belong to the audio: MP4 says so by the packet's duration alone.
    fn last_samples(&self, frame: &Audio) -> usize {
        let samples = self.last_duration as f64 * f64::from(self.time_base) * f64::from(frame.rate());
        let is_shorter = self.container == Container::Mp4
            && self.limit.is_none()
            && samples >= 1.0
            && samples.round() < frame.samples() as f64;
        if is_shorter { samples.round() as usize } else { frame.samples() }
    }

    fn source(&self, frame: &Audio, start: &Start) -> Result<Source, Trouble> {
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
        let bits = if self.is_lossless { significant_bits(&self.decoder, frame) } else { 0 };
        let sound = Sound { rate, bits, lossless: self.is_lossless, kbps: self.kbps };
        let grid: Grid = ladder::grid(ladder::ladder_rate(rate), start.segment_seconds);
        Ok(Source {
            container: format!("{:?}", self.container).to_lowercase(),
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

/// What is made of the decoded frames.
struct Production<'a> {
    start: Start,
    outlet: &'a Mutex<Outlet>,
    crew: &'a mut Crew,
    reached: std::sync::Arc<std::sync::atomic::AtomicU64>,
    tags: Vec<Tag>,
    line: Option<Line>,
    /// Samples at the last word of progress.
    told: u64,
    /// Held back by one, since only the end tells whether the last frame counts whole.
    pending: Option<Audio>,
}

struct Line {
    shaper: Shaper,
    rate: u32,
    channels: u16,
    ladder_rate: u32,
    /// Source samples shaped.
    shown: u64,
}

impl Production<'_> {
    fn frame(&mut self, frame: Audio, track: &Track) -> Result<(), Trouble> {
        let line = match &self.line {
            Some(line) => line,
            None => {
                let source = track.source(&frame, &self.start)?;
                link::send_json(self.outlet, Kind::Opened, &source)?;
                link::send_json(self.outlet, Kind::Tags, &self.tags)?;
                self.crew.begin(&source.plan, source.grid)?;
                let flac_bits = source.plan.iter().map(|r| r.bits).find(|bits| *bits > 0);
                let shaper = Shaper::new(&frame, source.channels, source.rate, source.grid.rate, flac_bits)?;
                let (rate, channels, ladder_rate) = (source.rate, source.channels, source.grid.rate);
                self.line.insert(Line { shaper, rate, channels, ladder_rate, shown: 0 })
            }
        };
        if frame.rate() != line.rate || frame.channels() != line.channels {
            return Trouble::refused(Code::CorruptMedia, "the audio changes its rate or channels in the middle");
        }
        match self.pending.replace(frame) {
            Some(before) => self.show(&before, before.samples(), track),
            None => Ok(()),
        }
    }

    fn show(&mut self, frame: &Audio, samples: usize, track: &Track) -> Result<(), Trouble> {
        let Some(line) = &mut self.line else { return Ok(()) };
        let room = track.limit.map_or(u64::MAX, |limit| limit.saturating_sub(line.shown));
        let count = samples.min(usize::try_from(room).unwrap_or(usize::MAX));
        line.shown += count as u64;
        if line.shown > self.start.limits.seconds_max.saturating_mul(u64::from(line.rate)) {
            return Trouble::refused(Code::TooLong, format!("longer than {} s", self.start.limits.seconds_max));
        }
        line.shaper.take(frame, count, self.crew)?;
        let given = line.shaper.given;
        if given >= self.told + u64::from(line.ladder_rate) {
            self.told = given;
            let reached = self.reached.load(Ordering::Relaxed);
            link::send(self.outlet, Kind::Progress, 0, reached, &given.to_le_bytes())?;
        }
        Ok(())
    }

    fn finish(&mut self, track: &Track) -> Result<u64, Trouble> {
        if let Some(last) = self.pending.take() {
            if track.is_short(last.rate()) {
                return Trouble::refused(Code::CorruptMedia, "the file is cut short");
            }
            self.show(&last, track.last_samples(&last), track)?;
        }
        match &mut self.line {
            Some(line) => line.shaper.finish(self.crew),
            None => Ok(0),
        }
    }
}
