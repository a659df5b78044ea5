//! 512 MiB that nothing can compress, in one PATCH over loopback into the local store.
//!
//! Beside it: the probe (the same bytes received, hashed, written and synced, and nothing else) and @tus/server with its
//! file store, which neither hashes nor syncs. Once on the disk, and once in memory, where a disk's speed hides nobody's.
//! Ours counts PostgreSQL's CPU too. What the client costs is nobody's: it sends from the page cache.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::statvfs;

use crate::{
    Run, cost,
    server::{Server, folder},
    sound,
    table::{Samples, Table},
    tus,
};

const BYTES: u64 = 512 << 20;
const ROUNDS: usize = 5;
/// Free bytes that a folder must have: the source, one copy under way, and a database.
const FREE_BYTES: u64 = 3 * BYTES;

/// What one server did, round by round.
#[derive(Default)]
struct Side {
    mb_per_s: Samples,
    cpu_s_per_gb: Samples,
    peak_mib: Samples,
}

pub fn measure(run: &Run, table: &mut Table) -> anyhow::Result<()> {
    measure_on(run, run.folder.path(), "disk", table)?;
    let memory = PathBuf::from("/dev/shm");
    match statvfs(&memory) {
        Ok(stat) if stat.f_bavail * stat.f_frsize >= FREE_BYTES => measure_on(run, &memory, "memory", table),
        _ => {
            table.note("No upload in memory: /dev/shm is too small here.");
            Ok(())
        }
    }
}

fn measure_on(run: &Run, place: &Path, name: &str, table: &mut Table) -> anyhow::Result<()> {
    let here = folder(place)?;
    let source = sound::incompressible(&here.path().join("source"), BYTES)?;
    let mut servers = vec![Server::millrace(here.path())?, Server::probe(here.path())?];
    match &run.peers {
        Some(modules) => servers.push(Server::peer(here.path(), modules)?),
        None => table.note("@tus/server isn't installed: `make bench` installs it."),
    }
    let mut sides: Vec<Side> = servers.iter().map(|_| Side::default()).collect();
    for round in 0..ROUNDS {
        if !run.has_time_for(round, Duration::from_secs(15)) {
            break;
        }
        for turn in 0..servers.len() {
            let which = (round + turn) % servers.len();
            sides[which].add(&servers[which], &source)?;
        }
    }
    let ours = &sides[0];
    for (beside, theirs, fast, cheap) in
        [("probe", sides.get(1), "≥ 0.95", "≤ 1.05"), ("@tus/server", sides.get(2), "≥ 2", "≤ 0.5")]
    {
        let Some(theirs) = theirs else { continue };
        table.line(&format!("upload, {name}, MB/s"), &ours.mb_per_s, beside, &theirs.mb_per_s, fast);
        let figure = format!("upload, {name}, CPU-s/GB");
        table.line(&figure, &ours.cpu_s_per_gb, beside, &theirs.cpu_s_per_gb, cheap);
        let figure = format!("upload, {name}, peak RSS, MiB");
        table.line(&figure, &ours.peak_mib, beside, &theirs.peak_mib, "ours ≤ 192");
    }
    Ok(())
}

impl Side {
    fn add(&mut self, server: &Server, source: &File) -> anyhow::Result<()> {
        let upload = tus::create(server, "noise.bin", BYTES)?;
        cost::forget_peak(server.pid())?;
        let before = cost::cpu(server.pid())?;
        let took = tus::send(server, &upload, source)?;
        let cpu = cost::cpu(server.pid())? - before;
        self.mb_per_s.push(BYTES as f64 / 1e6 / took.as_secs_f64());
        self.cpu_s_per_gb.push(cpu.as_secs_f64() / (BYTES as f64 / 1e9));
        self.peak_mib.push(cost::peak_mib(server.pid())?);
        server.forget_uploads()
    }
}
