//! Lies that a worker may tell, and that none of them panics.

use super::*;
use crate::media::Ladder;
use proptest::prelude::*;

fn guard() -> Guard {
    let order = Order::stream(Ladder::parse("aac:64k,flac").unwrap(), 6, "none".into());
    greeted(Order { cores: 1, ..order })
}

fn greeted(order: Order) -> Guard {
    let mut guard = Guard::new(order);
    let hello =
        Hello { libavcodec: String::new(), libavformat: String::new(), landlock: String::new(), seccomp: true, uid: 1 };
    say(&mut guard, Kind::Hello, 0, 0, serde_json::to_vec(&hello).unwrap()).unwrap();
    guard
}

fn say(guard: &mut Guard, kind: Kind, rung: u8, sequence: u64, body: Vec<u8>) -> Result<Said, Breach> {
    guard.judge(Header { kind, rung, length: body.len() as u32, sequence }, body.into())
}

fn source(change: impl FnOnce(&mut Source)) -> Vec<u8> {
    let sound = ladder::Sound { rate: 44_100, bits: 16, lossless: true, kbps: None };
    let mut source = Source {
        container: "wav".into(),
        codec: "pcm_s16le".into(),
        rate: 44_100,
        channels: 2,
        bits: 16,
        lossless: true,
        converted: false,
        plan: Ladder::parse("aac:64k,flac").unwrap().plan(&sound),
        grid: ladder::grid(44_100, 6),
    };
    change(&mut source);
    serde_json::to_vec(&source).unwrap()
}

#[test]
fn only_the_ordered_ladder_is_opened_and_only_once() {
    let mut guard = guard();
    let changes: [fn(&mut Source); 6] = [
        |s| s.plan.reverse(),
        |s| s.plan.clear(),
        |s| s.plan[0].name = "../../etc".into(),
        |s| s.plan[1].rung = 7,
        |s| s.grid.first_samples = 1,
        |s| s.channels = 64,
    ];
    for change in changes {
        assert!(say(&mut guard, Kind::Opened, 0, 0, source(change)).is_err());
    }
    assert!(say(&mut guard, Kind::Opened, 0, 0, source(|_| {})).is_ok());
    assert!(say(&mut guard, Kind::Opened, 0, 0, source(|_| {})).is_err());
}

#[test]
fn progress_is_paid_for_in_segments() {
    let mut guard = guard();
    say(&mut guard, Kind::Opened, 0, 0, source(|_| {})).unwrap();
    let mut claim = |samples: u64| say(&mut guard, Kind::Progress, 0, 0, samples.to_le_bytes().to_vec());
    assert!(claim(262_144).is_ok());
    assert!(claim(262_143).is_err(), "it goes back");
    assert!(claim(10_000_000).is_err(), "without one segment");
}

#[test]
fn a_stream_is_read_in_order() {
    let mut guard = guard();
    let mut need = |at: u64, len: u32| say(&mut guard, Kind::Need, 0, at, len.to_le_bytes().to_vec());
    assert!(need(0, 65_536).is_ok());
    assert!(need(1, 65_536).is_err());
    assert!(need(0, 0).is_err());
    assert!(need(0, u32::MAX).is_err());
}

#[test]
fn nothing_is_asked_or_told_for_ever() {
    let mut guard = guard();
    let mut need = || say(&mut guard, Kind::Need, 0, 0, 65_536u32.to_le_bytes().to_vec());
    assert_eq!((0..=limits::ENDS_MAX + 1).filter(|_| need().is_ok()).count() as u32, limits::ENDS_MAX + 1);
    let mut tags = || say(&mut guard, Kind::Tags, 0, 0, b"[]".to_vec());
    assert!(tags().is_ok() && tags().is_err());

    let ladder = Ladder::parse("aac:64k,flac").unwrap();
    let mut guard = greeted(Order::ranges(ladder, 6, "none".into(), 1000));
    let mut asked = 0;
    while say(&mut guard, Kind::Need, 0, 7, 65_536u32.to_le_bytes().to_vec()).is_ok() {
        asked += 65_536;
    }
    assert!((limits::READ_MORE_BYTES..=limits::READ_MORE_BYTES + 1000 * limits::READ_AGAIN).contains(&asked));
    let refused = Refused { code: Code::IndexAtEnd, text: String::new() };
    assert!(say(&mut guard, Kind::Failed, 0, 0, serde_json::to_vec(&refused).unwrap()).is_err());
}

#[test]
fn peaks_beyond_all_numbers_are_a_breach() {
    let mut guard = guard();
    say(&mut guard, Kind::Opened, 0, 0, source(|_| {})).unwrap();
    for first in [1, 1 << 63, u64::MAX] {
        assert!(say(&mut guard, Kind::Peaks, 0, first, vec![1, 2]).is_err(), "{first}");
    }
    assert!(say(&mut guard, Kind::Peaks, 0, 0, vec![1, 2]).is_ok());
}

#[test]
fn a_failure_in_words_is_cleaned() {
    let refused = Refused { code: crate::media::Code::CorruptMedia, text: "a\u{1b}[31m\nb".repeat(9000) };
    let said = say(&mut guard(), Kind::Failed, 0, 0, serde_json::to_vec(&refused).unwrap());
    let Ok(Said::Failed(failure)) = said else { panic!("{said:?}") };
    assert!(failure.text.len() <= limits::TEXT_BYTES && !failure.text.contains(char::is_control));
}

#[test]
fn pictures_come_after_the_ladder_and_are_ours_or_none() {
    let mut guard = guard();
    say(&mut guard, Kind::Opened, 0, 0, source(|_| {})).unwrap();
    let jpeg = |side| {
        let mut file = vec![];
        let picture = image::RgbImage::new(side, side / 2);
        picture.write_with_encoder(image::codecs::jpeg::JpegEncoder::new_with_quality(&mut file, 85)).unwrap();
        file
    };
    assert!(say(&mut guard, Kind::Picture, 0, 0, jpeg(1200)).is_err(), "before the end");
    guard.is_whole = true;
    assert!(say(&mut guard, Kind::Picture, 0, 1, jpeg(600)).is_err(), "the second first");
    assert!(say(&mut guard, Kind::Picture, 0, 0, jpeg(1202)).is_err(), "too large");
    assert!(say(&mut guard, Kind::Picture, 0, 0, b"GIF89a".to_vec()).is_err());
    assert!(say(&mut guard, Kind::Picture, 0, 0, jpeg(1200)).is_ok());
    assert!(say(&mut guard, Kind::Picture, 0, 0, jpeg(1200)).is_err(), "twice");
    for side in [1, 2] {
        assert!(say(&mut guard, Kind::Picture, 0, side, jpeg(150)).is_ok());
    }
    assert!(say(&mut guard, Kind::Picture, 0, 3, jpeg(150)).is_err(), "a fourth");
    for kind in [Kind::Peaks, Kind::Loudness, Kind::Failed, Kind::Done, Kind::Need] {
        assert!(say(&mut guard, kind, 0, 0, vec![]).is_err(), "{kind:?} after the end");
    }
}

#[test]
fn a_fingerprint_comes_once_and_in_whole_items() {
    let mut guard = guard();
    assert!(say(&mut guard, Kind::Fingerprint, 0, 0, vec![1; 8]).is_err(), "of what?");
    let mut guard = self::guard();
    say(&mut guard, Kind::Opened, 0, 0, source(|_| {})).unwrap();
    assert!(say(&mut guard, Kind::Fingerprint, 0, 0, vec![1; 7]).is_err());
    assert!(say(&mut guard, Kind::Fingerprint, 0, 0, vec![1; 8]).is_ok());
    assert!(say(&mut guard, Kind::Fingerprint, 0, 0, vec![1; 8]).is_err());
}

proptest! {
    #[test]
    fn nothing_that_a_worker_says_panics(
        frames in prop::collection::vec((16u8..32, 0u8..4, 0u64..8, prop::collection::vec(any::<u8>(), 0..40)), 0..12),
    ) {
        let mut guard = guard();
        say(&mut guard, Kind::Opened, 0, 0, source(|_| {})).unwrap();
        for (kind, rung, sequence, body) in frames {
            let mut bytes = [0; crate::media::wire::HEADER];
            bytes[0] = kind;
            let Ok(Header { kind, .. }) = Header::read(&bytes) else { continue };
            let _ = say(&mut guard, kind, rung, sequence, body);
        }
    }
}
