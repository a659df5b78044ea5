//! One object out of parts, whatever the store answered.
//!
//! A Complete whose answer is lost, broken, or says that the upload is unknown may have worked. What is under the key tells:
//! equal in size and checksum (or in the ETag that these parts must give), it is done; different, something is wrong; absent,
//! it may still come until the first request's time is over.
//! Promise: never two Completes of one upload at once from this process, at most two in one call, and no abort after one.
//! Never: "done" because an upload is unknown; "failed" because an answer was.
//! Absent:  memory across a restart, and other processes: the caller's row has those (`completing`).

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_sdk_s3::types::{ChecksumType, CompletedMultipartUpload, CompletedPart};
use tokio::time::Instant;

use super::{Multipart, Object, Part, S3, StoreError, client, objects::Found, powers::Powers, proof, refusal::Refusal};
use crate::digest;

/// Completes in one call: the first, and one more once it is certain that the first didn't work.
const COMPLETES_MAX: u32 = 2;

/// Between two looks at the key while an earlier Complete may still work.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Completes whose end nobody has heard of, by upload id, with the moment when they are surely over.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<HashMap<String, Instant>>);

/// What the object must be.
struct Whole<'a> {
    to: &'a Multipart,
    parts: &'a [Part],
    size: u64,
    crc64: u64,
    /// Where it can be told from the parts.
    etag: Option<String>,
}

/// What an answer to Complete means.
enum Answer {
    /// Whole, says the store, and this is its ETag and CRC.
    Whole(Found),
    /// It may have worked, or may still: only the key can tell. Whether the request is surely over.
    Unknown(Refusal, bool),
    /// The store has other parts.
    OtherParts(Refusal),
    /// The parts are those that we named, and together don't have the checksum that they should.
    OtherBytes(Refusal),
    /// It didn't work, and won't by itself.
    Refused(Refusal),
}

impl S3 {
    pub(super) async fn completed(&self, to: &Multipart, parts: &[Part], size: u64) -> Result<Object, StoreError> {
        if parts.is_empty() && size == 0 {
            let empty = self.object_put(&to.key, bytes::Bytes::new()).await?;
            self.aborted(to).await?;
            return Ok(empty);
        }
        let powers = self.powers().await?;
        let whole = Whole::of(to, parts, size, powers)?;
        let mut last = None;
        for _ in 0..COMPLETES_MAX {
            if let Some(object) = self.settled(&whole).await? {
                return Ok(object);
            }
            self.running.enter(&to.multipart_id, Instant::now() + surely_over(self.settings.complete_max));
            match self.ask_to_complete(&whole, powers).await {
                Answer::Whole(found) => {
                    self.running.leave(&to.multipart_id);
                    return self.as_answered(&whole, found).await;
                }
                Answer::Unknown(refusal, is_over) => {
                    tracing::warn!(key = to.key, %refusal, "Complete: the answer doesn't tell; the key will");
                    if is_over {
                        self.running.leave(&to.multipart_id);
                    }
                    let is_gone = refusal.code == "NoSuchUpload" || refusal.is_missing();
                    let found = self.settled(&whole).await?;
                    match found {
                        Some(object) => return Ok(object),
                        None if is_gone => {
                            // For good, so it is worth a second look: what was just made may not be seen everywhere yet.
                            tokio::time::sleep(LOOK_AGAIN).await;
                            return self.settled(&whole).await?.ok_or_else(|| StoreError::Missing(to.key.clone()));
                        }
                        None => {
                            tokio::time::sleep(LOOK_AGAIN).await;
                            last = Some(refusal);
                        }
                    }
                }
                Answer::OtherParts(refusal) => {
                    let what = refusal.to_string();
                    return self.refused(&whole, StoreError::Parts { key: to.key.clone(), what }).await;
                }
                Answer::OtherBytes(refusal) => {
                    let what = refusal.to_string();
                    return self.refused(&whole, StoreError::Wrong { key: to.key.clone(), what }).await;
                }
                Answer::Refused(refusal) => return self.refused(&whole, refusal.into_away_or_full()).await,
            }
        }
        Err(last.map_or_else(|| StoreError::Missing(to.key.clone()), Refusal::into_away_or_full))
    }

    /// The store did nothing, it says. If an earlier Complete did, that counts.
    async fn refused(&self, whole: &Whole<'_>, error: StoreError) -> Result<Object, StoreError> {
        self.running.leave(&whole.to.multipart_id);
        self.settled(whole).await?.ok_or(error)
    }

    /// What is under the key, if it is the whole; waits while an earlier Complete may still make it so.
    async fn settled(&self, whole: &Whole<'_>) -> Result<Option<Object>, StoreError> {
        loop {
            // The deadline first, the look second: what lands between the two is seen.
            let until = self.running.until(&whole.to.multipart_id);
            if let Some(found) = self.object_head(&whole.to.key).await? {
                self.running.leave(&whole.to.multipart_id);
                return whole.judged(found).map(Some);
            }
            match until {
                Some(until) => tokio::time::sleep_until(until.min(Instant::now() + LOOK_AGAIN)).await,
                None => return Ok(None),
            }
        }
    }

    async fn ask_to_complete(&self, whole: &Whole<'_>, powers: Powers) -> Answer {
        let part = |part: &Part| {
            let quoted = format!("\"{}\"", part.etag);
            CompletedPart::builder().part_number(part.part_no).e_tag(quoted).build()
        };
        let parts = CompletedMultipartUpload::builder().set_parts(Some(whole.parts.iter().map(part).collect())).build();
        let mut ask = self.client.complete_multipart_upload().bucket(self.bucket()).key(&whole.to.key);
        ask = ask.upload_id(&whole.to.multipart_id).multipart_upload(parts);
        if powers.crc64 {
            ask = ask.checksum_type(ChecksumType::FullObject).checksum_crc64_nvme(proof::crc64_text(whole.crc64));
        }
        if powers.complete_if_free {
            ask = ask.if_none_match("*");
        }
        let once = client::once_within(self.settings.complete_max);
        match ask.customize().config_override(once).send().await {
            Ok(done) => Answer::of(done, whole),
            Err(error) => Answer::told(Refusal::of("CompleteMultipartUpload", error)),
        }
    }

    /// The store says that it is whole. If its words don't prove that it is *this* whole, the key must.
    async fn as_answered(&self, whole: &Whole<'_>, found: Found) -> Result<Object, StoreError> {
        if whole.is_proven_by(&found) {
            return Ok(found.object);
        }
        let gone = || StoreError::Missing(whole.to.key.clone());
        self.object_head(&whole.to.key).await?.ok_or_else(gone).and_then(|found| whole.judged(found))
    }
}

/// A request that ran out of its time here may have run on there.
pub(super) fn surely_over(complete_max: Duration) -> Duration {
    complete_max + complete_max / 2
}

impl Answer {
    fn of(
        done: aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadOutput,
        whole: &Whole<'_>,
    ) -> Self {
        let crc64 = done.checksum_crc64_nvme().and_then(proof::crc64_of);
        match done.e_tag {
            Some(etag) if !etag.is_empty() => {
                let etag = proof::bare(&etag).to_owned();
                let object = Object { key: whole.to.key.clone(), size: whole.size, etag, modified: None };
                Self::Whole(Found { object, crc64 })
            }
            // A 200 that doesn't name what it made.
            _ => Self::Unknown(Refusal::unclear("CompleteMultipartUpload", "200 without an ETag"), true),
        }
    }

    fn told(refusal: Refusal) -> Self {
        match (refusal.status, refusal.code.as_str()) {
            (_, "InvalidPart" | "InvalidPartOrder" | "EntityTooSmall") => Self::OtherParts(refusal),
            (Some(400), _) if refusal.is_damage() => Self::OtherBytes(refusal),
            (None, _) => Self::Unknown(refusal, false),
            // With a code it is the store itself that has ended; without, it may be a proxy that has lost patience.
            (Some(200 | 500..), code) => {
                let is_over = !code.is_empty();
                Self::Unknown(refusal, is_over)
            }
            (Some(404), code) if code != "NoSuchBucket" => Self::Unknown(refusal, true),
            (Some(409 | 412), _) => Self::Unknown(refusal, true),
            _ => Self::Refused(refusal),
        }
    }
}

impl<'a> Whole<'a> {
    /// Parts that don't follow one another, or don't add up, are refused here: some stores would take them.
    fn of(to: &'a Multipart, parts: &'a [Part], size: u64, powers: Powers) -> Result<Self, StoreError> {
        let follows = |at: u64, (i, part): (usize, &Part)| {
            let is_next = part.off == at && usize::try_from(part.part_no) == Ok(i + 1);
            is_next.then_some(at + part.len)
        };
        let covered = parts.iter().enumerate().try_fold(0, follows);
        if covered != Some(size) {
            let what = format!("parts cover {covered:?} of {size} bytes");
            return Err(StoreError::Wrong { key: to.key.clone(), what });
        }
        let crc64 = parts.iter().fold(digest::crc64(&[]), |crc, part| digest::crc64_join(crc, part.crc64, part.len));
        let etag = if powers.etag_is_md5 { proof::multipart_etag(parts) } else { None };
        Ok(Self { to, parts, size, crc64, etag })
    }

    fn is_proven_by(&self, found: &Found) -> bool {
        found.crc64 == Some(self.crc64) || (found.crc64.is_none() && self.etag.as_ref() == Some(&found.object.etag))
    }

    /// What HEAD found: this object, or another.
    fn judged(&self, found: Found) -> Result<Object, StoreError> {
        let wrong = |what| StoreError::Wrong { key: self.to.key.clone(), what };
        if found.object.size != self.size {
            return Err(wrong(format!("{} bytes instead of {}", found.object.size, self.size)));
        }
        match (found.crc64, &self.etag) {
            (Some(crc), _) if crc != self.crc64 => Err(wrong(format!("CRC {crc:016x} instead of {:016x}", self.crc64))),
            (None, Some(etag)) if *etag != found.object.etag => {
                Err(wrong(format!("ETag {} instead of {etag}", found.object.etag)))
            }
            // Without a checksum and with ETags that can't be told, the parts' own proofs and the size have to do.
            _ => Ok(found.object),
        }
    }
}

impl Running {
    fn enter(&self, id: &str, until: Instant) {
        let mut running = self.lock();
        running.retain(|_, until| *until > Instant::now());
        running.insert(id.to_owned(), until);
    }

    fn leave(&self, id: &str) {
        self.lock().remove(id);
    }

    /// The moment until which one may still work.
    pub(super) fn until(&self, id: &str) -> Option<Instant> {
        self.lock().get(id).copied().filter(|until| *until > Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
