//! A client of the IETF's resumable uploads for tests, in any iteration of the draft: by `reqwest` where the final answer is
//! all that counts, and by a raw socket where interim answers or a broken body do.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;

use super::{
    app::{App, PATIENCE},
    tus::Upload,
};

pub const PARTIAL: &str = "application/partial-upload";
pub const TYPES: &str = "https://iana.org/assignments/http-problem-types#";

/// A request of the newest iteration.
pub fn request(app: &App, method: Method, path: &str) -> RequestBuilder {
    app.http.request(method, app.url(path)).bearer_auth(&app.token).header("Upload-Draft-Interop-Version", "8")
}

/// An upload of which nothing is sent yet.
pub async fn create(app: &App, length: Option<usize>) -> Upload {
    let mut post = request(app, Method::POST, "/files").header("Upload-Complete", "?0");
    if let Some(length) = length {
        post = post.header("Upload-Length", length);
    }
    let answer = post.send().await.unwrap();
    assert_eq!(answer.status(), 201, "{:?}", answer.text().await);
    super::tus::upload(&answer)
}

/// Sends bytes at an offset. `complete`: they are the last.
pub fn appending(app: &App, upload: &Upload, offset: u64, complete: bool) -> RequestBuilder {
    request(app, Method::PATCH, &upload.path)
        .header("Content-Type", PARTIAL)
        .header("Upload-Offset", offset)
        .header("Upload-Complete", if complete { "?1" } else { "?0" })
}

pub async fn append(app: &App, upload: &Upload, offset: u64, complete: bool, bytes: &[u8]) -> Response {
    appending(app, upload, offset, complete).body(bytes.to_vec()).send().await.unwrap()
}

pub async fn head(app: &App, upload: &Upload) -> Response {
    request(app, Method::HEAD, &upload.path).send().await.unwrap()
}

/// What HEAD tells: how much is durable, and whether that is all.
pub async fn offset(app: &App, upload: &Upload) -> (u64, bool) {
    let answer = head(app, upload).await;
    assert_eq!(answer.status(), 204);
    (super::tus::number(answer.headers(), "upload-offset"), text(&answer, "upload-complete") == "?1")
}

/// A header of an answer; empty when it isn't there.
pub fn text<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// The status of a refusal and its problem.
pub async fn problem(answer: Response) -> (u16, Value) {
    let status = answer.status().as_u16();
    assert_eq!(text(&answer, "content-type"), "application/problem+json");
    (status, answer.json().await.unwrap())
}

/// A body without a known length.
pub fn chunked(bytes: &[u8]) -> reqwest::Body {
    let chunks: Vec<_> = bytes.chunks(50_000).map(|c| Ok::<_, std::io::Error>(c.to_vec())).collect();
    reqwest::Body::wrap_stream(futures_util::stream::iter(chunks))
}

/// A request whose answers are read one by one.
pub struct Raw(pub TcpStream);

/// One answer, interim or final: its status and its head in lower case, and the body.
#[derive(Debug)]
pub struct Heard {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Raw {
    /// `fields` are lines without their ends; who asks is added.
    pub fn begin(app: &App, line: &str, fields: &[&str]) -> Self {
        let mut socket = TcpStream::connect(app.host()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let own = format!("Host: {}\r\nAuthorization: Bearer {}\r\n", app.host(), app.token);
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        socket.write_all(format!("{line} HTTP/1.1\r\n{own}{fields}\r\n").as_bytes()).unwrap();
        Self(socket)
    }

    pub fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// The next answer.
    pub fn hear(&mut self) -> Heard {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && self.0.read(&mut byte).unwrap_or(0) == 1 {
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        let mut heard = Heard { status, head, body: String::new() };
        if let Some(length) = heard.field("content-length") {
            let mut body = vec![0; length.parse().unwrap()];
            self.0.read_exact(&mut body).unwrap();
            heard.body = String::from_utf8(body).unwrap();
        }
        heard
    }

    /// The final answer, and the interim ones before it.
    pub fn end(&mut self) -> (Vec<Heard>, Heard) {
        let mut interim = Vec::new();
        loop {
            let heard = self.hear();
            if !(100..200).contains(&heard.status) {
                return (interim, heard);
            }
            interim.push(heard);
        }
    }
}

impl Heard {
    pub fn field(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.split(':').next() == Some(name))?;
        Some(line[name.len() + 1..].trim())
    }
}
