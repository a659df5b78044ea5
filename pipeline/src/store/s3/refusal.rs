//! What went wrong, in words that can be logged, and what it means for the caller.
//!
//! Promise: nothing secret. The store's code and message are kept, cut short; its headers and bodies, which echo how a
//! request was signed, are not.

use std::io;

use aws_sdk_s3::error::{BoxError, ProvideErrorMetadata, SdkError};

use super::StoreError;

/// A store's message, at most: the rest of a page of HTML helps nobody.
const MESSAGE_CHARS_MAX: usize = 200;

/// A request that didn't do what it should.
#[derive(Debug, thiserror::Error)]
#[error("{verb}: {said}")]
pub(super) struct Refusal {
    verb: &'static str,
    /// Of the answer, if there was one.
    pub(super) status: Option<u16>,
    /// The store's own; empty when it gave none.
    pub(super) code: String,
    pub(super) said: String,
    #[source]
    source: Option<BoxError>,
}

impl Refusal {
    pub(super) fn of<E>(verb: &'static str, error: SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let status = error.raw_response().map(|answer| answer.status().as_u16());
        let code = error.code().unwrap_or_default().to_owned();
        let message: String = error.message().unwrap_or_default().chars().take(MESSAGE_CHARS_MAX).collect();
        let (said, source) = match error {
            SdkError::ServiceError(_) => (message, None),
            SdkError::TimeoutError(_) => ("no answer in time".into(), None),
            SdkError::ResponseError(e) => (
                "the answer can't be read".into(),
                std::error::Error::source(&SdkError::<E>::ResponseError(e)).map(|e| words(e).into()),
            ),
            SdkError::DispatchFailure(e) => ("no answer".into(), e.as_connector_error().map(|e| words(e).into())),
            other => ("the request can't be made".into(), Some(other.to_string().into())),
        };
        let said = match status {
            Some(status) => format!("{status} {code} {said}").trim_end().to_owned(),
            None => said,
        };
        Self { verb, status, code, said, source }
    }

    /// An answer that says neither yes nor no.
    pub(super) fn unclear(verb: &'static str, said: &str) -> Self {
        Self { verb, status: None, code: String::new(), said: said.into(), source: None }
    }

    /// The thing asked for isn't there. A store without our bucket isn't the right store: that is no answer about a key.
    pub(super) fn is_missing(&self) -> bool {
        self.status == Some(404) && self.code != "NoSuchBucket"
    }

    /// The bytes changed on their way, says the store.
    pub(super) fn is_damage(&self) -> bool {
        matches!(
            self.code.as_str(),
            "BadDigest"
                | "XAmzContentChecksumMismatch"
                | "XAmzContentSHA256Mismatch"
                | "InvalidDigest"
                | "IncompleteBody"
        ) || (self.status == Some(400) && self.said.to_ascii_lowercase().contains("checksum"))
    }

    /// The store knows the request and doesn't do it, now or ever.
    pub(super) fn is_unsupported(&self) -> bool {
        self.status == Some(501) || matches!(self.code.as_str(), "NotImplemented" | "MethodNotAllowed")
    }

    /// The key is taken, where we asked that it be free.
    pub(super) fn is_taken(&self) -> bool {
        self.status == Some(412)
    }

    /// Another request about the same key was under way: ask again.
    pub(super) fn is_conflict(&self) -> bool {
        self.status == Some(409)
    }

    fn is_full(&self) -> bool {
        let said = self.said.to_ascii_lowercase();
        self.status == Some(507)
            || matches!(
                self.code.as_str(),
                "InsufficientStorage"
                    | "QuotaExceeded"
                    | "StorageFull"
                    | "XMinioStorageFull"
                    | "QuotaExceededException"
            )
            || ["no space", "quota", "disk full", "storage full"].iter().any(|words| said.contains(words))
    }

    /// For a caller who asked about `key`.
    pub(super) fn into_store(self, key: &str) -> StoreError {
        if self.is_missing() { StoreError::Missing(key.into()) } else { self.into_away_or_full() }
    }

    /// For a request that isn't about something that was there.
    pub(super) fn into_away_or_full(self) -> StoreError {
        if self.is_full() { StoreError::Full(io::Error::other(self)) } else { self.into_away() }
    }

    pub(super) fn into_away(self) -> StoreError {
        let kind = if self.status.is_none() { io::ErrorKind::TimedOut } else { io::ErrorKind::Other };
        StoreError::Away(io::Error::new(kind, self))
    }
}

/// An error and what it came from, on one line. Not the error itself: its debug text may hold the whole answer.
pub(super) fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}
