//! Garage, a real S3 server, for a bench: one node with its own defaults, so without syncing; on loopback.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};
use tokio::runtime::Runtime;

use super::{
    BUCKET, bare,
    site::{Site, free_address},
};
use crate::leftovers;

/// A store that hasn't begun to answer after this won't.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// One node with its own defaults, on the same ports however often it begins anew. It ends with this.
pub struct Garage {
    program: PathBuf,
    folder: PathBuf,
    pub site: Site,
    s3: String,
    child: Option<Child>,
}

impl Garage {
    /// Not yet running.
    pub fn new(program: PathBuf, below: &Path) -> anyhow::Result<Self> {
        let folder = below.join("garage");
        fs::create_dir_all(&folder)?;
        let (s3, rpc) = (free_address()?, free_address()?);
        let (rpc_secret, id, secret) = (random_hex()?, random_hex()?, random_hex()?);
        let settings = format!(
            "metadata_dir = \"{here}/meta\"\ndata_dir = \"{here}/data\"\ndb_engine = \"lmdb\"\nreplication_factor = 1\n\
             rpc_bind_addr = \"{rpc}\"\nrpc_public_addr = \"{rpc}\"\nrpc_secret = \"{rpc_secret}\"\n\
             [s3_api]\ns3_region = \"garage\"\napi_bind_addr = \"{s3}\"\n",
            here = folder.display(),
        );
        fs::write(folder.join("garage.toml"), settings)?;
        let site = Site {
            endpoint: format!("http://{s3}"),
            region: "garage".into(),
            bucket: BUCKET.into(),
            access_key_id: format!("GK{}", &id[..24]),
            secret_access_key: secret,
        };
        Ok(Self { program, folder, site, s3, child: None })
    }

    /// With an empty bucket in it, which answers when this returns.
    pub fn begin_anew(&mut self, runtime: &Runtime) -> anyhow::Result<()> {
        self.end();
        for part in ["meta", "data"] {
            let _ = fs::remove_dir_all(self.folder.join(part));
        }
        let log = fs::File::create(self.folder.join("log"))?;
        let mut server = Command::new(&self.program);
        server.arg("-c").arg(self.folder.join("garage.toml")).args(["server", "--single-node", "--default-bucket"]);
        server.env("GARAGE_DEFAULT_ACCESS_KEY", &self.site.access_key_id);
        server.env("GARAGE_DEFAULT_SECRET_KEY", &self.site.secret_access_key);
        server.env("GARAGE_DEFAULT_BUCKET", BUCKET).env("RUST_LOG", "warn");
        let child = server.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        leftovers::server(child.id());
        self.child = Some(child);
        let begun = Instant::now();
        while TcpStream::connect(&self.s3).is_err() || !runtime.block_on(bare::answers(&self.site)) {
            ensure!(begun.elapsed() < PATIENCE, "garage doesn't answer: {}", self.log());
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().transpose()) {
                bail!("garage ended with {}: {}", status?, self.log());
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            leftovers::ended(child.id());
        }
    }
}

impl Drop for Garage {
    fn drop(&mut self) {
        self.end();
    }
}

fn random_hex() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| anyhow::anyhow!("no random bytes: {e}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
