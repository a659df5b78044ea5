//! Opens the source, decodes it once, and hands the audio to the crew.
//!
//! Promise: one demuxer, the one that the first bytes name; one decoder, from the list; no picture, no script, no URL.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use ffmpeg_next::format::context::Input;
use ffmpeg_next::frame::Audio;
use ffmpeg_next::{Dictionary, Error, Packet};

use super::crew::Crew;
use super::link::{self, Outlet};
use super::shape::Shaper;
use super::source::Feeder;
use super::track::{Track, decoders};
use super::{Trouble, av, m4a};
use crate::media::failure::Code;
use crate::media::sniff::{Container, HEAD_BYTES, Sniffed, find_moov, sniff};
use crate::media::wire::{Kind, Start};
use crate::media::{Access, Tag, limits, mpeg, tags};

/// An MP3's first frame with room for what precedes it.
const FIRST_FRAME_BYTES: usize = 4096;

/// Decodes the whole source into the ladder; the number of ladder samples.
pub(super) fn run(
    start: &Start,
    source: Feeder,
    outlet: &Mutex<Outlet>,
    crew: &mut Crew,
    picture: &mut Vec<u8>,
) -> Result<u64, Trouble> {
    let reached = source.reached();
    let mut opened = Opened::of(source, start.access)?;
    let tags = std::mem::take(&mut opened.tags);
    *picture = std::mem::take(&mut opened.picture);
    opened.decode(start, &mut Ladder { start, outlet, crew, reached, tags, shaper: None, told: 0 })
}

/// A source of which everything is decided but what becomes of its sound.
pub(super) struct Opened {
    container: Container,
    pub(super) input: Input,
    track: Track,
    pub(super) tags: Vec<Tag>,
    /// The bytes of its picture; empty where there is none.
    pub(super) picture: Vec<u8>,
}

impl Opened {
    pub(super) fn of(mut source: Feeder, access: Access) -> Result<Self, Trouble> {
        let (container, is_index_last) = recognise(&mut source, access)?;
        let tag = if container == Container::Mp3 { mp3_tag(&mut source)? } else { None };
        let length = if container == Container::Mp4 { m4a_length(&mut source) } else { None };
        let mut input = open(source, container, is_index_last)?;
        let mut track = Track::choose(&mut input, container)?;
        track.limit = tag.and_then(|t| t.samples);
        track.length = length;
        track.kbps = tag.and_then(|t| t.kbps).or(track.kbps);
        let picture = av::take_picture(&mut input, limits::PICTURE_BYTES);
        let tags = av::tags(&input, track.index);
        if container == Container::Mp4 {
            track.limit =
                tags.iter().find(|(key, _)| key == "itunsmpb").and_then(|(_, text)| m4a::itunes_samples(text));
        }
        Ok(Self { container, input, track, tags: tags::clean(tags), picture })
    }

    /// Decodes all of it; what `to` makes of its length.
    pub(super) fn decode(self, start: &Start, to: &mut dyn Show) -> Result<u64, Trouble> {
        let Self { container, mut input, mut track, .. } = self;
        let mut output = Production { start, to, line: None, shown: 0, pending: None };
        let mut packet = Packet::empty();
        loop {
            match packet.read(&mut input) {
                Ok(()) if packet.stream() == track.index => track.packet(&packet, &mut output)?,
                Ok(()) => {}
                Err(Error::Eof) => break,
                // WavPack's demuxer trips over the tag behind the audio.
                Err(_) if container == Container::WavPack && track.is_whole() => break,
                Err(e) => return Trouble::refused(Code::CorruptMedia, format!("the {container} file is damaged: {e}")),
            }
            packet = Packet::empty();
        }
        track.finish(&mut output)
    }
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
    m4a::length(at, |at, len| source.peek(at, len))
}

fn open(source: Feeder, container: Container, can_seek: bool) -> Result<Input, Trouble> {
    let decoders = decoders();
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
        e => Trouble::refused(Code::CorruptMedia, format!("the {container} file can't be opened: {e}")),
    })
}

/// Who gets the sound: exactly the samples that belong to it, in order.
pub(super) trait Show {
    /// The first frame is there: what the source is.
    fn open(&mut self, first: &Audio, track: &Track) -> Result<(), Trouble>;

    /// The first `count` samples of a frame.
    fn show(&mut self, frame: &Audio, count: usize) -> Result<(), Trouble>;

    /// All were shown; how many came of it.
    fn finish(&mut self) -> Result<u64, Trouble>;
}

/// Decoded frames on their way to who gets them.
pub(super) struct Production<'a> {
    start: &'a Start,
    to: &'a mut dyn Show,
    /// Rate and channels, since the first frame.
    line: Option<(u32, u16)>,
    /// Source samples shown.
    shown: u64,
    /// Held back by one, since only the end tells whether the last frame counts whole.
    pending: Option<Audio>,
}

impl Production<'_> {
    pub(super) fn frame(&mut self, frame: Audio, track: &Track) -> Result<(), Trouble> {
        let (rate, channels) = match self.line {
            Some(line) => line,
            None => {
                self.to.open(&frame, track)?;
                *self.line.insert((frame.rate(), frame.channels()))
            }
        };
        if frame.rate() != rate || frame.channels() != channels {
            return Trouble::refused(Code::CorruptMedia, "the audio changes its rate or channels in the middle");
        }
        match self.pending.replace(frame) {
            Some(before) => self.show(&before, before.samples(), track),
            None => Ok(()),
        }
    }

    fn show(&mut self, frame: &Audio, samples: usize, track: &Track) -> Result<(), Trouble> {
        let Some((rate, _)) = self.line else { return Ok(()) };
        let room = track.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.shown));
        let count = samples.min(usize::try_from(room).unwrap_or(usize::MAX));
        self.shown += count as u64;
        if self.shown > self.start.limits.seconds_max.saturating_mul(u64::from(rate)) {
            return Trouble::refused(Code::TooLong, format!("longer than {} s", self.start.limits.seconds_max));
        }
        self.to.show(frame, count)
    }

    pub(super) fn finish(&mut self, track: &Track) -> Result<u64, Trouble> {
        if let Some(last) = self.pending.take() {
            if track.is_short(last.rate()) {
                return Trouble::refused(Code::CorruptMedia, "the file is cut short");
            }
            self.show(&last, track.last_samples(&last), track)?;
        }
        self.to.finish()
    }
}

/// The ladder's crew, which gets blocks of its own shape.
struct Ladder<'a> {
    start: &'a Start,
    outlet: &'a Mutex<Outlet>,
    crew: &'a mut Crew,
    reached: std::sync::Arc<std::sync::atomic::AtomicU64>,
    tags: Vec<Tag>,
    /// With the ladder's rate.
    shaper: Option<(Shaper, u32)>,
    /// Samples at the last word of progress.
    told: u64,
}

impl Show for Ladder<'_> {
    fn open(&mut self, first: &Audio, track: &Track) -> Result<(), Trouble> {
        let source = track.source(first, self.start)?;
        link::send_json(self.outlet, Kind::Opened, &source)?;
        link::send_json(self.outlet, Kind::Tags, &self.tags)?;
        self.crew.begin(&source.plan, source.grid)?;
        let flac_bits = source.plan.iter().map(|r| r.bits).find(|bits| *bits > 0);
        let shaper = Shaper::new(first, source.channels, source.rate, source.grid.rate, flac_bits)?;
        self.shaper = Some((shaper, source.grid.rate));
        Ok(())
    }

    fn show(&mut self, frame: &Audio, count: usize) -> Result<(), Trouble> {
        let Some((shaper, rate)) = &mut self.shaper else { return Ok(()) };
        shaper.take(frame, count, self.crew)?;
        let given = shaper.given;
        if given >= self.told + u64::from(*rate) {
            self.told = given;
            let reached = self.reached.load(Ordering::Relaxed);
            link::send(self.outlet, Kind::Progress, 0, reached, &given.to_le_bytes())?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<u64, Trouble> {
        match &mut self.shaper {
            Some((shaper, _)) => shaper.finish(self.crew),
            None => Ok(0),
        }
    }
}
