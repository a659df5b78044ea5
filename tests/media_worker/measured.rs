//! Loudness beside FFmpeg's meter, and the waveform beside the samples.

use std::process::Command;

use super::support::*;

/// What FFmpeg's meter says: integrated, range, true peak.
fn reference(file: &[u8]) -> [f64; 3] {
    let folder = tempfile::TempDir::new().unwrap();
    let path = write(folder.path(), "in", file);
    let args = ["-af", "ebur128=peak=true", "-f", "null", "-"];
    let out = Command::new("ffmpeg").args(["-nostdin", "-hide_banner", "-i"]).arg(path).args(args).output().unwrap();
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    let summary = text.split("Summary:").last().unwrap().to_owned();
    ["I:", "LRA:", "Peak:"].map(|key| {
        let line = summary.lines().find(|l| l.trim().starts_with(key)).expect(key);
        line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
    })
}

#[tokio::test]
async fn loudness_is_what_ffmpeg_measures() {
    // Quiet, loud, quiet: so that there is a range.
    let mut sound = tones(44_100, 12 * 44_100);
    let third = sound.len() / 3;
    sound[..third].iter_mut().flatten().for_each(|v| *v *= 0.2);
    sound[third..2 * third].iter_mut().flatten().for_each(|v| *v *= 1.1);
    let file = wav(CD, &le16(&s16(&sound)));
    let measured = run(order(), &file).await.loudness.unwrap();
    let [integrated, range, peak] = reference(&file);
    for (ours, theirs, what) in [
        (measured.integrated, integrated, "integrated"),
        (measured.range, range, "range"),
        (measured.true_peak, peak, "true peak"),
    ] {
        let ours = ours.expect(what);
        assert!((ours - theirs).abs() <= 0.1 + 0.05, "{what}: {ours} beside {theirs}, which is rounded to 0.1");
    }
}

/// The same of each of several, with FFmpeg's own figures to a thousandth. Of the peak it prints tenths only.
#[tokio::test]
async fn loudness_is_ffmpegs_to_a_tenth_over_many_sounds() {
    let samples = ["loop_garzul", "loop_3d_printer", "ambi_sauna", "loop_safari", "bass_voxy_c", "loop_tabla"];
    let mut items: Vec<(String, Vec<u8>)> = samples
        .map(|name| (name.to_owned(), std::fs::read(format!("/usr/share/sonic-pi/samples/{name}.flac")).unwrap()))
        .into();
    let quiet = tones(48_000, 9 * 48_000).into_iter().map(|s| s.map(|v| v * 0.01)).collect::<Vec<_>>();
    let one_side = tones(44_100, 7 * 44_100).into_iter().map(|s| [s[0], 0.0]).collect::<Vec<_>>();
    // Full-scale squares: between their samples a true peak lies above them.
    let square = (0..6 * 44_100).map(|n| [if n / 11 % 2 == 0 { 0.99 } else { -0.99 }; 2]).collect::<Vec<_>>();
    for (name, rate, sound) in [("quiet", 48_000, quiet), ("one side", 44_100, one_side), ("square", 44_100, square)] {
        items.push((name.to_owned(), wav(Wave { rate, ..CD }, &le16(&s16(&sound)))));
    }
    for (name, file) in items {
        let measured = run(order(), &file).await.loudness.unwrap();
        let ([integrated, range], [.., peak]) = (to_a_thousandth(&file), reference(&file));
        let near = |ours: Option<f64>, theirs: f64, most: f64| (ours.expect(&name) - theirs).abs() <= most;
        assert!(near(measured.integrated, integrated, 0.1), "{name}: {measured:?}, not {integrated} LUFS");
        assert!(near(measured.range, range, 0.1), "{name}: {measured:?}, not {range} LU");
        assert!(near(measured.true_peak, peak, 0.1 + 0.05), "{name}: {measured:?}, not {peak} dBTP");
    }
}

/// Integrated and range as FFmpeg has them at the last look.
fn to_a_thousandth(file: &[u8]) -> [f64; 2] {
    let folder = tempfile::TempDir::new().unwrap();
    let path = write(folder.path(), "in", file);
    let args = ["-af", "ebur128=metadata=1,ametadata=print:file=-", "-f", "null", "-"];
    let out = Command::new("ffmpeg").args(["-nostdin", "-v", "error", "-i"]).arg(path).args(args).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    ["lavfi.r128.I=", "lavfi.r128.LRA="].map(|key| {
        let last = text.lines().filter_map(|line| line.strip_prefix(key)).next_back();
        last.expect(key).parse().unwrap()
    })
}

#[tokio::test]
async fn silence_has_no_loudness() {
    let measured = run(order(), &wav(CD, &vec![0; 4 * 88_200])).await.loudness.unwrap();
    assert_eq!((measured.integrated, measured.range, measured.true_peak), (None, None, None));
}

#[tokio::test]
async fn the_waveform_is_that_of_the_samples() {
    let sound = s16(&tones(44_100, 100_000));
    let outcome = run(order(), &wav(CD, &le16(&sound))).await;
    let (head, pairs) = outcome.dat.split_at(24);
    assert!(pairs == outcome.pairs, "the parts make the whole");
    let word = |n: usize| i32::from_le_bytes(head[4 * n..4 * n + 4].try_into().unwrap());
    assert_eq!([0, 1, 2, 3, 4, 5].map(word), [2, 1, 44_100, 512, 196, 1]);
    let mids: Vec<f64> = sound.chunks_exact(2).map(|s| (f64::from(s[0]) + f64::from(s[1])) / 65_536.0).collect();
    for (chunk, pair) in mids.chunks(512).zip(pairs.chunks_exact(2)) {
        let low = chunk.iter().copied().fold(f64::MAX, f64::min) * 128.0;
        let high = chunk.iter().copied().fold(f64::MIN, f64::max) * 128.0;
        assert!((f64::from(pair[0] as i8) - low).abs() <= 1.0 && (f64::from(pair[1] as i8) - high).abs() <= 1.0);
    }
}
