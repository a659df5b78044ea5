//! Cuts, tiny files, and the same bytes on every run.

use pipeline::media::{Ladder, offline};
use pipeline::playlist::{self, Kind};

use super::support::*;

#[tokio::test]
async fn the_shortest_files_are_exact_too() {
    for samples in [1, 1023, 1024, 1025, 4095, 4096, 4097, 40_959, 40_960, 40_961] {
        let sound = s16(&tones(44_100, samples));
        let outcome = run(order(), &wav(CD, &le16(&sound))).await;
        assert_eq!(outcome.samples(), samples as u64);
        assert_on_the_grid(&outcome);
        assert!(decoded(&outcome.rung(3)) == sound, "{samples} samples");
        for rung in 0..3 {
            assert!(decoded(&outcome.rung(rung)).len() >= sound.len(), "{samples} samples, rung {rung}");
        }
    }
}

#[tokio::test]
async fn two_runs_and_both_ways_of_reading_give_the_same_bytes() {
    let file = ffmpeg(&song(5.3), &[], &[], "a.flac");
    let (first, second, ranges) = tokio::join!(run(order(), &file), run(order(), &file), run_ranges(&file));
    assert_eq!(first.inits, second.inits);
    assert_eq!(first.pieces, second.pieces);
    assert_eq!(first.pieces, ranges.pieces);
    assert_eq!(first.dat, second.dat);
}

#[tokio::test]
async fn the_first_aac_segment_holds_one_packet_more() {
    let outcome = run(order(), &song(4.0)).await;
    let init = pipeline::media::fmp4::init(&outcome.inits[1]).unwrap();
    assert_eq!(init.media_time, 1024);
    let segment = |n: usize| pipeline::media::fmp4::segment(&outcome.pieces[1][n].bytes, &init).unwrap();
    assert_eq!((segment(0).packets, segment(1).tfdt), (41, 40_960 + 1024));
    let flac = pipeline::media::fmp4::init(&outcome.inits[3]).unwrap();
    let segment = pipeline::media::fmp4::segment(&outcome.pieces[3][1].bytes, &flac).unwrap();
    assert_eq!((flac.media_time, segment.tfdt), (0, 40_960));
}

#[tokio::test]
async fn playlists_of_all_rungs_are_alike_and_sum_to_the_track() {
    let outcome = run(order(), &song(5.0)).await;
    let text = |rung: usize| {
        let samples = outcome.pieces[rung].iter().map(|p| p.samples);
        playlist::media_playlist(Kind::Vod, &outcome.source().grid, samples)
    };
    assert!((1..4).all(|rung| text(rung) == text(0)));
    let us: u64 = text(0)
        .lines()
        .filter_map(|l| l.strip_prefix("#EXTINF:")?.strip_suffix(','))
        .map(|d| d.replace('.', "").parse::<u64>().unwrap())
        .sum();
    assert_eq!(us, (outcome.samples() * 1_000_000 + 22_050) / 44_100);
}

#[tokio::test]
async fn symphonia_hears_the_same() {
    let sound = s16(&tones(44_100, 132_300));
    let outcome = run(order(), &wav(CD, &le16(&sound))).await;
    let heard = |rung: usize| {
        let mut out = vec![];
        second_opinion(outcome.rung(rung), |_| true, |_, samples| out.extend_from_slice(samples));
        out
    };
    assert!(heard(3) == sound, "FLAC, bit for bit");
    for rung in 0..3 {
        // It heeds no edit list: what that says to leave out is left out here.
        let init = pipeline::media::fmp4::init(&outcome.inits[rung]).unwrap();
        let aac = heard(rung).split_off(2 * init.media_time as usize);
        assert!((0..2 * 1024).contains(&(aac.len() / 2 - sound.len() / 2)), "rung {rung}: {}", aac.len());
        assert_eq!(lag(&sound, &aac), 0, "rung {rung}");
    }
}

#[tokio::test]
async fn a_file_becomes_a_folder_that_plays() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = write(folder.path(), "song.bin", &song(3.0));
    let out = folder.path().join("out");
    let ladder = Ladder::parse("aac:64k,flac").unwrap();
    let made = offline::transcode(&file, &out, ladder, 4, exe()).await.unwrap();
    assert_eq!(made.samples, 132_300);
    let probe = |name: &str| {
        let args = ["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"];
        let out = std::process::Command::new("ffprobe").args(args).arg(out.join(name)).output().unwrap();
        String::from_utf8(out.stdout).unwrap().trim().parse::<f64>().unwrap()
    };
    assert!((probe("flac/vod.m3u8") - 3.0).abs() < 0.001);
    let text = std::fs::read(&made.index).unwrap();
    assert!(
        matches!(m3u8_rs::parse_playlist_res(&text), Ok(m3u8_rs::Playlist::MasterPlaylist(p)) if p.variants.len() == 2)
    );
}
