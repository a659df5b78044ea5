//! The servers under measure: each a child process that says its address, with a folder of its own.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::{
    leftovers,
    s3::site::{Site, free_address},
};

/// A server that hasn't begun to listen after this won't.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

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
    reachable(dir.path())?;
    leftovers::folder(dir.path());
    Ok(dir)
}

/// For everybody to look into.
pub fn reachable(folder: &Path) -> anyhow::Result<()> {
    Ok(fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?)
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
        Self::owned(command, data)
    }

    /// The same with a bucket to keep its bytes in.
    pub fn millrace_on(below: &Path, site: &Site) -> anyhow::Result<Self> {
        let data = below.join("millrace");
        let mut command = millrace(&data);
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command.env("TRACK_STORAGE_BACKEND", "s3").env("S3_FORCE_PATH_STYLE", "true");
        let names = ["S3_ENDPOINT", "S3_REGION", "S3_BUCKET", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"];
        command.envs(names.into_iter().zip(site.words()));
        // Nobody begins so many uploads by hand.
        command.env("UPLOAD_CREATIONS_PER_MINUTE", "100000");
        Self::owned(command, data)
    }

    /// Our own: its owner's token lies in its folder.
    fn owned(command: Command, data: PathBuf) -> anyhow::Result<Self> {
        let mut server = Self::start(command, data)?;
        let token = fs::read_to_string(server.data.join("owner-token")).context("owner-token")?;
        server.token = Some(token.trim().to_owned());
        Ok(server)
    }

    /// A part of this program in a process of its own.
    pub fn part(below: &Path, name: &str, words: &[&str]) -> anyhow::Result<Self> {
        let data = below.join(name);
        fs::create_dir_all(&data)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(name).args(words);
        Self::start(command, data)
    }

    /// @tus/server with its S3 store. It spools every part into a temporary file.
    pub fn peer_s3(below: &Path, modules: &Path, site: &Site, part_bytes: usize) -> anyhow::Result<Self> {
        let data = below.join("peer-s3");
        fs::create_dir_all(&data)?;
        let script = modules.join("peer-s3.mjs");
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peer-s3.mjs"), &script)?;
        let mut command = Command::new("node");
        command.arg(script).args(site.words()).arg(part_bytes.to_string()).env("TMPDIR", &data);
        Self::start(command, data)
    }

    /// The crate `tus-server` over OpenDAL. It doesn't say when it is ready.
    pub fn tus_server(below: &Path, program: &Path, site: &Site) -> anyhow::Result<Self> {
        let data = below.join("tus-server");
        fs::create_dir_all(&data)?;
        let host = free_address()?;
        let settings = format!(
            "[storage]\nuri = \"s3://{}\"\nendpoint = \"{}\"\nregion = \"{}\"\n\
             access_key_id = \"{}\"\nsecret_access_key = \"{}\"\n",
            site.bucket, site.endpoint, site.region, site.access_key_id, site.secret_access_key,
        );
        let file = data.join("tus-server.toml");
        fs::write(&file, settings)?;
        let mut command = Command::new(program);
        command.args(["serve", "--addr", &host, "--base-path", "/files", "--max-size", "0", "--max-chunk-size", "0"]);
        command
            .args(["--max-request-body-bytes", "0", "--config"])
            .arg(file)
            .arg("--state-dir")
            .arg(data.join("state"));
        let log = fs::File::create(data.with_extension("log"))?;
        let mut child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        leftovers::server(child.id());
        let begun = Instant::now();
        while TcpStream::connect(&host).is_err() {
            if child.try_wait()?.is_some() || begun.elapsed() > PATIENCE {
                let _ = child.kill();
                leftovers::ended(child.id());
                bail!("tus-server isn't there: {}", fs::read_to_string(data.with_extension("log"))?);
            }
            std::thread::sleep(POLL);
        }
        Ok(Self { child, host, token: None, data })
    }

    /// Receive, hash, write and nothing else: what the rest may cost at least.
    pub fn probe(below: &Path) -> anyhow::Result<Self> {
        Self::part(below, "probe", &[below.join("probe").to_str().context("a folder's name")?])
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
