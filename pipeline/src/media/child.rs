//! The worker's process: how it is started, limited, and what its death meant.

use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, setpriority_process};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, Command};

use super::Order;
use super::failure::{Code, Failure};

/// Linux counts processor time of `/proc/PID/stat` in hundredths, on every architecture.
const TICKS_PER_S: u64 = 100;
/// Uploads and playback win the processors: a worker gets a third of what each of them gets, and all where they need nothing.
/// Nicer, it would get so little on a machine that others fill that it seemed to hang (`HANG_S`).
const NICE: i32 = 5;
/// Rust's exit status after a panic.
const PANICKED: i32 = 101;

/// A worker's process; killed when dropped.
#[derive(Debug)]
pub(super) enum Process {
    Spawned(Child),
    #[cfg(debug_assertions)]
    Forked(super::forked::Forked),
}

impl Process {
    /// None once it has been waited for.
    pub(super) fn id(&self) -> Option<u32> {
        match self {
            Self::Spawned(child) => child.id(),
            #[cfg(debug_assertions)]
            Self::Forked(child) => child.id(),
        }
    }

    pub(super) fn start_kill(&mut self) -> std::io::Result<()> {
        match self {
            Self::Spawned(child) => child.start_kill(),
            #[cfg(debug_assertions)]
            Self::Forked(child) => child.start_kill(),
        }
    }

    /// Cancel-safe.
    pub(super) async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        match self {
            Self::Spawned(child) => child.wait().await,
            #[cfg(debug_assertions)]
            Self::Forked(child) => child.wait().await,
        }
    }

    pub(super) fn stderr(&mut self) -> Option<&mut ChildStderr> {
        match self {
            Self::Spawned(child) => child.stderr.as_mut(),
            #[cfg(debug_assertions)]
            Self::Forked(child) => Some(&mut child.stderr),
        }
    }
}

/// How Rust, the C library and the loader, which binds some calls late, say that there is no memory.
const OUT_OF_MEMORY: [&str; 4] =
    ["memory allocation of", "out of memory", "annot allocate memory", "annot allocate TLS"];

/// Starts the worker: no environment, no working folder, no descriptor but the socket and stderr.
pub(super) fn start(order: &Order) -> std::io::Result<(Process, UnixStream)> {
    let (ours, theirs): (OwnedFd, OwnedFd) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let ours = std::os::unix::net::UnixStream::from(ours);
    ours.set_nonblocking(true)?;
    let ours = UnixStream::from_std(ours)?;
    #[cfg(debug_assertions)]
    if let Some(nursery) = &order.nursery {
        return Ok((Process::Forked(nursery.fork(&theirs)?), ours));
    }
    let child = Command::new(&order.exe)
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
    Ok((Process::Spawned(child), ours))
}

/// Milliseconds in which its threads, all of them together, could have worked and had no processor; 0 where the kernel doesn't
/// count them.
pub(super) fn starved_ms(child: &Process) -> u64 {
    let Some(tasks) = child.id().and_then(|id| std::fs::read_dir(format!("/proc/{id}/task")).ok()) else { return 0 };
    let waited_ns = |task: std::fs::DirEntry| {
        let line = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()
    };
    tasks.filter_map(|task| waited_ns(task.ok()?)).sum::<u64>() / 1_000_000
}

/// Processor seconds used so far.
pub(super) fn cpu_used_s(child: &Process) -> Option<u64> {
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
        _ if OUT_OF_MEMORY.iter().any(|words| stderr.contains(words)) => {
            (Code::WorkerMemory, "ran out of memory".to_owned())
        }
        (Some(libc::SIGXCPU), _) => (Code::WorkerCpu, "ran out of processor time".to_owned()),
        (Some(libc::SIGSYS), _) => (Code::WorkerCrashed, "made a forbidden system call (SIGSYS)".to_owned()),
        (Some(signal), _) => (Code::WorkerCrashed, format!("was ended by {}", signal_name(signal))),
        (None, Some(0)) => (Code::WorkerCrashed, "ended without a word".to_owned()),
        (None, Some(PANICKED)) => (Code::WorkerCrashed, "panicked".to_owned()),
        (None, code) => (Code::WorkerCrashed, format!("ended with status {}", code.unwrap_or(-1))),
    };
    let failure = Failure::new(code, format!("the worker {what}{said}"));
    // Whoever makes such a call has been taken over by its file, or lacks a rule of ours.
    if status.signal() == Some(libc::SIGSYS) { failure.for_good() } else { failure }
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
