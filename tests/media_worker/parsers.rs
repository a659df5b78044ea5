//! Our own parsers of strangers' bytes, each with bytes of any kind: what is true, spoilt a little or a lot, and what never was.
//! The functions are those that `fuzz/` gives to libFuzzer.

use pipeline::media::Ladder;
use rand::{
    RngExt, SeedableRng,
    distr::{Distribution, weighted::WeightedIndex},
    rngs::StdRng,
};

use super::{mutated, support::*};
use crate::support::proof::Proof;

#[path = "../../fuzz/src/targets.rs"]
mod targets;

/// Inputs of one case, shared out among the parsers at random.
const INPUTS: u64 = 1_000;
/// Shares of the parsers, in the order of [`targets::ALL`]: other people's parsers of playlists take their time.
const SHARES: [u32; targets::ALL.len()] = [12, 12, 12, 12, 12, 12, 1, 4, 8];
/// Longer ones try nothing new, and take their time to be copied.
const BYTES_MAX: usize = 64 * 1024;

/// A frame of the wire.
fn frame(kind: u8, rung: u8, sequence: u64, body: &[u8]) -> Vec<u8> {
    [&[kind, rung, 0, 0], &(body.len() as u32).to_le_bytes()[..], &sequence.to_le_bytes(), body].concat()
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

/// What a worker said about some sound, frame by frame, and the pieces that it made.
async fn conversation() -> (Vec<u8>, Vec<Vec<u8>>) {
    let ladder = Ladder::parse(targets::LADDER).unwrap();
    let order = pipeline::media::Order::stream(ladder, targets::SEGMENT_SECONDS, exe());
    let outcome = run(order, &song(4.5)).await;
    let mut said = frame(16, 0, 0, &json(outcome.hello.as_ref().unwrap()));
    said.extend(frame(17, 0, 0, &65_536u32.to_le_bytes()));
    said.extend(frame(18, 0, 0, &json(outcome.source())));
    said.extend(frame(19, 0, 0, &json(&outcome.tags)));
    let mut pieces = vec![];
    for (rung, init) in (0u8..).zip(&outcome.inits) {
        said.extend(frame(20, rung, 0, init));
        for piece in &outcome.pieces[usize::from(rung)] {
            said.extend(frame(21, rung, u64::from(piece.n), &piece.bytes));
            pieces.push([&init[..], &piece.bytes[..]].concat());
        }
    }
    said.extend(frame(22, 0, 700_000, &outcome.samples().to_le_bytes()));
    said.extend(frame(23, 0, 0, &outcome.pairs));
    said.extend(frame(24, 0, 0, &json(&outcome.loudness.unwrap())));
    let done = serde_json::json!({ "samples": outcome.samples(), "priming": outcome.done.as_ref().unwrap().2 });
    said.extend(frame(25, 0, 0, &json(&done)));
    (said, pieces)
}

/// True inputs of each parser, in the order of [`targets::ALL`].
async fn corpus() -> Vec<Vec<Vec<u8>>> {
    let (said, pieces) = conversation().await;
    let ladder = Ladder::parse(targets::LADDER).unwrap();
    let order = pipeline::media::Order::stream(ladder, targets::SEGMENT_SECONDS, exe());
    assert_eq!(pipeline::media::bare::believed(order, &said), 4 + 2 + pieces.len() + 4, "the conversation is believed");
    let files: Vec<Vec<u8>> = mutated::seeds().into_iter().map(|(_, file)| file).collect();
    let of = |kinds: &[&[u8]]| {
        let is_of = |file: &&Vec<u8>| kinds.iter().any(|kind| file.windows(kind.len()).take(64).any(|w| w == *kind));
        files.iter().filter(is_of).cloned().collect::<Vec<_>>()
    };
    let (mpeg, mp4) = (of(&[b"ID3", b"\xff\xf1", b"\xff\xfb"]), of(&[b"ftyp"]));
    // An MP3's first frame, and a movie's index, by themselves too: dice seldom get so far.
    let from = |files: &[Vec<u8>], what: &[u8], back: usize| {
        let place = |file: &Vec<u8>| Some(file.windows(what.len()).position(|w| w == what)?.saturating_sub(back));
        files.iter().filter_map(|file| Some(file[place(file)?..].to_vec())).collect::<Vec<_>>()
    };
    let frames = from(&mpeg, b"\xff\xfb", 0);
    let index = from(&mp4, b"moov", 4);
    vec![
        files.clone(),
        [mpeg, frames].concat(),
        [mp4, index].concat(),
        vec![said.clone()],
        vec![said],
        pieces,
        vec![vec![7; 400], vec![0; 3]],
        vec![vec![0x44, 0xac, 0, 0, 1, 2, 3, 4]],
        vec![targets::link().into_bytes()],
    ]
}

/// An input: one of the corpus, spoilt so many times, with some of another behind it; or mere noise.
fn input(dice: &mut StdRng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let other = &corpus[dice.random_range(0..corpus.len())];
    if dice.random_ratio(1, 8) {
        let mut noise = vec![0; dice.random_range(0..600)];
        dice.fill(&mut noise[..]);
        return noise;
    }
    let mut bytes = corpus[dice.random_range(0..corpus.len())].clone();
    bytes.truncate(BYTES_MAX);
    for _ in 0..dice.random_range(0..4) {
        if !bytes.is_empty() {
            mutated::spoil(dice, &mut bytes, other);
        }
    }
    bytes
}

/// A conversation with one frame missing, said twice, at another's place, or with a spoilt head: what comes before is
/// believed, so that what comes after is looked at.
fn twisted(dice: &mut StdRng, said: &[u8]) -> Vec<u8> {
    let mut frames = vec![];
    let mut rest = said;
    while let Some(head) = rest.first_chunk::<16>() {
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let (frame, more) = rest.split_at(16 + length);
        frames.push(frame.to_vec());
        rest = more;
    }
    let (at, to) = (dice.random_range(1..frames.len()), dice.random_range(1..frames.len()));
    match dice.random_range(0..6) {
        0 => drop(frames.remove(at)),
        1 => frames.insert(to, frames[at].clone()),
        2 => frames.swap(at, to),
        3 => {
            let sequence = [dice.random::<u64>(), 1 << dice.random_range(0..64), u64::MAX][dice.random_range(0..3)];
            frames[at][8..16].copy_from_slice(&sequence.to_le_bytes());
        }
        4 => frames[at][1] = dice.random(),
        _ => mutated::spoil(dice, &mut frames[at], said),
    }
    frames.concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_bytes_break_a_parser() {
    let mut proof = Proof::of("parsers", 100, 100_000);
    let corpus = std::sync::Arc::new(corpus().await);
    assert_eq!(corpus.len(), targets::ALL.len());
    for (of, (name, parse)) in corpus.iter().zip(targets::ALL) {
        of.iter().for_each(|bytes| parse(bytes));
        assert!(!of.is_empty(), "nothing true for {name}");
    }
    let shares = WeightedIndex::new(SHARES).unwrap();
    while let Some(case) = proof.next() {
        let shares = shares.clone();
        let (seed, corpus) = (case.seed, std::sync::Arc::clone(&corpus));
        let tried = tokio::task::spawn_blocking(move || {
            let mut dice = StdRng::seed_from_u64(seed);
            let mut tried = [0; targets::ALL.len()];
            for _ in 0..INPUTS {
                let which = shares.sample(&mut dice);
                let mut bytes = input(&mut dice, &corpus[which]);
                if targets::ALL[which].0 == "worker" && dice.random_bool(0.7) {
                    bytes = twisted(&mut dice, &corpus[which][0]);
                }
                targets::ALL[which].1(&bytes);
                tried[which] += 1;
            }
            tried
        });
        for (which, tried) in proof.ended(&case, tried.await).into_iter().flatten().enumerate() {
            proof.add(targets::ALL[which].0, tried);
        }
    }
    proof.finish();
}
