//! The servers under measure: each a child process that says its address, with a folder of its own.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, bail};

use crate::leftovers;

/// A running server; ended when dropped.
pub struct Server {
    child: Child,
    /// `host:port`.
    pub host: String,
    /// What its requests carry.
    pub token: Option<String>,
    /// Where it keeps things.
    pub data: PathBuf,
}

/// A folder that the unprivileged user of a database started by root can reach.
pub fn folder(parent: &Path) -> anyhow::Result<tempfile::TempDir> {
    let dir = tempfile::Builder::new().prefix("millrace-bench-").tempdir_in(parent)?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
    leftovers::folder(dir.path());
    Ok(dir)
}

/// The command, with nothing from our surroundings but `PATH`.
pub fn millrace(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", data).arg("--data").arg(data);
    command.current_dir("/");
    command
}

impl Server {
    /// The real one, as `make run` starts it.
    pub fn millrace(below: &Path) -> anyhow::Result<Self> {
        let data = below.join("millrace");
        let mut command = millrace(&data);
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        let mut server = Self::start(command, data)?;
        let token = fs::read_to_string(server.data.join("owner-token")).context("owner-token")?;
        server.token = Some(token.trim().to_owned());
        Ok(server)
    }

    /// Receive, hash, write and nothing else: what the rest may cost at least.
    pub fn probe(below: &Path) -> anyhow::Result<Self> {
        let data = below.join("probe");
        fs::create_dir_all(&data)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("probe").arg(&data);
        Self::start(command, data)
    }

    /// @tus/server with its file store.
    pub fn peer(below: &Path, modules: &Path) -> anyhow::Result<Self> {
        let data = below.join("peer");
        fs::create_dir_all(&data)?;
        // Node looks for packages from where the script lies.
        let script = modules.join("peer.mjs");
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peer.mjs"), &script)?;
        let mut command = Command::new("node");
        command.arg(script).arg(&data);
        Self::start(command, data)
    }

    fn start(mut command: Command, data: PathBuf) -> anyhow::Result<Self> {
        let log = fs::File::create(data.with_extension("log"))?;
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
        leftovers::server(child.id());
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no pipe")?).read_line(&mut line)?;
        let Some((_, url)) = line.split_once("ready: ") else {
            let status = child.wait()?;
            leftovers::ended(child.id());
            bail!("{command:?} ended with {status}: {}", fs::read_to_string(data.with_extension("log"))?);
        };
        let host = url.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
        Ok(Self { child, host, token: None, data })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An absolute URL.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.host)
    }

    /// Removes the files of finished uploads: the next round starts with the same free space, and nobody else's dirty pages.
    pub fn forget_uploads(&self) -> anyhow::Result<()> {
        let mut folders = vec![self.data.clone()];
        while let Some(folder) = folders.pop() {
            if folder.ends_with("postgres") {
                continue;
            }
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                } else if entry.metadata()?.len() > 1 << 20 {
                    fs::remove_file(entry.path())?;
                }
            }
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        leftovers::ask_to_end(self.child.id());
        let _ = self.child.wait();
        leftovers::ended(self.child.id());
    }
}
