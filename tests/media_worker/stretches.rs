//! A long track is encoded in stretches, by several encoders: nothing of that is to be seen or heard.

use pipeline::media::{Ladder, Order};

use super::support::*;

/// Where the second stretch begins: 640 blocks of 4096.
const SEAM: usize = 2_621_440;

/// Three seconds of tones, again and again, with a click at the seam and one shortly before.
fn long_song() -> Vec<i16> {
    let three = s16(&tones(44_100, 3 * 44_100));
    let mut sound: Vec<i16> = three.iter().copied().cycle().take(2 * (SEAM + 3_000_000)).collect();
    for at in [SEAM - 700, SEAM] {
        sound[2 * at..2 * (at + 24)].fill(30_000);
    }
    sound
}

fn one_rung(cores: usize) -> Order {
    Order { cores, ..Order::stream(Ladder::parse("aac:128k").unwrap(), 6, exe()) }
}

/// How loud the error is beside the sound, in dB, over `samples` from `at` on.
fn error_db(sound: &[i16], heard: &[i16], at: usize, samples: usize) -> f64 {
    let range = 2 * at..2 * (at + samples);
    let power = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().max(1.0);
    let error = power(&mut range.clone().map(|n| f64::from(sound[n]) - f64::from(heard[n])));
    10.0 * (error / power(&mut range.map(|n| f64::from(sound[n])))).log10()
}

#[tokio::test]
async fn one_core_and_four_make_the_same_bytes_and_the_seams_cant_be_heard() {
    let sound = long_song();
    let file = wav(CD, &le16(&sound));
    let (one, four) = tokio::join!(run(one_rung(1), &file), run(one_rung(4), &file));
    assert_on_the_grid(&one);
    assert_eq!(one.samples(), (sound.len() / 2) as u64);
    assert_eq!((&one.inits, &one.pieces), (&four.inits, &four.pieces));
    assert_eq!(one.dat, four.dat);

    let heard = decoded(&one.rung(0));
    assert_eq!(lag(&sound, &heard), 0);
    // As good around each seam as the same sound is elsewhere, clicks and all.
    let period = 3 * 44_100;
    for seam in [SEAM, 2 * SEAM] {
        for at in (seam - 3 * 1024..seam + 8 * 1024).step_by(1024) {
            let (here, before) = (error_db(&sound, &heard, at, 1024), error_db(&sound, &heard, at - period, 1024));
            let is_click = (SEAM - 2048..SEAM + 2048).contains(&at);
            assert!(here < if is_click { -6.0 } else { before + 6.0 }, "{here} dB at {at}, {before} dB elsewhere");
        }
    }
}

#[tokio::test]
async fn a_track_may_end_anywhere_around_a_seam() {
    // The second stretch is there from the third block behind the seam on.
    let three = s16(&tones(44_100, 3 * 44_100));
    for blocks in [0, 2, 3] {
        let samples = SEAM + blocks * 4096 + 1;
        let sound: Vec<i16> = three.iter().copied().cycle().take(2 * samples).collect();
        let outcome = run(one_rung(4), &wav(CD, &le16(&sound))).await;
        assert_on_the_grid(&outcome);
        let heard = decoded(&outcome.rung(0));
        assert!((0..2048).contains(&(heard.len() / 2 - samples)), "{blocks} blocks: {}", heard.len() / 2);
        assert!(error_db(&sound, &heard, SEAM - 4096, 4096) < -12.0, "{blocks} blocks");
    }
}
