//! What the API's track routes ask of the engine, translated: the two crates don't know each other's errors.

use std::sync::Arc;

use api::tracks::EngineError;
use bytes::Bytes;
use pipeline::{Engine, RetryError, download::Format, store::StoreError};
use schema::{Id, track::Track};

/// The engine, as the API sees it.
#[derive(Debug)]
pub struct Verbs(pub Arc<Engine>);

#[async_trait::async_trait]
impl api::tracks::Engine for Verbs {
    async fn peaks(&self, track: Id<Track>) -> Result<Option<Bytes>, EngineError> {
        match self.0.peaks(track).await {
            Err(StoreError::Missing(_)) => Ok(None),
            other => other.map_err(|e| EngineError::Away(Box::new(e))),
        }
    }

    async fn picture(&self, track: Id<Track>, side: i32) -> Result<Option<Bytes>, EngineError> {
        match self.0.picture(track, side).await {
            Err(StoreError::Missing(_)) => Ok(None),
            other => other.map_err(|e| EngineError::Away(Box::new(e))),
        }
    }

    async fn retry(&self, track: Id<Track>) -> Result<(), EngineError> {
        self.0.retry(track).await.map_err(|e| match e {
            RetryError::Missing => EngineError::Missing,
            RetryError::NotFailed { .. } | RetryError::NotStored => EngineError::Illegal,
            RetryError::Db(e) => EngineError::Away(Box::new(e)),
        })
    }

    async fn rendition_len(&self, track: Id<Track>, format: Format, title: &str) -> Result<Option<u64>, EngineError> {
        self.0.rendition_len(track, format, title).await.map_err(|e| EngineError::Away(Box::new(e)))
    }

    async fn retitle(&self, track: Id<Track>, title: &str) -> Result<(), EngineError> {
        match self.0.retitle(track, title).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(EngineError::Missing),
            Err(e) => Err(EngineError::Away(Box::new(e))),
        }
    }
}
