//! A file into a folder that any HLS player plays: the same worker, without server, database or store.
//!
//! ```text
//! index.m3u8 · peaks.dat · aac160/{vod.m3u8, init.mp4, 0.m4s, 1.m4s, …} · …
//! ```
//! Order: segments first, playlists last, so that a folder with an `index.m3u8` is whole.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::fs;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::{Event, Failure, Ladder, Loudness, Order, Source, SpawnError, Tag, Worker};
use crate::playlist::{self, Gapless, INIT_NAME, Kind, Variant, segment_name};

/// What was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// What the file was.
    pub source: Source,
    /// Exact length at the ladder's rate.
    pub samples: u64,
    /// The ladder's rate.
    pub rate: u32,
    /// Encoder delay per rung.
    pub priming: Vec<u32>,
    /// Samples and bytes of each segment, per rung.
    pub segments: Vec<Vec<(u64, u64)>>,
    /// Measured in the same pass.
    pub loudness: Option<Loudness>,
    /// The container's metadata.
    pub tags: Vec<Tag>,
    /// Where to start playing.
    pub index: PathBuf,
}

/// Why there is no folder.
#[derive(Debug, thiserror::Error)]
pub enum TranscodeError {
    /// The file is no good, or the worker failed.
    #[error(transparent)]
    Media(#[from] Failure),
    /// No worker.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// A path that can't be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Makes the whole ladder of `file` under `out`, which may exist.
pub async fn transcode(
    file: &Path,
    out: &Path,
    ladder: Ladder,
    segment_seconds: u32,
    exe: PathBuf,
) -> Result<Summary, TranscodeError> {
    let mut input = fs::File::open(file).await.map_err(at(file))?;
    let size = input.metadata().await.map_err(at(file))?.len();
    fs::create_dir_all(out).await.map_err(at(out))?;
    let mut worker = Worker::spawn(Order::ranges(ladder, segment_seconds, exe, size)).await?;
    let mut made: Option<Summary> = None;
    loop {
        match worker.next().await {
            Event::Need { offset, len } => {
                let bytes = read(&mut input, offset, len).await.map_err(at(file))?;
                // Gone: the next event says why.
                let _ = worker.give(offset, bytes).await;
            }
            Event::Failed(failure) => return Err(failure.into()),
            event => {
                let is_done = matches!(event, Event::Done { .. });
                keep(event, out, &mut made).await?;
                if is_done {
                    break;
                }
            }
        }
    }
    let summary = made.ok_or_else(|| Failure::new(super::Code::WorkerProtocol, "done without a source"))?;
    write_playlists(&summary, out).await?;
    Ok(summary)
}

async fn read(input: &mut fs::File, offset: u64, len: u32) -> std::io::Result<Bytes> {
    let mut bytes = Vec::with_capacity(len as usize);
    input.seek(std::io::SeekFrom::Start(offset)).await?;
    input.take(u64::from(len)).read_to_end(&mut bytes).await?;
    Ok(bytes.into())
}

async fn keep(event: Event, out: &Path, made: &mut Option<Summary>) -> Result<(), TranscodeError> {
    if let Event::Opened(source) = event {
        for rung in &source.plan {
            let folder = out.join(rung.folder());
            fs::create_dir_all(&folder).await.map_err(at(&folder))?;
        }
        let segments = vec![vec![]; source.plan.len()];
        let (rate, index) = (source.grid.rate, out.join("index.m3u8"));
        let (priming, tags) = (vec![], vec![]);
        *made = Some(Summary { source, samples: 0, rate, priming, segments, loudness: None, tags, index });
        return Ok(());
    }
    let Some(made) = made else { return Ok(()) };
    match event {
        Event::Init { rung, bytes } => write(&folder(made, out, rung).join(INIT_NAME), &bytes).await,
        Event::Segment { rung, n, samples, bytes, .. } => {
            made.segments[usize::from(rung)].push((samples, bytes.len() as u64));
            write(&folder(made, out, rung).join(segment_name(n)), &bytes).await
        }
        Event::Peaks { dat } => write(&out.join("peaks.dat"), &dat).await,
        Event::Loudness(loudness) => {
            made.loudness = Some(loudness);
            Ok(())
        }
        Event::Tags(tags) => {
            made.tags = tags;
            Ok(())
        }
        Event::Done { samples, priming, .. } => {
            (made.samples, made.priming) = (samples, priming);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn folder(made: &Summary, out: &Path, rung: u8) -> PathBuf {
    out.join(made.source.plan[usize::from(rung)].folder())
}

async fn write_playlists(made: &Summary, out: &Path) -> Result<(), TranscodeError> {
    let grid = &made.source.grid;
    let mut variants = vec![];
    for (rung, segments) in made.source.plan.iter().zip(&made.segments) {
        let name = format!("{}/vod.m3u8", rung.folder());
        let text = playlist::media_playlist(Kind::Vod, grid, segments.iter().map(|(samples, _)| *samples));
        write(&out.join(&name), text.as_bytes()).await?;
        variants.push(Variant::measured(rung, name, grid, segments));
    }
    let priming = made.priming.iter().copied().max().unwrap_or_default();
    let gapless = Gapless { samples: made.samples, rate: made.rate, priming };
    let text = playlist::multivariant(Kind::Vod, &variants, Some(&gapless));
    write(&made.index, text.as_bytes()).await
}

async fn write(path: &Path, bytes: &[u8]) -> Result<(), TranscodeError> {
    fs::write(path, bytes).await.map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> TranscodeError {
    let path = path.to_owned();
    move |source| TranscodeError::Io { path, source }
}
