//! A tus client for tests: every header can be wrong, every body can be cut at any byte.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Method, RequestBuilder, Response, header::HeaderMap};
use sha2::{Digest, Sha256};

use super::app::{App, PATIENCE};

pub const OCTETS: &str = "application/offset+octet-stream";

/// One upload, as a client knows it.
#[derive(Clone, Debug)]
pub struct Upload {
    pub path: String,
    pub track: String,
}

pub fn metadata(pairs: &[(&str, &str)]) -> String {
    let one = |(key, value): &(&str, &str)| format!("{key} {}", STANDARD.encode(value));
    pairs.iter().map(one).collect::<Vec<_>>().join(",")
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

pub fn request(app: &App, method: Method, path: &str) -> RequestBuilder {
    app.http.request(method, app.url(path)).bearer_auth(&app.token).header("Tus-Resumable", "1.0.0")
}

/// Creates an upload for `bytes` of that name, with its digest promised.
pub async fn create(app: &App, name: &str, bytes: &[u8]) -> Upload {
    let said = metadata(&[("filename", name), ("sha256", &sha256(bytes))]);
    let answer = request(app, Method::POST, "/files")
        .header("Upload-Length", bytes.len())
        .header("Upload-Metadata", said)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 201, "{:?}", answer.text().await);
    upload(&answer)
}

/// The upload that a 201 tells.
pub fn upload(answer: &Response) -> Upload {
    let text = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    Upload { path: text("location"), track: text("millrace-track") }
}

/// Sends bytes at an offset.
pub async fn patch(app: &App, upload: &Upload, offset: u64, bytes: &[u8]) -> Response {
    request(app, Method::PATCH, &upload.path)
        .header("Content-Type", OCTETS)
        .header("Upload-Offset", offset)
        .body(bytes.to_vec())
        .send()
        .await
        .unwrap()
}

/// What HEAD says, whatever it is.
pub async fn head(app: &App, upload: &Upload) -> Response {
    request(app, Method::HEAD, &upload.path).send().await.unwrap()
}

/// The offset that HEAD tells.
pub async fn offset(app: &App, upload: &Upload) -> u64 {
    let answer = head(app, upload).await;
    assert_eq!(answer.status(), 200);
    number(answer.headers(), "upload-offset")
}

pub fn number(headers: &HeaderMap, name: &str) -> u64 {
    headers[name].to_str().unwrap().parse().unwrap()
}

/// Uploads the whole of it in one request.
pub async fn whole(app: &App, name: &str, bytes: &[u8]) -> Upload {
    let upload = create(app, name, bytes).await;
    let answer = patch(app, &upload, 0, bytes).await;
    assert_eq!(answer.status(), 204, "{:?}", answer.text().await);
    upload
}

/// Begins a PATCH that announces `announced` bytes, and sends `bytes` of them.
pub fn begin_patch(app: &App, upload: &Upload, offset: u64, announced: usize, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(app.host()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "PATCH {} HTTP/1.1\r\nHost: {}\r\nTus-Resumable: 1.0.0\r\nAuthorization: Bearer {}\r\nContent-Type: {OCTETS}\r\n\
         Upload-Offset: {offset}\r\nContent-Length: {announced}\r\n\r\n",
        upload.path,
        app.host(),
        app.token
    );
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(bytes).unwrap();
    socket
}

/// The status and head of the answer on a raw socket.
pub fn answer(socket: &mut TcpStream) -> (u16, String) {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") && socket.read(&mut byte).unwrap_or(0) == 1 {
        text.push(byte[0]);
    }
    let text = String::from_utf8(text).unwrap();
    let status = text.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    (status, text.to_lowercase())
}
