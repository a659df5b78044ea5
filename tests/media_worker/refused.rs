//! What is no audio, or no longer: a code, a sentence, and no harm.

use pipeline::media::{Code, Failure, WorkerLimits};

use super::support::*;

async fn refusal(bytes: &[u8]) -> Failure {
    let outcome = run(order(), bytes).await;
    assert_eq!(outcome.done, None);
    outcome.failed.expect("refused")
}

async fn refused(bytes: &[u8], code: Code, word: &str) {
    let failure = refusal(bytes).await;
    assert!(failure.code == code && failure.text.contains(word), "{failure}");
    assert!(!failure.retryable);
}

#[tokio::test]
async fn nothing_and_words() {
    refused(b"", Code::EmptyMedia, "empty").await;
    refused(b"These are only words, whatever the file is called.\n", Code::UnsupportedMedia, "text").await;
    refused(&wav(CD, &[]), Code::EmptyMedia, "no audio").await;
    refused(b"\x89PNG\r\n\x1a\n0000000000000000", Code::UnsupportedMedia, "PNG").await;
}

#[tokio::test]
async fn scripts_and_playlists() {
    let url = "http://127.0.0.1:9/canary";
    for (text, word) in [
        (format!("#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n{url}\n"), "HLS playlist"),
        ("ffconcat version 1.0\nfile /etc/passwd\n".to_owned(), "ffconcat"),
        (format!("<?xml version=\"1.0\"?><MPD><BaseURL>{url}</BaseURL></MPD>"), "XML"),
        (format!("<MPD><BaseURL>{url}</BaseURL></MPD>"), "DASH"),
    ] {
        refused(text.as_bytes(), Code::UnsupportedMedia, word).await;
    }
}

#[tokio::test]
async fn the_index_last_cannot_be_streamed() {
    let file = ffmpeg(&song(1.0), &[], &["-c:a", "aac"], "a.m4a");
    refused(&file, Code::IndexAtEnd, "index").await;
}

#[tokio::test]
async fn an_index_that_is_said_to_lie_beyond_the_file_is_not_there() {
    let mut file = ffmpeg(&song(1.0), &[], &["-c:a", "aac"], "a.m4a");
    let audio = file.windows(4).position(|word| word == b"mdat").expect("audio") - 4;
    file[audio..audio + 4].copy_from_slice(&0x7fff_0000u32.to_be_bytes());
    let failed = run_ranges(&file).await.failed.expect("refused");
    assert_eq!(failed.code, Code::CorruptMedia, "{failed}");
}

#[tokio::test]
async fn video_without_sound_and_a_codec_off_the_list() {
    let args = ["-f", "lavfi", "-i", "color=s=64x64:d=1"];
    let video = ffmpeg(&song(1.0), &args, &["-map", "0:v", "-c:v", "mpeg4", "-movflags", "+faststart"], "v.mp4");
    refused(&video, Code::UnsupportedMedia, "without audio").await;
    let ac3 = ffmpeg(&song(1.0), &[], &["-c:a", "ac3", "-movflags", "+faststart"], "a.mp4");
    refused(&ac3, Code::UnsupportedMedia, "ac3").await;
}

#[tokio::test]
async fn lossless_files_cut_short_are_damaged() {
    let flac = ffmpeg(&song(3.0), &[], &[], "a.flac");
    let alac = ffmpeg(&song(3.0), &[], &["-c:a", "alac", "-movflags", "+faststart"], "a.m4a");
    let aac = ffmpeg(&song(3.0), &[], &["-c:a", "aac", "-movflags", "+faststart"], "a.m4a");
    for (name, file) in [("flac", &flac), ("alac", &alac), ("aac", &aac)] {
        for part in [2, 3, 10] {
            let outcome = run(order(), &file[..file.len() - file.len() / part]).await;
            assert_eq!(outcome.failed.map(|f| f.code), Some(Code::CorruptMedia), "{name} without 1/{part}");
        }
    }
    let mut flipped = flac.clone();
    let at = flipped.len() / 2;
    flipped[at] ^= 0x10;
    assert_eq!(refusal(&flipped).await.code, Code::CorruptMedia);
}

#[tokio::test]
async fn lossy_streams_cut_short_play_as_far_as_they_go() {
    for (name, encode) in
        [("a.mp3", ["-c:a", "libmp3lame"]), ("a.ogg", ["-c:a", "libvorbis"]), ("a.aac", ["-c:a", "aac"])]
    {
        let file = ffmpeg(&song(3.0), &[], &encode, name);
        let outcome = run(order(), &file[..file.len() / 2]).await;
        assert!((44_100..=88_200).contains(&outcome.samples()), "{name}: {}", outcome.samples());
        assert_on_the_grid(&outcome);
    }
}

#[tokio::test]
async fn every_short_head_is_answered() {
    let files = [
        ffmpeg(&song(0.5), &[], &[], "a.flac"),
        ffmpeg(&song(0.5), &[], &["-c:a", "aac", "-movflags", "+faststart"], "a.m4a"),
        ffmpeg(&song(0.5), &[], &["-c:a", "libvorbis"], "a.ogg"),
        ffmpeg(&song(0.5), &[], &[], "a.aiff"),
        ffmpeg(&song(0.5), &[], &["-c:a", "libmp3lame"], "a.mp3"),
    ];
    for file in &files {
        for len in [3, 20, 60, 200, 700] {
            let outcome = run(order(), &file[..len]).await;
            if let Some(failure) = outcome.failed {
                let allowed = [Code::UnsupportedMedia, Code::CorruptMedia, Code::EmptyMedia, Code::IndexAtEnd];
                assert!(allowed.contains(&failure.code), "{len} bytes: {failure}");
            }
        }
    }
}

#[tokio::test]
async fn bounds_are_kept() {
    let limits = WorkerLimits { seconds_max: 2, channels_max: 2, ..WorkerLimits::default() };
    let mut order = order();
    order.limits = limits;
    let failure = run(order.clone(), &song(2.1)).await.failed.unwrap();
    assert_eq!(failure.code, Code::TooLong, "{failure}");
    let six = wav(Wave { channels: 6, ..CD }, &vec![0; 6 * 2 * 4410]);
    assert_eq!(run(order.clone(), &six).await.failed.unwrap().code, Code::TooManyChannels);
    let slow = wav(Wave { rate: 1000, ..CD }, &[0; 4000]);
    assert_eq!(run(order, &slow).await.failed.unwrap().code, Code::UnsupportedRate);
}

#[tokio::test]
async fn damaged_bytes_anywhere_end_in_a_code() {
    let files = [
        ffmpeg(&song(0.4), &[], &[], "a.flac"),
        ffmpeg(&song(0.4), &[], &["-c:a", "aac", "-movflags", "+faststart"], "a.m4a"),
        ffmpeg(&song(0.4), &[], &["-c:a", "libopus"], "a.opus"),
        ffmpeg(&song(0.4), &[], &["-c:a", "libmp3lame"], "a.mp3"),
    ];
    let mut seed = 11u64;
    for file in &files {
        for _ in 0..12 {
            let mut bytes = file.clone();
            for _ in 0..8 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (seed >> 20) as usize % bytes.len();
                bytes[at] = (seed >> 50) as u8;
            }
            let outcome = run(order(), &bytes).await;
            if let Some(failure) = &outcome.failed {
                assert!(!failure.retryable, "seed {seed}: {failure}");
            }
        }
    }
}
