//! A real `millrace serve` with a data folder of its own, ended when dropped.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection, PgConnection};

/// What a failed test shows of the log: how the daemon saw it.
const LAST_LINES: usize = 30;

/// A folder that the unprivileged user of a server started by root can reach.
pub fn folder() -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("millrace-test-").tempdir_in("/tmp").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// The command, with nothing from our surroundings but `PATH`.
pub fn millrace(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", data);
    command.current_dir("/").arg("--data").arg(data);
    command
}

/// Runs the command to its end: status, standard output, standard error.
pub fn finish(mut command: Command) -> (ExitStatus, String, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status, text(output.stdout), text(output.stderr))
}

pub struct Daemon {
    child: Child,
    pub data: PathBuf,
    /// The public address.
    pub url: String,
    said: Arc<Mutex<String>>,
}

impl Daemon {
    /// Starts and waits until it says that it is ready; else what it said instead.
    pub fn start(data: &Path) -> Result<Self, String> {
        Self::start_as(data, millrace(data))
    }

    pub fn start_as(data: &Path, mut command: Command) -> Result<Self, String> {
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.process_group(0).spawn().unwrap();
        let mut errors = child.stderr.take().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let listener = std::thread::spawn({
            let said = Arc::clone(&said);
            move || {
                let mut piece = [0; 4096];
                while let Ok(n @ 1..) = errors.read(&mut piece) {
                    said.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..n]));
                }
            }
        });
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        match line.strip_prefix("Millrace is ready: ") {
            Some(url) => Ok(Self { child, data: data.into(), url: url.trim().to_owned(), said }),
            None => {
                let status = child.wait().unwrap();
                listener.join().unwrap();
                let said = said.lock().unwrap();
                Err(format!("{}: {said}", status.code().unwrap_or(-1)))
            }
        }
    }

    /// What it wrote to its log so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Line 1 of the server's pid file.
    pub fn postmaster(&self) -> i32 {
        let text = fs::read_to_string(self.data.join("postgres/postmaster.pid")).unwrap();
        text.lines().next().unwrap().parse().unwrap()
    }

    pub fn database_url(&self) -> String {
        let mut command = millrace(&self.data);
        command.args(["db", "url"]);
        let (status, url, errors) = finish(command);
        assert!(status.success(), "{errors}");
        url.trim().to_owned()
    }

    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.database_url()).await.unwrap()
    }

    pub async fn status(&self, path: &str) -> Option<u16> {
        let url = format!("{}{path}", self.url.trim_end_matches('/'));
        Some(reqwest::get(url).await.ok()?.status().as_u16())
    }

    /// How long until `/readyz` says 200.
    pub async fn until_ready(&self, max: Duration) -> Duration {
        let start = Instant::now();
        while self.status("/readyz").await != Some(200) {
            assert!(start.elapsed() < max, "not ready after {max:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        start.elapsed()
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal);
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

pub fn kill(pid: i32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = self.said();
            let lines: Vec<&str> =
                said.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
            let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
            eprintln!("{} warned of, at last:\n{}", self.url, last.join("\n"));
        }
        if self.child.try_wait().unwrap().is_none() {
            self.signal(Signal::TERM);
            let _ = self.child.wait();
        }
    }
}
