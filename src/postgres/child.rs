//! How one of PostgreSQL's programs is started: as the right user, and bound to die with us.
#![expect(unsafe_code, reason = "code between fork and exec has no safe form")]

use std::{
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

use super::account::Accounts;

/// Starts `program`, with its complaints in a pipe.
///
/// The order is what makes it hold: std changes group, supplementary groups and user first, and runs `pre_exec` last;
/// the change of user would clear the death signal. A parent that died before the signal was set is seen by its id.
/// An own process group keeps the terminal's Ctrl-C for us: we drain first and stop the server after that.
pub fn spawn(program: &Path, args: &[String], accounts: &Accounts, death: Signal) -> io::Result<Child> {
    let parent: Pid = getpid();
    let mut command = Command::new(program);
    command.args(args).current_dir("/").env_clear();
    command.envs([("PATH", "/usr/bin:/bin"), ("LC_ALL", "C.UTF-8"), ("TZ", "UTC"), ("HOME", "/")]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    if accounts.differ() {
        command.gid(accounts.servers.gid).uid(accounts.servers.uid);
    }
    // SAFETY: the closure makes two plain system calls and builds an error without allocating; all of it is allowed
    // between fork and exec.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(death))?;
            if getppid() == Some(parent) { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
        });
    }
    command.spawn()
}
