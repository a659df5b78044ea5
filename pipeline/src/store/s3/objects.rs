//! Whole objects: put at once, read, looked at, signed for, deleted.

use std::time::Duration;

use aws_sdk_s3::{
    presigning::PresigningConfig,
    types::{ChecksumMode, Delete, ObjectIdentifier},
};
use bytes::{Bytes, BytesMut};
use time::OffsetDateTime;

use super::{Object, S3, StoreError, client, proof, refusal::Refusal};
use crate::{digest::crc64, gathered::Gathered};

/// Tries of one read whose bytes broke off after the answer had begun; the SDK tries again only before that.
const READS_MAX: u32 = 3;

/// Reads in pieces at once. The client's buffer for each may come to 400 KiB, which no budget knows of.
pub(super) const PIECES_AT_ONCE: usize = 8;

/// Tries of a put that another request about the same key came in the way of.
const CONFLICTS_MAX: u32 = 3;

/// Keys in one deletion; S3's own limit.
const DELETE_MAX: usize = 1000;

/// What HEAD tells.
pub(super) struct Found {
    pub(super) object: Object,
    /// Of the whole, where the store keeps it.
    pub(super) crc64: Option<u64>,
}

impl S3 {
    pub(super) async fn object_put(&self, key: &str, bytes: Bytes) -> Result<Object, StoreError> {
        let size = bytes.len() as u64;
        let if_free = self.powers().await?.put_if_free;
        if !if_free && let Some(found) = self.object_head(key).await? {
            return self.equal_or_exists(found, &bytes).await;
        }
        for conflicts in 1.. {
            match self.put_bytes(key, bytes.clone(), if_free).await {
                Ok(etag) => return Ok(Object { key: key.into(), size, etag, modified: None }),
                Err(error) if refused(&error, Refusal::is_taken) => match self.object_head(key).await? {
                    Some(found) => return self.equal_or_exists(found, &bytes).await,
                    None if conflicts < CONFLICTS_MAX => {}
                    None => return Err(error),
                },
                Err(error) if refused(&error, Refusal::is_conflict) && conflicts < CONFLICTS_MAX => {}
                Err(error) => return Err(error),
            }
        }
        unreachable!("the loop ends by returning")
    }

    /// An object never changes: what is there is either these bytes, or in the way.
    async fn equal_or_exists(&self, found: Found, bytes: &Bytes) -> Result<Object, StoreError> {
        let exists = || StoreError::Exists(found.object.key.clone());
        if found.object.size != bytes.len() as u64 {
            return Err(exists());
        }
        let equal = match found.crc64 {
            Some(crc) => crc == crc64(std::slice::from_ref(bytes)),
            None => self.object_read::<BytesMut>(&found.object.key, 0, bytes.len()).await? == bytes[..],
        };
        if equal { Ok(found.object) } else { Err(exists()) }
    }

    pub(super) async fn object_read<T: Collect>(&self, key: &str, off: u64, len: usize) -> Result<T, StoreError> {
        if len == 0 {
            return Ok(T::default());
        }
        let range = format!("bytes={off}-{}", off + len as u64 - 1);
        for broken in 1.. {
            let get = self.client.get_object().bucket(self.bucket()).key(key).range(&range).send().await;
            let answer = match get.map_err(|e| Refusal::of("GetObject", e)) {
                Ok(answer) => answer,
                Err(refusal) if refusal.status == Some(416) => return Ok(T::default()),
                Err(refusal) => return Err(refusal.into_store(key)),
            };
            // A store that doesn't know ranges answers with the whole object; nothing else has no Content-Range.
            let skip = if answer.content_range().is_none() { off } else { 0 };
            match collected(answer, skip, len).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) if broken < READS_MAX => tracing::warn!(key, %error, "a read broke off; it is tried again"),
                Err(error) => return Err(StoreError::Away(error)),
            }
        }
        unreachable!("the loop ends by returning")
    }

    pub(super) async fn pieces_read(&self, key: &str, off: u64, len: usize) -> Result<Vec<Bytes>, StoreError> {
        let _turn = self.piecemeal.acquire().await;
        Ok(self.object_read::<Gathered>(key, off, len).await?.take())
    }

    pub(super) async fn object_head(&self, key: &str) -> Result<Option<Found>, StoreError> {
        let head = self.client.head_object().bucket(self.bucket()).key(key).checksum_mode(ChecksumMode::Enabled);
        match head.send().await.map_err(|e| Refusal::of("HeadObject", e)) {
            Ok(head) => Ok(Some(Found {
                object: Object {
                    key: key.into(),
                    size: head.content_length().unwrap_or_default().cast_unsigned(),
                    etag: proof::bare(head.e_tag().unwrap_or_default()).to_owned(),
                    modified: head.last_modified().and_then(instant),
                },
                crc64: head.checksum_crc64_nvme().and_then(proof::crc64_of),
            })),
            Err(refusal) if refusal.is_missing() => Ok(None),
            Err(refusal) => Err(refusal.into_away()),
        }
    }

    pub(super) async fn object_deleted(&self, key: &str) -> Result<(), StoreError> {
        match self.client.delete_object().bucket(self.bucket()).key(key).send().await {
            Ok(_) => Ok(()),
            Err(error) => match Refusal::of("DeleteObject", error) {
                refusal if refusal.is_missing() => Ok(()),
                refusal => Err(refusal.into_away()),
            },
        }
    }

    pub(super) async fn objects_deleted(&self, keys: &[String]) -> Result<(), StoreError> {
        for batch in keys.chunks(DELETE_MAX) {
            let objects = batch.iter().filter_map(|key| ObjectIdentifier::builder().key(key).build().ok());
            let delete = Delete::builder().set_objects(Some(objects.collect())).quiet(true).build();
            let delete = delete.map_err(|e| StoreError::Away(std::io::Error::other(e)))?;
            let asked = self.client.delete_objects().bucket(self.bucket()).delete(delete).send().await;
            match asked.map_err(|e| Refusal::of("DeleteObjects", e)) {
                Ok(done) => {
                    let left = done.errors().iter().find(|e| e.code() != Some("NoSuchKey"));
                    if let Some(left) = left {
                        let why =
                            format!("DeleteObjects: {} of {}", left.code().unwrap_or("?"), left.key().unwrap_or("?"));
                        return Err(StoreError::Away(std::io::Error::other(why)));
                    }
                }
                // Some stores want an MD5 that the SDK doesn't send, some don't know the request.
                Err(refusal) if matches!(refusal.status, Some(400 | 405 | 411 | 501)) => {
                    for key in batch {
                        self.object_deleted(key).await?;
                    }
                }
                Err(refusal) => return Err(refusal.into_away()),
            }
        }
        Ok(())
    }

    pub(super) async fn object_presigned(&self, key: &str, ttl: Duration) -> Result<String, StoreError> {
        let config = PresigningConfig::expires_in(ttl).map_err(|e| StoreError::Away(std::io::Error::other(e)))?;
        let get = self.client.get_object().bucket(self.bucket()).key(key).presigned(config).await;
        Ok(get.map_err(|e| Refusal::of("GetObject", e).into_away())?.uri().to_owned())
    }

    pub(super) async fn bucket_answers(&self) -> Result<(), StoreError> {
        let head = self.client.head_bucket().bucket(self.bucket()).customize().config_override(client::a_quick_look());
        head.send().await.map(drop).map_err(|e| Refusal::of("HeadBucket", e).into_away())
    }
}

/// Where the bytes of an answer go.
pub(super) trait Collect: Default + Send {
    fn expect(&mut self, len: usize);
    fn add(&mut self, bytes: &[u8]);
}

/// In one piece.
impl Collect for BytesMut {
    fn expect(&mut self, len: usize) {
        self.reserve(len);
    }

    fn add(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// In pieces of one size.
impl Collect for Gathered {
    fn expect(&mut self, _: usize) {}

    fn add(&mut self, bytes: &[u8]) {
        self.copy(bytes);
    }
}

/// The bytes of an answer: all that were announced, or an error.
async fn collected<T: Collect>(
    answer: aws_sdk_s3::operation::get_object::GetObjectOutput,
    skip: u64,
    len: usize,
) -> std::io::Result<T> {
    let announced = answer.content_length().and_then(|n| usize::try_from(n).ok());
    let (mut body, mut skip) = (answer.body, usize::try_from(skip).map_err(std::io::Error::other)?);
    let (mut bytes, mut came, mut left) = (T::default(), 0, len);
    bytes.expect(announced.unwrap_or(0).min(len));
    while let Some(frame) = body.next().await {
        let mut frame = frame.map_err(std::io::Error::other)?;
        came += frame.len();
        let over = skip.min(frame.len());
        skip -= over;
        frame = frame.slice(over..);
        let wanted = frame.len().min(left);
        bytes.add(&frame[..wanted]);
        left -= wanted;
        if left == 0 {
            return Ok(bytes);
        }
    }
    match announced {
        Some(announced) if came < announced => {
            Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, format!("{came} of {announced} bytes came")))
        }
        _ => Ok(bytes),
    }
}

/// Whether this is the store's own word, and one of that kind.
fn refused(error: &StoreError, kind: impl Fn(&Refusal) -> bool) -> bool {
    match error {
        StoreError::Away(e) => e.get_ref().and_then(|e| e.downcast_ref::<Refusal>()).is_some_and(kind),
        _ => false,
    }
}

/// The SDK's time as ours.
pub(super) fn instant(at: &aws_sdk_s3::primitives::DateTime) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(at.as_nanos()).ok()
}
