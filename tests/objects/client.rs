//! A client that resumes until its file is stored, and writes down every offset that it was told before it goes on.
//!
//! It trusts nothing but what the server says is there, sends what isn't, and judges: an offset that falls, or an acknowledged
//! chunk that isn't there, is a byte lost. It speaks any of the three protocols. The address that it talks to may change
//! under it, as when a daemon comes back elsewhere.

use std::{
    fs::File,
    io::Write,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::join_all;
use rand::{RngExt, rngs::StdRng};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::support::{
    app::{App, PATIENCE},
    ietf::{PARTIAL, text},
    tus::{OCTETS, Upload, metadata, number, sha256, upload},
};

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// Chunks that are sent at once.
const CHUNKS_AT_ONCE: usize = 3;

/// The protocol of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    Tus,
    Ietf,
    Chunks,
}

/// Where the daemon answers now, and how it is spoken to.
#[derive(Clone)]
pub struct Door {
    url: Arc<Mutex<String>>,
    token: String,
    http: reqwest::Client,
    speaks: Speaks,
}

impl Door {
    pub fn of(app: &App) -> Self {
        let url = Arc::new(Mutex::new(app.url("")));
        Self { url, token: app.token.clone(), http: app.http.clone(), speaks: Speaks::Tus }
    }

    /// The same daemon, in another protocol.
    pub fn speaking(&self, speaks: Speaks) -> Self {
        Self { speaks, ..self.clone() }
    }

    pub fn moves_to(&self, app: &App) {
        *self.url.lock().unwrap() = app.url("");
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = self.url.lock().unwrap().clone();
        let request = self.http.request(method, url + path).bearer_auth(&self.token);
        match self.speaks {
            Speaks::Tus => request.header("Tus-Resumable", "1.0.0"),
            Speaks::Ietf => request.header("Upload-Draft-Interop-Version", "8"),
            Speaks::Chunks => request,
        }
    }

    fn creation(&self, bytes: &[u8]) -> RequestBuilder {
        match self.speaks {
            Speaks::Tus => {
                let said = metadata(&[("filename", "x.bin"), ("sha256", &sha256(bytes))]);
                let asked = self.request(Method::POST, "/files").header("Upload-Length", bytes.len());
                asked.header("Upload-Metadata", said)
            }
            Speaks::Ietf => {
                let asked = self.request(Method::POST, "/files").header("Upload-Length", bytes.len());
                asked.header("Upload-Complete", "?0")
            }
            Speaks::Chunks => {
                let wanted = json!({ "filename": "x.bin", "size": bytes.len(), "sha256": sha256(bytes) });
                self.request(Method::POST, "/api/v1/uploads").json(&wanted)
            }
        }
    }

    async fn created(&self, answer: Response) -> (Upload, usize) {
        if self.speaks != Speaks::Chunks {
            return (upload(&answer), 0);
        }
        let told: Value = answer.json().await.unwrap();
        let path = format!("/api/v1/uploads/{}", told["id"].as_str().unwrap());
        let chunk_bytes = usize::try_from(told["chunk_size"].as_u64().unwrap()).unwrap();
        (Upload { path, track: told["track_id"].as_str().unwrap().to_owned() }, chunk_bytes)
    }

    /// Whether the track is stored; `false` also when nobody answers.
    async fn is_stored(&self, upload: &Upload) -> bool {
        match self.request(Method::GET, &format!("/api/v1/tracks/{}", upload.track)).send().await {
            Ok(answer) if answer.status() == 200 => {
                answer.json::<Value>().await.is_ok_and(|track| track["stored"] == true)
            }
            _ => false,
        }
    }
}

/// How large the requests of a client are.
#[derive(Clone, Copy, Debug)]
pub enum Pieces {
    /// All that is left, at once.
    Rest,
    /// At most so many bytes.
    UpTo(usize),
}

pub struct Client {
    door: Door,
    pub upload: Upload,
    pub bytes: Bytes,
    pieces: Pieces,
    told: u64,
    /// Of the chunk door: a chunk's length, the chunks that were acknowledged, and where the next request begins to look.
    chunk_bytes: usize,
    acknowledged: Vec<usize>,
    turn: usize,
    log: File,
    begun: Instant,
}

impl Client {
    /// Creates the upload, again and again if need be.
    pub async fn create(door: &Door, bytes: Vec<u8>, pieces: Pieces) -> Self {
        let begun = Instant::now();
        let (upload, chunk_bytes) = loop {
            match door.creation(&bytes).send().await {
                Ok(answer) if answer.status() == 201 => break door.created(answer).await,
                other => assert!(is_passing(&other), "{other:?}"),
            }
            pause(begun).await;
        };
        let (log, bytes, acknowledged) = (tempfile::tempfile().unwrap(), Bytes::from(bytes), Vec::new());
        Self { door: door.clone(), upload, bytes, pieces, told: 0, chunk_bytes, acknowledged, turn: 0, log, begun }
    }

    pub fn speaks(&self) -> Speaks {
        self.door.speaks
    }

    /// The upload's id: a part of every key that the store sees of it.
    pub fn id(&self) -> &str {
        self.upload.path.rsplit('/').next().unwrap()
    }

    /// One request from where the server says, or some chunks that it lacks. `true`: the file is stored.
    pub async fn step(&mut self) -> bool {
        if self.door.speaks == Speaks::Chunks {
            return self.send_chunks().await;
        }
        let Some((offset, is_complete)) = self.look().await else { return false };
        if is_complete {
            return self.door.is_stored(&self.upload).await;
        }
        let from = usize::try_from(offset).unwrap();
        let to = match self.pieces {
            Pieces::Rest => self.bytes.len(),
            Pieces::UpTo(most) => self.bytes.len().min(from + most),
        };
        let is_last = to == self.bytes.len();
        let asked = self.door.request(Method::PATCH, &self.upload.path).header("Upload-Offset", offset);
        let asked = match self.door.speaks {
            Speaks::Ietf => {
                let complete = if is_last { "?1" } else { "?0" };
                asked.header("Content-Type", PARTIAL).header("Upload-Complete", complete)
            }
            _ => asked.header("Content-Type", OCTETS),
        };
        let body = reqwest::Body::from(self.bytes.slice(from..to));
        let done = if is_last && self.door.speaks == Speaks::Ietf { 201 } else { 204 };
        match asked.body(body).send().await {
            Ok(answer) if answer.status() == done => {
                self.tell(number(answer.headers(), "upload-offset"));
                assert_eq!(self.told, to as u64, "{done} tells all that was sent");
                is_last
            }
            other => {
                assert!(is_passing(&other), "{}: {other:?}", self.upload.path);
                false
            }
        }
    }

    /// Some chunks that aren't there, at once and in no order; when all are, the end.
    async fn send_chunks(&mut self) -> bool {
        let Some(missing) = self.missing().await else { return false };
        if missing.is_empty() {
            return match self.door.request(Method::POST, &format!("{}/complete", self.upload.path)).send().await {
                Ok(answer) if answer.status() == 200 => true,
                other => {
                    assert!(is_passing(&other), "{}: {other:?}", self.upload.path);
                    false
                }
            };
        }
        self.turn += 2;
        let chosen = (0..missing.len().min(CHUNKS_AT_ONCE)).map(|i| missing[(self.turn + i) % missing.len()]);
        let sent = chosen.map(|n| {
            let asked = self.door.request(Method::PUT, &format!("{}/chunks/{n}", self.upload.path));
            let (from, to) = (n * self.chunk_bytes, self.bytes.len().min((n + 1) * self.chunk_bytes));
            let body = reqwest::Body::from(self.bytes.slice(from..to));
            async move { (n, asked.body(body).send().await) }
        });
        for (n, answer) in join_all(sent).await {
            match answer {
                Ok(answer) if answer.status() == 204 => self.acknowledged.push(n),
                other => assert!(is_passing(&other), "{} chunk {n}: {other:?}", self.upload.path),
            }
        }
        false
    }

    /// The chunks that the server lacks; none of them was acknowledged.
    async fn missing(&mut self) -> Option<Vec<usize>> {
        let told: Value = match self.door.request(Method::GET, &self.upload.path).send().await {
            Ok(answer) if answer.status() == 200 => answer.json().await.ok()?,
            other => {
                assert!(is_passing(&other), "{}: {other:?}", self.upload.path);
                return None;
            }
        };
        self.tell(told["offset"].as_u64().unwrap());
        let ranges: Vec<(u64, u64)> = serde_json::from_value(told["received"].clone()).unwrap();
        let is_there = |n: &usize| {
            let (from, to) = (n * self.chunk_bytes, self.bytes.len().min((n + 1) * self.chunk_bytes));
            ranges.iter().any(|range| range.0 <= from as u64 && to as u64 <= range.1)
        };
        if let Some(lost) = self.acknowledged.iter().find(|n| !is_there(n)) {
            panic!("{}: chunk {lost} was acknowledged and isn't there: {told}", self.upload.path);
        }
        Some((0..self.bytes.len().div_ceil(self.chunk_bytes)).filter(|n| !is_there(n)).collect())
    }

    /// Until the last answer. Panics when that doesn't come in time.
    pub async fn finish(&mut self) {
        self.begun = Instant::now();
        while !self.step().await {
            pause(self.begun).await;
        }
    }

    /// The offset that HEAD tells; none if it doesn't answer now.
    pub async fn head(&mut self) -> Option<u64> {
        self.look().await.map(|(offset, _)| offset)
    }

    /// The same, and whether the server was told that this is the end.
    async fn look(&mut self) -> Option<(u64, bool)> {
        let asked = self.door.request(Method::HEAD, &self.upload.path).send().await;
        match asked {
            Ok(answer) if answer.status().is_success() => {
                let offset = number(answer.headers(), "upload-offset");
                self.tell(offset);
                Some((offset, text(&answer, "upload-complete") == "?1"))
            }
            other => {
                assert!(is_passing(&other), "{}: {other:?}", self.upload.path);
                None
            }
        }
    }

    fn tell(&mut self, offset: u64) {
        assert!(offset >= self.told, "{}: an offset fell from {} to {offset}", self.upload.path, self.told);
        self.told = offset;
        self.log.write_all(&offset.to_le_bytes()).unwrap();
        self.log.sync_data().unwrap();
    }
}

/// What passes by itself: a connection that broke, another writer, a store or database that is away.
fn is_passing(asked: &reqwest::Result<Response>) -> bool {
    match asked {
        Ok(answer) => matches!(answer.status().as_u16(), 409 | 423 | 503),
        Err(error) => !error.is_timeout(),
    }
}

async fn pause(begun: Instant) {
    assert!(begun.elapsed() < PATIENCE, "an upload doesn't end");
    tokio::time::sleep(PAUSE).await;
}

/// Sizes around what matters: less than a part, a part and a byte, some parts; the largest three parts and a bit.
pub fn size(dice: &mut StdRng, part: usize) -> usize {
    match dice.random_range(0..6) {
        0 | 1 => dice.random_range(1..part / 2),
        2 => part + dice.random_range(0..3) - 1,
        3 => dice.random_range(part..2 * part),
        4 => 2 * part,
        _ => dice.random_range(2 * part..3 * part + part / 3),
    }
}

pub fn pieces(dice: &mut StdRng) -> Pieces {
    match dice.random_range(0..4) {
        0 | 1 => Pieces::Rest,
        2 => Pieces::UpTo(dice.random_range(300_000..2 << 20)),
        _ => Pieces::UpTo(dice.random_range(2 << 20..8 << 20)),
    }
}

pub fn speaks(dice: &mut StdRng) -> Speaks {
    [Speaks::Tus, Speaks::Tus, Speaks::Ietf, Speaks::Chunks][dice.random_range(0..4)]
}
