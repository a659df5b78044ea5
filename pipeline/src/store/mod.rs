//! Where bytes live: one trait, and one contract that every backend passes (`contract.rs`).
//!
//! Two kinds of objects. *Multipart objects* are uploads: begun, filled part by part and tail by tail, completed once.
//! *Whole objects* are segments, playlists' inits and peaks: put at once, never changed.
//! Promise: a call that answered `Ok` is durable. Absent: retries of whole uploads, rows, and any knowledge of media.

#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod local;
pub mod s3;
mod stream;
mod tails;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use time::OffsetDateTime;

pub use local::Local;
pub use s3::S3;
pub use stream::{StreamError, StreamFailed, upload_stream};
pub(crate) use tails::tail_read;

/// Objects in one answer of [`Store::list`]; S3's own page.
pub const LIST_MAX: usize = 1000;

/// Which backend, as `tracks.storage_backend` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A folder of this machine.
    Local,
    /// An S3-compatible store.
    S3,
}

impl Backend {
    /// As the column holds it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::S3 => "s3",
        }
    }
}

/// What a failed call means for the caller.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No space, or over quota: 507, and the offset stays.
    #[error("the store is full")]
    Full(#[source] std::io::Error),
    /// The object isn't there.
    #[error("no object {0}")]
    Missing(String),
    /// Another object already has this key, with other bytes.
    #[error("object {0} exists with other bytes")]
    Exists(String),
    /// The store has other parts than the rows say: `Store::listed` tells which.
    #[error("the parts of {key} aren't those that were acknowledged: {what}")]
    Parts {
        /// Of which object.
        key: String,
        /// The store's words.
        what: String,
    },
    /// What the store holds isn't what was sent.
    #[error("object {key} is not what was sent: {what}")]
    Wrong {
        /// Which.
        key: String,
        /// How it differs.
        what: String,
    },
    /// Not now: try again later.
    #[error("the store is away")]
    Away(#[source] std::io::Error),
}

/// An object that the store is done with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name.
    pub key: String,
    /// Its length in bytes.
    pub size: u64,
    /// What the store calls this content.
    pub etag: String,
    /// When it was written, by the store's clock. Listings tell it; other answers need not.
    pub modified: Option<OffsetDateTime>,
}

/// A part as the store lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// From 1.
    pub part_no: i32,
    /// Its length in bytes.
    pub len: u64,
    /// What the store calls this content.
    pub etag: String,
    /// CRC-64/NVME, where the store keeps it.
    pub crc64: Option<u64>,
}

/// A multipart object that somebody began and nobody completed.
#[derive(Clone, Debug)]
pub struct Unfinished {
    /// Which.
    pub of: Multipart,
    /// When it was begun, by the store's clock.
    pub begun: OffsetDateTime,
}

/// A multipart object under way. `multipart_id` is the store's name for the attempt.
#[derive(Clone, Debug)]
pub struct Multipart {
    /// The final key.
    pub key: String,
    /// The store's id.
    pub multipart_id: String,
}

/// An immutable piece at the committed end that doesn't fill a part.
#[derive(Clone, Debug)]
pub struct Tail {
    /// Its own key, unique to the attempt.
    pub key: String,
    /// Where it starts in the upload.
    pub off: u64,
    /// Its length.
    pub len: u64,
    /// CRC-64/NVME of its bytes.
    pub crc64: u64,
}

/// One part as its row has it.
#[derive(Clone, Debug)]
pub struct Part {
    /// From 1.
    pub part_no: i32,
    /// Where it starts.
    pub off: u64,
    /// Its length.
    pub len: u64,
    /// What the store answered.
    pub etag: String,
    /// CRC-64/NVME of its bytes.
    pub crc64: u64,
}

/// A place for bytes.
#[async_trait]
pub trait Store: std::fmt::Debug + Send + Sync + 'static {
    /// Which one this is.
    fn backend(&self) -> Backend;

    /// The path of a finished object, where it is a local file.
    fn local_path(&self, key: &str) -> Option<String>;

    /// Begins a multipart object. Repeatable: on a store without ids of its own it changes nothing.
    ///
    /// # Errors
    /// `Full`, `Away`.
    async fn begin(&self, key: &str) -> Result<Multipart, StoreError>;

    /// Tails are written where the part will be: a part needs only what came after them, and nothing is read back.
    fn tails_in_place(&self) -> bool;

    /// Makes a part durable: the bytes of `tails`, which come first, then `frames`, which start at `off`.
    /// Answers the part's ETag; `part.etag` isn't looked at. A backend that keeps tails in place writes `frames` alone; any
    /// other reads the tails back, so their length is memory that the caller has reserved.
    ///
    /// # Errors
    /// `Full`, `Away`; `Missing` when the store no longer knows the multipart object or a tail; `Wrong` when the bytes
    /// don't have `part.crc64`.
    async fn put_part(
        &self,
        to: &Multipart,
        part: &Part,
        tails: &[Tail],
        off: u64,
        frames: Vec<Bytes>,
    ) -> Result<String, StoreError>;

    /// Makes a part of the bytes of a finished object, from `from_off` on, without moving them through this process.
    /// Answers the part's ETag; `None` where the store can't, and the caller sends the bytes.
    ///
    /// # Errors
    /// As [`Store::put_part`].
    async fn copy_part(
        &self,
        to: &Multipart,
        part: &Part,
        from: &str,
        from_off: u64,
    ) -> Result<Option<String>, StoreError>;

    /// The parts that the store has of a multipart object that isn't whole; none where parts have no life of their own.
    ///
    /// # Errors
    /// `Missing`, `Away`.
    async fn listed(&self, of: &Multipart) -> Result<Vec<Listed>, StoreError>;

    /// Makes less than a part durable, at the committed end.
    ///
    /// # Errors
    /// As [`Store::put_part`].
    async fn put_tail(&self, to: &Multipart, tail: &Tail, frames: Vec<Bytes>) -> Result<(), StoreError>;

    /// Makes the object whole under its key. `parts` are in order and without a gap. Repeatable: when an earlier call
    /// already made it whole, that is the answer.
    ///
    /// # Errors
    /// `Wrong` when what is there doesn't add up to `size` or to the parts' checksums; `Missing` when nothing is there;
    /// `Parts` when the store has other parts than these; `Away`: ask again.
    async fn complete(&self, to: &Multipart, parts: &[Part], size: u64) -> Result<Object, StoreError>;

    /// How long a Complete may work in the store after it was sent. Zero where it can't outlive its caller.
    fn complete_span(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether one that was sent from here may still work.
    fn may_complete(&self, _to: &Multipart) -> bool {
        false
    }

    /// Forgets a multipart object that isn't whole. Not an error when it is gone.
    ///
    /// # Errors
    /// `Away`.
    async fn abort(&self, to: &Multipart) -> Result<(), StoreError>;

    /// Committed bytes of a multipart object that isn't whole can be read.
    fn reads_unfinished(&self) -> bool;

    /// Reads committed bytes of a multipart object that isn't whole; `None` where the store can't.
    ///
    /// # Errors
    /// `Missing`, `Away`.
    async fn read_unfinished(&self, of: &Multipart, off: u64, len: usize) -> Result<Option<Bytes>, StoreError>;

    /// Puts a whole object, unless the key is taken: by equal bytes `Ok`, by others `Exists`.
    ///
    /// # Errors
    /// `Full`, `Exists`, `Away`.
    async fn put(&self, key: &str, bytes: Bytes) -> Result<Object, StoreError>;

    /// Reads up to `len` bytes from `off`; fewer at the end, none past it.
    ///
    /// # Errors
    /// `Missing`, `Away`.
    async fn read(&self, key: &str, off: u64, len: usize) -> Result<Bytes, StoreError>;

    /// The same in pieces of a size that suits the allocator: for many tails at once, each of another length.
    ///
    /// # Errors
    /// `Missing`, `Away`.
    async fn read_pieces(&self, key: &str, off: u64, len: usize) -> Result<Vec<Bytes>, StoreError> {
        Ok(vec![self.read(key, off, len).await?])
    }

    /// What is under `key`.
    ///
    /// # Errors
    /// `Away`.
    async fn head(&self, key: &str) -> Result<Option<Object>, StoreError>;

    /// Deletes one object. Not an error when it is gone.
    ///
    /// # Errors
    /// `Away`.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;

    /// Deletes objects. Not an error when some are gone. After an error some may be deleted.
    ///
    /// # Errors
    /// `Away`.
    async fn delete_all(&self, keys: &[String]) -> Result<(), StoreError> {
        for key in keys {
            self.delete(key).await?;
        }
        Ok(())
    }

    /// Finished objects below `prefix`, which ends in `/`: those whose keys come after `after`, in the order of their keys,
    /// at most [`LIST_MAX`]. Fewer means: these are the last.
    ///
    /// # Errors
    /// `Away`.
    async fn list(&self, prefix: &str, after: &str) -> Result<Vec<Object>, StoreError>;

    /// Multipart objects below `prefix` that are begun and not whole.
    ///
    /// # Errors
    /// `Away`.
    async fn unfinished(&self, prefix: &str) -> Result<Vec<Unfinished>, StoreError>;

    /// Who signs URLs; `None` where the store answers nobody but us.
    fn signed_urls(&self) -> Option<&dyn SignedUrls>;

    /// Answers when the store can take and give bytes now.
    ///
    /// # Errors
    /// Why not.
    async fn probe(&self) -> Result<(), StoreError>;
}

/// URLs to objects for those who have no credentials, as a tool of somebody else's that reads a source by itself.
#[async_trait]
pub trait SignedUrls: Send + Sync {
    /// A URL under which whoever has it can read the object for `ttl`, whatever any setting says.
    ///
    /// # Errors
    /// `Away`.
    async fn signed_url(&self, key: &str, ttl: Duration) -> Result<String, StoreError>;
}

/// A key is ours: lower-case letters, digits, `-_./`, no empty, `.` or `..` element. Anything else is a bug, not input.
fn assert_own_key(key: &str) {
    let own = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.' | '/');
    assert!(
        !key.is_empty()
            && key.len() <= 512
            && key.chars().all(own)
            && key.split('/').all(|e| !matches!(e, "" | "." | "..")),
        "not a key of ours: {key:?}"
    );
}
