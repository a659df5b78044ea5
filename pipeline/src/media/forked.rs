//! Workers forked from one that is loaded already, for tests of many files. Absent from release builds.
//!
//! Promise: for its caller a forked worker is a spawned one: a child of this process, with a socket, a stderr, an exit status.

use std::io::{Error, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::cmsg_space;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv,
    sendmsg, socketpair,
};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use tokio::signal::unix::{SignalKind, signal};

use super::worker::nursery::ARGUMENT;

/// A loaded worker that others are forked from.
#[derive(Debug)]
pub struct Nursery {
    child: std::process::Child,
    orders: Mutex<OwnedFd>,
}

impl Nursery {
    /// Loads one.
    ///
    /// # Errors
    /// No process or descriptor.
    pub fn open(exe: &Path) -> std::io::Result<Self> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let mut command = Command::new(exe);
        command.arg(ARGUMENT).env_clear().current_dir("/").stdin(Stdio::from(theirs)).stdout(Stdio::null());
        Ok(Self { child: command.spawn()?, orders: Mutex::new(ours) })
    }

    /// A worker that talks on that socket.
    pub(super) fn fork(&self, socket: &OwnedFd) -> std::io::Result<Forked> {
        let (stderr, theirs) = std::io::pipe()?;
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let files = [socket.as_fd(), theirs.as_fd()];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(2))];
        let mut brought = SendAncillaryBuffer::new(&mut space);
        brought.push(SendAncillaryMessage::ScmRights(&files));
        sendmsg(&*orders, &[IoSlice::new(&[1])], &mut brought, SendFlags::NOSIGNAL)?;
        let mut pid = [0; 8];
        let (read, _) = recv(&*orders, &mut pid, RecvFlags::empty())?;
        let pid = i32::try_from(i64::from_le_bytes(pid)).ok().filter(|_| read == 8).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Error::other("the nursery forked nobody"))?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        let deaths = signal(SignalKind::child())?;
        let stderr = tokio::process::ChildStderr::from_std(ChildStderr::from(OwnedFd::from(stderr)))?;
        Ok(Forked { pid, pidfd, deaths, stderr, status: None })
    }
}

impl Drop for Nursery {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A forked worker; killed and reaped when dropped.
#[derive(Debug)]
pub(super) struct Forked {
    pid: Pid,
    pidfd: OwnedFd,
    /// Says that some child has died.
    deaths: tokio::signal::unix::Signal,
    pub(super) stderr: tokio::process::ChildStderr,
    status: Option<ExitStatus>,
}

impl Forked {
    pub(super) fn id(&self) -> Option<u32> {
        self.status.is_none().then(|| self.pid.as_raw_nonzero().get().cast_unsigned())
    }

    pub(super) fn start_kill(&mut self) -> std::io::Result<()> {
        Ok(pidfd_send_signal(&self.pidfd, Signal::KILL)?)
    }

    /// Cancel-safe: it is reaped in the step that remembers how it ended.
    pub(super) async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        loop {
            if self.status.is_none() {
                self.status = reap(&self.pidfd, WaitIdOptions::EXITED | WaitIdOptions::NOHANG)?;
            }
            if let Some(status) = self.status {
                return Ok(status);
            }
            self.deaths.recv().await;
        }
    }
}

fn reap(pidfd: &OwnedFd, how: WaitIdOptions) -> std::io::Result<Option<ExitStatus>> {
    let ended = waitid(WaitId::PidFd(pidfd.as_fd()), how)?;
    Ok(ended.map(|ended| {
        let code = ended.exit_status().unwrap_or_default() << 8;
        ExitStatus::from_raw(code | ended.terminating_signal().unwrap_or_default())
    }))
}

impl Drop for Forked {
    fn drop(&mut self) {
        if self.status.is_none() && self.start_kill().is_ok() {
            let _ = reap(&self.pidfd, WaitIdOptions::EXITED);
        }
    }
}
