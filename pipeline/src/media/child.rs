//! The worker's process: how it is started, limited, and what its death meant.

use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, setpriority_process};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::failure::{Code, Failure};

/// Linux counts processor time of `/proc/PID/stat` in hundredths, on every architecture.
const TICKS_PER_S: u64 = 100;
/// Uploads and playback win the processors: a worker gets a third of what each of them gets, and all where they need nothing.
/// Nicer, it would get so little on a machine that others fill that it seemed to hang (`HANG_S`).
const NICE: i32 = 5;
/// Rust's exit status after a panic.
const PANICKED: i32 = 101;

/// Starts the worker: no environment, no working folder, no descriptor but the socket and stderr.
pub(super) fn start(exe: &Path) -> std::io::Result<(Child, UnixStream)> {
    let (ours, theirs): (OwnedFd, OwnedFd) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let ours = std::os::unix::net::UnixStream::from(ours);
    ours.set_nonblocking(true)?;
    let child = Command::new(exe)
        .arg(super::worker::ARGUMENT)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    // Before its order goes out: it has one thread then, and later ones are as nice.
    if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
        // Where that is forbidden it works as before.
        let _ = setpriority_process(Some(pid), NICE);
    }
    Ok((child, UnixStream::from_std(ours)?))
}

/// Processor seconds used so far.
pub(super) fn cpu_used_s(child: &Child) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id()?)).ok()?;
    // Fields follow the command's closing bracket: state is the third, user and system time the 14th and 15th.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_S)
}

/// What an end without `Done` or `Failed` meant.
pub(super) fn verdict(status: Option<ExitStatus>, stderr: &str) -> Failure {
    let stderr = super::guard::clean(stderr, super::limits::TEXT_BYTES / 2);
    let said = if stderr.is_empty() { String::new() } else { format!(": {stderr}") };
    let Some(status) = status else {
        return Failure::new(Code::WorkerCrashed, format!("the worker could not be waited for{said}"));
    };
    let (code, what) = match (status.signal(), status.code()) {
        _ if stderr.contains("memory allocation of") => (Code::WorkerMemory, "ran out of memory".to_owned()),
        (Some(libc::SIGXCPU), _) => (Code::WorkerCpu, "ran out of processor time".to_owned()),
        (Some(libc::SIGSYS), _) => (Code::WorkerCrashed, "made a forbidden system call (SIGSYS)".to_owned()),
        (Some(signal), _) => (Code::WorkerCrashed, format!("was ended by {}", signal_name(signal))),
        (None, Some(0)) => (Code::WorkerCrashed, "ended without a word".to_owned()),
        (None, Some(PANICKED)) => (Code::WorkerCrashed, "panicked".to_owned()),
        (None, code) => (Code::WorkerCrashed, format!("ended with status {}", code.unwrap_or(-1))),
    };
    Failure::new(code, format!("the worker {what}{said}"))
}

fn signal_name(signal: i32) -> String {
    match signal {
        libc::SIGSEGV => "SIGSEGV".to_owned(),
        libc::SIGABRT => "SIGABRT".to_owned(),
        libc::SIGBUS => "SIGBUS".to_owned(),
        libc::SIGILL => "SIGILL".to_owned(),
        libc::SIGFPE => "SIGFPE".to_owned(),
        libc::SIGKILL => "SIGKILL".to_owned(),
        other => format!("signal {other}"),
    }
}
