//! The one thread that starts the server, waits for it, and starts it again.
//!
//! Ready means: line 1 of `postmaster.pid` is our child and line 8 says `ready`; a bare connection may be answered by
//! an old server on its way down. An exit that wasn't asked for is a failure, whatever its status.

use std::{
    io::{BufRead, BufReader},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    process::{Child, ChildStderr},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, channel},
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use tokio::sync::watch;

use super::{
    Error, PORT, Settings, State, account, account::Accounts, binaries::Binaries, child, folder, pidfile, socket,
};

/// How often the pid file is read while the server starts: it is ready 16 ms after a clean stop.
const READY_POLL: Duration = Duration::from_millis(5);
/// How long a start may take; recovery reads at most `max_wal_size` of log.
const READY_MAX: Duration = Duration::from_secs(300);
/// After the old server was killed its lock outlives it for a moment: then a start is refused, and tried again …
const REFUSED_WAIT: Duration = Duration::from_millis(50);
/// … for this long, after which somebody really holds the folder.
const REFUSED_MAX: Duration = Duration::from_secs(15);
/// Between restarts of a server that doesn't come up, such as on a full disk: doubled each time …
const RESTART_WAIT_MIN: Duration = Duration::from_millis(50);
/// … up to this, so that it is back soon after the cause is gone.
const RESTART_WAIT_MAX: Duration = Duration::from_secs(2);
/// A fast stop takes 10 ms when idle; a checkpoint under load takes seconds.
const STOP_FAST: Duration = Duration::from_secs(6);
/// After SIGQUIT, which leaves recovery to the next start.
const STOP_QUIT: Duration = Duration::from_secs(2);
/// The whole stop.
pub const STOP_MAX: Duration = Duration::from_secs(STOP_FAST.as_secs() + STOP_QUIT.as_secs());
/// How long to wait for the last words of a server that ended.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// The thread's body.
pub fn run(settings: &Settings, wake: &UnixStream, state: &watch::Sender<State>, url: &watch::Sender<Option<String>>) {
    let server = match Server::prepare(settings) {
        Ok(server) => server,
        Err(e) => return drop(state.send_replace(State::Failed(crate::one_line(&e.into())))),
    };
    url.send_replace(Some(socket::url(&server.socket_dir)));
    let mut was_ready = false;
    let mut wait = RESTART_WAIT_MIN;
    loop {
        let down = match server.launch(wake) {
            Ok(running) => {
                state.send_replace(State::Ready);
                (was_ready, wait) = (true, RESTART_WAIT_MIN);
                let Some(status) = running.watch(wake) else { break };
                format!("it ended by itself ({status})")
            }
            Err(Unlaunched::Asked) => break,
            Err(Unlaunched::Failed(e)) if !was_ready => {
                return drop(state.send_replace(State::Failed(crate::one_line(&e.into()))));
            }
            Err(Unlaunched::Failed(e)) => crate::one_line(&e.into()),
        };
        tracing::error!(wait_ms = wait.as_millis(), "the private PostgreSQL is down, starting it again: {down}");
        state.send_replace(State::Down(down));
        if asked_within(wake, wait) {
            break;
        }
        wait = (wait * 2).min(RESTART_WAIT_MAX);
    }
    state.send_replace(State::Stopped);
}

/// All that a start needs, decided once.
struct Server {
    program: PathBuf,
    args: Vec<String>,
    folder: PathBuf,
    socket_dir: PathBuf,
    accounts: Accounts,
}

enum Unlaunched {
    Asked,
    Failed(Error),
}

impl Server {
    fn prepare(settings: &Settings) -> Result<Self, Error> {
        let folder = folder::of(&settings.data);
        let binaries = Binaries::find(settings, &folder)?;
        let accounts = account::choose(&settings.data, &folder)?;
        let folder = folder::prepare(settings, &binaries, &accounts)?;
        let (hba, ident) = folder::permit(&settings.data, &accounts)?;
        let socket_dir = socket::prepare(settings, &accounts)?;
        let mut args = vec!["-D".to_owned(), folder.to_string_lossy().into_owned()];
        let set = [
            ("listen_addresses", String::new()),
            ("unix_socket_directories", socket_dir.to_string_lossy().into_owned()),
            ("unix_socket_permissions", "0700".to_owned()),
            ("port", PORT.to_string()),
            ("hba_file", hba.to_string_lossy().into_owned()),
            ("ident_file", ident.to_string_lossy().into_owned()),
            ("shared_buffers", "32MB".to_owned()),
            ("max_connections", "40".to_owned()),
            ("fsync", "on".to_owned()),
            ("cluster_name", "millrace".to_owned()),
            // Complaints come to us bare, without statements or row values: those may hold what isn't for logs.
            ("logging_collector", "off".to_owned()),
            ("log_destination", "stderr".to_owned()),
            ("log_line_prefix", String::new()),
            ("lc_messages", "C".to_owned()),
            ("log_error_verbosity", "terse".to_owned()),
            ("log_min_error_statement", "panic".to_owned()),
        ];
        args.extend(set.into_iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]));
        Ok(Self { program: binaries.dir.join("postgres"), args, folder, socket_dir, accounts })
    }

    /// Starts until ready, past the refusals of a dying predecessor's lock.
    fn launch(&self, wake: &UnixStream) -> Result<Running, Unlaunched> {
        let first_try = Instant::now();
        loop {
            let mut running = self.spawn().map_err(Unlaunched::Failed)?;
            let words = match running.until_ready(&self.folder, wake)? {
                Started::Ready => return Ok(running),
                Started::Ended(words) => words,
            };
            if !words.iter().any(|line| is_refusal(line)) {
                let line = words.last().map_or("it said nothing", |line| line.as_str());
                return Err(Unlaunched::Failed(Error::Ended(line.to_owned())));
            }
            if first_try.elapsed() > REFUSED_MAX {
                let held = pidfile::read(&self.folder).map_or(words.join(" "), |file| file.accuse(&self.folder));
                return Err(Unlaunched::Failed(Error::Held(held)));
            }
            if asked_within(wake, REFUSED_WAIT) {
                return Err(Unlaunched::Asked);
            }
        }
    }

    fn spawn(&self) -> Result<Running, Error> {
        let failed = |source| Error::Io { what: "can't start", path: self.program.clone(), source };
        let mut child = child::spawn(&self.program, &self.args, &self.accounts, Signal::INT).map_err(failed)?;
        let pid = Pid::from_child(&child);
        let handle = pidfd_open(pid, PidfdFlags::empty()).map_err(|e| failed(e.into()))?;
        let words = Words::follow(child.stderr.take()).map_err(failed)?;
        Ok(Running { child, handle, words })
    }
}

fn is_refusal(line: &str) -> bool {
    line.contains("lock file \"postmaster.pid\"") || line.contains("pre-existing shared memory block")
}

/// A child that was started; its handle can't come to mean another process.
struct Running {
    child: Child,
    handle: OwnedFd,
    words: Words,
}

enum Started {
    Ready,
    Ended(Vec<String>),
}

impl Running {
    fn until_ready(&mut self, folder: &std::path::Path, wake: &UnixStream) -> Result<Started, Unlaunched> {
        let start = Instant::now();
        let ours = i32::try_from(self.child.id()).unwrap_or(i32::MAX);
        loop {
            if pidfile::read(folder).is_some_and(|file| file.pid == ours && file.is_ready()) {
                return Ok(Started::Ready);
            }
            match woken(&self.handle, wake, Some(READY_POLL)) {
                Woken::Ended => {
                    // It has ended: this only collects the status.
                    let _ = self.child.wait();
                    return Ok(Started::Ended(self.words.last()));
                }
                Woken::Asked => {
                    self.stop();
                    return Err(Unlaunched::Asked);
                }
                Woken::Timeout if start.elapsed() > READY_MAX => {
                    self.stop();
                    let why = format!("it wasn't ready after {} s", READY_MAX.as_secs());
                    return Err(Unlaunched::Failed(Error::Ended(why)));
                }
                Woken::Timeout => {}
            }
        }
    }

    /// Waits for the end; `None` if it was asked for.
    fn watch(mut self, wake: &UnixStream) -> Option<String> {
        match woken(&self.handle, wake, None) {
            Woken::Asked => {
                self.stop();
                None
            }
            _ => Some(self.child.wait().map_or_else(|e| e.to_string(), |status| status.to_string())),
        }
    }

    /// SIGINT, then SIGQUIT if that hangs. What survives both dies with us, by the death signal.
    fn stop(&mut self) {
        for (signal, patience) in [(Signal::INT, STOP_FAST), (Signal::QUIT, STOP_QUIT)] {
            // It fails only if the server has ended, which the wait below sees.
            let _ = pidfd_send_signal(&self.handle, signal);
            if poll_within(&mut [PollFd::new(&self.handle, PollFlags::IN)], Some(patience)) {
                let _ = self.child.wait();
                return;
            }
            tracing::warn!(patience_ms = patience.as_millis(), "the private PostgreSQL didn't stop in time");
        }
    }
}

/// A byte, or the handle's end.
const ASKED: PollFlags = PollFlags::IN.union(PollFlags::HUP);

enum Woken {
    Ended,
    Asked,
    Timeout,
}

fn woken(handle: &OwnedFd, wake: &UnixStream, patience: Option<Duration>) -> Woken {
    let mut fds = [PollFd::new(handle, PollFlags::IN), PollFd::from_borrowed_fd(wake.as_fd(), ASKED)];
    if !poll_within(&mut fds, patience) {
        return Woken::Timeout;
    }
    if fds[0].revents().is_empty() { Woken::Asked } else { Woken::Ended }
}

/// Whether we are asked to stop while we wait.
fn asked_within(wake: &UnixStream, patience: Duration) -> bool {
    poll_within(&mut [PollFd::from_borrowed_fd(wake.as_fd(), ASKED)], Some(patience))
}

/// Whether something happened in time. A signal to the process may interrupt the call, and means nothing here.
fn poll_within(fds: &mut [PollFd<'_>], patience: Option<Duration>) -> bool {
    let start = Instant::now();
    loop {
        let left = patience.map(|p| timespec(p.saturating_sub(start.elapsed())));
        match poll(fds, left.as_ref()) {
            Err(Errno::INTR) => {}
            outcome => return outcome.is_ok_and(|n| n > 0),
        }
    }
}

fn timespec(d: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(d.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(d.subsec_nanos()) }
}

/// What the server says, passed on to the log; its last complaints are kept for the error.
struct Words {
    complaints: Arc<Mutex<Vec<String>>>,
    ended: Receiver<()>,
}

impl Words {
    fn follow(pipe: Option<ChildStderr>) -> std::io::Result<Self> {
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let (end, ended) = channel();
        let kept = Arc::clone(&complaints);
        std::thread::Builder::new().name("postgres-log".into()).spawn(move || {
            for line in pipe.map(BufReader::new).into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
                let (level, text) = line.split_once(":  ").unwrap_or(("", &line));
                match level {
                    "PANIC" => tracing::error!(target: "postgres", "{text}"),
                    "FATAL" | "WARNING" => tracing::warn!(target: "postgres", "{text}"),
                    _ => tracing::debug!(target: "postgres", "{line}"),
                }
                if matches!(level, "PANIC" | "FATAL") {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.clear();
                    kept.push(text.to_owned());
                }
            }
            drop(end);
        })?;
        Ok(Self { complaints, ended })
    }

    /// The last complaint, once the pipe is drained; orphaned workers may keep it open, so not for long.
    fn last(&self) -> Vec<String> {
        let _ = self.ended.recv_timeout(LAST_WORDS);
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
