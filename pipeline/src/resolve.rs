//! Where a stored track's bytes are, by its row: a file of the local store, or an object that is read by ranges with the store's
//! own credentials. The row is read here, the rest is pure.
//!
//! Promise: a row that this process has no way to read is an error that names the track, before a worker is started; other
//! bytes are never read in its place, so a row of a bucket is not looked for on a disk.
//! Absent:  sources elsewhere. A worker reads nothing by itself, so nobody's URL is ever one.

use schema::{Id, track::Track};
use sqlx::PgPool;

use crate::store::Backend;

/// What a stored track's row says of its source.
#[derive(Clone, Debug)]
pub struct Place {
    /// Of the track.
    pub id: Id<Track>,
    /// `local` or `s3`.
    pub storage_backend: String,
    /// The object's key.
    pub storage_key: Option<String>,
    /// The file, where there is one.
    pub file_path: Option<String>,
}

/// A source that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// A file of the local store.
    Path(String),
    /// An object of the bucket.
    Object(String),
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The row says `local` and not where.
    #[error("track {0}: empty FilePath")]
    EmptyFilePath(Id<Track>),
    /// The row says `s3` and not where.
    #[error("track {0}: empty storage key")]
    EmptyStorageKey(Id<Track>),
    /// The row says `s3`, and this process serves from a disk.
    #[error("track {0} is in a bucket and no S3 resolver is configured: set TRACK_STORAGE_BACKEND=s3 and S3_*")]
    NoBucket(Id<Track>),
    /// The row says `local`, and this process serves from a bucket.
    #[error(
        "track {0} is on a disk and this process serves from a bucket: `millrace blobs migrate --to s3` takes it there"
    )]
    NoDisk(Id<Track>),
    /// The row says something else.
    #[error("track {0} is in a store of an unknown kind")]
    Unknown(Id<Track>),
}

impl Place {
    /// By the row as it is now; none for a track that isn't stored.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn of(db: &PgPool, track: Id<Track>) -> sqlx::Result<Option<Self>> {
        sqlx::query_as!(
            Self,
            "SELECT id, storage_backend, storage_key, file_path FROM tracks WHERE id = $1 AND stored_at IS NOT NULL",
            track.uuid()
        )
        .fetch_optional(db)
        .await
    }

    /// The source, for a process whose store is `ours`.
    ///
    /// # Errors
    /// It can't be read here.
    pub fn resolve(&self, ours: Backend) -> Result<Resolved, ResolveError> {
        let named = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        match (self.storage_backend.as_str(), ours) {
            ("local", Backend::Local) => {
                named(&self.file_path).map(Resolved::Path).ok_or(ResolveError::EmptyFilePath(self.id))
            }
            ("s3", Backend::S3) => {
                named(&self.storage_key).map(Resolved::Object).ok_or(ResolveError::EmptyStorageKey(self.id))
            }
            ("s3", Backend::Local) => Err(ResolveError::NoBucket(self.id)),
            ("local", Backend::S3) => Err(ResolveError::NoDisk(self.id)),
            _ => Err(ResolveError::Unknown(self.id)),
        }
    }
}

/// Whether a source is named by a URL, which is then refused: schemes are compared as RFC 3986, section 3.1, says.
pub fn is_http_source(source: &str) -> bool {
    let starts = |scheme: &str| source.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme));
    starts("http://") || starts("https://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_where_it_is_and_nowhere_else() {
        // HLS-1, HLS-2, HLS-4, HLS-7: `TestHLSTranscodeService_TranscodeTrack_EmptyFilePath`.
        let id = Id::<Track>::in_order();
        let of = |backend: &str, key: Option<&str>, path: Option<&str>, ours| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            let place = Place { id, storage_backend: backend.into(), storage_key: owned(key), file_path: owned(path) };
            place.resolve(ours)
        };
        assert_eq!(of("local", Some("k"), Some("/m/k"), Backend::Local), Ok(Resolved::Path("/m/k".into())));
        assert_eq!(of("s3", Some("k"), None, Backend::S3), Ok(Resolved::Object("k".into())));
        for empty in [None, Some("")] {
            let error = of("local", Some("k"), empty, Backend::Local).unwrap_err();
            assert!(error.to_string().contains("empty FilePath"), "{error}");
            assert_eq!(of("s3", empty, Some("/m/k"), Backend::S3), Err(ResolveError::EmptyStorageKey(id)));
        }
        let error = of("s3", Some("k"), Some("/m/k"), Backend::Local).unwrap_err().to_string();
        assert!(error.contains(&id.to_string()) && error.contains("no S3 resolver is configured"), "{error}");
        assert_eq!(of("local", Some("k"), Some("/m/k"), Backend::S3), Err(ResolveError::NoDisk(id)));
        assert_eq!(of("tape", Some("k"), Some("/m/k"), Backend::S3), Err(ResolveError::Unknown(id)));
    }

    #[test]
    fn a_url_is_known_by_its_scheme_in_any_case() {
        // HLS-5
        for (source, is_url) in [
            ("http://a/b.wav", true),
            ("HTTP://a", true),
            ("hTTps://a", true),
            ("httpx://a", false),
            ("file:///a", false),
            ("https:/a", false),
            ("/music/http://a", false),
            ("", false),
            ("h\u{fc}ttp://", false),
        ] {
            assert_eq!(is_http_source(source), is_url, "{source}");
        }
    }
}
