//! Who is measured: a server that clients upload to, or a program that uploads a file by itself.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use super::{PART_BYTES, STEP_BYTES, bare, cases::Case, site::Site};
use crate::{Run, cost, server::Server, tus};

/// What one turn cost, apart from what the store counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turn {
    pub(super) took: Duration,
    pub(super) cpu: Duration,
    /// Of servers.
    pub(super) peak_mib: Option<f64>,
    /// Of servers: bytes that their trees had written to a disk.
    pub(super) disk_bytes: Option<u64>,
    /// Of servers: the same of the server process alone.
    pub(super) own_disk_bytes: Option<u64>,
}

pub(super) struct Side {
    pub(super) name: &'static str,
    kind: Kind,
}

enum Kind {
    Server(Server),
    /// The SDK alone.
    Bare(Site),
    /// One whole file at a time.
    Rclone {
        site: Site,
        folder: PathBuf,
    },
}

impl Side {
    pub(super) fn server(name: &'static str, server: Server) -> Self {
        Self { name, kind: Kind::Server(server) }
    }

    pub(super) fn probe(run: &Run, sink: &Server) -> anyhow::Result<Self> {
        Ok(Self::server("probe", Server::part(run.folder.path(), "probe-s3", &[&sink.host])?))
    }

    pub(super) fn bare(site: Site) -> Self {
        Self { name: "SDK alone", kind: Kind::Bare(site) }
    }

    pub(super) fn rclone(below: &Path, site: Site) -> anyhow::Result<Self> {
        fs::write(below.join("rclone.conf"), "")?;
        Ok(Self { name: "rclone", kind: Kind::Rclone { site, folder: below.to_owned() } })
    }

    /// Somebody else's: that it fails is a result.
    pub(super) fn is_peer(&self) -> bool {
        !matches!(self.name, "Millrace" | "probe" | "SDK alone")
    }

    /// Whether this side can do the case at all.
    pub(super) fn does(&self, case: Case) -> bool {
        match self.kind {
            Kind::Server(_) => true,
            Kind::Bare(_) => case.is_whole(),
            Kind::Rclone { .. } => case.is_whole() && case.uploads == 1,
        }
    }

    /// Uploads it once, from `start` of the source on.
    pub(super) fn turn(&self, case: Case, path: &Path, source: &File, start: u64) -> anyhow::Result<Turn> {
        match &self.kind {
            Kind::Server(server) => to_server(server, case, source, start),
            Kind::Bare(site) => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("bare").args(site.words()).arg(path);
                command.args([start, case.bytes, case.uploads].map(|n| n.to_string()));
                let (printed, cpu, _) = finished(command)?;
                Ok(Turn { took: bare::took(&printed)?, cpu, ..Turn::default() })
            }
            Kind::Rclone { site, folder } => {
                let file = folder.join("source-of-rclone");
                cut_out(source, start, case.bytes, &file)?;
                let (_, cpu, took) = finished(rclone(site, folder, &file))?;
                fs::remove_file(file)?;
                Ok(Turn { took, cpu, ..Turn::default() })
            }
        }
    }
}

fn to_server(server: &Server, case: Case, source: &File, start: u64) -> anyhow::Result<Turn> {
    let (pid, disk_before) = (server.pid(), cost::disk_bytes(server.pid())?);
    cost::forget_peak(pid)?;
    let (cpu_before, begun) = (cost::cpu(pid)?, Instant::now());
    thread::scope(|scope| {
        let one = |n: u64| {
            let upload = tus::create(server, &format!("noise-{start}-{n}.bin"), case.bytes)?;
            tus::send_pieces(server, &upload, source, start + n * STEP_BYTES, case.bytes, case.patch_bytes)
        };
        let threads: Vec<_> = (0..case.uploads).map(|n| scope.spawn(move || one(n))).collect();
        threads.into_iter().try_for_each(|thread| {
            let ended = thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))?;
            ended.map(drop)
        })
    })?;
    let (took, cpu) = (begun.elapsed(), cost::cpu(pid)? - cpu_before);
    let mut disk = cost::disk_bytes(pid)?;
    disk.iter_mut().for_each(|(pid, bytes)| *bytes -= disk_before.get(pid).copied().unwrap_or(0));
    Ok(Turn {
        took,
        cpu,
        peak_mib: Some(cost::peak_mib(pid)?),
        disk_bytes: Some(disk.values().sum()),
        own_disk_bytes: disk.get(&pid).copied(),
    })
}

/// With its own concurrency, four parts, and nothing else of its own.
fn rclone(site: &Site, folder: &Path, file: &Path) -> Command {
    let mut command = Command::new("rclone");
    // What its SDK reads there isn't for this store.
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
    // Without a file it looks for the user's.
    command.arg("--config").arg(folder.join("rclone.conf")).arg("copyto").arg(file);
    command.arg(format!(":s3:{}/rclone", site.bucket)).args(["--s3-provider", "Other", "--s3-no-check-bucket"]);
    command.args(["--s3-endpoint", &site.endpoint, "--s3-region", &site.region]);
    command.args(["--s3-access-key-id", &site.access_key_id, "--s3-secret-access-key", &site.secret_access_key]);
    command.args(["--s3-chunk-size", &format!("{PART_BYTES}B")]);
    command
}

/// A range of the source as a file of its own, for who can't be told a range.
fn cut_out(source: &File, start: u64, length: u64, to: &Path) -> anyhow::Result<()> {
    let mut source = source;
    source.seek(SeekFrom::Start(start))?;
    let mut file = File::create(to)?;
    ensure!(io::copy(&mut source.take(length), &mut file)? == length, "the source is shorter than it was");
    Ok(())
}

/// Runs a program to its end: what it printed, its CPU time, and how long it took.
fn finished(mut command: Command) -> anyhow::Result<(String, Duration, Duration)> {
    let (before, begun) = (cost::waited_for()?, Instant::now());
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| name.clone())?;
    let took = begun.elapsed();
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or_default();
    ensure!(output.status.success(), "{name} ended with {}: {last}", output.status);
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), cost::waited_for()? - before, took))
}
