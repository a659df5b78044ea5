//! Multipart objects until they are whole: begun, filled part by part and tail by tail, or forgotten.
//!
//! Promise: a part that answered `Ok` is in the store with the bytes that its CRC names, whoever damaged them on the way was
//! found out; the same bytes go again for as long as a try may help.
//! Absent:  a part number sent again once its row is committed; that is the caller's to keep.

use std::sync::Arc;

use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType};
use bytes::Bytes;

use super::{
    Listed, Multipart, Part, S3, StoreError, Tail,
    frames::{body, length},
    proof,
    refusal::Refusal,
};
use crate::{digest::crc64, store::tail_read};

/// Times that one part may arrive damaged. A line that does it more often is broken.
const DAMAGED_MAX: u32 = 3;

/// Aborts of one upload: a part that was on its way while the first ran may have landed after it.
const ABORTS_MAX: u32 = 5;

/// What goes out: frames, and what proves that they arrived.
struct Payload {
    frames: Arc<[Bytes]>,
    len: u64,
    crc64: u64,
    /// Of the frames, where the store doesn't compare the CRC.
    md5: Option<[u8; 16]>,
}

/// Where it goes.
enum To<'a> {
    Part(&'a Multipart, i32),
    Object { key: &'a str, if_free: bool },
}

/// What the store says that it got.
struct Told {
    etag: String,
    crc64: Option<u64>,
}

impl S3 {
    pub(super) async fn multipart_begun(&self, key: &str) -> Result<Multipart, StoreError> {
        let mut begin = self.client.create_multipart_upload().bucket(self.bucket()).key(key);
        if self.powers().await?.crc64 {
            begin = begin.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).checksum_type(ChecksumType::FullObject);
        }
        let begun = begin.send().await.map_err(|e| Refusal::of("CreateMultipartUpload", e).into_away_or_full())?;
        match begun.upload_id {
            Some(multipart_id) if !multipart_id.is_empty() => Ok(Multipart { key: key.into(), multipart_id }),
            _ => Err(StoreError::Away(std::io::Error::other("CreateMultipartUpload: an answer without an upload id"))),
        }
    }

    pub(super) async fn part_put(
        &self,
        to: &Multipart,
        part: &Part,
        tails: &[Tail],
        frames: Vec<Bytes>,
    ) -> Result<String, StoreError> {
        let mut bytes = Vec::with_capacity(tails.len() + frames.len());
        for tail in tails {
            bytes.extend(tail_read(self, tail).await?);
        }
        bytes.extend(frames);
        if length(&bytes) != part.len {
            let what = format!("part {} was to have {} bytes, not {}", part.part_no, part.len, length(&bytes));
            return Err(StoreError::Wrong { key: to.key.clone(), what });
        }
        let payload = self.payload(&to.key, bytes, part.crc64).await?;
        self.sent(&To::Part(to, part.part_no), &payload).await
    }

    pub(super) async fn tail_put(&self, tail: &Tail, frames: Vec<Bytes>) -> Result<(), StoreError> {
        if length(&frames) != tail.len {
            let what = format!("the tail was to have {} bytes, not {}", tail.len, length(&frames));
            return Err(StoreError::Wrong { key: tail.key.clone(), what });
        }
        let payload = self.payload(&tail.key, frames, tail.crc64).await?;
        self.sent(&To::Object { key: &tail.key, if_free: false }, &payload).await.map(drop)
    }

    /// Puts an object in one request; with `if_free`, only where the key is. Answers its ETag.
    pub(super) async fn put_bytes(&self, key: &str, bytes: Bytes, if_free: bool) -> Result<String, StoreError> {
        let crc64 = crc64(std::slice::from_ref(&bytes));
        let payload = self.payload(key, vec![bytes], crc64).await?;
        self.sent(&To::Object { key, if_free }, &payload).await
    }

    /// Where the store will compare the CRC, it alone does. Else it is compared here, on the way to the MD5.
    async fn payload(&self, key: &str, frames: Vec<Bytes>, wanted: u64) -> Result<Payload, StoreError> {
        let len = length(&frames);
        let mut payload = Payload { frames: frames.into(), len, crc64: wanted, md5: None };
        if !self.powers().await?.crc64 {
            payload.md5 = Some(payload.digested(key).await?);
        }
        Ok(payload)
    }

    /// Sends until the store has it whole, or no try may help any more. Answers the ETag.
    async fn sent(&self, to: &To<'_>, payload: &Payload) -> Result<String, StoreError> {
        let key = to.key();
        let turn = self.limiter.enter().await;
        let etag_is_md5 = self.powers().await?.etag_is_md5;
        for damaged in 1.. {
            let refusal = match self.sent_once(to, payload).await {
                Ok(told) if payload.is_what(&told, etag_is_md5) => {
                    turn.succeeded(payload.len);
                    return Ok(told.etag);
                }
                Ok(_) => None,
                Err(refusal) if refusal.is_damage() => Some(refusal),
                Err(refusal) => return Err(refusal.into_store(key)),
            };
            // Ours, or the line's? If the bytes here still are what they were, the line's: they may go again.
            payload.digested(key).await?;
            tracing::warn!(key, damaged, "a payload was damaged on its way to the store");
            metrics::counter!("millrace_s3_damaged_total").increment(1);
            if damaged >= DAMAGED_MAX {
                let away = StoreError::Away(std::io::Error::other("every try was damaged on its way"));
                return Err(refusal.map_or(away, Refusal::into_away));
            }
        }
        unreachable!("the loop ends by returning")
    }

    async fn sent_once(&self, to: &To<'_>, payload: &Payload) -> Result<Told, Refusal> {
        let (bytes, len) = (body(&payload.frames), payload.len.cast_signed());
        let crc64 = payload.md5.is_none().then(|| proof::crc64_text(payload.crc64));
        let md5 = payload.md5.map(proof::md5_text);
        match to {
            To::Part(to, part_no) => {
                let put = self.client.upload_part().bucket(self.bucket()).key(&to.key).upload_id(&to.multipart_id);
                let put = put.part_number(*part_no).content_length(len).body(bytes);
                let put = put.set_checksum_crc64_nvme(crc64).set_content_md5(md5).customize();
                let put = put.disable_payload_signing().send().await;
                put.map(|put| Told::new(put.e_tag, put.checksum_crc64_nvme)).map_err(|e| Refusal::of("UploadPart", e))
            }
            To::Object { key, if_free } => {
                let put = self.client.put_object().bucket(self.bucket()).key(*key).content_length(len).body(bytes);
                let put = put.set_if_none_match(if_free.then(|| "*".to_owned()));
                let put = put.set_checksum_crc64_nvme(crc64).set_content_md5(md5).customize();
                let put = put.disable_payload_signing().send().await;
                put.map(|put| Told::new(put.e_tag, put.checksum_crc64_nvme)).map_err(|e| Refusal::of("PutObject", e))
            }
        }
    }

    pub(super) async fn part_copied(
        &self,
        to: &Multipart,
        part: &Part,
        from: &str,
        from_off: u64,
    ) -> Result<Option<String>, StoreError> {
        // Without a checksum of the copy, or of the whole later, nothing would prove it.
        if part.len == 0 || !self.powers().await?.crc64 {
            return Ok(None);
        }
        let turn = self.limiter.enter().await;
        let copy = self.client.upload_part_copy().bucket(self.bucket()).key(&to.key).upload_id(&to.multipart_id);
        let copy = copy.part_number(part.part_no).copy_source(format!("{}/{from}", self.bucket()));
        let copy = copy.copy_source_range(format!("bytes={from_off}-{}", from_off + part.len - 1)).send().await;
        let copied = match copy.map_err(|e| Refusal::of("UploadPartCopy", e)) {
            Ok(copied) => copied.copy_part_result,
            // Of a source below 5 MiB no range can be copied; each store words it in its way.
            Err(refusal) if refusal.is_unsupported() || refusal.code == "InvalidRequest" => return Ok(None),
            Err(refusal) => return Err(refusal.into_store(&to.key)),
        };
        let Some(copied) = copied else { return Ok(None) };
        let found = copied.checksum_crc64_nvme.as_deref().and_then(proof::crc64_of);
        if let Some(found) = found.filter(|found| *found != part.crc64) {
            let what = format!("the copy of part {} has CRC {found:016x}, not {:016x}", part.part_no, part.crc64);
            return Err(StoreError::Wrong { key: to.key.clone(), what });
        }
        turn.succeeded(0);
        Ok(copied.e_tag.map(|etag| proof::bare(&etag).to_owned()))
    }

    pub(super) async fn parts_listed(&self, of: &Multipart) -> Result<Vec<Listed>, StoreError> {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = self.client.list_parts().bucket(self.bucket()).key(&of.key).upload_id(&of.multipart_id);
            let page = page.set_part_number_marker(after).send().await;
            let page = page.map_err(|e| Refusal::of("ListParts", e).into_store(&of.key))?;
            found.extend(page.parts().iter().map(|part| Listed {
                part_no: part.part_number().unwrap_or_default(),
                len: part.size().unwrap_or_default().cast_unsigned(),
                etag: proof::bare(part.e_tag().unwrap_or_default()).to_owned(),
                crc64: proof::crc64_listed(part),
            }));
            after = page.next_part_number_marker.filter(|marker| !marker.is_empty());
            if page.is_truncated != Some(true) || after.is_none() {
                return Ok(found);
            }
        }
    }

    pub(super) async fn aborted(&self, to: &Multipart) -> Result<(), StoreError> {
        for _ in 0..ABORTS_MAX {
            let abort = self.client.abort_multipart_upload().bucket(self.bucket()).key(&to.key);
            match abort.upload_id(&to.multipart_id).send().await.map_err(|e| Refusal::of("AbortMultipartUpload", e)) {
                Ok(_) => {}
                Err(refusal) if refusal.is_missing() => {}
                Err(refusal) => return Err(refusal.into_away()),
            }
            match self.parts_listed(to).await {
                Err(StoreError::Missing(_)) => return Ok(()),
                Ok(parts) if parts.is_empty() => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Away(std::io::Error::other("AbortMultipartUpload: its parts come back")))
    }
}

impl To<'_> {
    fn key(&self) -> &str {
        match self {
            Self::Part(to, _) => &to.key,
            Self::Object { key, .. } => key,
        }
    }
}

impl Told {
    fn new(etag: Option<String>, crc64: Option<String>) -> Self {
        let etag = proof::bare(etag.as_deref().unwrap_or_default()).to_owned();
        Self { etag, crc64: crc64.as_deref().and_then(proof::crc64_of) }
    }
}

impl Payload {
    /// A store that should have refused other bytes, and didn't, may at least say that it has them.
    fn is_what(&self, told: &Told, etag_is_md5: bool) -> bool {
        told.crc64.is_none_or(|crc| crc == self.crc64)
            && self.md5.is_none_or(|md5| !etag_is_md5 || told.etag == crate::publish::hex(&md5))
    }

    /// Their MD5; and their CRC is compared on the way. Off the runtime: 10 MiB take some 20 ms.
    async fn digested(&self, key: &str) -> Result<[u8; 16], StoreError> {
        let frames = Arc::clone(&self.frames);
        let work = move || (proof::md5(&frames), crc64(&frames));
        let (md5, found) = tokio::task::spawn_blocking(work).await.map_err(|e| StoreError::Away(e.into()))?;
        if found != self.crc64 {
            let what = format!("the bytes to be sent have CRC {found:016x}, not {:016x}", self.crc64);
            return Err(StoreError::Wrong { key: key.into(), what });
        }
        Ok(md5)
    }
}
