//! Rates, channels and headers that recorders and converters leave: each is played, at its length.

use super::support::*;

/// A third of a second: no multiple of any frame.
fn samples(rate: u32) -> usize {
    rate as usize / 3 + 1
}

#[tokio::test]
async fn every_rate_with_every_number_of_channels() {
    let rates = [
        8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000, 176_400,
        192_000, 384_000,
    ];
    for (rate, channels) in rates.into_iter().zip((1..=8u16).cycle()) {
        let front = s16(&tones(rate, samples(rate)));
        let spread =
            front.chunks_exact(2).flat_map(|s| (0..channels).map(|c| if c < 2 { s[usize::from(c)] } else { 0 }));
        let pcm: Vec<i16> = spread.collect();
        let outcome = run(order(), &wav(Wave { rate, channels, ..CD }, &le16(&pcm))).await;
        let what = format!("{rate} Hz, {channels} channels");
        let ladder_rate = outcome.source().grid.rate;
        assert_eq!(ladder_rate, if rate % 48_000 == 0 { 48_000 } else { 44_100 }, "{what}");
        let exact = (samples(rate) as f64 * f64::from(ladder_rate) / f64::from(rate)).round() as u64;
        assert_eq!((outcome.samples(), outcome.source().channels), (exact, channels), "{what}");
        assert_on_the_grid(&outcome);
    }
}

#[tokio::test]
async fn a_header_of_more_channels_says_where_they_are() {
    // WAVE_FORMAT_EXTENSIBLE, as FFmpeg and studios write what has a layout.
    for layout in ["mono", "2.1", "quad", "5.0", "5.1", "6.1", "7.1"] {
        let filter = format!("aformat=channel_layouts={layout}");
        let file = ffmpeg(&song(0.4), &[], &["-af", &filter, "-c:a", "pcm_s24le"], "a.wav");
        let outcome = run(order(), &file).await;
        assert_eq!(outcome.samples(), 17_640, "{layout}");
        assert_on_the_grid(&outcome);
        let file = ffmpeg(&song(0.4), &[], &["-af", &filter], "a.flac");
        assert_eq!(run(order(), &file).await.samples(), 17_640, "{layout} in FLAC");
    }
}

#[tokio::test]
async fn bw64_is_rf64_by_another_name() {
    let sound = song(0.5);
    let mut file = ffmpeg(&sound, &[], &["-rf64", "always"], "a.wav");
    assert_eq!(&file[..4], b"RF64");
    file[..4].copy_from_slice(b"BW64");
    assert_eq!(run(order(), &file).await.samples(), 22_050);
}

#[tokio::test]
async fn aiff_of_every_kind_of_number() {
    for codec in ["pcm_s8", "pcm_s16le", "pcm_s16be", "pcm_s24be", "pcm_s32be", "pcm_f32be", "pcm_f64be"] {
        let outcome = run(order(), &ffmpeg(&song(0.4), &[], &["-c:a", codec], "a.aiff")).await;
        assert_eq!((outcome.samples(), outcome.source().codec.as_str()), (17_640, codec));
        assert_on_the_grid(&outcome);
    }
}

#[tokio::test]
async fn a_wav_whose_file_is_longer_or_shorter_than_its_riff() {
    let data = le16(&s16(&tones(44_100, 22_050)));
    for riff in [0, 4, 36, u32::MAX] {
        let mut file = wav(CD, &data);
        file[4..8].copy_from_slice(&riff.to_le_bytes());
        assert_eq!(run(order(), &file).await.samples(), 22_050, "RIFF of {riff}");
    }
    // Cut in mid-sample, with half of it said to be there.
    let cut = wav_claiming(CD, &data[..data.len() - 3], data.len() as u32);
    assert_eq!(run(order(), &cut).await.samples(), 22_049);
}

#[tokio::test]
async fn a_foreign_tag_in_front_of_aac() {
    let aac = ffmpeg(&song(0.5), &[], &["-c:a", "aac"], "a.aac");
    let plain = run(order(), &aac).await.samples();
    let tagged = [&b"ID3\x04\0\0\0\0\x07\x68"[..], &[0; 1000], &aac].concat();
    assert_eq!(run(order(), &tagged).await.samples(), plain);
}
