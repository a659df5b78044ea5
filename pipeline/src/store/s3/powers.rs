//! What this store can do beyond plain S3: asked once with a few small requests, then remembered.
//!
//! Stores ignore headers that they don't know. So each power is tried with a lie: a store that takes a wrong checksum doesn't
//! look at it, and one that overwrites a key which must be free doesn't look at the condition.
//! Order: 1 small objects below `probe/`, 2 they are deleted. Dead after 1: an object of eight bytes, or an upload of one
//! part, which the sweep of orphans finds.
//! Absent:  guesses from the store's name.

use std::{
    sync::{MutexGuard, PoisonError},
    time::Instant,
};

use aws_sdk_s3::{
    operation::put_object::builders::PutObjectFluentBuilder,
    primitives::ByteStream,
    types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;

use super::{S3, StoreError, proof, refusal::Refusal};
use crate::digest;

/// What is sent to find out.
const PROBE: &[u8] = b"millrace";

/// Where our small objects are, for the moment that they are.
pub(super) const PREFIX: &str = "probe/";

/// What may be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Powers {
    /// Compares our CRC-64/NVME, of a put, of a part, and of the whole at Complete.
    pub crc64: bool,
    /// Compares `Content-MD5`.
    pub content_md5: bool,
    /// Calls content by its MD5.
    pub etag_is_md5: bool,
    /// A put can ask that the key be free.
    pub put_if_free: bool,
    /// So can a Complete.
    pub complete_if_free: bool,
}

impl S3 {
    /// What the store can do.
    pub(super) async fn powers(&self) -> Result<Powers, StoreError> {
        // One asks for all. Those that waited for it hear what it heard: asking one after the other, each would wait for a
        // store that is away as long as all before it together.
        let since = Instant::now();
        self.powers.get_or_try_init(|| Box::pin(self.found_out_or_heard(since))).await.copied()
    }

    /// What was heard since then counts; older failures say nothing about now.
    async fn found_out_or_heard(&self, since: Instant) -> Result<Powers, StoreError> {
        let heard = self.powerless().clone().filter(|(at, _)| *at > since);
        if let Some((_, why)) = heard {
            return Err(StoreError::Away(std::io::Error::other(why)));
        }
        let found = self.found_out().await;
        if let Err(error) = &found {
            let cause = std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"));
            *self.powerless() = Some((Instant::now(), format!("{error}{cause}")));
        }
        found
    }

    fn powerless(&self) -> MutexGuard<'_, Option<(Instant, String)>> {
        self.powerless.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn found_out(&self) -> Result<Powers, StoreError> {
        let key = format!("{PREFIX}{}", uuid::Uuid::new_v4().simple());
        let found = self.tried(&key).await.map_err(Refusal::into_away);
        // Whatever happened, nothing of it stays. What can't be deleted now is an orphan like others.
        self.object_deleted(&key).await?;
        let powers = found?;
        if !powers.crc64 && !powers.content_md5 && !powers.etag_is_md5 {
            let why = "the store compares no checksum and tells no MD5: a byte that changed would stay unseen";
            return Err(StoreError::Away(std::io::Error::other(why)));
        }
        tracing::info!(bucket = self.bucket(), ?powers, "the store's powers");
        Ok(powers)
    }

    async fn tried(&self, key: &str) -> Result<Powers, Refusal> {
        let (right, wrong) = (digest::crc64(&[Bytes::from_static(PROBE)]), 1);
        let put = || self.client.put_object().bucket(self.bucket()).key(key).body(ByteStream::from_static(PROBE));
        let md5 = proof::md5(&[Bytes::from_static(PROBE)]);
        let plain = sent(put()).await?.map_err(|_| ()).ok().flatten();
        let etag_is_md5 = plain.as_deref() == Some(crate::publish::hex(&md5).as_str());
        let content_md5 = sent(put().content_md5(proof::md5_text([0; 16]))).await?.is_err()
            && sent(put().content_md5(proof::md5_text(md5))).await?.is_ok();
        let mut crc64 = sent(put().checksum_crc64_nvme(proof::crc64_text(wrong))).await?.is_err()
            && sent(put().checksum_crc64_nvme(proof::crc64_text(right))).await?.is_ok();
        let put_if_free = sent(put().if_none_match("*")).await?.is_err_and(|no| no.is_taken());
        let complete_if_free = match crc64 {
            true => self.tried_parts(key, right, wrong).await?,
            false => None,
        };
        crc64 = crc64 && complete_if_free.is_some();
        let complete_if_free = complete_if_free.unwrap_or(false);
        Ok(Powers { crc64, content_md5, etag_is_md5, put_if_free, complete_if_free })
    }

    /// Whether parts and wholes are compared too; and if so, whether a Complete can ask that the key, which is taken, be free.
    async fn tried_parts(&self, key: &str, right: u64, wrong: u64) -> Result<Option<bool>, Refusal> {
        let begun = self.client.create_multipart_upload().bucket(self.bucket()).key(key);
        let begun = begun.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).checksum_type(ChecksumType::FullObject);
        let id = match answered("CreateMultipartUpload", begun.send().await)? {
            Ok(begun) => begun.upload_id.unwrap_or_default(),
            Err(_) => return Ok(None),
        };
        let part = |crc64| {
            let part = self.client.upload_part().bucket(self.bucket()).key(key).upload_id(&id).part_number(1);
            part.checksum_crc64_nvme(proof::crc64_text(crc64)).body(ByteStream::from_static(PROBE)).send()
        };
        let complete = |crc64, etag: &str| {
            let part = CompletedPart::builder().part_number(1).e_tag(etag);
            let parts = CompletedMultipartUpload::builder().parts(part.build()).build();
            let whole = self.client.complete_multipart_upload().bucket(self.bucket()).key(key).upload_id(&id);
            whole
                .multipart_upload(parts)
                .checksum_type(ChecksumType::FullObject)
                .checksum_crc64_nvme(proof::crc64_text(crc64))
        };
        let lied = answered("UploadPart", part(wrong).await)?.is_err();
        let etag = match answered("UploadPart", part(right).await)? {
            Ok(put) if lied => put.e_tag.unwrap_or_default(),
            _ => return self.forgotten(key, &id).await.map(|()| None),
        };
        if answered("CompleteMultipartUpload", complete(wrong, &etag).send().await)?.is_ok() {
            return Ok(None);
        }
        match answered("CompleteMultipartUpload", complete(right, &etag).if_none_match("*").send().await)? {
            Ok(_) => Ok(Some(false)),
            Err(no) if no.is_taken() => self.forgotten(key, &id).await.map(|()| Some(true)),
            Err(no) if no.is_unsupported() => self.forgotten(key, &id).await.map(|()| Some(false)),
            Err(_) => self.forgotten(key, &id).await.map(|()| None),
        }
    }

    async fn forgotten(&self, key: &str, id: &str) -> Result<(), Refusal> {
        let abort = self.client.abort_multipart_upload().bucket(self.bucket()).key(key).upload_id(id);
        answered("AbortMultipartUpload", abort.send().await).map(drop)
    }
}

/// The ETag of what was put; a refusal that is an answer; or none of both.
async fn sent(put: PutObjectFluentBuilder) -> Result<Result<Option<String>, Refusal>, Refusal> {
    let put = answered("PutObject", put.send().await)?;
    Ok(put.map(|put| put.e_tag.map(|etag| proof::bare(&etag).to_owned())))
}

/// Tells "no" (a 4xx about this request, or 501) from "not now" and "not you".
fn answered<T, E>(
    verb: &'static str,
    answer: Result<T, aws_sdk_s3::error::SdkError<E>>,
) -> Result<Result<T, Refusal>, Refusal>
where
    E: aws_sdk_s3::error::ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match answer.map_err(|e| Refusal::of(verb, e)) {
        Ok(done) => Ok(Ok(done)),
        Err(no) if matches!(no.status, Some(400 | 405 | 411..=428 | 501)) && no.code != "RequestTimeTooSkewed" => {
            Ok(Err(no))
        }
        Err(failed) => Err(failed),
    }
}
