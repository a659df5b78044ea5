//! The wire: tus 1.0 (core and creation), and the track's state.

use std::time::Duration;

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{
    Body, Method, RequestBuilder, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER},
};
use url::Url;

/// Connecting to a server that is there takes milliseconds.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// An answer without a body to send: a server under load, behind a proxy.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(30);
/// What a server may ask us to wait, at most.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// A problem document is a few lines.
const PROBLEM_BYTES_MAX: usize = 16 * 1024;

const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const TRACK: HeaderName = HeaderName::from_static("millrace-track");

/// Why a request didn't do.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Ask for the offset, and go on; it may pass.
    #[error("{why}")]
    Passing {
        /// What happened.
        why: String,
        /// How long the server asks us to wait.
        wait: Option<Duration>,
        /// Whether a server said it.
        answered: bool,
    },
    /// The server doesn't know the upload: begin anew.
    #[error("the server doesn't know it any more")]
    Gone,
    /// The body is too large for someone on the way: send less at once.
    #[error("too large for the server ({0})")]
    TooLarge(String),
    /// It won't do however often it is tried.
    #[error("{0}")]
    Final(String),
}

/// A server, and who we are to it.
pub struct Client {
    http: reqwest::Client,
    server: Url,
    token: Option<String>,
}

/// A new upload.
pub struct Created {
    /// Its path on the server.
    pub upload: String,
    /// Its track.
    pub track: Option<String>,
}

/// A track, as far as we need it.
#[derive(Debug, serde::Deserialize)]
pub struct Track {
    /// Where it stands.
    pub state: String,
    /// Hex.
    pub sha256: Option<String>,
    /// Why it failed.
    pub error: Option<Problem>,
}

/// What a server says is wrong.
#[derive(Debug, Default, serde::Deserialize)]
pub struct Problem {
    /// A stable code.
    #[serde(default)]
    pub code: String,
    /// The same in a sentence.
    #[serde(default)]
    pub detail: String,
}

impl Client {
    /// For one server.
    ///
    /// # Errors
    /// No TLS.
    pub fn new(server: Url, token: Option<String>) -> anyhow::Result<Self> {
        // A redirect would resend bodies and take the token elsewhere: the user is told the new address instead.
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_MAX)
            .user_agent(concat!("millrace/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("can't prepare HTTP")?;
        Ok(Self { http, server, token })
    }

    /// Which server.
    pub fn server(&self) -> &Url {
        &self.server
    }

    /// Makes an upload of `size` bytes with that metadata.
    pub async fn create(&self, size: u64, metadata: &[(&str, &str)]) -> Result<Created, WireError> {
        let pairs: Vec<_> = metadata.iter().map(|(key, value)| format!("{key} {}", STANDARD.encode(value))).collect();
        let request = self.request(Method::POST, "/files").header("upload-length", size);
        let request = request.header("upload-metadata", pairs.join(",")).header(CONTENT_LENGTH, 0);
        let answer = accept(request.timeout(ANSWER_MAX).send().await, &[StatusCode::CREATED]).await?;
        let location = text(&answer, &LOCATION).ok_or_else(|| WireError::Final("the server named no upload".into()))?;
        let upload = self.server.join(&location).map_err(|e| WireError::Final(format!("the upload's address: {e}")))?;
        // Only its path: behind a proxy the server may think of itself as another host, and the token stays with ours.
        Ok(Created { upload: upload.path().to_owned(), track: text(&answer, &TRACK) })
    }

    /// How much of the upload is durable.
    pub async fn offset(&self, upload: &str) -> Result<u64, WireError> {
        let request = self.request(Method::HEAD, upload).timeout(ANSWER_MAX);
        let answer = accept(request.send().await, &[StatusCode::OK, StatusCode::NO_CONTENT]).await?;
        offset_of(&answer)
    }

    /// Sends `length` bytes from `offset` on; the offset after them.
    pub async fn append(&self, upload: &str, offset: u64, length: u64, body: Body) -> Result<u64, WireError> {
        let request = self.request(Method::PATCH, upload).header(UPLOAD_OFFSET, offset).header(CONTENT_LENGTH, length);
        let request = request.header(CONTENT_TYPE, "application/offset+octet-stream").body(body);
        let answer = accept(request.send().await, &[StatusCode::NO_CONTENT, StatusCode::OK]).await?;
        offset_of(&answer)
    }

    /// Ends an upload that nobody will go on with.
    pub async fn terminate(&self, upload: &str) -> Result<(), WireError> {
        let request = self.request(Method::DELETE, upload).timeout(ANSWER_MAX);
        accept(request.send().await, &[StatusCode::NO_CONTENT, StatusCode::OK]).await.map(drop)
    }

    /// Where the track stands.
    pub async fn track(&self, id: &str) -> Result<Track, WireError> {
        let request = self.request(Method::GET, &track_path(id)).timeout(ANSWER_MAX);
        let answer = accept(request.send().await, &[StatusCode::OK]).await?;
        answer.json().await.map_err(|e| passing(&e))
    }

    /// The track's address, for people.
    pub fn track_url(&self, id: &str) -> String {
        self.server.join(&track_path(id)).map(String::from).unwrap_or_default()
    }

    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut url = self.server.clone();
        url.set_path(path);
        let request = self.http.request(method, url).header("tus-resumable", "1.0.0");
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

fn track_path(id: &str) -> String {
    format!("/api/v1/tracks/{id}")
}

pub(super) async fn accept(sent: reqwest::Result<Response>, wanted: &[StatusCode]) -> Result<Response, WireError> {
    let answer = sent.map_err(|e| passing(&e))?;
    let status = answer.status();
    if wanted.contains(&status) {
        return Ok(answer);
    }
    let wait = text(&answer, &RETRY_AFTER).and_then(|s| s.parse().ok()).map(Duration::from_secs);
    let moved = text(&answer, &LOCATION);
    let (code, why) = said(answer).await;
    if code == "chunk_differs" {
        return Err(WireError::Final("the server has other bytes than the file now has: send it again".into()));
    }
    Err(match status.as_u16() {
        300..=399 => {
            let to = moved.unwrap_or_default();
            WireError::Final(format!("the server has moved to {to}: name that with --server"))
        }
        401 | 403 => WireError::Final(format!("the server refused us ({why}): give a valid token with --token-file")),
        404 | 410 => WireError::Gone,
        413 => WireError::TooLarge(why),
        408 | 409 | 423 | 425 | 429 | 460 | 500 | 502..=504 | 507 | 509..=599 => {
            WireError::Passing { why, wait: wait.map(|w| w.min(WAIT_MAX)), answered: true }
        }
        _ => WireError::Final(format!("the server refused it: {why}")),
    })
}

/// The server's code, if it names one, and its own words, or its status.
async fn said(mut answer: Response) -> (String, String) {
    let status = answer.status().to_string();
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > PROBLEM_BYTES_MAX {
            return (String::new(), status);
        }
    }
    match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) if !problem.detail.is_empty() => (problem.code, format!("{status}: {}", problem.detail)),
        _ => (String::new(), status),
    }
}

fn offset_of(answer: &Response) -> Result<u64, WireError> {
    let read = text(answer, &UPLOAD_OFFSET).and_then(|offset| offset.parse().ok());
    read.ok_or_else(|| WireError::Final("the answer has no Upload-Offset: is that a tus server?".into()))
}

fn text(answer: &Response, name: &HeaderName) -> Option<String> {
    answer.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// No answer came. The last cause says most: "connection refused".
pub(super) fn passing(e: &reqwest::Error) -> WireError {
    let mut cause: &dyn std::error::Error = e;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    WireError::Passing { why: cause.to_string(), wait: None, answered: false }
}
