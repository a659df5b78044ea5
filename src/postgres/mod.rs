//! The private PostgreSQL: a server of ours, as our direct child, on a unix socket only.
//!
//! Promises: no TCP port; `fsync` on; at most one server per folder; up again by itself after any exit that wasn't
//! asked for; gone when we are, however we end. `postmaster.pid` is never deleted.
//! One thread, [`supervisor`], spawns the server and lives as long as it: the kernel ties the child's death signal to
//! the spawning *thread*, so no runtime's worker may do it.
//! Absent: other systems than Linux, and upgrades between major versions: `DATABASE_URL` serves both.

mod account;
mod binaries;
mod child;
mod folder;
mod pidfile;
mod socket;
mod supervisor;

use std::{io::Write, os::unix::net::UnixStream, path::PathBuf, thread::JoinHandle};

use tokio::sync::watch;

pub use binaries::Binaries;
pub use supervisor::STOP_MAX;

/// The database's superuser, which only we and the server's own user may be.
pub const USER: &str = "millrace";
/// Names the socket's file; there is no port of that number.
pub const PORT: u16 = 5432;

/// What the supervisor must know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `$MILLRACE_DATA`.
    pub data: PathBuf,
    /// Where the programs are, if somebody said so.
    pub bindir: Option<PathBuf>,
    /// Where to look for them otherwise.
    pub path: Vec<PathBuf>,
    /// A private folder of this login, for a socket whose path would be too long in `data`.
    pub runtime_dir: Option<PathBuf>,
}

/// Why the server can't be had. Each says the cure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No programs.
    #[error("no PostgreSQL found: apt install postgresql, or set DATABASE_URL")]
    NotInstalled,
    /// `PG_BINDIR` is wrong.
    #[error("{0} has no postgres and initdb: correct PG_BINDIR")]
    WrongBindir(PathBuf),
    /// The folder was made by another major version.
    #[error(
        "{folder} was made by PostgreSQL {made_by}, and only {installed} is installed: apt install postgresql-{made_by} \
         (or set PG_BINDIR), or move the folder aside and restore the last dump with pg_restore"
    )]
    Version {
        /// The folder.
        folder: PathBuf,
        /// Its version.
        made_by: String,
        /// Those that we found.
        installed: String,
    },
    /// Started by root, and nobody to run the server as.
    #[error("PostgreSQL refuses to run as root and there is no user postgres: adduser --system --group postgres")]
    NoAccount,
    /// Our user has no name.
    #[error("user id {0} has no name in /etc/passwd, and PostgreSQL needs one: add it, or set DATABASE_URL")]
    Nameless(u32),
    /// A parent folder can't be passed.
    #[error(
        "user {account} can't enter {parent}, and PostgreSQL runs as that user: chmod o+x {parent}, or choose another \
         folder with --data"
    )]
    Unreachable {
        /// Who.
        account: String,
        /// The first folder that lacks `x`.
        parent: PathBuf,
    },
    /// It belongs to someone else.
    #[error("{folder} belongs to user id {owner}: start as that user or as root, or choose another folder with --data")]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// There is something, and it isn't a database.
    #[error("{0} isn't a PostgreSQL folder: move it aside, or choose another with --data")]
    NotADatabase(PathBuf),
    /// Another server holds the folder, for longer than a dying one would.
    #[error("{0}")]
    Held(String),
    /// The socket's path can't be made short and private.
    #[error("no private folder for PostgreSQL's socket with a short path: choose a shorter --data than {0}")]
    NoSocket(PathBuf),
    /// It ended while starting.
    #[error("PostgreSQL didn't start: {0}")]
    Ended(String),
    /// `initdb` failed.
    #[error("PostgreSQL couldn't make its folder: {0}")]
    Init(String),
    /// The file system failed.
    #[error("{what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// How it failed.
        #[source]
        source: std::io::Error,
    },
}

/// What the supervisor says of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not ready yet.
    Starting,
    /// Answers.
    Ready,
    /// Ended by itself, and is being started again.
    Down(String),
    /// It can't be started; the supervisor has given up.
    Failed(String),
    /// Ended as asked.
    Stopped,
}

/// The running server. Dropped without [`Postgres::stop`], the server is asked to stop and not waited for.
pub struct Postgres {
    state: watch::Receiver<State>,
    wake: UnixStream,
    thread: JoinHandle<()>,
    url: watch::Receiver<Option<String>>,
}

/// Starts the supervisor's thread; [`Postgres::ready`] tells how it went.
///
/// # Errors
/// No thread, no socket pair.
pub fn start(settings: Settings) -> std::io::Result<Postgres> {
    let (wake, woken) = UnixStream::pair()?;
    let (tell_state, state) = watch::channel(State::Starting);
    let (tell_url, url) = watch::channel(None);
    let thread = std::thread::Builder::new()
        .name("postgres".into())
        .spawn(move || supervisor::run(&settings, &woken, &tell_state, &tell_url))?;
    Ok(Postgres { state, wake, thread, url })
}

/// How the server would be run.
pub struct Plan {
    /// By which programs.
    pub binaries: Binaries,
    /// As whom.
    pub account: String,
}

/// What [`start`] would do, without doing anything.
///
/// # Errors
/// Why it would fail, with the cure.
pub fn plan(settings: &Settings) -> Result<Plan, Error> {
    let folder = folder::of(&settings.data);
    let binaries = Binaries::find(settings, &folder)?;
    let accounts = account::choose(&settings.data, &folder)?;
    folder::check(settings, &folder, &accounts)?;
    Ok(Plan { binaries, account: accounts.servers.name })
}

/// The URL of a server that some process runs on this folder now, if one does.
pub fn running_url(data: &std::path::Path) -> Option<String> {
    let pidfile = pidfile::read(&folder::of(data))?;
    pidfile.is_ready().then(|| socket::url(&pidfile.socket_dir))
}

impl Postgres {
    /// Waits until the server answers; its URL.
    ///
    /// # Errors
    /// It can't be started, with the cure.
    pub async fn ready(&mut self) -> anyhow::Result<String> {
        let settled = |state: &State| matches!(state, State::Ready | State::Failed(_) | State::Stopped);
        let state = self.state.wait_for(settled).await.map_or(State::Stopped, |state| state.clone());
        match (state, self.url.borrow().clone()) {
            (State::Ready, Some(url)) => Ok(url),
            (State::Failed(why), _) => Err(anyhow::anyhow!(why)),
            _ => Err(anyhow::anyhow!("PostgreSQL was stopped while it started")),
        }
    }

    /// Stops the server, fast and clean, within [`STOP_MAX`].
    pub fn stop(mut self) {
        // A closed socket says the same; nobody listens only when the thread has ended.
        let _ = self.wake.write_all(b"s");
        drop(self.wake);
        let _ = self.thread.join();
    }
}
