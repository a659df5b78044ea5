//! A millrace of its own for one test: data folder, private PostgreSQL, local store, owner's token.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::postgres::daemon::{self, Daemon};

/// Nothing in these tests waits longer for anything. Generous: two cores may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct App {
    daemon: Option<Daemon>,
    settings: Vec<(String, String)>,
    pub data: PathBuf,
    pub token: String,
    pub http: reqwest::Client,
    _folder: TempDir,
}

impl App {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With settings, as environment variables.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        let folder = daemon::folder();
        let data = folder.path().join("data");
        Self::at(folder, data, settings).await
    }

    /// In a folder that the test prepared.
    pub async fn at(folder: TempDir, data: PathBuf, settings: &[(&str, &str)]) -> Self {
        let settings: Vec<_> = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let http = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        let mut app = Self { daemon: None, settings, data, token: String::new(), http, _folder: folder };
        app.boot().await;
        // A node that joins others finds the owner there already.
        let token = fs::read_to_string(app.data.join("owner-token"));
        app.token = token.map(|token| token.trim().to_owned()).unwrap_or_default();
        app
    }

    /// Another setting, from the next boot on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.into(), value.into()));
    }

    /// Around a daemon that was started otherwise and needn't be ready.
    pub fn around(daemon: Daemon, folder: TempDir) -> Self {
        let data = daemon.data.clone();
        let token = fs::read_to_string(data.join("owner-token")).unwrap().trim().to_owned();
        let http = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        Self { daemon: Some(daemon), settings: Vec::new(), data, token, http, _folder: folder }
    }

    pub async fn boot(&mut self) {
        let mut command = daemon::millrace(&self.data);
        command.envs(self.settings.iter().map(|(k, v)| (k, v)));
        let daemon = Daemon::start_as(&self.data, command).unwrap();
        daemon.until_ready(PATIENCE).await;
        self.daemon = Some(daemon);
    }

    /// Another command, with the same settings: status, standard output, standard error.
    pub fn run(&self, args: &[&str]) -> (ExitStatus, String, String) {
        let mut command = daemon::millrace(&self.data);
        command.envs(self.settings.iter().map(|(k, v)| (k, v))).args(args);
        daemon::finish(command)
    }

    pub fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    /// Ends the process without a word, as a crash does.
    pub fn kill(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        daemon.signal(Signal::KILL);
        daemon.wait();
    }

    /// Ends the process by a signal; how it ended.
    pub fn ended_by(&mut self, signal: Signal) -> ExitStatus {
        let mut daemon = self.daemon.take().unwrap();
        daemon.signal(signal);
        daemon.wait()
    }

    pub async fn kill_and_boot(&mut self) {
        self.kill();
        self.boot().await;
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.daemon().url.trim_end_matches('/'))
    }

    /// `host:port`, for raw sockets.
    pub fn host(&self) -> String {
        self.daemon().url.trim_start_matches("http://").trim_end_matches('/').to_owned()
    }

    pub fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(self.url(path)).bearer_auth(&self.token)
    }

    pub fn post(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.post(self.url(path)).bearer_auth(&self.token)
    }

    pub async fn track(&self, id: &str) -> Value {
        self.get(&format!("/api/v1/tracks/{id}")).send().await.unwrap().json().await.unwrap()
    }

    /// The track once `wanted` holds of it.
    pub async fn track_when(&self, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let track = self.track(id).await;
            if wanted(&track) {
                return track;
            }
            assert!(begun.elapsed() < PATIENCE, "never {what}: {track}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The track in its last state: `ready` or `failed`.
    pub async fn settled(&self, id: &str) -> Value {
        self.track_when(id, "settled", |t| matches!(t["state"].as_str(), Some("ready" | "failed"))).await
    }

    /// One value from the database.
    pub async fn ask(&self, sql: &'static str) -> i64 {
        let mut db = self.daemon().connect().await;
        sqlx::query_scalar(sql).fetch_one(&mut db).await.unwrap()
    }

    /// Waits until a count is above 0.
    pub async fn until(&self, what: &str, sql: &'static str) {
        let begun = Instant::now();
        while self.ask(sql).await == 0 {
            assert!(begun.elapsed() < PATIENCE, "never {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Files below a folder of the store.
    pub fn files(&self, below: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(&self.data.join("store").join(below), &mut found);
        found
    }

    /// Waits until nothing is left over: no trash, no unfinished file, no file on its way, and every object is one that a
    /// row names. And nobody ever waited for somebody who waited for them.
    pub async fn until_clean(&self) {
        let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
        assert_eq!(self.ask(deadlocks).await, 0, "rows are locked in one order: upload, job, track");
        let begun = Instant::now();
        loop {
            let trash = self.ask("SELECT count(*) FROM store_trash WHERE not_before <= now()").await;
            let left = [self.files("multipart"), self.files("tmp")].concat();
            let unlike = self.unlike_the_rows().await;
            if trash == 0 && left.is_empty() && unlike.is_empty() {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "left over: {trash} rows of trash, {left:?}; unlike the rows: {unlike:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Keys that rows name and the local store lacks, and keys that it has and no row names. What waits for its deletion
    /// may be there still.
    async fn unlike_the_rows(&self) -> Vec<String> {
        if self.settings.iter().any(|(name, value)| name == "TRACK_STORAGE_BACKEND" && value == "s3") {
            return Vec::new();
        }
        let mut db = self.daemon().connect().await;
        let named: Vec<String> = sqlx::query_scalar(NAMED).fetch_all(&mut db).await.unwrap();
        let waiting = "SELECT key, is_prefix FROM store_trash WHERE multipart_id IS NULL";
        let waiting: Vec<(String, bool)> = sqlx::query_as(waiting).fetch_all(&mut db).await.unwrap();
        let waits = |key: &&str| waiting.iter().any(|(of, is_prefix)| of == key || *is_prefix && key.starts_with(of));
        let objects = self.data.join("store/objects");
        let files = self.files("objects");
        let there = files.iter().map(|file| file.strip_prefix(&objects).unwrap().to_str().unwrap());
        let named: BTreeSet<&str> = named.iter().map(String::as_str).collect();
        let there: BTreeSet<&str> = there.filter(|key| named.contains(key) || !waits(key)).collect();
        named.symmetric_difference(&there).map(|key| (*key).to_owned()).collect()
    }
}

/// Every object that a row promises. A tail is none here: the local store writes it in place.
const NAMED: &str = "SELECT key FROM uploads WHERE state = 'stored'
    UNION ALL SELECT init_key FROM rungs
    UNION ALL SELECT key FROM segments
    UNION ALL SELECT key FROM pictures
    UNION ALL SELECT key FROM rendition_pieces
    UNION ALL SELECT peaks_key FROM tracks WHERE peaks_key IS NOT NULL";

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, found) } else { found.push(path) }
    }
}
