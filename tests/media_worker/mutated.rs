//! Spoilt files of every accepted format, through the real worker: each ends in a whole ladder or in a reason. A worker that
//! dies inside libav costs its own file; one that asks for a forbidden system call, panics, breaks the wire or hangs is a
//! fault of ours. Most workers are forked from one that is loaded already: they lock themselves in as the others do, and cost
//! a tenth.

use std::time::Duration;

use image::ImageFormat;
use pipeline::media::{Code, Ladder, Order};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{task::JoinSet, time::timeout};

use super::{pictures, support::*};
use crate::support::proof::Proof;

/// Files at once: two for each core of a small machine.
const AT_ONCE: usize = 4;
/// One worker in so many is started like those of the daemon.
const STARTED_EVERY: u64 = 30;
/// Longer than the worker's own clocks allow.
const HANG: Duration = Duration::from_secs(60);
/// Where the boxes, headers and tables are.
const HEAD_BYTES: usize = 2048;

/// A file of each format.
pub(super) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let song = song(0.35);
    let made = |name: &str, after: &[&str]| {
        let tags = ["-metadata", "title=A title", "-metadata", "creation_time=2026-02-03T04:05:06Z"];
        ffmpeg(&song, &[], &[after, &tags].concat(), name)
    };
    let first = ["-movflags", "+faststart"];
    let cover = |format| pictures::written(&pictures::cover(200, 160), format);
    vec![
        ("flac, with a jpeg", pictures::flac(&song, "image/jpeg", &cover(ImageFormat::Jpeg))),
        ("flac, with a png", pictures::flac(&song, "image/png", &cover(ImageFormat::Png))),
        ("flac, with a webp", pictures::flac(&song, "image/webp", &cover(ImageFormat::WebP))),
        ("aiff", made("a.aiff", &[])),
        ("alac", made("a.m4a", &[&["-c:a", "alac"], &first[..]].concat())),
        ("adts", made("a.aac", &["-c:a", "aac"])),
        ("caf", made("a.caf", &[])),
        ("flac", made("a.flac", &[])),
        ("m4a", made("b.m4a", &[&["-c:a", "aac"], &first[..]].concat())),
        ("m4a, index last", made("c.m4a", &["-c:a", "aac"])),
        ("mka", made("a.mka", &["-c:a", "flac"])),
        ("mp3", made("a.mp3", &[])),
        ("opus", made("a.opus", &["-c:a", "libopus"])),
        ("rf64", made("b.wav", &["-rf64", "always"])),
        ("vorbis", made("a.ogg", &["-c:a", "libvorbis"])),
        ("w64", made("a.w64", &[])),
        ("wav", made("a.wav", &[])),
        ("wavpack", made("a.wv", &["-c:a", "wavpack"])),
        ("webm", made("a.webm", &["-c:a", "libopus"])),
    ]
}

/// Numbers at which parsers go wrong.
const EDGES: [u32; 10] = [0, 1, 7, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_ffff];

pub(super) fn spoil(dice: &mut StdRng, file: &mut Vec<u8>, other: &[u8]) {
    let len = file.len();
    // Most of what decides lies in front.
    let reach = if dice.random_bool(0.7) { len.min(HEAD_BYTES) } else { len };
    let at = dice.random_range(0..reach.max(1));
    let some = dice.random_range(1..64).min(len.saturating_sub(at));
    match dice.random_range(0..9) {
        0 => file[at] ^= 1 << dice.random_range(0..8),
        1 => file[at] = dice.random(),
        2 | 3 if at + 4 <= len => {
            let edge = EDGES[dice.random_range(0..EDGES.len())];
            let bytes = if dice.random_bool(0.5) { edge.to_be_bytes() } else { edge.to_le_bytes() };
            let wide = if dice.random_bool(0.5) { 4 } else { 2 };
            file[at..at + wide].copy_from_slice(&bytes[4 - wide..]);
        }
        4 => drop(file.drain(at..at + some)),
        5 => {
            let again = file[at..at + some].to_vec();
            drop(file.splice(at..at, again.repeat(dice.random_range(1..40))));
        }
        6 => file[at..at + some].fill_with(|| dice.random()),
        7 => file.truncate(at.max(1)),
        _ => {
            // The front of one format, and the rest of another.
            let from = dice.random_range(0..other.len());
            file.truncate(at.max(1));
            file.extend_from_slice(&other[from..]);
        }
    }
}

/// One spoilt file; how it ended. Panics when that is a fault of ours.
async fn through(nursery: Nursery, seed: u64, name: &'static str, file: Vec<u8>, other: Vec<u8>) -> String {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut file = file;
    for _ in 0..dice.random_range(1..6) {
        if !file.is_empty() {
            spoil(&mut dice, &mut file, &other);
        }
    }
    let ladder = Ladder::parse("aac:64k,flac").unwrap();
    let order = match dice.random_bool(0.5) {
        true => Order::ranges(ladder, SECONDS, exe(), file.len() as u64),
        false => Order::stream(ladder, SECONDS, exe()),
    };
    let order = if seed.is_multiple_of(STARTED_EVERY) { order } else { nursery.raise(order) };
    let outcome = timeout(HANG, run(order, &file)).await.expect("an end");
    // Whoever was heard had locked itself in, forked or started.
    assert!(outcome.hello.as_ref().is_none_or(|hello| hello.seccomp && hello.landlock == "enforced"));
    let Some(failed) = &outcome.failed else {
        assert_on_the_grid(&outcome);
        return format!("{name}: whole");
    };
    let is_ours = match failed.code {
        Code::WorkerHung | Code::WorkerProtocol | Code::WorkerSandbox => true,
        Code::WorkerCrashed => ["SIGSYS", "panicked", "without a word"].iter().any(|word| failed.text.contains(word)),
        _ => false,
    };
    assert!(!is_ours, "{name}: {failed}");
    failed.code.as_str().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_spoilt_file_does_more_than_fail() {
    let mut proof = Proof::of("mutated", 10_000, 1_000_000);
    let seeds = seeds();
    let nursery = Nursery::open();
    let mut running = JoinSet::new();
    let mut names = std::collections::HashMap::new();
    loop {
        while running.len() < AT_ONCE {
            let Some(case) = proof.next() else { break };
            let mut dice = StdRng::seed_from_u64(!case.seed);
            let (name, file) = &seeds[dice.random_range(0..seeds.len())];
            let (_, other) = &seeds[dice.random_range(0..seeds.len())];
            let task = running.spawn(through(nursery.clone(), case.seed, name, file.clone(), other.clone()));
            names.insert(task.id(), case);
        }
        let Some(ended) = running.join_next_with_id().await else { break };
        let id = ended.as_ref().map_or_else(tokio::task::JoinError::id, |(id, _)| *id);
        let case = names.remove(&id).unwrap();
        if let Some(how) = proof.ended(&case, ended.map(|(_, how)| how)) {
            proof.add(how, 1);
        }
    }
    let whole = seeds.iter().filter(|(name, _)| proof.figure(&format!("{name}: whole")) > 0).count();
    assert!(proof.is_alone() || whole > seeds.len() / 2, "the dice spoil everything");
    proof.finish();
}
