//! From the first byte of an upload at 2 MB/s until init and first segment have been fetched.
//!
//! Beside it: the whole upload at the same pace, then `ffmpeg` on the finished file until its playlist names a segment. The
//! wait for the upload is arithmetic, ffmpeg's part is measured.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;

use crate::{
    Run, ladder,
    server::Server,
    sight::Sight,
    sound,
    table::{Samples, Table},
    tus,
};

/// A good home line.
pub const RATE: u64 = 2_000_000;

const ROUNDS: usize = 5;

/// The endings, and what is aimed at: media that comes in the clear needs more bytes for the same second.
const FORMATS: [(&str, &str); 3] = [("wav", "≤ 0.5 s"), ("flac", "≤ 0.3 s"), ("mp3", "≤ 0.3 s")];

pub fn measure(run: &Run, table: &mut Table) -> anyhow::Result<()> {
    let here = crate::server::folder(run.folder.path())?;
    let server = Server::millrace(here.path())?;
    for (ending, target) in FORMATS {
        let file = sound::track(run.folder.path(), sound::SHORT, ending)?;
        let bytes = fs::read(&file)?;
        let (mut ours, mut theirs) = (Samples::default(), Samples::default());
        for round in 0..ROUNDS {
            if !run.has_time_for(round, Duration::from_secs(3)) {
                break;
            }
            ours.push(first_segment(run, &server, ending, &bytes)?.as_secs_f64());
            let uploaded = bytes.len() as f64 / RATE as f64;
            theirs.push(uploaded + ffmpegs_first(&file, &here.path().join("hls"))?.as_secs_f64());
        }
        let figure = format!("first playable segment at 2 MB/s, {ending}, s");
        table.line(&figure, &ours, "upload, then ffmpeg", &theirs, target);
    }
    Ok(())
}

fn first_segment(run: &Run, server: &Server, ending: &str, bytes: &[u8]) -> anyhow::Result<Duration> {
    let upload = tus::create(server, &format!("track.{ending}"), bytes.len() as u64)?;
    let sight = Sight::of(server)?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let begun = Instant::now();
        let sender = scope.spawn(|| tus::send_paced(server, &upload, bytes, RATE, &stop));
        let seen = run.runtime.block_on(sight.first_segment(&upload.track));
        stop.store(true, Ordering::Relaxed);
        let _stopped = sender.join();
        tus::delete(server, &upload)?;
        Ok(seen?.duration_since(begun))
    })
}

/// How long ffmpeg takes until its first rung's playlist names a segment.
fn ffmpegs_first(file: &Path, out: &Path) -> anyhow::Result<Duration> {
    fs::create_dir_all(out)?;
    let begun = Instant::now();
    let mut ffmpeg = ladder::ffmpeg(file, out, &ladder::RUNGS).spawn()?;
    let playlist = out.join("0.m3u8");
    let took = loop {
        if fs::read_to_string(&playlist).is_ok_and(|text| text.contains("#EXTINF")) {
            break begun.elapsed();
        }
        let ended = ffmpeg.try_wait()?;
        ensure!(ended.is_none_or(|status| status.success()), "ffmpeg failed");
        thread::sleep(Duration::from_millis(5));
    };
    // Ours alone: the child that was just spawned.
    ffmpeg.kill()?;
    ffmpeg.wait()?;
    fs::remove_dir_all(out)?;
    Ok(took)
}
