//! One node: its settings, its process, and the part of its admin interface that a test needs.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use rand::RngExt;
use serde_json::Value;

use super::program;

/// Below those that the kernel gives away by itself, so that a killed node finds its own again.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// How long a request waits for a node that died just then. Garage's own limit is longer than a test's patience.
const RPC_TIMEOUT_MS: u32 = 3_000;

/// Secrets of one cluster, made for it.
pub(super) struct Keys {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: String,
    bucket: &'static str,
    rpc: String,
    admin: String,
}

impl Keys {
    pub(super) fn random(bucket: &'static str) -> Self {
        let hex = || uuid::Uuid::new_v4().simple().to_string();
        Self {
            access_key_id: format!("GK{}", &hex()[..24]),
            secret_access_key: hex() + &hex(),
            bucket,
            rpc: hex() + &hex(),
            admin: hex(),
        }
    }
}

pub(super) struct Node {
    folder: PathBuf,
    is_alone: bool,
    settings: Vec<(&'static str, String)>,
    s3: SocketAddr,
    rpc: SocketAddr,
    admin: SocketAddr,
    token: String,
    http: reqwest::Client,
    child: Option<Child>,
}

impl Node {
    pub(super) fn new(folder: PathBuf, keys: &Keys, copies: usize) -> Self {
        let [s3, rpc, admin] = addresses();
        fs::create_dir_all(&folder).unwrap();
        let text = format!(
            "metadata_dir = \"{here}/meta\"
             data_dir = \"{here}/data\"
             db_engine = \"lmdb\"
             metadata_fsync = true
             data_fsync = true
             disable_scrub = true
             rpc_timeout_msec = {RPC_TIMEOUT_MS}
             replication_factor = {copies}
             rpc_bind_addr = \"{rpc}\"
             rpc_public_addr = \"{rpc}\"
             rpc_secret = \"{secret}\"
             [s3_api]
             s3_region = \"{region}\"
             api_bind_addr = \"{s3}\"
             [admin]
             api_bind_addr = \"{admin}\"
             admin_token = \"{token}\"
            ",
            here = folder.display(),
            secret = keys.rpc,
            region = super::REGION,
            token = keys.admin,
        );
        fs::write(folder.join("garage.toml"), text).unwrap();
        let settings = vec![
            ("GARAGE_DEFAULT_ACCESS_KEY", keys.access_key_id.clone()),
            ("GARAGE_DEFAULT_SECRET_KEY", keys.secret_access_key.clone()),
            ("GARAGE_DEFAULT_BUCKET", keys.bucket.to_owned()),
        ];
        let (token, http) = (keys.admin.clone(), reqwest::Client::new());
        Self { folder, is_alone: copies == 1, settings, s3, rpc, admin, token, http, child: None }
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.s3)
    }

    pub(super) fn start(&mut self) {
        if self.child.is_some() {
            return;
        }
        let mut server = Command::new(program::path());
        server.arg("-c").arg(self.folder.join("garage.toml")).arg("server").env("RUST_LOG", "warn");
        if self.is_alone {
            server.args(["--single-node", "--default-bucket"]);
            server.envs(self.settings.iter().map(|(name, value)| (name, value)));
        }
        let log = File::options().create(true).append(true).open(self.folder.join("log")).unwrap();
        server.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(server.spawn().unwrap());
    }

    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(super) fn is_started(&self) -> bool {
        self.child.is_some()
    }

    /// The log, if the process has ended by itself.
    pub(super) fn ended(&mut self) -> Option<String> {
        let ended = self.child.as_mut()?.try_wait().unwrap()?;
        self.child = None;
        Some(format!("{ended}\n{}", self.log()))
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Whether its S3 side takes connections.
    pub(super) fn accepts(&self) -> bool {
        TcpStream::connect(self.s3).is_ok()
    }

    /// How many nodes it sees, itself included; none before it answers.
    pub(super) async fn connected(&self) -> Option<u64> {
        let asked = self.http.get(format!("http://{}/v2/GetClusterHealth", self.admin)).bearer_auth(&self.token);
        let answer = asked.send().await.ok()?.error_for_status().ok()?;
        answer.json::<Value>().await.ok()?["connectedNodes"].as_u64()
    }

    /// Its public key, as long as it knows no other node.
    pub(super) async fn id(&self) -> String {
        let asked = self.http.get(format!("http://{}/v2/GetClusterStatus", self.admin)).bearer_auth(&self.token);
        let status: Value = asked.send().await.unwrap().json().await.unwrap();
        status["nodes"][0]["id"].as_str().unwrap().to_owned()
    }

    /// Where other nodes find it.
    pub(super) fn rpc(&self) -> SocketAddr {
        self.rpc
    }

    /// One call of the admin interface.
    pub(super) async fn tell(&self, verb: &str, what: Value) -> Value {
        let asked = self.http.post(format!("http://{}/v2/{verb}", self.admin)).bearer_auth(&self.token).json(&what);
        let answer = asked.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{verb} {what}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Free at this moment.
fn addresses<const N: usize>() -> [SocketAddr; N] {
    let mut random = rand::rng();
    // Held until all are found, so that no two are the same.
    let held: [TcpListener; N] = std::array::from_fn(|_| {
        let mut tries = (0..100).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, random.random_range(PORTS))));
        tries.find_map(Result::ok).expect("a free port among a hundred")
    });
    held.map(|listener| listener.local_addr().unwrap())
}
