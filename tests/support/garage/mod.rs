//! Garage, a real S3 server, for one test: one node or three, on loopback, every write synced, killed at the end.
//!
//! A node is killed as by `kill -9` and comes back on its own data and ports. `scripts/tools` installs the program.

#![allow(dead_code, reason = "the rig offers more than today's tests use")]

mod node;
mod program;

use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::{
    app::PATIENCE,
    s3::{Settings, Site},
};
use node::Node;

const BUCKET: &str = "tests";
const REGION: &str = "garage";
/// Another test may have taken a port between our look and our start.
const TRIES: u32 = 5;
/// Between two questions whether something is ready.
const POLL: Duration = Duration::from_millis(10);

pub struct Garage {
    nodes: Vec<Node>,
    /// Of several: public keys and addresses, in the order of the nodes.
    peers: Vec<String>,
    site: Site,
    _folder: TempDir,
}

impl Garage {
    /// One node.
    pub async fn start() -> Self {
        Self::with(1).await
    }

    /// Three nodes, each with a copy of everything. Requests go to the first.
    pub async fn three() -> Self {
        Self::with(3).await
    }

    pub fn endpoint(&self) -> String {
        self.site.endpoint.clone()
    }

    /// Of one node of several, counted from 0.
    pub fn endpoint_of(&self, node: usize) -> String {
        self.nodes[node].endpoint()
    }

    /// The bucket, and who may use it.
    pub fn site(&self) -> Site {
        self.site.clone()
    }

    /// What Millrace has to be told.
    pub fn settings(&self) -> Settings {
        self.site.settings()
    }

    /// The same by way of another address: a proxy's.
    pub fn settings_through(&self, endpoint: &str) -> Settings {
        self.site.through(endpoint).settings()
    }

    pub async fn objects(&self, prefix: &str) -> Vec<String> {
        self.site.objects(prefix).await
    }

    /// Key and id of every open multipart upload.
    pub async fn multiparts(&self) -> Vec<(String, String)> {
        self.site.multiparts().await
    }

    /// Ends all nodes without a word.
    pub fn kill(&mut self) {
        self.nodes.iter_mut().for_each(Node::kill);
    }

    /// Starts those that don't run, on the data that they left.
    pub async fn boot(&mut self) {
        self.nodes.iter_mut().for_each(Node::start);
        self.again().await;
    }

    pub fn kill_node(&mut self, node: usize) {
        self.nodes[node].kill();
    }

    pub async fn boot_node(&mut self, node: usize) {
        self.nodes[node].start();
        self.again().await;
    }

    async fn again(&mut self) {
        let ended = |log| panic!("garage ended:\n{log}");
        self.until_ready(1).await.unwrap_or_else(ended);
        self.introduce().await.unwrap_or_else(ended);
    }

    async fn with(count: usize) -> Self {
        let mut last = String::new();
        for _ in 0..TRIES {
            match Self::try_with(count).await {
                Ok(garage) => return garage,
                Err(log) => last = log,
            }
        }
        panic!("garage didn't start in {TRIES} tries:\n{last}");
    }

    /// The log of a node that ended.
    async fn try_with(count: usize) -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("garage-").tempdir().unwrap();
        let keys = node::Keys::random(BUCKET);
        let mut nodes: Vec<_> =
            (0..count).map(|n| Node::new(folder.path().join(n.to_string()), &keys, count)).collect();
        let site = Site {
            endpoint: nodes[0].endpoint(),
            region: REGION.to_owned(),
            bucket: BUCKET.to_owned(),
            access_key_id: keys.access_key_id.clone(),
            secret_access_key: keys.secret_access_key.clone(),
        };
        nodes.iter_mut().for_each(Node::start);
        let mut garage = Self { nodes, peers: Vec::new(), site, _folder: folder };
        garage.until_ready(1).await?;
        if count > 1 {
            garage.join().await?;
        }
        Ok(garage)
    }

    /// Tells all that run of each other; by themselves they would take half a minute after a restart.
    async fn introduce(&mut self) -> Result<(), String> {
        let running: Vec<usize> = (0..self.peers.len()).filter(|n| self.nodes[*n].is_started()).collect();
        for n in &running {
            let others: Vec<_> = running.iter().filter(|other| *other != n).map(|other| &self.peers[*other]).collect();
            self.nodes[*n].tell("ConnectClusterNodes", json!(others)).await;
        }
        self.until_ready(running.len()).await
    }

    /// All that run answer, and see so many or more, themselves included.
    async fn until_ready(&mut self, connected: usize) -> Result<(), String> {
        let begun = Instant::now();
        for node in self.nodes.iter_mut().filter(|node| node.is_started()) {
            while !(node.accepts() && node.connected().await >= Some(connected as u64)) {
                if let Some(log) = node.ended() {
                    return Err(log);
                }
                assert!(begun.elapsed() < PATIENCE, "garage isn't ready: {}", node.log());
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    }

    /// Makes a cluster of the nodes, shares out the data, and makes the bucket and its key. One node does this by itself.
    async fn join(&mut self) -> Result<(), String> {
        let mut roles = Vec::new();
        for node in &self.nodes {
            let id = node.id().await;
            self.peers.push(format!("{id}@{}", node.rpc()));
            roles.push(json!({ "id": id, "zone": id, "capacity": 1_u64 << 40, "tags": [] }));
        }
        self.introduce().await?;
        let first = &self.nodes[0];
        first.tell("UpdateClusterLayout", json!({ "roles": roles })).await;
        first.tell("ApplyClusterLayout", json!({ "version": 1 })).await;
        let id = &self.site.access_key_id;
        let key = json!({ "accessKeyId": id, "secretAccessKey": self.site.secret_access_key, "name": "tests" });
        first.tell("ImportKey", key).await;
        let bucket = first.tell("CreateBucket", json!({ "globalAlias": BUCKET })).await;
        let all = json!({ "read": true, "write": true, "owner": true });
        let may = json!({ "bucketId": bucket["id"], "accessKeyId": id, "permissions": all });
        first.tell("AllowBucketKey", may).await;
        Ok(())
    }
}
