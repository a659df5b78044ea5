//! What the media branch costs an upload: 256 MiB in one PATCH, as sound, beside as many that are none and so have no worker.
//!
//! The worker is left alone, let run a tenth of the time, put to sleep, or killed whenever there is one.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    Run,
    server::{Server, folder},
    sight::Sight,
    sound,
    table::{Samples, Table},
    tus,
};

const BYTES: u64 = 256 << 20;
const ROUNDS: usize = 4;
/// What one round of all takes, about.
const ROUND: Duration = Duration::from_secs(45);
/// A tenth of it the slow worker runs.
const TURN: Duration = Duration::from_millis(50);

/// What befalls the workers while the upload runs.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Alone,
    Slow,
    Asleep,
    Killed,
}

/// Waits until the track of that id is as far as it shall be.
type Until<'a> = &'a dyn Fn(&str) -> anyhow::Result<()>;

const FATES: [(Fate, &str); 4] =
    [(Fate::Alone, "alone"), (Fate::Slow, "at 0.1×"), (Fate::Asleep, "asleep"), (Fate::Killed, "dying")];

pub fn measure(run: &Run, table: &mut Table) -> anyhow::Result<()> {
    let here = folder(run.folder.path())?;
    let server = Server::millrace(here.path())?;
    let noise = sound::incompressible(&here.path().join("noise"), BYTES)?;
    let song = sound::incompressible(&here.path().join("song"), BYTES)?;
    // Eight channels at 192 kHz: so much sound in a minute that it doesn't take long afterwards.
    song.write_all_at(&wav_head(8, 192_000, 24), 0)?;
    let mut sides = [const { Samples(Vec::new()) }; FATES.len()];
    let mut bare = sides.clone();
    for round in 0..ROUNDS {
        if !run.has_time_for(round, ROUND) {
            break;
        }
        for (which, (fate, _)) in FATES.into_iter().enumerate() {
            bare[which].push(sent(&server, "noise.bin", &noise, Fate::Alone, None)?);
            let sight = Sight::of(&server)?;
            let ready = |track: &str| run.runtime.block_on(sight.ready(track)).map(|_| ());
            // Who is killed to the end has failed: nobody waits for it.
            let wait: Option<Until<'_>> = (fate != Fate::Killed).then_some(&ready);
            sides[which].push(sent(&server, "song.wav", &song, fate, wait)?);
            server.forget_uploads()?;
        }
    }
    for (((_, name), ours), bare) in FATES.into_iter().zip(&sides).zip(&bare) {
        table.line(&format!("upload beside its worker, {name}, MB/s"), ours, "no sound", bare, "≥ 0.95");
    }
    Ok(())
}

/// MB/s of one upload; afterwards its worker is awake, and is waited for.
fn sent(server: &Server, name: &str, file: &File, fate: Fate, wait: Option<Until<'_>>) -> anyhow::Result<f64> {
    let upload = tus::create(server, name, BYTES)?;
    let is_over = AtomicBool::new(false);
    let took = thread::scope(|scope| {
        scope.spawn(|| befall(server.pid(), fate, &is_over));
        let took = tus::send(server, &upload, file);
        is_over.store(true, Ordering::Relaxed);
        took
    })?;
    if let Some(wait) = wait {
        wait(&upload.track)?;
    }
    Ok(BYTES as f64 / 1e6 / took.as_secs_f64())
}

fn befall(server: u32, fate: Fate, is_over: &AtomicBool) {
    let all = |signal| {
        for pid in workers_of(server) {
            // An error means that it is gone.
            let _ = kill_process(pid, signal);
        }
    };
    while !is_over.load(Ordering::Relaxed) {
        match fate {
            Fate::Alone => {}
            Fate::Asleep => all(Signal::STOP),
            Fate::Killed => all(Signal::KILL),
            Fate::Slow => {
                all(Signal::STOP);
                thread::sleep(TURN * 9 / 10);
                all(Signal::CONT);
            }
        }
        thread::sleep(TURN / 10);
    }
    if fate == Fate::Asleep {
        all(Signal::CONT);
    }
}

/// The server's media workers.
fn workers_of(server: u32) -> Vec<Pid> {
    let children = fs::read_dir(format!("/proc/{server}/task")).into_iter().flatten().flatten();
    let children = children.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let pids: Vec<i32> = children
        .flat_map(|line| line.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect();
    let is_worker = |pid: &i32| {
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.contains(pipeline::media::worker::ARGUMENT)
    };
    pids.into_iter().filter(is_worker).filter_map(Pid::from_raw).collect()
}

fn wav_head(channels: u16, rate: u32, bits: u16) -> Vec<u8> {
    let align = channels * bits / 8;
    let size = u32::try_from(BYTES).unwrap_or(u32::MAX);
    let mut head = b"RIFF".to_vec();
    head.extend((size - 8).to_le_bytes());
    head.extend(b"WAVEfmt \x10\0\0\0\x01\0");
    head.extend(channels.to_le_bytes());
    head.extend(rate.to_le_bytes());
    head.extend((rate * u32::from(align)).to_le_bytes());
    head.extend(align.to_le_bytes());
    head.extend(bits.to_le_bytes());
    head.extend(b"data");
    head.extend((size - 44).to_le_bytes());
    head
}
