//! Files to keep: without loss to the sample, lossy ones of the exact length, all with their words and picture.

use std::process::Command;

use bytes::Bytes;
use md5::{Digest, Md5};
use pipeline::media::{Coding, Event, Failure, Order, Render, Worker};
use serde_json::Value;

use super::support::*;

const TITLE: &str = "Été; \"1\"=\u{1f3b5}";

async fn rendered(coding: Coding, rate: u32, channels: u16, source: &[u8]) -> Result<Vec<u8>, Failure> {
    let render = Render { coding, title: TITLE.to_owned(), seconds: 30, rate, channels };
    let whole = Bytes::copy_from_slice(source);
    let mut worker = Worker::spawn(Order::render(render, exe(), source.len() as u64)).await.unwrap();
    let mut file = vec![];
    loop {
        match worker.next().await {
            Event::Need { offset, .. } => {
                let from = whole.len().min(offset as usize);
                // More than was asked, as the daemon gives.
                let some = whole.slice(from..whole.len().min(from + 300_000));
                worker.give(offset, some).await.unwrap();
            }
            Event::File { offset, bytes } => {
                assert_eq!(offset, file.len() as u64);
                file.extend_from_slice(&bytes);
            }
            Event::Rendered { len } => {
                assert_eq!(len, file.len() as u64);
                return Ok(file);
            }
            Event::Failed(failure) => return Err(failure),
            other => panic!("{other:?}"),
        }
    }
}

/// Every sample, in 32 bits.
fn samples(file: &[u8]) -> Vec<u8> {
    ffmpeg(file, &[], &["-f", "s32le"], "out.raw")
}

fn probed(file: &[u8]) -> Value {
    let folder = tempfile::TempDir::new().unwrap();
    let path = write(folder.path(), "file", file);
    let told = Command::new("ffprobe")
        .args(["-v", "error", "-of", "json", "-show_format", "-show_streams"])
        .arg(path)
        .output()
        .unwrap();
    assert!(told.stderr.is_empty(), "{}", String::from_utf8_lossy(&told.stderr));
    serde_json::from_slice(&told.stdout).unwrap()
}

/// A field of the container or of its stream, whatever the letters' case.
fn word(told: &Value, key: &str) -> Option<String> {
    let places = [&told["format"]["tags"], &told["streams"][0]["tags"]];
    let mut all = places.into_iter().filter_map(Value::as_object).flatten();
    all.find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value.as_str().unwrap().to_owned())
}

#[tokio::test]
async fn files_without_loss_have_every_sample_of_the_source() {
    let song = song(1.37);
    let sources = [
        (44_100, 2, ffmpeg(&song, &[], &["-c:a", "pcm_s16le"], "a.wav")),
        (96_000, 1, ffmpeg(&song, &[], &["-ac", "1", "-ar", "96000", "-c:a", "pcm_s24be"], "a.aiff")),
        (48_000, 6, ffmpeg(&song, &[], &["-ac", "6", "-ar", "48000", "-c:a", "flac", "-sample_fmt", "s32"], "a.flac")),
        (8_000, 1, ffmpeg(&song, &[], &["-ac", "1", "-ar", "8000", "-c:a", "pcm_u8"], "a.wav")),
        (44_100, 2, ffmpeg(&song, &[], &["-c:a", "alac"], "a.m4a")),
    ];
    for (n, (rate, channels, source)) in sources.iter().enumerate() {
        let wanted = samples(source);
        for coding in [Coding::Flac, Coding::Wav] {
            let file = rendered(coding, *rate, *channels, source).await.unwrap();
            assert!(samples(&file) == wanted, "source {n}, {coding:?}");
            let told = probed(&file);
            assert_eq!(word(&told, "title").as_deref(), Some(TITLE), "{coding:?}");
            let stream = &told["streams"][0];
            assert_eq!((&stream["sample_rate"], &stream["channels"]), (&rate.to_string().into(), &(*channels).into()));
        }
    }
    let float = ffmpeg(&song, &[], &["-af", "volume=9dB", "-c:a", "pcm_f32le"], "a.wav");
    let file = rendered(Coding::Wav, 44_100, 2, &float).await.unwrap();
    let raw = |file: &[u8]| ffmpeg(file, &[], &["-f", "f32le"], "out.raw");
    assert!(raw(&file) == raw(&float), "beyond full scale too");
}

#[tokio::test]
async fn the_header_of_a_flac_file_tells_its_length_and_digest() {
    let source = song(2.2);
    let file = rendered(Coding::Flac, 44_100, 2, &source).await.unwrap();
    assert_eq!(&file[..8], b"fLaC\x00\x00\x00\x22");
    let count = u64::from_be_bytes(file[18..26].try_into().unwrap()) & ((1 << 36) - 1);
    assert_eq!(count, 97_020);
    assert_eq!(file[26..42], Md5::digest(&source[44..])[..]);
}

#[tokio::test]
async fn lossy_files_have_the_source_s_length_at_its_place() {
    let source = song(3.3);
    let wanted = s16(&tones(44_100, 145_530));
    for coding in [Coding::Mp3, Coding::Aac, Coding::Opus] {
        let file = rendered(coding, 44_100, 2, &source).await.unwrap();
        let (first, again) = (&file, rendered(coding, 44_100, 2, &source).await.unwrap());
        assert!(*first == again, "{coding:?}: the same bytes each time");
        let plain = ffmpeg(&file, &[], &["-ar", "44100", "-f", "s16le"], "out.raw");
        let heard: Vec<i16> = plain.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
        // FFmpeg doesn't cut the last AAC frame; who reads iTunes' word of the gap does.
        let surplus = if coding == Coding::Aac { 2 * 1023 } else { 0 };
        assert!(
            (0..=surplus + 2).contains(&(heard.len() - wanted.len())),
            "{coding:?}: {} of {}",
            heard.len(),
            wanted.len()
        );
        if coding == Coding::Aac {
            assert_eq!(run_ranges(&file).await.samples(), 145_530);
        }
        assert_eq!(lag(&wanted, &heard), 0, "{coding:?}");
        let told = probed(&file);
        let (name, rate) = match coding {
            Coding::Mp3 => ("mp3", "44100"),
            Coding::Aac => ("aac", "44100"),
            _ => ("opus", "48000"),
        };
        assert_eq!(
            (&told["streams"][0]["codec_name"], &told["streams"][0]["sample_rate"]),
            (&name.into(), &rate.into())
        );
        assert_eq!(word(&told, "title").as_deref(), Some(TITLE), "{coding:?}");
    }
}

#[tokio::test]
async fn rates_and_channels_that_a_format_lacks_are_converted_to_the_exact_length() {
    let song = song(1.0);
    let wide = ffmpeg(&song, &[], &["-ac", "6", "-ar", "96000", "-c:a", "pcm_s24le"], "a.wav");
    let narrow = ffmpeg(&song, &[], &["-ac", "1", "-ar", "11025", "-c:a", "pcm_s16le"], "a.wav");
    for (rate, channels, source) in [(96_000, 6, &wide), (11_025, 1, &narrow)] {
        for coding in [Coding::Mp3, Coding::Aac, Coding::Opus] {
            let file = rendered(coding, rate, channels, source).await.unwrap();
            let told = probed(&file);
            let stream = &told["streams"][0];
            assert_eq!(stream["channels"], channels.min(2), "{coding:?}");
            let own: u32 = stream["sample_rate"].as_str().unwrap().parse().unwrap();
            let plain = ffmpeg(&file, &[], &["-f", "s16le", "-ac", "1"], "out.raw");
            let surplus = if coding == Coding::Aac { 1023 } else { 0 };
            assert!(
                (own..=own + surplus).contains(&(plain.len() as u32 / 2)),
                "{coding:?}: {} of {own}",
                plain.len() / 2
            );
        }
    }
}

#[tokio::test]
async fn words_and_picture_go_along() {
    let folder = tempfile::TempDir::new().unwrap();
    let picture = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "color=red:s=64x64", "-frames:v", "1", "-y"])
        .arg(folder.path().join("cover.png"))
        .status();
    assert!(picture.unwrap().success());
    let cover = std::fs::read(folder.path().join("cover.png")).unwrap();
    let path = folder.path().join("cover.png");
    let words =
        ["-metadata", "artist=Weir", "-metadata", "album=Race", "-metadata", "title=Another", "-metadata", "date=2020"];
    let beside =
        ["-i", path.to_str().unwrap(), "-map", "0", "-map", "1", "-disposition:v", "attached_pic", "-c:v", "copy"];
    let source = ffmpeg(&song(1.0), &[], &[&beside[..], &words].concat(), "a.flac");
    for coding in [Coding::Flac, Coding::Wav, Coding::Mp3, Coding::Aac, Coding::Opus] {
        let file = rendered(coding, 44_100, 2, &source).await.unwrap();
        let told = probed(&file);
        for (key, value) in [("title", TITLE), ("artist", "Weir"), ("album", "Race"), ("date", "2020")] {
            assert_eq!(word(&told, key).as_deref(), Some(value), "{coding:?} {key}: {told}");
        }
        let shown = ffmpeg(&file, &[], &["-map", "0:v", "-c", "copy", "-f", "image2"], "out.png");
        assert!(shown == cover, "{coding:?}");
    }
}

#[tokio::test]
async fn what_can_t_be_decoded_fails_in_words() {
    let mut broken = ffmpeg(&song(2.0), &[], &[], "a.flac");
    let at = broken.len() / 2;
    broken[at..at + 900].fill(0);
    for coding in [Coding::Flac, Coding::Opus] {
        let failure = rendered(coding, 44_100, 2, &broken).await.unwrap_err();
        assert_eq!(failure.code.as_str(), "corrupt_media", "{coding:?}");
    }
}
