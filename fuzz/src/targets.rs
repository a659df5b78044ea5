//! One function for each parser that sees bytes of strangers: files, what a worker says, links. Any bytes may come; none
//! panics, and what is believed holds.

use pipeline::grant::{Ask, Grant, Keys, Scope};
use pipeline::media::sniff::{HEAD_BYTES, Sniffed, sniff};
use pipeline::media::{Ladder, Order, bare, fmp4, ladder, mpeg, peaks};
use pipeline::playlist::{self, Kind};

/// A parser by its name, fed any bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them, by name.
pub const ALL: [Target; 9] = [
    ("container", container),
    ("mpeg", mpeg_frames),
    ("m4a", m4a),
    ("wire", wire),
    ("worker", worker),
    ("boxes", boxes),
    ("playlist", playlists),
    ("peaks", waveform),
    ("grant", grants),
];

/// What a file is: an answer at the latest when the head is whole.
pub fn container(bytes: &[u8]) {
    let said = sniff(bytes);
    assert!(bytes.len() < HEAD_BYTES || said != Sniffed::NeedMore);
    if let Sniffed::Unsupported { found } = said {
        assert!(!found.is_empty() && found.len() < 200, "{found}");
    }
}

/// MPEG frames, ADTS frames, ID3 and the LAME tag.
pub fn mpeg_frames(bytes: &[u8]) {
    let _ = mpeg::id3v2_len(bytes);
    if let Some(frame) = mpeg::frame(bytes) {
        assert!(frame.bytes > 4 && frame.rate >= 8000 && [384, 576, 1152].contains(&frame.samples), "{frame:?}");
    }
    if let Some(tag) = mpeg::tag(bytes) {
        assert!(tag.samples != Some(0));
    }
    assert!(mpeg::adts_len(bytes).is_none_or(|len| len > 7 && len < 1 << 13));
}

/// The exact length in an MP4's headers.
pub fn m4a(bytes: &[u8]) {
    assert!(bare::m4a_length(bytes).is_none_or(|(ticks, _)| ticks > 0));
}

/// A frame's head: what is read is what was written.
pub fn wire(bytes: &[u8]) {
    for head in bytes.as_chunks().0 {
        assert!(bare::header(head).is_none_or(|again| again == *head));
    }
}

/// The ladder of the conversations in the corpus.
pub const LADDER: &str = "aac:64k,flac";
/// Their segments.
pub const SEGMENT_SECONDS: u32 = 2;

/// A worker's whole conversation.
pub fn worker(bytes: &[u8]) {
    let ladder = || Ladder::parse(LADDER).expect("a ladder");
    bare::believed(Order::stream(ladder(), SEGMENT_SECONDS, "none".into()), bytes);
    bare::believed(Order::ranges(ladder(), SEGMENT_SECONDS, "none".into(), 1 << 20), bytes);
}

/// An init, and behind it a segment.
pub fn boxes(bytes: &[u8]) {
    let split = bytes.windows(4).position(|kind| kind == b"moof").unwrap_or(4).saturating_sub(4);
    let (init, segment) = bytes.split_at(split.min(bytes.len()));
    let known =
        fmp4::Init { timescale: 44_100, media_time: 1024, format: *b"mp4a", channels: 2, default_duration: 1024 };
    let init = fmp4::init(init).unwrap_or(known);
    if let Ok(found) = fmp4::segment(segment, &init) {
        assert!(found.duration >= u64::from(found.last_duration) && segment.len() as u64 >= u64::from(found.packets));
    }
}

/// Playlists of any lengths, read back by a parser that isn't ours.
pub fn playlists(bytes: &[u8]) {
    let Some((&[rate, seconds, kind], lengths)) = bytes.split_first_chunk() else { return };
    let rate = [44_100, 48_000][usize::from(rate % 2)];
    let range = ladder::SEGMENT_SECONDS;
    let grid = ladder::grid(rate, range.start() + u32::from(seconds) % (range.end() - range.start() + 1));
    let kind = [Kind::Vod, Kind::Event { ended: true }, Kind::Event { ended: false }][usize::from(kind % 3)];
    let lengths: Vec<u64> =
        lengths.as_chunks().0.iter().map(|b| u64::from(u32::from_le_bytes(*b)) % grid.grid_samples + 1).collect();
    let text = playlist::media_playlist(kind, &grid, lengths.iter().copied());
    let Ok((_, read)) = m3u8_rs::parse_media_playlist(text.as_bytes()) else { panic!("unreadable: {text}") };
    assert_eq!((read.segments.len(), read.end_list), (lengths.len(), kind != Kind::Event { ended: false }));
    assert_eq!(read.target_duration, u64::from(grid.target_s));
    assert!(read.segments.iter().all(|s| s.duration.round() <= read.target_duration as f32), "{text}");
    let micros = |line: &str| line.strip_prefix("#EXTINF:")?.strip_suffix(',')?.replace('.', "").parse::<u64>().ok();
    let told: u64 = text.lines().filter_map(micros).sum();
    let samples: u64 = lengths.iter().sum();
    let exact = u128::from(samples) * 1_000_000 / u128::from(rate);
    assert!(u128::from(told).abs_diff(exact) <= 1, "{told} µs told of {exact}");
}

/// A waveform's file: as many pairs as its head says.
pub fn waveform(bytes: &[u8]) {
    let Some((rate, pairs)) = bytes.split_first_chunk() else { return };
    let pairs = &pairs[..pairs.len() / 2 * 2];
    let dat = peaks::dat(u32::from_le_bytes(*rate), pairs);
    let word = |n: usize| u32::from_le_bytes([dat[n], dat[n + 1], dat[n + 2], dat[n + 3]]);
    assert_eq!((word(0), word(16) as usize * 2, &dat[24..]), (2, pairs.len(), pairs));
}

/// Whose links the corpus holds.
pub fn keys() -> Keys {
    Keys::new((2, &[2; 32]), Some((1, &[1; 32])))
}

/// A link that holds.
pub fn link() -> String {
    let grant =
        Grant { open_until: 2000, use_until: 2000, scope: Scope::PLAY, top_rung: 3, generation: 7, subject: [9; 8] };
    keys().mint(track(), &grant)
}

fn track() -> schema::Id<schema::track::Track> {
    uuid::Uuid::from_u128(7).into()
}

/// Nothing but the link itself holds.
pub fn grants(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let holds = keys().verify(&text, track(), 1999, Ask::Use { rung: 0 }, Scope::PLAY).is_ok();
    assert_eq!(holds, text == link(), "{text}");
    assert!(pipeline::grant::without_mac(&text).len() <= text.len());
}
