//! A person's tracks: what stands where, where to play it, and what may be changed about it.
//!
//! Invariants: absent and foreign are the same 404. Until its bytes are verified a track plays for its uploader alone;
//! as long as nothing is published, so it stays afterwards: knowing an id gives no access.
//! Verbs: `page`, `one`, `stream`, `download`, `waveform`, `artwork`, `events`, `retry`, `retitle`.
//! Absent: the rows' writer, which is `pipeline`, reached through [`Engine`].

pub(crate) mod artwork;
pub mod byproducts;
mod events;
pub(crate) mod flow;
pub(crate) mod http;
pub mod model;
mod sql;
mod waveform;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use pipeline::{download::Format, grant};
use schema::{Id, track::Track};
use sqlx::PgPool;
use tokio::sync::Semaphore;

use crate::CursorKey;

/// Event streams at once in one process: each asks the database twice a second.
pub const EVENT_STREAMS_MAX: usize = 256;

/// What the routes of tracks stand on.
#[derive(Clone, Debug)]
pub struct Tracks {
    /// Where the rows are read from.
    pub db: PgPool,
    /// Writes the rows and keeps the bytes.
    pub engine: Arc<dyn Engine>,
    /// Sign what players are given.
    pub grants: grant::Keys,
    /// Signs places in the list.
    pub cursors: CursorKey,
    /// How long an entry URL opens.
    pub stream_url_ttl: Duration,
    /// How long a download's link opens.
    pub download_url_ttl: Duration,
    /// How event streams are paced.
    pub beat: Beat,
    /// One permit for each event stream.
    pub streams: Arc<Semaphore>,
}

/// The times of an event stream.
#[derive(Clone, Copy, Debug)]
pub struct Beat {
    /// Between two looks at the row.
    pub poll: Duration,
    /// Between two signs of life when nothing changes. Below the time after which proxies give up.
    pub heartbeat: Duration,
    /// Between two looks at whether the caller still may.
    pub recheck: Duration,
    /// From the last change that can come to the end: time for the other streams of a page to close first.
    pub grace: Duration,
}

impl Default for Beat {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(500),
            heartbeat: Duration::from_secs(15),
            recheck: Duration::from_secs(60),
            grace: Duration::from_secs(5),
        }
    }
}

/// What `pipeline` does for this domain.
#[async_trait::async_trait]
pub trait Engine: Send + Sync + std::fmt::Debug {
    /// The waveform as far as it is drawn, as audiowaveform's .dat. `None`: nothing yet.
    async fn peaks(&self, track: Id<Track>) -> Result<Option<Bytes>, EngineError>;

    /// One of its pictures, by its longer side. `None`: it has no such picture any more.
    async fn picture(&self, track: Id<Track>, side: i32) -> Result<Option<Bytes>, EngineError>;

    /// Sends a failed track through the ladder again.
    async fn retry(&self, track: Id<Track>) -> Result<(), EngineError>;

    /// The length of a file made of a track, if it is whole already.
    async fn rendition_len(&self, track: Id<Track>, format: Format, title: &str) -> Result<Option<u64>, EngineError>;

    /// Gives a track another title.
    async fn retitle(&self, track: Id<Track>, title: &str) -> Result<(), EngineError>;
}

/// Why the engine didn't.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The track isn't where this starts: it hasn't failed, or there is nothing to encode.
    #[error("the track stands where this can't be done")]
    Illegal,
    /// There is no such track any more.
    #[error("there is no such track")]
    Missing,
    /// The database or the store is away: try again.
    #[error("the engine can't do it now")]
    Away(#[source] Box<dyn std::error::Error + Send + Sync>),
}
