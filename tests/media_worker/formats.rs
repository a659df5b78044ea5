//! Every accepted format: exact to the sample in every rung, nothing early, nothing late.

use super::support::*;

/// Long enough for three segments, and no multiple of any frame length.
const SAMPLES: usize = 132_301;

struct Case {
    name: &'static str,
    encode: &'static [&'static str],
    rate: u32,
    codec: &'static str,
    rungs: usize,
    ranges: bool,
}

const PCM: Case = Case { name: "a.wav", encode: &[], rate: 44_100, codec: "", rungs: 4, ranges: false };

async fn check(case: Case) {
    let sound = s16(&tones(case.rate, SAMPLES));
    let plain = wav(Wave { rate: case.rate, ..CD }, &le16(&sound));
    let file = ffmpeg(&plain, &[], case.encode, case.name);
    let outcome = if case.ranges { run_ranges(&file).await } else { run(order(), &file).await };
    assert_eq!(outcome.samples(), SAMPLES as u64, "{}", case.name);
    let source = outcome.source();
    assert_eq!((source.codec.as_str(), source.rate, source.channels), (case.codec, case.rate, 2));
    assert_eq!(source.plan.len(), case.rungs);
    assert!(!source.converted);
    assert_on_the_grid(&outcome);
    if !case.ranges {
        assert!(outcome.needs.windows(2).all(|w| w[0].0 < w[1].0), "needs are in order");
    }
    for rung in 0..case.rungs {
        let heard = decoded(&outcome.rung(rung));
        assert!(heard.len() >= sound.len(), "rung {rung} of {} is short", case.name);
        assert_eq!(lag(&sound, &heard), 0, "rung {rung} of {}", case.name);
    }
    if source.lossless {
        let heard = decoded(&outcome.rung(outcome.named("flac")));
        assert!(heard == sound, "the FLAC rung of {} is bit-exact", case.name);
    }
}

#[tokio::test]
async fn wav_at_44_1_khz() {
    check(Case { codec: "pcm_s16le", ..PCM }).await;
}

#[tokio::test]
async fn wav_at_48_khz() {
    check(Case { codec: "pcm_s16le", rate: 48_000, ..PCM }).await;
}

#[tokio::test]
async fn rf64() {
    check(Case { codec: "pcm_s16le", encode: &["-rf64", "always"], ..PCM }).await;
}

#[tokio::test]
async fn w64() {
    // FFmpeg's writer counts its padding to eight bytes as audio: an even number of samples needs none.
    let file = ffmpeg(&song(2.0), &[], &[], "a.w64");
    let outcome = run(order(), &file).await;
    assert_eq!((outcome.samples(), outcome.source().container.as_str()), (88_200, "w64"));
}

#[tokio::test]
async fn aiff() {
    check(Case { codec: "pcm_s16be", name: "a.aiff", ..PCM }).await;
}

#[tokio::test]
async fn caf() {
    check(Case { codec: "pcm_s16be", name: "a.caf", ..PCM }).await;
}

#[tokio::test]
async fn caf_with_alac_has_its_packet_table_last() {
    check(Case { codec: "alac", name: "a.caf", encode: &["-c:a", "alac"], ranges: true, ..PCM }).await;
}

#[tokio::test]
async fn flac() {
    check(Case { codec: "flac", name: "a.flac", ..PCM }).await;
}

#[tokio::test]
async fn wavpack() {
    check(Case { codec: "wavpack", name: "a.wv", ..PCM }).await;
}

#[tokio::test]
async fn mp3() {
    let encode = &["-c:a", "libmp3lame", "-b:a", "320k"];
    check(Case { codec: "mp3", name: "a.mp3", encode, rungs: 3, ..PCM }).await;
}

#[tokio::test]
async fn mp3_with_variable_rate_and_a_large_tag() {
    let encode = &["-c:a", "libmp3lame", "-q:a", "0", "-metadata", "title=Üben", "-id3v2_version", "3"];
    check(Case { codec: "mp3", name: "a.mp3", encode, rungs: 3, ..PCM }).await;
}

#[tokio::test]
async fn vorbis() {
    let encode = &["-c:a", "libvorbis", "-q:a", "8"];
    check(Case { codec: "vorbis", name: "a.ogg", encode, rungs: 3, ..PCM }).await;
}

#[tokio::test]
async fn opus() {
    let encode = &["-c:a", "libopus", "-b:a", "192k"];
    check(Case { codec: "opus", name: "a.opus", encode, rate: 48_000, rungs: 3, ..PCM }).await;
}

#[tokio::test]
async fn m4a_with_the_index_first() {
    let encode = &["-c:a", "aac", "-b:a", "256k", "-movflags", "+faststart"];
    check(Case { codec: "aac", name: "a.m4a", encode, rungs: 3, ..PCM }).await;
}

#[tokio::test]
async fn m4a_with_the_index_last() {
    let encode = &["-c:a", "aac", "-b:a", "256k"];
    check(Case { codec: "aac", name: "a.m4a", encode, rungs: 3, ranges: true, ..PCM }).await;
}

#[tokio::test]
async fn alac() {
    check(Case { codec: "alac", name: "a.m4a", encode: &["-c:a", "alac"], ranges: true, ..PCM }).await;
    let encode = &["-c:a", "alac", "-movflags", "+faststart"];
    check(Case { codec: "alac", name: "a.m4a", encode, ..PCM }).await;
}

#[tokio::test]
async fn matroska() {
    check(Case { codec: "flac", name: "a.mka", encode: &["-c:a", "flac"], ..PCM }).await;
}

#[tokio::test]
async fn adts_has_no_gapless_data_and_is_kept_as_it_decodes() {
    let file = ffmpeg(&song(3.0), &[], &["-c:a", "aac", "-b:a", "256k"], "a.aac");
    let reference = decoded(&file);
    let outcome = run(order(), &file).await;
    assert_eq!(outcome.samples() * 2, reference.len() as u64);
    assert_on_the_grid(&outcome);
    assert_eq!(lag(&reference, &decoded(&outcome.rung(1))), 0);
}

#[tokio::test]
async fn twenty_four_bits_stay_twenty_four() {
    let sound = tones(44_100, 60_000);
    let ints: Vec<i32> = sound.iter().flatten().map(|v| (v * 8_388_607.0) as i32).collect();
    let data: Vec<u8> = ints.iter().flat_map(|v| v.to_le_bytes()[..3].to_vec()).collect();
    let outcome = run(order(), &wav(Wave { bits: 24, ..CD }, &data)).await;
    assert_eq!((outcome.source().bits, outcome.samples()), (24, 60_000));
    let raw = ffmpeg(&outcome.rung(outcome.named("flac")), &[], &["-f", "s24le", "-c:a", "pcm_s24le"], "out.raw");
    assert!(raw == data);
}

#[tokio::test]
async fn thirty_two_bits_floats_and_bytes() {
    let sound = tones(44_100, 60_000);
    let ints: Vec<u8> = sound.iter().flatten().flat_map(|v| ((v * 2_147_483_647.0) as i32).to_le_bytes()).collect();
    let floats: Vec<u8> = sound.iter().flatten().flat_map(|v| (*v as f32).to_le_bytes()).collect();
    let doubles: Vec<u8> = sound.iter().flatten().flat_map(|v| v.to_le_bytes()).collect();
    let bytes: Vec<u8> = sound.iter().flatten().map(|v| (v * 127.0 + 128.0) as u8).collect();
    for (wave, data, bits) in [
        (Wave { bits: 32, ..CD }, ints, 32),
        (Wave { tag: 3, bits: 32, ..CD }, floats, 32),
        (Wave { tag: 3, bits: 64, ..CD }, doubles, 64),
        (Wave { bits: 8, ..CD }, bytes, 8),
    ] {
        let outcome = run(order(), &wav(wave, &data)).await;
        assert_eq!((outcome.source().bits, outcome.samples()), (bits, 60_000));
        assert_eq!(outcome.source().plan[3].bits, if bits == 8 { 16 } else { 24 });
        let heard = decoded(&outcome.rung(3));
        let expected = s16(&sound);
        let worst = heard.iter().zip(&expected).map(|(a, b)| (i32::from(*a) - i32::from(*b)).abs()).max().unwrap();
        assert!(worst <= if bits == 8 { 512 } else { 1 }, "{bits} bits: off by {worst}");
    }
}

#[tokio::test]
async fn a_wav_of_unknown_or_wrong_length_gives_what_is_there() {
    let data = le16(&s16(&tones(44_100, 50_000)));
    for claimed in [0, u32::MAX, data.len() as u32 + 4000] {
        let outcome = run(order(), &wav_claiming(CD, &data, claimed)).await;
        assert_eq!(outcome.samples(), 50_000, "claiming {claimed}");
    }
    let mut odd = wav(CD, &data);
    odd.extend(b"LIST\x03\0\0\0abc\0");
    assert_eq!(run(order(), &odd).await.samples(), 50_000);
}

#[tokio::test]
async fn mono_is_doubled_bit_for_bit() {
    let mono: Vec<i16> = s16(&tones(44_100, 50_000)).into_iter().step_by(2).collect();
    let outcome = run(order(), &wav(Wave { channels: 1, ..CD }, &le16(&mono))).await;
    let twice: Vec<i16> = mono.iter().flat_map(|v| [*v, *v]).collect();
    assert_eq!(outcome.source().channels, 1);
    assert!(decoded(&outcome.rung(3)) == twice);
}

#[tokio::test]
async fn other_rates_and_channels_are_converted_without_a_lag() {
    for (rate, channels, ladder_rate) in
        [(96_000, 2, 48_000), (22_050, 2, 44_100), (8_000, 1, 44_100), (48_000, 6, 48_000)]
    {
        let seconds = 3;
        let sound = tones(rate, (rate * seconds) as usize + 1);
        let spread: Vec<i16> = sound
            .iter()
            .flat_map(|s| {
                let s = s16(&[*s]);
                (0..channels).map(move |c| if c < 2 { s[c] } else { 0 }).collect::<Vec<_>>()
            })
            .collect();
        let file = wav(Wave { rate, channels: channels as u16, ..CD }, &le16(&spread));
        let outcome = run(order(), &file).await;
        let exact = (sound.len() as f64 * f64::from(ladder_rate) / f64::from(rate)).round() as u64;
        assert_eq!((outcome.samples(), outcome.source().converted), (exact, true), "{rate} Hz");
        assert_on_the_grid(&outcome);
        // The tones are a function of time: at the ladder's rate they are the reference.
        let mut reference = tones(ladder_rate, exact as usize);
        if rate == 8_000 {
            // Above 4 kHz nothing can come through; the voices below carry the judgement.
            reference.iter_mut().for_each(|s| s[1] = s[0]);
        }
        assert_eq!(lag(&s16(&reference), &decoded(&outcome.rung(3))), 0, "{rate} Hz, {channels} channels");
    }
}

#[tokio::test]
async fn tags_come_along() {
    let meta = ["-metadata", "title=Grüße", "-metadata", "artist=A\u{7}B"];
    let outcome = run(order(), &ffmpeg(&song(1.0), &[], &meta, "a.flac")).await;
    let tag = |key: &str| outcome.tags.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
    assert_eq!((tag("title"), tag("artist")), (Some("Grüße"), Some("AB")));
}

#[tokio::test]
async fn a_date_is_a_tag_like_any() {
    // libav takes it apart with the C library's calendar.
    let meta = ["-metadata", "creation_time=2026-02-03T04:05:06Z"];
    let first = ["-movflags", "+faststart"];
    for (name, more) in [("a.m4a", &first[..]), ("a.mka", &["-c:a", "flac"]), ("a.caf", &[]), ("a.wav", &[])] {
        let outcome = run(order(), &ffmpeg(&song(1.0), &[], &[more, &meta].concat(), name)).await;
        assert_eq!(outcome.failed, None, "{name}");
        let is_told = outcome.tags.iter().any(|(key, value)| key == "creation_time" && value.starts_with("2026-02-03"));
        assert!(is_told || name != "a.m4a", "{:?}", outcome.tags);
    }
}
