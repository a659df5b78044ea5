//! What a player gets of a rung, judged by three programs that share no code with the encoder: `ffprobe` reads the boxes,
//! FFmpeg and symphonia each decode.
//!
//! Sound is 16-bit stereo as bytes, and of a long track symphonia's is looked at here and there: a test's own code isn't
//! optimised, and twenty minutes are a hundred million numbers.

use std::{collections::BTreeSet, ops::Range, process::Command};

use crate::{
    media_worker::support as media,
    support::{
        app::App,
        player::{self, List},
    },
};

/// Bytes of one sample of both channels.
const FRAME: usize = 4;
/// Samples around a place where a lag is looked for.
const AROUND: usize = 6_000;
/// Places of a track at which it is.
const PLACES: usize = 5;
/// What a decoder may give beyond the end: it decodes the last packet whole.
const PACKET: usize = 1_024;

/// Every rung that a ready track has is the source, to the sample: by its playlist, its boxes and two decoders.
pub async fn assert_is(app: &App, track: &str, source: &[u8], rungs: usize) {
    let entry = player::stream(app, track).await;
    assert!(entry.ends_with("/index.m3u8"), "{entry}");
    let lists = player::rungs(app, &entry).await;
    assert_eq!(lists.len(), rungs);
    for list in &lists {
        assert!(list.path.ends_with("/vod.m3u8") && list.is_ended(), "{}", list.text);
        assert_lasts(app, list, source.len() / FRAME);
        let init = player::bytes(app, &list.init()).await;
        let whole = player::download(app, list).await;
        let priming = edit(&init);
        assert_eq!(timeline(&whole), (-(priming as i64), (source.len() / FRAME) as i64), "{}", list.path);
        let heard = played(&whole);
        if init.windows(4).any(|name| name == b"fLaC") {
            assert_eq!(priming, 0);
            assert!(heard == source, "{}: FFmpeg hears another FLAC", list.path);
            assert_same(source, whole);
        } else {
            assert_length(source, heard.len() / FRAME);
            for at in places(source) {
                assert_no_lag(source, at, &pcm(&heard, at), "FFmpeg");
            }
            assert_no_lag_without(priming, source, whole);
        }
    }
}

/// What `ffprobe` says of the address that a player is given.
fn assert_lasts(app: &App, list: &List, samples: usize) {
    let told = ffprobe(&["-show_entries", "format=duration"], &app.url(&list.path));
    let (told, true_s) = (told.trim().parse::<f64>().unwrap(), samples as f64 / 44_100.0);
    assert!((told - true_s).abs() < 1.0 / 44_100.0, "{}: {told} s of {true_s}", list.path);
}

/// Where the sound begins and ends, in samples: by the boxes, of which `ffprobe` sums the durations. No packet is missing.
fn timeline(rung: &[u8]) -> (i64, i64) {
    let folder = tempfile::TempDir::new().unwrap();
    let path = media::write(folder.path(), "rung.mp4", rung);
    let path = path.to_str().unwrap();
    let told = ffprobe(&["-show_entries", "stream=time_base,start_pts,duration_ts"], path);
    let [base, start, lasts] = told.trim().split(',').collect::<Vec<_>>()[..] else { panic!("{told}") };
    assert_eq!(base, "1/44100");
    let (start, lasts) = (start.parse::<i64>().unwrap(), lasts.parse::<i64>().unwrap());
    let packets = ffprobe(&["-show_entries", "packet=pts"], path);
    let packets: Vec<i64> = packets.lines().map(|pts| pts.parse().unwrap()).collect();
    let apart = packets[1] - packets[0];
    assert!(packets.windows(2).all(|two| two[1] - two[0] == apart), "a gap between two packets");
    assert_eq!((packets[0], packets.len() as i64), (start, (lasts + apart - 1) / apart));
    (start, start + lasts)
}

fn ffprobe(args: &[&str], of: &str) -> String {
    let out = Command::new("ffprobe").args(["-v", "error"]).args(args).args(["-of", "csv=p=0", of]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// How many samples the edit list of an init leaves out at the start.
fn edit(init: &[u8]) -> usize {
    let Some(at) = init.windows(4).position(|name| name == b"elst") else { return 0 };
    // ISO/IEC 14496-12, 8.6.6: version and flags, count, then each entry's duration and media time.
    let (version, word) = (init[at + 4], |n: usize| u32::from_be_bytes(init[at + n..at + n + 4].try_into().unwrap()));
    assert_eq!((version, word(8)), (0, 1), "one entry, in 32 bits");
    word(16) as usize
}

/// What FFmpeg plays, from the first sample that isn't left out.
fn played(rung: &[u8]) -> Vec<u8> {
    media::ffmpeg(rung, &["-copyts"], &["-af", "atrim=start=0", "-f", "s16le"], "out.raw")
}

/// Symphonia hears the very source: all of a short one, a second here and there of a long one.
fn assert_same(source: &[u8], rung: Vec<u8>) {
    let apart = 1 + source.len() / FRAME / (60 * 44_100);
    let wanted = |range: Range<usize>| (range.start / 44_100).is_multiple_of(apart);
    let mut seconds = BTreeSet::new();
    let samples = media::second_opinion(rung, wanted, |at, heard| {
        let bytes = source[at * FRAME..].chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]]));
        assert!(heard.iter().copied().eq(bytes.take(heard.len())), "symphonia hears another FLAC at sample {at}");
        seconds.insert(at / 44_100);
    });
    assert_eq!(samples, source.len() / FRAME);
    assert!(seconds.len() >= 10, "{seconds:?}");
}

/// Symphonia heeds no edit list: what that says to leave out is left out here, and then nothing is early or late.
fn assert_no_lag_without(priming: usize, source: &[u8], rung: Vec<u8>) {
    let ranges: Vec<Range<usize>> = places(source).map(|at| at + priming..at + priming + AROUND).collect();
    let mut heard = vec![vec![0; AROUND * 2]; PLACES];
    let wanted = |range: Range<usize>| ranges.iter().any(|of| range.start < of.end && of.start < range.end);
    let samples = media::second_opinion(rung, wanted, |at, packet| {
        for (of, heard) in ranges.iter().zip(&mut heard) {
            for (n, sample) in packet.iter().enumerate() {
                if let Some(to) = (2 * at + n).checked_sub(2 * of.start).and_then(|n| heard.get_mut(n)) {
                    *to = *sample;
                }
            }
        }
    });
    assert_length(source, samples - priming);
    for (at, heard) in places(source).zip(&heard) {
        assert_no_lag(source, at, heard, "symphonia");
    }
}

/// Where a track is looked at: from its first sample to its last.
fn places(source: &[u8]) -> impl Iterator<Item = usize> {
    let last = source.len() / FRAME - AROUND;
    (0..PLACES).map(move |place| last * place / (PLACES - 1))
}

/// What there is around a place.
fn pcm(sound: &[u8], at: usize) -> Vec<i16> {
    let bytes = &sound[at * FRAME..(at + AROUND) * FRAME];
    bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect()
}

/// A decoder gives the last packet whole; where the sound ends in it is told by the boxes.
fn assert_length(source: &[u8], heard: usize) {
    let samples = source.len() / FRAME;
    assert!((samples..samples + 2 * PACKET).contains(&heard), "{heard} samples of {samples}");
}

fn assert_no_lag(source: &[u8], at: usize, heard: &[i16], who: &str) {
    assert_eq!(media::lag(&pcm(source, at), heard), 0, "{who}, around sample {at}");
}
