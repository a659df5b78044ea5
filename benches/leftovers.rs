//! What a run that is ended by a signal must still take with it: servers and folders.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

static SERVERS: Mutex<Vec<u32>> = Mutex::new(Vec::new());
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A server was started.
pub fn server(pid: u32) {
    SERVERS.lock().unwrap_or_else(PoisonError::into_inner).push(pid);
}

/// A server was waited for: its number may be somebody else's from now on.
pub fn ended(pid: u32) {
    SERVERS.lock().unwrap_or_else(PoisonError::into_inner).retain(|p| *p != pid);
}

/// A folder was made.
pub fn folder(path: &Path) {
    FOLDERS.lock().unwrap_or_else(PoisonError::into_inner).push(path.into());
}

/// Asks a server to end.
pub fn ask_to_end(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// From now on Ctrl-C and `kill` leave nothing.
pub fn watch(runtime: &Runtime) -> anyhow::Result<()> {
    let _within = runtime.enter();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    runtime.spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}      // cancel-safe: the process ends here
            _ = terminate.recv() => {}      // cancel-safe: as above
        }
        let servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner).clone();
        servers.iter().for_each(|pid| ask_to_end(*pid));
        while servers.iter().any(|pid| is_running(*pid)) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        for folder in FOLDERS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = fs::remove_dir_all(folder);
        }
        std::process::exit(1);
    });
    Ok(())
}

/// Whether a child has not ended; one that has stays as a zombie, for nobody waits for it any more.
fn is_running(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
}
