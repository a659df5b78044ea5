//! HLS playlists, as text. Pure functions: the same rows give the same bytes on every node.
//!
//! Promise: one tag per fact, no date, no version but HLS 7; the durations of a playlist sum to the track's length to less
//! than one microsecond, in every rung alike. Sources: RFC 8216 and Apple's authoring specification.
//! Absent:  which segments exist. The caller lists what is in the store, and nothing else.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

use std::fmt::Write;

use crate::media::ladder::{Grid, PlannedRung, RungSpec};

/// `application/vnd.apple.mpegurl`.
pub const PLAYLIST_TYPE: &str = "application/vnd.apple.mpegurl";
/// Type of inits and segments.
pub const SEGMENT_TYPE: &str = "audio/mp4";
/// The name of a rung's init, beside its playlists.
pub const INIT_NAME: &str = "init.mp4";
/// The AAC rung that a player starts with, in kbit/s.
const START_KBPS: u32 = 160;
/// Names the line that tells a player where sound begins and ends.
const GAPLESS_ID: &str = "millrace.gapless";

/// The name of segment `n`, beside its playlists.
pub fn segment_name(n: u32) -> String {
    format!("{n}.m4s")
}

/// Which of the two playlists of a rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Grows until it ends; served while the track is made.
    Event {
        /// Every rung is whole.
        ended: bool,
    },
    /// The whole track, never to change.
    Vod,
}

/// A rung's playlist: `samples` of each segment in the store, from the first on, without gaps.
pub fn media_playlist(kind: Kind, grid: &Grid, samples: impl IntoIterator<Item = u64>) -> String {
    let mut out = head(kind);
    let name = if kind == Kind::Vod { "VOD" } else { "EVENT" };
    line(&mut out, format_args!("#EXT-X-TARGETDURATION:{}", grid.target_s));
    line(&mut out, format_args!("#EXT-X-MEDIA-SEQUENCE:0"));
    line(&mut out, format_args!("#EXT-X-PLAYLIST-TYPE:{name}"));
    line(&mut out, format_args!("#EXT-X-MAP:URI=\"{INIT_NAME}\""));
    let mut end = 0;
    for (n, samples) in (0u32..).zip(samples) {
        let start = end;
        end += samples;
        let us = micros(end, grid.rate) - micros(start, grid.rate);
        line(&mut out, format_args!("#EXTINF:{}.{:06},", us / 1_000_000, us % 1_000_000));
        line(&mut out, format_args!("{}", segment_name(n)));
    }
    if kind != (Kind::Event { ended: false }) {
        line(&mut out, format_args!("#EXT-X-ENDLIST"));
    }
    out
}

/// One rung as the multivariant playlist lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// Where its playlist is, relative to this one.
    pub uri: String,
    /// What it is.
    pub spec: RungSpec,
    /// RFC 6381.
    pub codecs: String,
    /// Peak in bits per second: a bound while live, measured afterwards.
    pub bandwidth: u64,
    /// Mean in bits per second.
    pub average: u64,
}

impl Variant {
    /// A rung whose segments aren't all known: both rates are the plan's bound.
    pub fn live(rung: &PlannedRung, uri: String) -> Self {
        let (codecs, bandwidth) = (rung.codecs.clone(), rung.bandwidth);
        Self { uri, spec: rung.spec, codecs, bandwidth, average: bandwidth }
    }

    /// A rung whose segments are all known, as pairs of samples and bytes.
    pub fn measured(rung: &PlannedRung, uri: String, grid: &Grid, segments: &[(u64, u64)]) -> Self {
        let (bandwidth, average) = measured(grid, segments);
        Self { uri, spec: rung.spec, codecs: rung.codecs.clone(), bandwidth, average }
    }
}

/// What a player needs for joins without gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gapless {
    /// Exact length.
    pub samples: u64,
    /// Samples per second.
    pub rate: u32,
    /// Of the AAC rungs.
    pub priming: u32,
}

/// The playlist of playlists. The first variant is the one to start with; FLAC comes last.
pub fn multivariant(kind: Kind, variants: &[Variant], gapless: Option<&Gapless>) -> String {
    let mut out = head(kind);
    if let Some(Gapless { samples, rate, priming }) = gapless {
        let value = format_args!("samples={samples},rate={rate},priming={priming}");
        line(&mut out, format_args!("#EXT-X-SESSION-DATA:DATA-ID=\"{GAPLESS_ID}\",VALUE=\"{value}\""));
    }
    let mut ordered: Vec<&Variant> = variants.iter().collect();
    ordered.sort_by_key(|v| match v.spec {
        RungSpec::Aac(kbps) => (0, kbps.abs_diff(START_KBPS)),
        RungSpec::Flac => (1, 0),
    });
    for Variant { uri, codecs, bandwidth, average, spec } in ordered {
        // The same name in every playlist of the track: measured rates differ from the ladder's, and change.
        let name = spec.to_string().replace(':', "-");
        line(
            &mut out,
            format_args!(
                "#EXT-X-STREAM-INF:BANDWIDTH={bandwidth},AVERAGE-BANDWIDTH={average},CODECS=\"{codecs}\",\
                 STABLE-VARIANT-ID=\"{name}\""
            ),
        );
        line(&mut out, format_args!("{uri}"));
    }
    out
}

fn head(kind: Kind) -> String {
    let mut out = String::from("#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    if matches!(kind, Kind::Event { .. }) {
        // Without it players start at the live edge: the newest segment of an upload in progress.
        out.push_str("#EXT-X-START:TIME-OFFSET=0\n");
    }
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("a string takes everything");
}

/// The instant of a sample, in whole microseconds.
fn micros(sample: u64, rate: u32) -> u64 {
    let (sample, rate) = (u128::from(sample), u128::from(rate));
    ((sample * 1_000_000 + rate / 2) / rate) as u64
}

/// Peak and mean bit rate. The peak is that of the heaviest run of segments that lasts 0.5 to 1.5 target durations.
fn measured(grid: &Grid, segments: &[(u64, u64)]) -> (u64, u64) {
    let rate = u64::from(grid.rate);
    let bps = |(samples, bytes): (u64, u64)| (bytes * 8 * rate).checked_div(samples).unwrap_or_default();
    let sum = |part: &[(u64, u64)]| part.iter().fold((0, 0), |(s, b), (samples, bytes)| (s + samples, b + bytes));
    let target = rate * u64::from(grid.target_s);
    let runs = (0..segments.len()).flat_map(|from| (from + 1..=segments.len().min(from + 3)).map(move |to| from..to));
    let runs =
        runs.map(|run| sum(&segments[run])).filter(|(samples, _)| (target / 2..=target * 3 / 2).contains(samples));
    let average = bps(sum(segments));
    (runs.map(bps).max().unwrap_or(average).max(average), average)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::ladder::{self, Ladder, Sound};
    use proptest::prelude::*;

    fn lengths(grid: &Grid, samples: u64) -> Vec<u64> {
        (0..grid.count(samples)).map(|n| grid.samples(n).min(samples - grid.start(n))).collect()
    }

    #[test]
    fn a_vod_playlist_is_these_bytes() {
        let grid = ladder::grid(44_100, 6);
        let text = media_playlist(Kind::Vod, &grid, lengths(&grid, 441_000));
        let expected = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-TARGETDURATION:6\n\
            #EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-MAP:URI=\"init.mp4\"\n\
            #EXTINF:0.928798,\n0.m4s\n#EXTINF:5.944309,\n1.m4s\n#EXTINF:3.126893,\n2.m4s\n#EXT-X-ENDLIST\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn an_event_playlist_only_grows() {
        let grid = ladder::grid(48_000, 4);
        let all = lengths(&grid, 1_000_000);
        let version = |n: usize| media_playlist(Kind::Event { ended: false }, &grid, all[..n].iter().copied());
        for n in 1..all.len() {
            assert!(version(n).starts_with(&version(n - 1)));
        }
        let ended = media_playlist(Kind::Event { ended: true }, &grid, all.iter().copied());
        assert_eq!(ended, version(all.len()) + "#EXT-X-ENDLIST\n");
        assert!(ended.contains("#EXT-X-START:TIME-OFFSET=0\n"));
    }

    #[test]
    fn the_multivariant_playlist_starts_in_the_middle_and_ends_lossless() {
        let sound = Sound { rate: 44_100, bits: 16, lossless: true, kbps: None };
        let plan = Ladder::parse("flac,aac:64k,aac:160k,aac:256k").unwrap().plan(&sound);
        let variants: Vec<_> = plan.iter().map(|r| Variant::live(r, format!("{}/live.m3u8", r.folder()))).collect();
        let gapless = Gapless { samples: 441_000, rate: 44_100, priming: 1024 };
        let text = multivariant(Kind::Vod, &variants, Some(&gapless));
        let Ok(m3u8_rs::Playlist::MasterPlaylist(read)) = m3u8_rs::parse_playlist_res(text.as_bytes()) else {
            panic!("{text}");
        };
        let uris: Vec<_> = read.variants.iter().map(|v| v.uri.as_str()).collect();
        assert_eq!(uris, ["aac160/live.m3u8", "aac64/live.m3u8", "aac256/live.m3u8", "flac/live.m3u8"]);
        assert_eq!(read.variants[3].codecs.as_deref(), Some("fLaC"));
        assert_eq!(read.session_data.len(), 1);
        assert!(read.independent_segments);
    }

    #[test]
    fn the_peak_spans_segments_and_the_short_first_one_alone_is_none() {
        let grid = ladder::grid(44_100, 6);
        let (first, whole) = (grid.first_samples, grid.grid_samples);
        let heavy_start = [(first, 400_000), (whole, 100_000), (whole, 100_000)];
        let (peak, average) = measured(&grid, &heavy_start);
        assert_eq!(peak, 500_000 * 8 * 44_100 / (first + whole));
        assert_eq!(average, 600_000 * 8 * 44_100 / (first + 2 * whole));
        assert_eq!(measured(&grid, &[(44_100, 1000)]), (8000, 8000), "shorter than any run");
        assert_eq!(measured(&grid, &[]), (0, 0));
    }

    proptest! {
        #[test]
        fn durations_sum_to_the_track_and_fit_the_target(
            samples in 1u64..50_000_000, family: bool, seconds in 2u32..=16,
        ) {
            let grid = ladder::grid(if family { 44_100 } else { 48_000 }, seconds);
            let text = media_playlist(Kind::Vod, &grid, lengths(&grid, samples));
            let Ok(m3u8_rs::Playlist::MediaPlaylist(read)) = m3u8_rs::parse_playlist_res(text.as_bytes()) else {
                panic!("{text}");
            };
            prop_assert!(read.end_list);
            prop_assert_eq!(read.version, Some(7));
            prop_assert!(read.segments.iter().all(|s| s.duration.round() as u64 <= u64::from(seconds)));
            let durations = text.lines().filter_map(|l| l.strip_prefix("#EXTINF:")?.strip_suffix(','));
            let us: u64 = durations.map(|d| d.replace('.', "").parse::<u64>().unwrap()).sum();
            prop_assert_eq!(us, micros(samples, grid.rate));
        }
    }
}
