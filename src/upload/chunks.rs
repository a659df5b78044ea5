//! The wire of the chunk door: a file in numbered chunks, any order.

use reqwest::{Body, Method, StatusCode, header::CONTENT_LENGTH};
use serde::{Deserialize, Serialize};

use super::tus::{ANSWER_MAX, Client, WireError, accept, passing};

const DOOR: &str = "/api/v1/uploads";

#[derive(Serialize)]
struct Wanted<'a> {
    filename: &'a str,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<&'a str>,
}

/// A new upload.
#[derive(Deserialize)]
pub struct Created {
    id: String,
    /// Its track.
    pub track_id: Option<String>,
    /// The length of every chunk but the last.
    pub chunk_size: u64,
}

/// What is there of an upload.
#[derive(Deserialize)]
pub struct Standing {
    /// `stored` when it needs nothing more.
    pub state: String,
    received: Vec<(u64, u64)>,
}

impl Created {
    /// Its path on the server.
    pub fn path(&self) -> String {
        format!("{DOOR}/{}", self.id)
    }
}

impl Standing {
    /// Which bytes are there.
    pub fn has(&self, offset: u64) -> bool {
        self.received.iter().any(|(from, to)| (*from..*to).contains(&offset))
    }

    /// How many.
    pub fn bytes(&self) -> u64 {
        self.received.iter().map(|(from, to)| to - from).sum()
    }
}

impl Client {
    /// Makes an upload; `None`: the server has no such door.
    pub async fn create_chunked(
        &self,
        filename: &str,
        size: u64,
        sha256: Option<&str>,
    ) -> Result<Option<Created>, WireError> {
        let request = self.request(Method::POST, DOOR).json(&Wanted { filename, size, sha256 });
        let sent = request.timeout(ANSWER_MAX).send().await;
        if sent.as_ref().is_ok_and(|answer| answer.status() == StatusCode::METHOD_NOT_ALLOWED) {
            return Ok(None);
        }
        match accept(sent, &[StatusCode::CREATED]).await {
            Ok(answer) => answer.json().await.map(Some).map_err(|e| passing(&e)),
            Err(WireError::Gone) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// What is durable of it.
    pub async fn standing(&self, upload: &str) -> Result<Standing, WireError> {
        let sent = self.request(Method::GET, upload).timeout(ANSWER_MAX).send().await;
        accept(sent, &[StatusCode::OK]).await?.json().await.map_err(|e| passing(&e))
    }

    /// Sends a chunk; it is durable after that.
    pub async fn put(&self, upload: &str, n: u64, length: u64, body: Body) -> Result<(), WireError> {
        let request = self.request(Method::PUT, &format!("{upload}/chunks/{n}"));
        let sent = request.header(CONTENT_LENGTH, length).body(body).send().await;
        accept(sent, &[StatusCode::NO_CONTENT, StatusCode::OK]).await.map(drop)
    }

    /// Says that these were all; the file is verified and stored after that.
    pub async fn complete(&self, upload: &str) -> Result<(), WireError> {
        let request = self.request(Method::POST, &format!("{upload}/complete")).header(CONTENT_LENGTH, 0);
        accept(request.timeout(ANSWER_MAX).send().await, &[StatusCode::OK]).await.map(drop)
    }
}
