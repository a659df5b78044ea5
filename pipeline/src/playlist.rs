//! HLS playlists, as text (RFC 8216 and its successor draft). Pure: rows in, bytes out, the same bytes every time.
//!
//! Promise: EXTINF sums to samples/rate to a microsecond; each rounds to at most the target duration; EVENT only grows.
//! Absent:  EXT-X-PROGRAM-DATE-TIME, EXT-X-KEY, discontinuities and low-latency parts: nothing here needs them.

use std::fmt::Write;

/// A media playlist's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Grows; `ended` says that nothing more will come.
    Event {
        /// Writes EXT-X-ENDLIST.
        ended: bool,
    },
    /// Whole, and never changes.
    Vod,
}

/// One rung, for a multivariant playlist.
#[derive(Clone, Debug)]
pub struct Variant {
    /// Relative to the playlist.
    pub uri: String,
    /// RFC 6381.
    pub codecs: String,
    /// Peak, bits per second.
    pub bandwidth: u64,
    /// Mean, bits per second.
    pub average: u64,
    /// Lossless rungs are listed last: a player begins with the first.
    pub lossless: bool,
    /// Listed first: the rung to begin with.
    pub first_choice: bool,
}

/// What an exact player needs and HLS has no tag for.
#[derive(Clone, Copy, Debug)]
pub struct Exact {
    /// Length of the timeline.
    pub samples: u64,
    /// Samples per second.
    pub rate: u32,
}

/// `init.mp4` and `{n}.m4s`, beside the playlist. `segments` are (first sample, samples), in order and without a gap.
pub fn media_playlist(kind: Kind, target_s: u32, rate: u32, segments: &[(u64, u64)]) -> String {
    let mut text = format!("#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{target_s}\n#EXT-X-MEDIA-SEQUENCE:0\n");
    match kind {
        // Without EXT-X-START a player begins at the live edge (RFC 8216, section 6.3.3).
        Kind::Event { .. } => text.push_str("#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-START:TIME-OFFSET=0\n"),
        Kind::Vod => text.push_str("#EXT-X-PLAYLIST-TYPE:VOD\n"),
    }
    text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"init.mp4\"\n");
    for (n, (first, samples)) in segments.iter().enumerate() {
        // Differences of rounded times, so that rounding never adds up.
        let us = micros(first + samples, rate) - micros(*first, rate);
        let _ = write!(text, "#EXTINF:{}.{:06},\n{n}.m4s\n", us / 1_000_000, us % 1_000_000);
    }
    if matches!(kind, Kind::Vod | Kind::Event { ended: true }) {
        text.push_str("#EXT-X-ENDLIST\n");
    }
    text
}

/// The way in. `exact` is known once the track is whole; until then the playlist says where to begin.
pub fn multivariant(variants: &[Variant], exact: Option<Exact>) -> String {
    let mut text = String::from("#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    match exact {
        Some(Exact { samples, rate }) => {
            let _ = writeln!(
                text,
                "#EXT-X-SESSION-DATA:DATA-ID=\"millrace.timeline\",VALUE=\"samples={samples};rate={rate}\""
            );
        }
        None => text.push_str("#EXT-X-START:TIME-OFFSET=0\n"),
    }
    let mut order: Vec<&Variant> = variants.iter().collect();
    order.sort_by_key(|v| (v.lossless, !v.first_choice, v.bandwidth));
    for v in order {
        let _ = write!(
            text,
            "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{}\"\n{}\n",
            v.bandwidth, v.average, v.codecs, v.uri
        );
    }
    text
}

/// When a sample starts, in microseconds, rounded to the nearest.
fn micros(sample: u64, rate: u32) -> u64 {
    let rate = u128::from(rate.max(1));
    u64::try_from((u128::from(sample) * 1_000_000 + rate / 2) / rate).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use m3u8_rs::{
        MasterPlaylist, MediaPlaylist, MediaPlaylistType, parse_master_playlist_res, parse_media_playlist_res,
    };
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> MediaPlaylist {
        parse_media_playlist_res(text.as_bytes()).unwrap()
    }

    #[test]
    fn an_event_playlist_grows_and_then_ends() {
        let segments = [(0, 40_960), (40_960, 262_144), (303_104, 1000)];
        let early = media_playlist(Kind::Event { ended: false }, 6, 44_100, &segments[..2]);
        let late = media_playlist(Kind::Event { ended: true }, 6, 44_100, &segments);
        assert!(late.starts_with(&early), "append only (RFC 8216, section 6.2.1)");
        let list = parsed(&late);
        assert_eq!(list.playlist_type, Some(MediaPlaylistType::Event));
        assert!(list.end_list && !parsed(&early).end_list);
        assert_eq!(list.segments[0].map.as_ref().unwrap().uri, "init.mp4");
        assert_eq!(list.segments[2].uri, "2.m4s");
        assert!(early.contains("#EXT-X-START:TIME-OFFSET=0"));
    }

    #[test]
    fn the_first_choice_comes_first_and_lossless_last() {
        let variant = |uri: &str, bandwidth, lossless, first_choice| Variant {
            uri: uri.into(),
            codecs: if lossless { "fLaC" } else { "mp4a.40.2" }.into(),
            bandwidth,
            average: bandwidth - 1,
            lossless,
            first_choice,
        };
        let variants = [
            variant("1/3/vod.m3u8", 900_000, true, false),
            variant("1/0/vod.m3u8", 64_000, false, false),
            variant("1/1/vod.m3u8", 160_000, false, true),
            variant("1/2/vod.m3u8", 256_000, false, false),
        ];
        let text = multivariant(&variants, Some(Exact { samples: 10, rate: 44_100 }));
        let list: MasterPlaylist = parse_master_playlist_res(text.as_bytes()).unwrap();
        let uris: Vec<_> = list.variants.iter().map(|v| v.uri.as_str()).collect();
        assert_eq!(uris, ["1/1/vod.m3u8", "1/0/vod.m3u8", "1/2/vod.m3u8", "1/3/vod.m3u8"]);
        assert_eq!(list.variants[3].codecs.as_deref(), Some("fLaC"));
        assert_eq!(list.variants[0].average_bandwidth, Some(159_999));
        assert_eq!(list.session_data.len(), 1);
        assert!(multivariant(&variants, None).contains("#EXT-X-START:TIME-OFFSET=0"));
    }

    proptest! {
        #[test]
        fn durations_sum_to_the_sample(samples in 1u64..40_000_000, rate in prop_oneof![Just(44_100u32), Just(48_000)]) {
            let (first, grid) = (u64::from(rate) / 4096 * 4096, u64::from(rate) * 6 / 4096 * 4096);
            let mut segments = vec![(0, samples.min(first))];
            while let Some((at, n)) = segments.last().map(|(f, n)| (f + n, samples - f - n)).filter(|(_, n)| *n > 0) {
                segments.push((at, n.min(grid)));
            }
            let list = parsed(&media_playlist(Kind::Vod, 6, rate, &segments));
            let us: u64 = list.segments.iter().map(|s| (f64::from(s.duration) * 1e6).round() as u64).sum();
            let exact = samples as f64 * 1e6 / f64::from(rate);
            // f32 in the parser loses some; the text itself is exact to half a microsecond.
            prop_assert!((us as f64 - exact).abs() <= 1.0 + list.segments.len() as f64 * 0.5);
            prop_assert!(list.segments.iter().all(|s| s.duration.round() as u64 <= list.target_duration));
            prop_assert!(list.end_list);
        }
    }
}
