//! What a file is, from its first bytes: never from its name or a header that came with it.
//!
//! Promise: the answer is `NeedMore` only while `head` is shorter than [`HEAD_BYTES`], and no input panics.
//! Absent:  proof. A file that looks right may still not decode; that is the worker's to find out.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::mpeg;
use foreign::{foreign, is_text};
pub use index::index_behind_sound;

mod foreign;
mod index;

/// More is never asked for: a cover picture before an MP3's first frame is seldom larger.
pub const HEAD_BYTES: usize = 1024 * 1024;
/// How far from the start the first MPEG frame may lie.
const JUNK_BYTES: usize = 4096;
/// Boxes at the top level that are stepped over in search of the index.
const TOP_BOXES_MAX: usize = 64;
/// An `mdat` no longer than its own header holds no audio: some writers leave one before the index.
const EMPTY_BOX_BYTES: u64 = 16;

/// The containers that are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the format of that name")]
#[serde(rename_all = "snake_case")]
pub enum Container {
    Wav,
    W64,
    Aiff,
    Caf,
    Flac,
    Mp3,
    Adts,
    Ogg,
    Mp4,
    WavPack,
    Matroska,
}

impl Container {
    /// libavformat's name of the one demuxer that may open it.
    pub fn demuxer(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::W64 => "w64",
            Self::Aiff => "aiff",
            Self::Caf => "caf",
            Self::Flac => "flac",
            Self::Mp3 => "mp3",
            Self::Adts => "aac",
            Self::Ogg => "ogg",
            Self::Mp4 => "mov",
            Self::WavPack => "wv",
            Self::Matroska => "matroska",
        }
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wav => "WAV",
            Self::W64 => "W64",
            Self::Aiff => "AIFF",
            Self::Caf => "CAF",
            Self::Flac => "FLAC",
            Self::Mp3 => "MP3",
            Self::Adts => "ADTS",
            Self::Ogg => "Ogg",
            Self::Mp4 => "MP4",
            Self::WavPack => "WavPack",
            Self::Matroska => "Matroska",
        })
    }
}

/// What the first bytes say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sniffed {
    /// Ask again with a longer head; at the end of the source that means it is cut short.
    NeedMore,
    /// Decodes from the front: plays while it arrives.
    Progressive(Container),
    /// The index follows the audio: needs [`super::Access::Ranges`].
    IndexLast(Container),
    /// Not on the list.
    Unsupported {
        /// What it looks like.
        found: String,
    },
}

/// Judges the first bytes of a source.
pub fn sniff(head: &[u8]) -> Sniffed {
    if head.len() < 16 {
        return Sniffed::NeedMore;
    }
    match (&head[..4], &head[8..12]) {
        (b"RIFF" | b"RF64" | b"BW64", b"WAVE") => Sniffed::Progressive(Container::Wav),
        (b"riff", _) if head[4..8] == [0x2e, 0x91, 0xcf, 0x11] => Sniffed::Progressive(Container::W64),
        (b"FORM", b"AIFF" | b"AIFC") => walk(head, 12, aiff),
        (b"caff", _) => walk(head, 8, caf()),
        (b"fLaC", _) => Sniffed::Progressive(Container::Flac),
        (b"wvpk", _) => Sniffed::Progressive(Container::WavPack),
        (b"OggS", _) => ogg(head),
        ([0x1a, 0x45, 0xdf, 0xa3], _) => matroska(head),
        (b"ID3\x02" | b"ID3\x03" | b"ID3\x04", _) => after_id3(head),
        _ if is_box(&head[4..8]) => walk(head, 0, boxes),
        _ => mpeg_or_foreign(head),
    }
}

/// One step over a chunk or box: what it is, and where the next one starts.
enum Step {
    Next(u64),
    Answer(Sniffed),
}

/// Walks the top level, `step` by `step`. Beyond [`HEAD_BYTES`] the answer is the safe one: read it by ranges.
fn walk(head: &[u8], first: u64, mut step: impl FnMut(&[u8]) -> Option<Step>) -> Sniffed {
    let mut at = first;
    loop {
        let here = usize::try_from(at).ok().and_then(|at| head.get(at..)).unwrap_or_default();
        match step(here) {
            Some(Step::Next(len)) if len >= 8 => at = at.saturating_add(len),
            Some(Step::Next(_)) => return unsupported("a damaged file"),
            Some(Step::Answer(answer)) => return answer,
            None if head.len() >= HEAD_BYTES => {
                return match &head[..4] {
                    b"FORM" => Sniffed::IndexLast(Container::Aiff),
                    b"caff" => Sniffed::IndexLast(Container::Caf),
                    _ => Sniffed::IndexLast(Container::Mp4),
                };
            }
            None => return Sniffed::NeedMore,
        }
    }
}

/// Where the `moov` box starts, by a reader of 16 bytes at any offset. None if there is none.
pub(crate) fn find_moov(mut read: impl FnMut(u64) -> Option<[u8; 16]>) -> Option<u64> {
    let mut at = 0u64;
    for _ in 0..TOP_BOXES_MAX {
        let head = read(at)?;
        match boxes(&head)? {
            Step::Answer(Sniffed::Progressive(_)) => return Some(at),
            _ if !is_box(&head[4..8]) && &head[4..8] != b"uuid" => return None,
            _ => {}
        }
        at = at.checked_add(box_size(&head)?).filter(|next| *next >= at + 8)?;
    }
    None
}

fn box_size(here: &[u8]) -> Option<u64> {
    match u32::from_be_bytes(*here.first_chunk()?) {
        1 => Some(u64::from_be_bytes(*here.get(8..)?.first_chunk()?)),
        0 => Some(u64::MAX),
        n => Some(u64::from(n)),
    }
}

fn boxes(here: &[u8]) -> Option<Step> {
    let kind = here.get(4..8)?;
    let size = box_size(here)?;
    Some(match kind {
        b"moov" => Step::Answer(Sniffed::Progressive(Container::Mp4)),
        b"mdat" if size > EMPTY_BOX_BYTES => Step::Answer(Sniffed::IndexLast(Container::Mp4)),
        _ if is_box(kind) || kind == b"uuid" => Step::Next(size),
        _ => Step::Answer(unsupported("a damaged MP4")),
    })
}

fn is_box(kind: &[u8]) -> bool {
    let known: [&[u8]; 13] = [
        b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"sidx", b"moof", b"udta", b"meta",
        b"pdin",
    ];
    known.contains(&kind)
}

fn aiff(here: &[u8]) -> Option<Step> {
    let kind = here.get(..4)?;
    let size = u64::from(u32::from_be_bytes(*here.get(4..)?.first_chunk()?));
    Some(match kind {
        b"COMM" => Step::Answer(Sniffed::Progressive(Container::Aiff)),
        b"SSND" => Step::Answer(Sniffed::IndexLast(Container::Aiff)),
        _ => Step::Next(8 + size + (size & 1)),
    })
}

fn caf() -> impl FnMut(&[u8]) -> Option<Step> {
    let mut has_fixed_packets = false;
    move |here| {
        let kind = here.get(..4)?;
        let size = u64::from_be_bytes(*here.get(4..)?.first_chunk()?);
        if kind == b"desc" {
            // Body: rate f64, format id, flags, bytes per packet, frames per packet, …
            has_fixed_packets = u32::from_be_bytes(*here.get(28..)?.first_chunk()?) > 0;
        }
        Some(match kind {
            b"pakt" => Step::Answer(Sniffed::Progressive(Container::Caf)),
            b"data" if has_fixed_packets => Step::Answer(Sniffed::Progressive(Container::Caf)),
            b"data" => Step::Answer(Sniffed::IndexLast(Container::Caf)),
            _ => Step::Next(size.saturating_add(12)),
        })
    }
}

fn ogg(head: &[u8]) -> Sniffed {
    let Some(segments) = head.get(26) else { return Sniffed::NeedMore };
    let at = 27 + usize::from(*segments);
    let Some(packet) = head.get(at..at + 8) else { return Sniffed::NeedMore };
    match packet {
        [1, b'v', b'o', b'r', b'b', b'i', b's', _] | b"OpusHead" | [0x7f, b'F', b'L', b'A', b'C', ..] => {
            Sniffed::Progressive(Container::Ogg)
        }
        [0x80, b't', b'h', b'e', b'o', b'r', b'a', _] => unsupported("Theora video"),
        b"Speex   " => unsupported("Speex"),
        _ => unsupported("an Ogg stream of another kind"),
    }
}

fn matroska(head: &[u8]) -> Sniffed {
    let early = &head[..head.len().min(64)];
    let holds = |word: &[u8]| early.windows(word.len()).any(|w| w == word);
    match () {
        () if holds(b"matroska") || holds(b"webm") => Sniffed::Progressive(Container::Matroska),
        () if head.len() < 64 => Sniffed::NeedMore,
        () => unsupported("an EBML file that isn't Matroska"),
    }
}

fn after_id3(head: &[u8]) -> Sniffed {
    let len = mpeg::id3v2_len(head);
    match usize::try_from(len).ok().and_then(|len| head.get(len..)) {
        Some(rest) if rest.starts_with(b"fLaC") => Sniffed::Progressive(Container::Flac),
        Some(rest) if rest.len() >= JUNK_BYTES || head.len() >= HEAD_BYTES => match mpeg_frames(rest) {
            Some(container) => Sniffed::Progressive(container),
            None => Sniffed::Progressive(Container::Mp3),
        },
        _ if head.len() >= HEAD_BYTES => Sniffed::Progressive(Container::Mp3),
        Some(rest) => mpeg_frames(rest).map_or(Sniffed::NeedMore, Sniffed::Progressive),
        None => Sniffed::NeedMore,
    }
}

fn mpeg_or_foreign(head: &[u8]) -> Sniffed {
    if let Some(container) = mpeg_frames(head) {
        return Sniffed::Progressive(container);
    }
    let starts_a_frame = mpeg::frame(head).is_some() || mpeg::adts_len(head).is_some();
    match foreign(head) {
        Some(found) => unsupported(found),
        None if head.len() < JUNK_BYTES && (starts_a_frame || !is_text(head)) => Sniffed::NeedMore,
        None if is_text(head) => unsupported("text"),
        None => unsupported("unknown data"),
    }
}

/// Two frames in a row: one can be chance.
fn mpeg_frames(bytes: &[u8]) -> Option<Container> {
    let follows = |at: usize, len: usize, same: &dyn Fn(&[u8]) -> bool| bytes.get(at + len..).is_some_and(same);
    if let Some(len) = mpeg::adts_len(bytes)
        && follows(0, len, &|next| mpeg::adts_len(next).is_some())
    {
        return Some(Container::Adts);
    }
    (0..bytes.len().min(JUNK_BYTES)).find_map(|at| {
        let first = mpeg::frame(&bytes[at..])?;
        let alike = |next: &[u8]| mpeg::frame(next).is_some_and(|n| (n.rate, n.layer) == (first.rate, first.layer));
        follows(at, first.bytes, &alike).then_some(Container::Mp3)
    })
}

fn unsupported(found: &str) -> Sniffed {
    Sniffed::Unsupported { found: found.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn padded(head: &[u8]) -> Vec<u8> {
        let mut out = head.to_vec();
        out.resize(head.len().max(8192), 0);
        out
    }

    #[test]
    fn the_order_of_boxes_decides() {
        let ftyp = b"\0\0\0\x10ftypM4A \0\0\0\0";
        let first = [&ftyp[..], b"\0\0\0\x08free", b"\0\0\x01\0moov"].concat();
        assert_eq!(sniff(&first), Sniffed::Progressive(Container::Mp4));
        let last = [&ftyp[..], b"\0\0\0\x08mdat", b"\0\0\x01\0mdat"].concat();
        assert_eq!(sniff(&last), Sniffed::IndexLast(Container::Mp4), "an empty mdat is stepped over");
        assert_eq!(sniff(&ftyp[..16]), Sniffed::NeedMore);
        let far = [&ftyp[..], b"\x00\x20\0\0free"].concat();
        assert_eq!(sniff(&far), Sniffed::NeedMore);
        let mut long = far;
        long.resize(HEAD_BYTES, 0);
        assert_eq!(sniff(&long), Sniffed::IndexLast(Container::Mp4));
    }

    #[test]
    fn audio_before_its_description_needs_ranges() {
        let aiff = b"FORM\0\0\0\x40AIFFSSND\0\0\0\x10";
        assert_eq!(sniff(aiff), Sniffed::IndexLast(Container::Aiff));
        let aiff = b"FORM\0\0\0\x40AIFFNAME\0\0\0\x01x\0COMM\0\0\0\x12";
        assert_eq!(sniff(aiff), Sniffed::Progressive(Container::Aiff));
        let caf = |packet: u8, next: &[u8]| {
            let mut head = b"caff\0\x01\0\0desc\0\0\0\0\0\0\0\x20".to_vec();
            head.extend([0; 16]);
            head.extend([0, 0, 0, packet]);
            head.extend([0; 12]);
            head.extend(next);
            head.extend([0; 16]);
            sniff(&head)
        };
        assert_eq!(caf(4, b"data"), Sniffed::Progressive(Container::Caf));
        assert_eq!(caf(0, b"data"), Sniffed::IndexLast(Container::Caf));
        assert_eq!(caf(0, b"pakt"), Sniffed::Progressive(Container::Caf));
    }

    #[test]
    fn what_is_not_audio_is_named() {
        for (head, name) in [
            (&b"#EXTM3U\n#EXT-X-VERSION:3\n"[..], "an HLS playlist"),
            (b"ffconcat version 1.0\nfile x", "an ffconcat script"),
            (b"RIFF\0\0\0\0AVI LIST\0\0\0\0", "AVI video"),
            (b"hello, this is only some words", "text"),
        ] {
            assert_eq!(sniff(head), Sniffed::Unsupported { found: name.into() });
        }
        let noise: Vec<u8> = (0..8192u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 & 0x7f).collect();
        assert_eq!(sniff(&noise), Sniffed::Unsupported { found: "unknown data".into() });
    }

    proptest! {
        #[test]
        fn nothing_panics_and_a_long_head_is_answered(start in prop::collection::vec(any::<u8>(), 0..64), pick in 0usize..9) {
            let magics: [&[u8]; 9] =
                [b"", b"ID3\x03", b"OggS", b"caff", b"FORM\0\0\0\0AIFF", b"\0\0\0\x10ftyp", b"\xff\xfb", b"\xff\xf1", b"\x1a\x45\xdf\xa3"];
            let mut head = [magics[pick], &start[..]].concat();
            sniff(&head);
            head.resize(HEAD_BYTES, 0);
            prop_assert_ne!(sniff(&head), Sniffed::NeedMore);
        }
    }

    #[test]
    fn a_lone_frame_header_is_not_enough() {
        assert_eq!(sniff(&padded(b"\xff\xfb\xe0\0")), Sniffed::Unsupported { found: "unknown data".into() });
    }
}
