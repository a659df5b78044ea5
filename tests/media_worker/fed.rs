//! How the source arrives is no concern of the result: slow, in crumbs, all at once, or given up.

use std::time::Duration;

use bytes::Bytes;
use pipeline::media::{Event, Order, Worker, WorkerLimits};

use super::support::*;

#[tokio::test]
async fn a_need_may_stay_open_for_long() {
    let limits = WorkerLimits { hang_s: 1, ..WorkerLimits::default() };
    let mut worker = Worker::spawn(Order { limits, ..order() }).await.unwrap();
    let song = Bytes::from(song(1.0));
    let mut outcome = Outcome::default();
    let mut is_first = true;
    loop {
        let event = worker.next().await;
        if let Event::Need { offset, len } = event {
            if offset > 0 && std::mem::take(&mut is_first) {
                // Three times the hang limit, all of it waited for: the worker must not be blamed.
                let waited = tokio::time::timeout(Duration::from_secs(3), worker.next()).await;
                assert!(waited.is_err(), "{waited:?}");
            }
            let from = song.len().min(offset as usize);
            worker.give(offset, song.slice(from..song.len().min(from + len as usize))).await.unwrap();
        }
        if !outcome.hear(event) {
            break;
        }
    }
    assert!(!is_first);
    assert_eq!(outcome.samples(), 44_100);
}

#[tokio::test]
async fn crumbs_and_whole_files_give_the_same() {
    let file = ffmpeg(&song(2.0), &[], &[], "a.flac");
    let expected = run(order(), &file).await;
    for portion in [997, file.len()] {
        let mut worker = Worker::spawn(order()).await.unwrap();
        let whole = Bytes::from(file.clone());
        let (mut outcome, mut asked) = (Outcome::default(), 0);
        loop {
            let event = worker.next().await;
            if let Event::Need { offset, .. } = event {
                asked += 1;
                let from = whole.len().min(offset as usize);
                worker.give(offset, whole.slice(from..whole.len().min(from + portion))).await.unwrap();
            }
            if !outcome.hear(event) {
                break;
            }
        }
        assert_eq!(outcome.pieces, expected.pieces);
        assert!(portion == 997 || asked == 2, "a surplus answers the next needs: asked {asked} times");
    }
}

#[tokio::test]
async fn bytes_for_another_place_are_not_taken() {
    let mut worker = Worker::spawn(order()).await.unwrap();
    let song = Bytes::from(song(1.0));
    let Event::Need { offset: 0, len } = worker.next().await else { panic!("a need comes first") };
    worker.give(7, song.slice(7..)).await.unwrap();
    worker.give(0, song.slice(..len as usize)).await.unwrap();
    assert_eq!(worker.next().await, Event::Need { offset: u64::from(len), len });
    worker.kill().await;
}

#[tokio::test]
async fn events_can_be_waited_for_in_pieces() {
    let mut worker = Worker::spawn(order()).await.unwrap();
    let song = Bytes::from(song(1.0));
    let mut outcome = Outcome::default();
    loop {
        // Dropped and asked again at once: nothing may get lost.
        let Ok(event) = tokio::time::timeout(Duration::from_micros(200), worker.next()).await else { continue };
        if let Event::Need { offset, len } = event {
            let from = song.len().min(offset as usize);
            worker.give(offset, song.slice(from..song.len().min(from + len as usize))).await.unwrap();
        }
        if !outcome.hear(event) {
            break;
        }
    }
    assert_eq!(outcome.samples(), 44_100);
    assert_on_the_grid(&outcome);
}

#[tokio::test]
async fn the_end_is_said_again_and_nothing_more_is_taken() {
    let mut worker = Worker::spawn(order()).await.unwrap();
    let Event::Need { offset, .. } = worker.next().await else { panic!("a need comes first") };
    worker.give(offset, Bytes::new()).await.unwrap();
    let end = worker.next().await;
    assert!(matches!(end, Event::Failed(_)));
    assert_eq!(worker.next().await, end);
    assert!(worker.give(0, Bytes::new()).await.is_err());
}

#[tokio::test]
async fn memory_does_not_grow_with_the_file() {
    async fn peak_kib(seconds: u32) -> u64 {
        let second = le16(&s16(&tones(44_100, 44_100)));
        let head = wav_claiming(CD, &[], second.len() as u32 * seconds);
        let ladder = pipeline::media::Ladder::parse("aac:64k,flac").unwrap();
        // With more cores than rungs some stretches lie in memory (`memory`).
        let mut worker = Worker::spawn(Order { ladder, cores: 1, ..order() }).await.unwrap();
        let status = format!("/proc/{}/status", worker.pid().unwrap());
        let (mut given, mut peak) = (0, 0);
        loop {
            match worker.next().await {
                Event::Need { offset, .. } => {
                    let text = std::fs::read_to_string(&status).unwrap();
                    let line = text.lines().find(|l| l.starts_with("VmHWM")).unwrap();
                    peak = line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap();
                    let bytes = if offset == 0 { head.clone() } else { second.clone() };
                    let is_over = given > seconds;
                    given += 1;
                    worker.give(offset, if is_over { Bytes::new() } else { bytes.into() }).await.unwrap();
                }
                Event::Done { .. } => return peak,
                Event::Failed(failure) => panic!("{failure}"),
                _ => {}
            }
        }
    }
    let (short, long) = (peak_kib(10).await, peak_kib(120).await);
    assert!(long < short + 4096, "{short} KiB for 10 s, {long} KiB for 120 s");
}
