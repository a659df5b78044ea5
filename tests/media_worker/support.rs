//! Sound made by code, other formats made of it by the FFmpeg command, and a daemon's side in a loop.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;
use pipeline::media::{Event, Failure, Hello, Ladder, Loudness, Order, Source, Worker};
use tempfile::TempDir;

/// The binary under test.
pub(crate) fn exe() -> PathBuf {
    env!("CARGO_BIN_EXE_millrace").into()
}

pub(crate) fn ladder() -> Ladder {
    Ladder::parse("aac:64k,aac:160k,aac:256k,flac").unwrap()
}

/// Short segments, so that a few seconds make several.
pub(crate) const SECONDS: u32 = 2;

pub(crate) fn order() -> Order {
    Order::stream(ladder(), SECONDS, exe())
}

/// Stereo sound that is tonal, so that coders keep it, and never repeats, so that a lag shows.
pub(crate) fn tones(rate: u32, samples: usize) -> Vec<[f64; 2]> {
    let mut seed = 7u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as f64 / f64::from(1u32 << 31)
    };
    let voices: Vec<[f64; 3]> = (0..24).map(|_| [100.0 + 4000.0 * random(), 6.0 * random(), 6.0 * random()]).collect();
    (0..samples)
        .map(|n| {
            let t = n as f64 / f64::from(rate) * std::f64::consts::TAU;
            let side = |c: usize| voices.iter().map(|v| (t * v[0] + v[c]).sin()).sum::<f64>() / 40.0;
            [side(1), side(2)]
        })
        .collect()
}

pub(crate) fn s16(sound: &[[f64; 2]]) -> Vec<i16> {
    sound.iter().flatten().map(|v| (v * 32_767.0).round().clamp(-32_768.0, 32_767.0) as i16).collect()
}

pub(crate) fn le16(pcm: &[i16]) -> Vec<u8> {
    pcm.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// What a WAV's `fmt ` chunk says.
#[derive(Clone, Copy)]
pub(crate) struct Wave {
    pub(crate) tag: u16,
    pub(crate) channels: u16,
    pub(crate) rate: u32,
    pub(crate) bits: u16,
}

pub(crate) const CD: Wave = Wave { tag: 1, channels: 2, rate: 44_100, bits: 16 };

/// A WAV file whose `data` chunk claims `claimed` bytes.
pub(crate) fn wav_claiming(wave: Wave, data: &[u8], claimed: u32) -> Vec<u8> {
    let Wave { tag, channels, rate, bits } = wave;
    let align = channels * bits / 8;
    let mut out = b"RIFF".to_vec();
    out.extend(claimed.saturating_add(36).to_le_bytes());
    out.extend(b"WAVEfmt \x10\0\0\0");
    out.extend(tag.to_le_bytes());
    out.extend(channels.to_le_bytes());
    out.extend(rate.to_le_bytes());
    out.extend((rate * u32::from(align)).to_le_bytes());
    out.extend(align.to_le_bytes());
    out.extend(bits.to_le_bytes());
    out.extend(b"data");
    out.extend(claimed.to_le_bytes());
    out.extend(data);
    out
}

pub(crate) fn wav(wave: Wave, data: &[u8]) -> Vec<u8> {
    wav_claiming(wave, data, data.len() as u32)
}

/// `seconds` of tones as a CD-quality WAV.
pub(crate) fn song(seconds: f64) -> Vec<u8> {
    wav(CD, &le16(&s16(&tones(44_100, (seconds * 44_100.0) as usize))))
}

/// Runs the FFmpeg command: `input` into a file of the name's type.
pub(crate) fn ffmpeg(input: &[u8], before: &[&str], after: &[&str], name: &str) -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    let (from, to) = (folder.path().join("in"), folder.path().join(name));
    std::fs::write(&from, input).unwrap();
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y"])
        .args(before)
        .arg("-i")
        .arg(&from)
        .args(after)
        .arg(&to)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "ffmpeg {after:?}");
    std::fs::read(to).unwrap()
}

/// What FFmpeg plays of an init and its segments, from the first real sample on.
pub(crate) fn decoded(rung: &[u8]) -> Vec<i16> {
    let raw = ffmpeg(rung, &["-copyts"], &["-af", "atrim=start=0", "-f", "s16le"], "out.raw");
    raw.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect()
}

/// Decodes with a decoder that shares no code with FFmpeg. Hands over each packet that holds a `wanted` range of samples,
/// as interleaved stereo that begins there; returns how many samples there are.
pub(crate) fn second_opinion(
    file: Vec<u8>,
    wanted: impl Fn(std::ops::Range<usize>) -> bool,
    mut hear: impl FnMut(usize, &[i16]),
) -> usize {
    use symphonia::core::codecs::audio::AudioDecoderOptions;
    use symphonia::core::formats::{FormatOptions, TrackType, probe::Hint};
    use symphonia::core::io::MediaSourceStream;
    use symphonia::core::meta::MetadataOptions;
    let stream = MediaSourceStream::new(Box::new(std::io::Cursor::new(file)), Default::default());
    let mut format = symphonia::default::get_probe()
        .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
        .unwrap();
    let parameters = format.default_track(TrackType::Audio).unwrap().codec_params.clone().unwrap();
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(parameters.audio().unwrap(), &AudioDecoderOptions::default())
        .unwrap();
    let mut samples: Vec<i16> = vec![];
    let mut at = 0;
    while let Some(packet) = format.next_packet().unwrap() {
        let decoded = decoder.decode(&packet).unwrap();
        let end = at + decoded.frames();
        if wanted(at..end) {
            decoded.copy_to_vec_interleaved(&mut samples);
            hear(at, &samples);
        }
        at = end;
    }
    at
}

/// A segment as it arrived.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Piece {
    pub(crate) n: u32,
    pub(crate) first_sample: u64,
    pub(crate) samples: u64,
    pub(crate) bytes: Bytes,
}

/// Everything that a worker said.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) hello: Option<Hello>,
    pub(crate) source: Option<Source>,
    pub(crate) inits: Vec<Bytes>,
    pub(crate) pieces: Vec<Vec<Piece>>,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) loudness: Option<Loudness>,
    pub(crate) pairs: Vec<u8>,
    pub(crate) dat: Bytes,
    pub(crate) pictures: Vec<(u32, u32, Bytes)>,
    pub(crate) fingerprint: Vec<u32>,
    pub(crate) done: Option<(u64, u32, Vec<u32>)>,
    pub(crate) failed: Option<Failure>,
    pub(crate) needs: Vec<(u64, u32)>,
}

impl Outcome {
    pub(crate) fn samples(&self) -> u64 {
        assert_eq!(self.failed, None);
        self.done.as_ref().expect("done").0
    }

    pub(crate) fn source(&self) -> &Source {
        self.source.as_ref().expect("opened")
    }

    /// A rung as one file.
    pub(crate) fn rung(&self, rung: usize) -> Vec<u8> {
        let pieces = self.pieces[rung].iter().map(|p| &p.bytes);
        std::iter::once(&self.inits[rung]).chain(pieces).flat_map(|b| b.to_vec()).collect()
    }

    pub(crate) fn named(&self, name: &str) -> usize {
        self.source().plan.iter().position(|r| r.name == name).expect("that rung")
    }

    /// Takes an event in; false at the end.
    pub(crate) fn hear(&mut self, event: Event) -> bool {
        match event {
            Event::Opened(source) => {
                self.inits = vec![Bytes::new(); source.plan.len()];
                self.pieces = vec![vec![]; source.plan.len()];
                self.source = Some(source);
            }
            Event::Init { rung, bytes } => self.inits[usize::from(rung)] = bytes,
            Event::Segment { rung, n, first_sample, samples, bytes } => {
                self.pieces[usize::from(rung)].push(Piece { n, first_sample, samples, bytes });
            }
            Event::Tags(tags) => self.tags = tags,
            Event::Loudness(loudness) => self.loudness = Some(loudness),
            Event::PeaksPart { first, pairs } => {
                assert_eq!(first as usize * 2, self.pairs.len());
                self.pairs.extend(pairs);
            }
            Event::Peaks { dat } => self.dat = dat,
            Event::Picture { width, height, bytes } => self.pictures.push((width, height, bytes)),
            Event::Fingerprint(items) => self.fingerprint = items,
            Event::Done { samples, rate, priming } => self.done = Some((samples, rate, priming)),
            Event::Failed(failure) => self.failed = Some(failure),
            Event::Need { .. } | Event::Progress { .. } | Event::File { .. } | Event::Rendered { .. } => {}
        }
        self.done.is_none() && self.failed.is_none()
    }
}

/// Feeds `bytes` to a worker until it ends.
pub(crate) async fn run(order: Order, bytes: &[u8]) -> Outcome {
    let whole = Bytes::copy_from_slice(bytes);
    let mut worker = Worker::spawn(order).await.unwrap();
    let mut outcome = Outcome::default();
    loop {
        let event = worker.next().await;
        if let Event::Need { offset, len } = event {
            outcome.needs.push((offset, len));
            let from = whole.len().min(offset as usize);
            let to = whole.len().min(from + len as usize);
            worker.give(offset, whole.slice(from..to)).await.unwrap();
        }
        if !outcome.hear(event) {
            outcome.hello = worker.hello().cloned();
            return outcome;
        }
    }
}

/// The same with leave to seek.
pub(crate) async fn run_ranges(bytes: &[u8]) -> Outcome {
    run(Order::ranges(ladder(), SECONDS, exe(), bytes.len() as u64), bytes).await
}

/// A worker that is loaded once, and forked for each file: for tests of so many that loading it each time would be all their
/// work. In a build without it they are started like any.
#[derive(Clone)]
pub(crate) struct Nursery {
    #[cfg(debug_assertions)]
    open: std::sync::Arc<pipeline::media::forked::Nursery>,
}

impl Nursery {
    pub(crate) fn open() -> Self {
        Self {
            #[cfg(debug_assertions)]
            open: std::sync::Arc::new(pipeline::media::forked::Nursery::open(&exe()).unwrap()),
        }
    }

    /// The same order for a forked worker.
    pub(crate) fn raise(&self, order: Order) -> Order {
        Order {
            #[cfg(debug_assertions)]
            nursery: Some(std::sync::Arc::clone(&self.open)),
            ..order
        }
    }
}

/// By how many samples `later` lags behind `sooner` (left channels, interleaved stereo), judged around its middle.
pub(crate) fn lag(sooner: &[i16], later: &[i16]) -> i64 {
    const WINDOW: usize = 1024;
    /// Further than any coder's delay that could be left over: 1024 of AAC, 1105 of MP3.
    const REACH: i64 = 1300;
    let left = |pcm: &[i16]| pcm.iter().step_by(2).map(|v| f64::from(*v)).collect::<Vec<_>>();
    let (sooner, later) = (left(sooner), left(later));
    let at = sooner.len() / 2;
    let window = &sooner[at..at + WINDOW];
    let alike = |shift: i64| {
        let from = (at as i64 + shift) as usize;
        let other = &later[from..from + WINDOW];
        let dot: f64 = window.iter().zip(other).map(|(a, b)| a * b).sum();
        dot / other.iter().map(|b| b * b).sum::<f64>().sqrt().max(1.0)
    };
    (-REACH..=REACH).max_by(|a, b| alike(*a).total_cmp(&alike(*b))).unwrap()
}

/// Asserts what holds for every rung of every track: cuts, lengths, boxes, playlists.
pub(crate) fn assert_on_the_grid(outcome: &Outcome) {
    use pipeline::media::fmp4;
    let (grid, samples) = (outcome.source().grid, outcome.samples());
    for (rung, pieces) in outcome.pieces.iter().enumerate() {
        let init = fmp4::init(&outcome.inits[rung]).unwrap();
        assert_eq!(init.media_time, outcome.done.as_ref().unwrap().2[rung]);
        assert_eq!(pieces.len() as u32, grid.count(samples));
        let mut tfdt = 0;
        for (n, piece) in pieces.iter().enumerate() {
            let read = fmp4::segment(&piece.bytes, &init).unwrap();
            assert_eq!(read.tfdt, tfdt, "rung {rung} segment {n}");
            tfdt += read.duration;
            assert_eq!((piece.n, piece.first_sample), (n as u32, grid.start(n as u32)));
            let is_last = n + 1 == pieces.len();
            assert_eq!(piece.samples, if is_last { samples - piece.first_sample } else { grid.samples(n as u32) });
        }
        assert_eq!(tfdt, samples + u64::from(init.media_time), "the last trun ends with the audio");
    }
}

pub(crate) fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}
