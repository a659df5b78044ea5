//! A worker loaded once and forked for each file, since loading libav's libraries takes longer than most spoilt files do.
//! Absent from release builds: a worker of a real track is always a process of its own from its first instruction.
//!
//! Promise: what is forked runs [`super::run`] as a spawned worker does, from its first line, so that it locks itself in by
//! the same calls; it is its parent's parent's child, who can wait for it and kill it as for a spawned one.
//! Absent:  threads, and anything of libav called, before the fork.
#![expect(unsafe_code, reason = "a fork has no safe form")]

use std::io::{IoSliceMut, stdin};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::ExitCode;

use rustix::cmsg_space;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg, send};

/// The hidden argument by which the binary knows that it is to be forked.
pub const ARGUMENT: &str = "media-worker-nursery";

/// Forks a worker for each message on descriptor 0, which brings the worker's socket and its stderr, and answers with the
/// worker's process id; until nobody asks any more.
pub fn run() -> ExitCode {
    let Ok(orders) = stdin().as_fd().try_clone_to_owned() else { return ExitCode::FAILURE };
    while let Some((socket, stderr)) = order(&orders) {
        // SAFETY: there is one thread, so the copy is whole. The C library's own word for this would make the worker our
        // child, whom nobody could wait for; what that word does besides concerns threads and locks that aren't there.
        let forked = unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_PARENT | libc::SIGCHLD, 0, 0, 0, 0) };
        if forked == 0 {
            // SAFETY: both are open, and 0 and 2 are nobody's; the worker closes all others.
            unsafe {
                libc::dup2(socket.as_raw_fd(), 0);
                libc::dup2(stderr.as_raw_fd(), 2);
            }
            return super::run();
        }
        if send(&orders, &forked.to_le_bytes(), SendFlags::empty()).is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}

fn order(orders: &OwnedFd) -> Option<(OwnedFd, OwnedFd)> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(2))];
    let mut brought = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let heard = recvmsg(orders, &mut [IoSliceMut::new(&mut byte)], &mut brought, RecvFlags::CMSG_CLOEXEC).ok()?;
    let mut files = brought.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => files.collect(),
        _ => vec![],
    });
    (heard.bytes == 1).then(|| Some((files.next()?, files.next()?))).flatten()
}
