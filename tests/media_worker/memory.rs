//! Memory of a worker and of the daemon, flat whatever the source is and however long. Sources are made while they are read:
//! none is on a disk.

use std::io::Read;
use std::process::{Child, Command, Stdio};

use bytes::{Bytes, BytesMut};
use pipeline::media::{Access, Event, Ladder, Order, Worker};

use super::support::*;
use crate::support::{app::App, proof::Proof, sound, tus};

const MIB: u64 = 1 << 20;
/// Of a worker, at its peak.
const WORKER_MIB: u64 = 192;
/// Of the daemon, for a track that it encodes.
const DAEMON_MIB: u64 = 24;
/// What a longer source may take besides: the seek points that libav keeps of it, and the waveform's last pages.
const SLACK_MIB: u64 = 8;

/// A source that is made as it is read.
enum Made {
    /// A head, and then the same block again and again, so many bytes in all.
    Blocks { head: Vec<u8>, block: Bytes, bytes: u64 },
    /// What FFmpeg writes, to its end.
    Piped(Child),
}

impl Made {
    /// A WAV of that many bytes.
    fn wav(wave: Wave, bytes: u64) -> Self {
        let align = u64::from(wave.channels * wave.bits / 8);
        let data = (bytes - 44) / align * align;
        let mut block = BytesMut::zeroed((align * 48_000) as usize);
        let mut seed = 7u64;
        block.iter_mut().for_each(|byte| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (seed >> 56) as u8;
        });
        let head = wav_claiming(wave, &[], u32::try_from(data).unwrap_or(u32::MAX));
        Self::Blocks { head, block: block.freeze(), bytes: 44 + data }
    }

    /// An AIFF, as a recorder writes it: big-endian, 44.1 kHz, 16 bits, stereo.
    fn aiff(seconds: u32) -> Self {
        let frames = seconds * 44_100;
        let mut head = b"FORM".to_vec();
        head.extend((46 + frames * 4).to_be_bytes());
        head.extend(b"AIFFCOMM\0\0\0\x12\0\x02");
        head.extend(frames.to_be_bytes());
        // 44 100 as an 80-bit float.
        head.extend(b"\0\x10\x40\x0e\xac\x44\0\0\0\0\0\0SSND");
        head.extend((8 + frames * 4).to_be_bytes());
        head.extend([0; 8]);
        let block = s16(&tones(44_100, 44_100)).into_iter().flat_map(i16::to_be_bytes).collect();
        let bytes = head.len() as u64 + u64::from(frames) * 4;
        Self::Blocks { head, block, bytes }
    }

    /// Noise of so many seconds, with such options behind it.
    fn piped(seconds: u32, after: &[&str]) -> Self {
        let noise = format!("anoisesrc=r=44100:d={seconds}:a=0.5,aformat=channel_layouts=stereo");
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-nostdin", "-f", "lavfi", "-i", &noise]).args(after).arg("-");
        Self::Piped(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn read(&mut self, offset: u64, len: usize) -> Bytes {
        match self {
            Self::Blocks { head, .. } if (offset as usize) < head.len() => {
                let from = offset as usize;
                Bytes::copy_from_slice(&head[from..head.len().min(from + len)])
            }
            Self::Blocks { head, block, bytes } => {
                let from = ((offset - head.len() as u64) % block.len() as u64) as usize;
                let left = usize::try_from(*bytes - offset).unwrap_or(usize::MAX);
                block.slice(from..block.len().min(from + len.min(left)))
            }
            Self::Piped(child) => {
                let mut bytes = vec![0; len];
                let read = child.stdout.as_mut().unwrap().read(&mut bytes).unwrap();
                bytes.truncate(read);
                bytes.into()
            }
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if let Self::Piped(child) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The bytes that a worker read, the samples that it made of them, and its peak in MiB. Where it has more cores than rungs,
/// stretches of sound lie in its memory, some for each core up to four; where not, it is as small as it gets.
async fn through(mut source: Made, cores: usize) -> (u64, u64, u64) {
    let ladder = Ladder::parse("aac:64k,flac").unwrap();
    let mut order = Order { ladder, cores, ..order() };
    if let Made::Blocks { bytes, .. } = &source {
        order = Order { access: Access::Ranges, size: Some(*bytes), ..order };
    }
    let mut worker = Worker::spawn(order).await.unwrap();
    let pid = worker.pid().unwrap();
    let (mut peak, mut reached) = (0, 0);
    loop {
        match worker.next().await {
            Event::Need { offset, len } => {
                peak = peak_kib(pid);
                let bytes = source.read(offset, len as usize);
                reached = reached.max(offset + bytes.len() as u64);
                worker.give(offset, bytes).await.unwrap();
            }
            Event::Done { samples, .. } => return (reached, samples, peak.div_ceil(1024)),
            Event::Failed(failure) => panic!("{failure}"),
            _ => {}
        }
    }
}

const STUDIO: Wave = Wave { tag: 1, channels: 2, rate: 96_000, bits: 24 };
const SURROUND: Wave = Wave { tag: 1, channels: 8, rate: 192_000, bits: 24 };

/// A source by its name, short or long; a very long one in a long run.
fn source(name: &str, is_long: bool, is_soak: bool) -> Made {
    let bytes = match (is_long, is_soak) {
        (false, _) => 5 * MIB,
        (true, false) => 300 * MIB,
        (true, true) => 2048 * MIB,
    };
    // The same for what is made by an encoder, whose own time counts: seconds.
    let seconds = match (is_long, is_soak) {
        (false, _) => 20,
        (true, false) => 120,
        (true, true) => 10_000,
    };
    match name {
        "wav, 24 bit, 96 kHz" => Made::wav(STUDIO, bytes.min(if is_soak { bytes } else { 100 * MIB })),
        "wav, 8 channels, 192 kHz" => Made::wav(SURROUND, bytes),
        "aiff" => Made::aiff(if is_soak && is_long { 90 * 60 } else { seconds }),
        "flac" => Made::piped(seconds, &["-f", "flac"]),
        "mp3" => Made::piped(seconds, &["-b:a", "320k", "-f", "mp3"]),
        _ => {
            let words: Vec<String> = (0..300).map(|n| format!("field{n}={}", "word ".repeat(500))).collect();
            let tags: Vec<&str> = words.iter().flat_map(|word| ["-metadata", word]).collect();
            Made::piped(seconds, &[&tags[..], &["-f", "flac"]].concat())
        }
    }
}

#[tokio::test]
async fn a_worker_stays_as_small_as_it_began() {
    let names =
        ["wav, 24 bit, 96 kHz", "wav, 8 channels, 192 kHz", "aiff", "flac", "mp3", "flac with a megabyte of tags"];
    let mut proof = Proof::of("sources", names.len() as u64, names.len() as u64);
    for name in names {
        let Some(case) = proof.next() else { break };
        let is_soak = proof.is_soak();
        let measured = tokio::spawn(async move {
            let (_, _, short) = through(source(name, false, is_soak), 1).await;
            let (bytes, samples, long) = through(source(name, true, is_soak), 1).await;
            assert!(long <= WORKER_MIB, "{name}: {long} MiB");
            assert!(long <= short + SLACK_MIB, "{name}: {short} MiB for a short one, {long} MiB for {bytes} bytes");
            if name == "aiff" && is_soak {
                assert_eq!((bytes, samples), (54 + 4 * 90 * 60 * 44_100, 90 * 60 * 44_100));
            }
            (bytes, short, long)
        });
        if let Some((bytes, short, long)) = proof.ended(&case, measured.await) {
            proof.add(format!("{name}: MiB of source"), bytes / MIB);
            proof.add(format!("{name}: peak MiB, short"), short);
            proof.add(format!("{name}: peak MiB, long"), long);
        }
    }
    proof.finish();
}

#[tokio::test]
async fn a_worker_on_many_cores_is_bounded_too() {
    // Longer than all that can lie in memory at once, which is four minutes.
    let (_, samples, peak) = through(Made::aiff(300), 64).await;
    assert_eq!(samples, 300 * 44_100);
    assert!(peak <= WORKER_MIB, "{peak} MiB");
    println!("{peak} MiB with 64 cores");
}

/// The daemon's peak during one upload, to the track's end, in KiB.
async fn during(app: &App, name: &str, bytes: &[u8], wanted: &str) -> u64 {
    let pid = app.daemon().pid().cast_unsigned();
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
    let upload = tus::whole(app, name, bytes).await;
    assert_eq!(app.settled(&upload.track).await["state"], wanted);
    peak_kib(pid)
}

#[tokio::test]
async fn a_track_costs_the_daemon_little_besides_its_upload() {
    let app = App::with(&[("HLS_LADDER", "aac:64k,flac")]).await;
    let song = |mib: usize| {
        let mut wav = wav(Wave { rate: 192_000, ..STUDIO }, &sound::noise(mib << 20, 7));
        wav.truncate(mib << 20);
        wav
    };
    // Whatever is set up once is set up.
    during(&app, "a.wav", &song(1), "ready").await;
    let short = during(&app, "a.wav", &song(5), "ready").await;
    let bare = during(&app, "a.bin", &sound::noise(60 << 20, 8), "failed").await;
    let long = during(&app, "a.wav", &song(60), "ready").await;
    println!("peaks in KiB: 5 MiB {short}, 60 MiB {long}, and 60 MiB that are no sound {bare}");
    assert!(long <= bare + DAEMON_MIB * 1024, "{long} KiB with its encode, {bare} without");
    app.until_clean().await;
}
