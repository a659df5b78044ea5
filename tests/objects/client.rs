//! A client that resumes until its file is stored, and writes down every offset that it was told before it goes on.
//!
//! It trusts nothing but HEAD, sends from where HEAD says, and judges: an offset that falls is a byte lost. The address
//! that it talks to may change under it, as when a daemon comes back elsewhere.

use std::{
    fs::File,
    io::Write,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use rand::{RngExt, rngs::StdRng};
use reqwest::{Method, RequestBuilder, Response};

use crate::support::{
    app::{App, PATIENCE},
    tus::{OCTETS, Upload, metadata, number, sha256, upload},
};

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// Where the daemon answers now.
#[derive(Clone)]
pub struct Door {
    url: Arc<Mutex<String>>,
    token: String,
    http: reqwest::Client,
}

impl Door {
    pub fn of(app: &App) -> Self {
        let url = Arc::new(Mutex::new(app.url("")));
        Self { url, token: app.token.clone(), http: app.http.clone() }
    }

    pub fn moves_to(&self, app: &App) {
        *self.url.lock().unwrap() = app.url("");
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = self.url.lock().unwrap().clone();
        self.http.request(method, url + path).bearer_auth(&self.token).header("Tus-Resumable", "1.0.0")
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
    log: File,
    begun: Instant,
}

impl Client {
    /// Creates the upload, again and again if need be.
    pub async fn create(door: &Door, bytes: Vec<u8>, pieces: Pieces) -> Self {
        let begun = Instant::now();
        let said = metadata(&[("filename", "x.bin"), ("sha256", &sha256(&bytes))]);
        let upload = loop {
            let asked = door.request(Method::POST, "/files").header("Upload-Length", bytes.len());
            match asked.header("Upload-Metadata", &said).send().await {
                Ok(answer) if answer.status() == 201 => break upload(&answer),
                other => assert!(is_passing(&other), "{other:?}"),
            }
            pause(begun).await;
        };
        let log = tempfile::tempfile().unwrap();
        Self { door: door.clone(), upload, bytes: bytes.into(), pieces, told: 0, log, begun }
    }

    /// The upload's id: a part of every key that the store sees of it.
    pub fn id(&self) -> &str {
        self.upload.path.rsplit('/').next().unwrap()
    }

    /// One request from where HEAD says. `true`: the last answer said that the file is stored.
    pub async fn step(&mut self) -> bool {
        let Some(offset) = self.head().await else { return false };
        let from = usize::try_from(offset).unwrap();
        let to = match self.pieces {
            Pieces::Rest => self.bytes.len(),
            Pieces::UpTo(most) => self.bytes.len().min(from + most),
        };
        let asked = self.door.request(Method::PATCH, &self.upload.path).header("Content-Type", OCTETS);
        let body = reqwest::Body::from(self.bytes.slice(from..to));
        match asked.header("Upload-Offset", offset).body(body).send().await {
            Ok(answer) if answer.status() == 204 => {
                self.tell(number(answer.headers(), "upload-offset"));
                assert_eq!(self.told, to as u64, "204 tells all that was sent");
                to == self.bytes.len()
            }
            other => {
                assert!(is_passing(&other), "{}: {other:?}", self.upload.path);
                false
            }
        }
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
        let asked = self.door.request(Method::HEAD, &self.upload.path).send().await;
        match asked {
            Ok(answer) if answer.status() == 200 => {
                let offset = number(answer.headers(), "upload-offset");
                self.tell(offset);
                Some(offset)
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
