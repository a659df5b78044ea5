//! A client of the chunk door for tests: chunks in any order, wrong ones, and ones that are cut anywhere.

use std::{io::Write, net::TcpStream};

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use super::{
    app::{App, PATIENCE},
    tus::sha256,
};

/// One upload, as a client knows it.
#[derive(Clone, Debug)]
pub struct Upload {
    pub id: String,
    pub track: String,
    pub chunk_bytes: usize,
    pub count: usize,
}

impl Upload {
    /// From what a 201 said.
    pub fn told(created: &Value) -> Self {
        let text = |name: &str| created[name].as_str().unwrap().to_owned();
        let number = |name: &str| created[name].as_u64().unwrap() as usize;
        Self {
            id: text("id"),
            track: text("track_id"),
            chunk_bytes: number("chunk_size"),
            count: number("chunk_count"),
        }
    }

    pub fn piece<'a>(&self, bytes: &'a [u8], n: usize) -> &'a [u8] {
        &bytes[n * self.chunk_bytes..bytes.len().min((n + 1) * self.chunk_bytes)]
    }

    pub fn path(&self) -> String {
        format!("/api/v1/uploads/{}", self.id)
    }
}

pub async fn answer(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or(Value::Null))
}

/// Creates an upload for `bytes`, with their digest promised.
pub async fn create(app: &App, name: &str, bytes: &[u8]) -> Upload {
    create_as(app, json!({ "filename": name, "size": bytes.len(), "sha256": sha256(bytes) })).await
}

pub async fn create_as(app: &App, wanted: Value) -> Upload {
    let (status, created) = answer(app.post("/api/v1/uploads").json(&wanted)).await;
    assert_eq!(status, 201, "{created}");
    Upload::told(&created)
}

pub fn request(app: &App, upload: &Upload, n: usize) -> RequestBuilder {
    let url = app.url(&format!("{}/chunks/{n}", upload.path()));
    app.http.request(Method::PUT, url).bearer_auth(&app.token)
}

/// Sends a chunk, right or wrong.
pub async fn put(app: &App, upload: &Upload, n: usize, chunk: &[u8]) -> Response {
    request(app, upload, n).body(chunk.to_vec()).send().await.unwrap()
}

/// Sends the right chunk.
pub async fn put_of(app: &App, upload: &Upload, bytes: &[u8], n: usize) {
    let answer = put(app, upload, n, upload.piece(bytes, n)).await;
    assert_eq!(answer.status(), 204, "chunk {n}: {:?}", answer.text().await);
}

pub async fn progress(app: &App, upload: &Upload) -> Value {
    let (status, told) = answer(app.get(&upload.path())).await;
    assert_eq!(status, 200, "{told}");
    told
}

pub async fn complete(app: &App, upload: &Upload) -> (u16, Value) {
    answer(app.post(&format!("{}/complete", upload.path()))).await
}

/// Ends it, and compares what it says with the file.
pub async fn complete_as(app: &App, upload: &Upload, bytes: &[u8]) {
    let (status, told) = complete(app, upload).await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(told, json!({ "track_id": upload.track, "sha256": sha256(bytes), "size": bytes.len() }));
}

/// The file of a finished upload in the local store.
pub fn stored(app: &App, upload: &Upload) -> Vec<u8> {
    std::fs::read(app.data.join("store/objects/tracks").join(&upload.track).join(&upload.id)).unwrap()
}

/// Begins a PUT that announces `announced` bytes, and sends `bytes` of them.
pub fn begin_put(app: &App, upload: &Upload, n: usize, announced: usize, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(app.host()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "PUT {}/chunks/{n} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Length: {announced}\r\n\r\n",
        upload.path(),
        app.host(),
        app.token
    );
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(bytes).unwrap();
    socket
}
